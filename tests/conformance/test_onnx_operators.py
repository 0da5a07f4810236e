"""The cases of the onnx package for its operators of attention, and random ones beside its reference evaluator."""

import random
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.attention.attend import WAYS
from regard.errors import OptionError
from tests.conformance.onnx_operators import attention, attributes, by_name, rotary_embedding, tensor

onnx = pytest.importorskip("onnx", reason="ONNX's cases need the package onnx (extra 'conformance')")


def cases(operator: str) -> list[Any]:
    """Return the cases that onnx publishes for an operator, those of its decompositions left out."""
    from onnx.backend.test.case import node

    import_module(f"onnx.backend.test.case.node.{operator.lower()}")  # this makes the cases
    return [
        case
        for case in node._NodeTestCases
        if len(case.model.graph.node) == 1 and case.model.graph.node[0].op_type == operator
    ]


def assert_alike(actual: Tensor, expected: Tensor) -> None:
    half = expected.dtype in (torch.float16, torch.bfloat16)
    torch.testing.assert_close(actual, expected, rtol=1e-2 if half else 1e-3, atol=1e-2 if half else 1e-6)


@pytest.mark.parametrize("case", cases("Attention"), ids=lambda case: case.name.removeprefix("test_attention_"))
def test_a_case_of_the_operator_attention(case: Any) -> None:
    (node,) = case.model.graph.node
    ((inputs, outputs),) = case.data_sets
    for way in ("auto", *WAYS):
        try:
            answers = attention(*by_name(node.input, inputs), **attributes(node), way=way)  # type: ignore[arg-type]
        except OptionError as error:
            if way in ("auto", "reference") or "cannot run this call" not in str(error):
                raise
            continue
        for actual, expected in zip(answers, by_name(node.output, outputs), strict=False):
            if expected is not None:
                assert_alike(actual, expected)


@pytest.mark.parametrize("case", cases("RotaryEmbedding"), ids=lambda case: case.name.removeprefix("test_"))
def test_a_case_of_the_operator_rotary_embedding(case: Any) -> None:
    (node,) = case.model.graph.node
    ((inputs, (expected,)),) = case.data_sets
    (actual,) = rotary_embedding(*by_name(node.input, inputs), **attributes(node))  # type: ignore[arg-type]
    assert_alike(actual, tensor(expected))


def test_there_are_all_cases() -> None:
    assert len(cases("Attention")) >= 93
    assert len(cases("RotaryEmbedding")) >= 8


# Random cases


def drawn(seed: int) -> tuple[dict[str, Any], list[Any]]:
    """Draw attributes and inputs that the operator allows."""
    draw, numbers = random.Random(seed), np.random.default_rng(seed)
    dtype = draw.choice([np.float32] * 4 + [np.float64] * 2 + [np.float16])
    batch, groups, times = draw.choice([1, 2, 3]), draw.choice([1, 2, 3]), draw.choice([1, 1, 2, 3])
    heads, queries, keys = groups * times, draw.choice([1, 2, 5]), draw.choice([1, 3, 7])
    width, value_width = draw.choice([1, 5, 11]), draw.choice([1, 5, 13])

    def normal(*shape: int) -> Any:
        return numbers.standard_normal(shape).astype(dtype)

    past = draw.choice([None, "inside", "outside"])
    given: list[Any] = [None] * 7
    given[0] = normal(batch, heads, queries, width)
    given[1:3] = [normal(batch, groups, keys, width), normal(batch, groups, keys, value_width)]
    total, shortest = keys, 1
    if past == "inside":
        before = draw.choice([1, 4])
        total += before
        given[4:6] = [normal(batch, groups, before, width), normal(batch, groups, before, value_width)]
    if past == "outside":
        given[6] = numbers.integers(1, keys + 1, batch)
        shortest = int(given[6].max())
    kind = draw.choice([None, "bool", "float", "holes"])
    if kind:
        columns = draw.choice([total, draw.randint(shortest, total)])
        rank = draw.choice([1, 2, 3, 4])
        shape = [draw.choice([1, size]) for size in (batch, heads, queries)] + [columns]
        shape = shape[4 - rank :]
        mask = normal(*shape)
        if kind == "bool":
            mask = mask < draw.choice([-1.0, 0.5, 1.5])
        if kind == "holes":
            mask[numbers.standard_normal(shape) > draw.choice([-0.5, 1.0])] = -np.inf
        given[3] = mask
    named: dict[str, Any] = {"is_causal": draw.choice([0, 1])}
    if draw.random() < 0.3:
        named |= {"left_window_size": draw.choice([-1, 0, 1, 3]), "right_window_size": draw.choice([-1, 0, 2])}
    if draw.random() < 0.3:
        named["scale"] = draw.choice([0.01, 0.5, 2.0])
    if draw.random() < 0.3:
        named["softcap"] = draw.choice([0.5, 2.0, 30.0])
    if draw.random() < 0.2:
        named["softmax_precision"] = draw.choice([1, 11]) if dtype is not np.float64 else 11
    modes = [1, 2, 3] if "softcap" in named else [0, 1, 2, 3]  # the evaluator caps the raw scores in place
    named["qk_matmul_output_mode"] = draw.choice(modes)
    if draw.random() < 0.3:
        given[:3] = [array.transpose(0, 2, 1, 3).reshape(batch, array.shape[2], -1) for array in given[:3]]
        named |= {"q_num_heads": heads, "kv_num_heads": groups}
    return named, given


NAMES = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]
OUTPUTS = ["Y", "present_key", "present_value", "scores"]


def written_out(named: dict[str, Any], given: list[Any]) -> Any:
    """Return what onnx's reference evaluator answers about attention."""
    there = {name: array for name, array in zip(NAMES, given, strict=True) if array is not None}
    if (
        "attn_mask" in there
    ):  # where the mask has one row for all queries, onnx 1.23 makes the causal mask of one row too
        mask, query = there["attn_mask"], there["Q"]
        rows = query.shape[2 if query.ndim == 4 else 1]
        there["attn_mask"] = np.broadcast_to(mask, (*mask.shape[:-2], rows, mask.shape[-1]))
    return evaluated("Attention", NAMES, OUTPUTS, there, named)


def evaluated(operator: str, names: list[str], outputs: list[str], there: dict[str, Any], named: dict[str, Any]) -> Any:
    """Return what onnx's reference evaluator answers."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    node = helper.make_node(operator, [name if name in there else "" for name in names], outputs, **named)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in there.items()
    ]
    kind = helper.np_dtype_to_tensor_dtype(there[names[0]].dtype)
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph([node], "operator", inputs, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    return ReferenceEvaluator(model).run(None, there)


@pytest.mark.parametrize(
    "seeds", [range(200), pytest.param(range(200, 3_200), marks=pytest.mark.slow)], ids=["hundreds", "thousands"]
)
def test_random_cases_are_answered_as_by_the_reference_evaluator(seeds: range) -> None:
    for seed in seeds:
        named, given = drawn(seed)
        answers = attention(*(None if array is None else tensor(array) for array in given), **named)  # type: ignore[arg-type]
        for name, actual, expected in zip(OUTPUTS, answers, written_out(named, given), strict=True):
            try:
                assert_alike(actual, tensor(expected))
            except AssertionError as error:
                shapes = [None if array is None else (array.shape, str(array.dtype)) for array in given]
                raise AssertionError(f"seed {seed}, {name}, {named}, {shapes}: {error}") from None


TABLES = ["X", "cos_cache", "sin_cache", "position_ids"]


def test_random_rotations_are_those_of_the_reference_evaluator() -> None:
    for seed in range(100):
        draw, numbers = random.Random(seed), np.random.default_rng(seed)
        batch, heads, length, pairs, rest = (draw.randint(1, 4) for _ in range(5))
        part, flat, by_position = draw.random() < 0.5, draw.random() < 0.5, draw.random() < 0.5
        width = 2 * pairs + (rest if part else 0)
        named = {"interleaved": draw.choice([0, 1]), "rotary_embedding_dim": 2 * pairs if part else 0}
        vectors = numbers.standard_normal((batch, heads, length, width))
        if flat:
            vectors, named = vectors.transpose(0, 2, 1, 3).reshape(batch, length, -1), named | {"num_heads": heads}
        shape = (17, pairs) if by_position else (batch, length, pairs)
        there = dict(zip(TABLES, [vectors, *numbers.standard_normal((2, *shape))], strict=False))
        if by_position:
            there["position_ids"] = numbers.integers(0, 17, (batch, length))
        (expected,) = evaluated("RotaryEmbedding", TABLES, ["Y"], there, named)
        (actual,) = rotary_embedding(*(tensor(array) for array in there.values()), **named)  # type: ignore[arg-type]
        torch.testing.assert_close(actual, tensor(expected), msg=lambda text: f"seed {seed}, {named}: {text}")  # noqa: B023

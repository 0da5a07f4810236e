"""Readers: what PyTorch's functions and modules of attention are given, read exactly on each of their paths."""

import copy
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from regard.inspection.lens import lens
from regard.inspection.statistics.map_statistics import map_statistics
from regard.inspection.statistics.running import RunningStatistics
from tests.inspection.products import PADDING, B, Calling, D, H, K, Products, Q, random, tensors

OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "scaled": lambda: {"scale": 0.3},
    "causal": lambda: {"is_causal": True},
    "booleans": lambda: {"attn_mask": PADDING[:, None, None]},
    "booleans of two axes": lambda: {"attn_mask": torch.ones(Q, K, dtype=torch.bool).tril(1)},
    "numbers": lambda: {"attn_mask": random(1, H, Q, K)},
    "numbers that hide": lambda: {"attn_mask": random(B, 1, Q, K).masked_fill(~PADDING[:, None, None], -torch.inf)},
    "upper left": lambda: {"attn_mask": causal_upper_left(Q, K)},
    "lower right": lambda: {"attn_mask": causal_lower_right(Q, K)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_products_of_pytorch_are_read_as_it_computes_them(options: Callable[[], dict[str, Any]]) -> None:
    model = Products()
    query, key, value = tensors()
    plain = model(query, key, value, **options())
    with lens(model) as seen:
        watched = model(query, key, value, **options())
    assert torch.equal(plain, watched)
    assert list(seen) == [""]
    assert torch.allclose(seen[""].weights() @ value, plain, rtol=0, atol=1e-12)


def test_heads_that_share_keys_and_tensors_of_three_or_five_axes_are_read() -> None:
    model = Products()
    query, key, value = tensors(heads=1)
    with lens(model) as seen:
        shared = model(query, key, value, enable_gqa=True)
        three = model(query[0], key[0].expand(H, -1, -1), value[0].expand(H, -1, -1))
        five = model(query[None], key[None], value[None])
    weights = [seen[""][number : number + 1].weights() for number in range(3)]
    assert torch.allclose(weights[0] @ value, shared, rtol=0, atol=1e-12)
    assert torch.allclose(weights[1] @ value[0], three[None], rtol=0, atol=1e-12)
    assert torch.allclose(weights[2] @ value, five[0], rtol=0, atol=1e-12)


def test_a_call_without_keys_has_an_empty_map_and_does_not_stop_the_run() -> None:
    model, running = Products(), RunningStatistics()
    query, key, value = tensors()
    with lens(model) as seen, lens(model, keep=running):
        model(query, key[:, :, :0], value[:, :, :0])
        model(query, key, value)
    assert seen[""][:1].weights().shape == seen[""][:1].scores().shape == (B, H, Q, 0)
    found = map_statistics(seen[""][0])
    assert found.top_keys.shape == (B, H, Q, 0)
    assert found.entropy.count_nonzero() == found.total.count_nonzero() == 0
    assert torch.allclose(running[""].mean("entropy"), map_statistics(seen[""][1]).entropy.mean((0, 2)))


def test_dropout_does_not_reach_the_weights_and_the_generator_is_not_touched() -> None:
    model = Products()
    query, key, value = tensors()
    torch.manual_seed(5)
    plain = model(query, key, value, dropout_p=0.5)
    torch.manual_seed(5)
    with lens(model) as seen:
        watched = model(query, key, value, dropout_p=0.5)
    assert torch.equal(plain, watched)
    assert torch.allclose(seen[""].weights().sum(-1), torch.ones((), dtype=torch.float64))


def test_half_precision_is_computed_in_float32() -> None:
    model = Products()
    query, key, value = tensors(dtype=torch.bfloat16)
    with lens(model) as seen:
        model(query, key, value)
    judge = (query.double() @ key.double().transpose(-2, -1) / D**0.5).softmax(-1)
    assert seen[""].weights().dtype == torch.float32
    assert torch.allclose(seen[""].weights().double(), judge, rtol=0, atol=1e-6)


MODULE_MASKS: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "padding": lambda: {"key_padding_mask": ~PADDING},
    "padding in numbers": lambda: {"key_padding_mask": random(B, K)},
    "drawn": lambda: {"attn_mask": torch.ones(K, K, dtype=torch.bool).triu(1)},
    "drawn in numbers": lambda: {"attn_mask": random(K, K)},
    "drawn for each head": lambda: {"attn_mask": random(B * 2, K, K)},
    "both": lambda: {"attn_mask": torch.ones(K, K, dtype=torch.bool).triu(1), "key_padding_mask": ~PADDING},
}


MODULES: dict[str, dict[str, Any]] = {
    "batch first": {"batch_first": True},
    "length first": {},
    "without offsets": {"batch_first": True, "bias": False},
    "more keys": {"batch_first": True, "add_bias_kv": True, "add_zero_attn": True},
    "own widths": {"batch_first": True, "kdim": 6, "vdim": 6},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("masks", MODULE_MASKS.values(), ids=MODULE_MASKS)
@pytest.mark.parametrize("options", MODULES.values(), ids=MODULES)
def test_the_module_of_pytorch_is_read_on_all_its_paths(
    options: dict[str, Any], masks: Callable[[], dict[str, Any]], training: bool, need_weights: bool
) -> None:
    torch.manual_seed(1)
    module = nn.MultiheadAttention(6, 2, **options).double().train(training)
    states = random(B, K, 6) if options.get("batch_first") else random(K, B, 6)
    with torch.set_grad_enabled(training):
        plain, _ = module(states, states, states, need_weights=need_weights, **masks())
        with lens(module) as seen:
            watched, _ = module(states, states, states, need_weights=need_weights, **masks())
        with lens(module) as judged:
            given = module(states, states, states, average_attn_weights=False, **masks())[1]
    assert torch.equal(plain, watched)
    assert list(seen) == [""]
    assert torch.allclose(seen[""].weights(), judged[""].weights(), rtol=0, atol=1e-12)
    if not (masks()["attn_mask"] if "attn_mask" in masks() else torch.ones(1)).isnan().any():
        assert torch.allclose(seen[""].weights(), given, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("mode", ["train", "eval", "fast", "nested"])
def test_the_layers_of_pytorch_are_read_on_all_their_paths(mode: str, norm_first: bool) -> None:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(6, 2, 13, dropout=0.0, batch_first=True, norm_first=norm_first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are for norms that come last
        model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=mode == "nested")
    model = model.double().train(mode == "train")
    states = random(B, K, 6)
    options = {"src_key_padding_mask": ~PADDING}
    with warnings.catch_warnings(), torch.set_grad_enabled(mode in ("train", "eval")):
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        plain = model(states, **options)
        with lens(model) as seen:
            watched = model(states, **options)
    slow = copy.deepcopy(model).train()
    with lens(slow) as judged:
        slow(states, **options)
    assert torch.equal(plain, watched)
    assert list(seen) == ["layers.0.self_attn", "layers.1.self_attn"]
    real = PADDING[:, None, :, None]
    for name in seen:
        weights, judge = seen[name].weights(), judged[name].weights()
        assert torch.allclose(weights * real, judge * real, rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_transformer_of_pytorch_is_read_with_its_gradients_unchanged(training: bool) -> None:
    torch.manual_seed(1)
    model = nn.Transformer(6, 2, 1, 2, 13, dropout=0.1, batch_first=True).train(training)
    source, target = random(B, K, 6).float(), random(B, Q, 6).float()
    causal = nn.Transformer.generate_square_subsequent_mask(Q)

    def run() -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(2)
        output = model(source, target, tgt_mask=causal, tgt_is_causal=True)
        return output, list(torch.autograd.grad(output.square().sum(), list(model.parameters())))

    plain = run()
    with lens(model) as seen:
        watched = run()
    assert torch.equal(plain[0], watched[0])
    assert all(torch.equal(left, right) for left, right in zip(plain[1], watched[1], strict=True))
    assert list(seen) == [
        "encoder.layers.0.self_attn",
        *(f"decoder.layers.{n}.{kind}" for n in range(2) for kind in ("self_attn", "multihead_attn")),
    ]
    assert seen["decoder.layers.1.self_attn"].weights().triu(1).count_nonzero() == 0


def test_flex_attention_is_read_with_its_masks_and_changed_scores() -> None:
    table = random(H, Q, K)

    def changed(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return 2 * torch.tanh(score / 2) + table[head][query][key]

    def allows(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return key <= query + batch

    query, key, value = tensors(heads=1)
    mask = create_block_mask(allows, B, None, Q, K, device="cpu")
    model = Calling(lambda *given, **options: sys.modules[flex_attention.__module__].flex_attention(*given, **options))
    model.options = {"score_mod": changed, "block_mask": mask, "scale": 0.3, "enable_gqa": True}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # not compiled
        plain = model(query, key, value)
        with lens(model) as seen:
            watched = model(query, key, value)
    assert torch.equal(plain, watched)
    weights = seen[""].weights()
    assert torch.allclose(weights @ value, plain, rtol=0, atol=1e-12)
    assert torch.equal(seen[""].weights(batch=1, heads=[2, 0], queries=3), weights[1:, [2, 0], 3:4])

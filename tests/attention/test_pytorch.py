import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.attention.attend import Run, attend, observers
from regard.attention.call import AttentionCall
from regard.attention.patterns import TensorMask
from regard.attention.pytorch import MultiheadAttention, allow_unless, scaled_dot_product_attention
from regard.errors import ShapeError
from tests.attention.judge import as_a_user, assert_same, case

MODEL, HEADS = 12, 3
HIDDEN = torch.tensor([[False, False, False, False, True, True, True], [False] * 7])


def states(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(**options: Any) -> tuple[MultiheadAttention, nn.MultiheadAttention]:
    """Return our module and PyTorch's, with the same weights."""
    torch.manual_seed(2)
    theirs = nn.MultiheadAttention(MODEL, HEADS, dtype=torch.float64, **{"batch_first": True} | options)
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    ours = MultiheadAttention(MODEL, HEADS, dtype=torch.float64, **{"batch_first": True} | options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


# The two meanings of True


def test_what_is_hidden_may_not_be_looked_at() -> None:
    given = case()
    hidden = torch.rand(5, 7) < 0.3
    mask = allow_unless(hidden)
    assert torch.equal(mask.dense(given.call().extent())[0, 0], ~hidden)
    assert_same(
        attend(given.query, given.key, given.value, mask=mask),
        scaled_dot_product_attention(given.query, given.key, given.value, ~hidden),
    )


def test_numbers_are_not_taken_for_what_is_hidden() -> None:
    with pytest.raises(ShapeError, match=r"True = hidden; this one is torch.float32. Use TensorBias"), as_a_user():
        allow_unless(torch.zeros(5, 7))


# The function


SHAPES = [
    ((5, 11), (7, 11)),
    ((2, 5, 11), (2, 7, 11)),
    ((3, 5, 11), (2, 3, 7, 11)),
    ((2, 1, 5, 11), (1, 3, 7, 11)),
    ((2, 3, 2, 5, 11), (2, 3, 2, 7, 11)),
    ((3, 2, 5, 11), (2, 1, 2, 7, 11)),
]


@pytest.mark.parametrize("causal", [False, True], ids=["open", "causal"])
@pytest.mark.parametrize(("query", "key"), SHAPES, ids=str)
def test_the_function_broadcasts_as_pytorchs(query: tuple[int, ...], key: tuple[int, ...], causal: bool) -> None:
    given = states(*query), states(*key, seed=2), states(*key[:-1], 13, seed=3)
    expected = functional.scaled_dot_product_attention(*given, is_causal=causal)
    assert_same(scaled_dot_product_attention(*given, is_causal=causal), expected)


@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (3, 5, 7), (2, 1, 1, 7), (1, 2, 3, 5, 7), (3, 1, 1, 5, 1)], ids=str)
def test_the_function_takes_masks_of_any_rank(shape: tuple[int, ...]) -> None:
    batch = (3, 2) if len(shape) == 5 else (2,)
    query, key, value = states(*batch, 3, 5, 11), states(*batch, 3, 7, 11, seed=2), states(*batch, 3, 7, 13, seed=3)
    added = states(*shape, seed=4)
    for mask in (added, added > 0):
        expected = functional.scaled_dot_product_attention(query, key, value, mask, scale=0.7)
        assert_same(scaled_dot_product_attention(query, key, value, mask, scale=0.7), expected)


def test_the_function_shares_key_heads_when_told_to() -> None:
    query, key, value = states(2, 6, 5, 11), states(2, 2, 7, 11, seed=2), states(2, 2, 7, 13, seed=3)
    expected = functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    assert_same(scaled_dot_product_attention(query, key, value, enable_gqa=True), expected)
    with pytest.raises(ShapeError, match=r"heads of query, key and value are \[6\], \[2\] and \[2\].*enable_gqa=True"):
        scaled_dot_product_attention(query, key, value)


def test_the_function_joins_a_mask_with_causality() -> None:
    query, key, value = states(2, 3, 5, 11), states(2, 3, 7, 11, seed=2), states(2, 3, 7, 13, seed=3)
    shown = states(5, 7, seed=4) > -1
    both = shown & torch.ones(5, 7, dtype=torch.bool).tril()
    expected = scaled_dot_product_attention(query, key, value, both)
    assert_same(scaled_dot_product_attention(query, key, value, shown, is_causal=True), expected)


def test_the_function_drops_weights_as_attend_does() -> None:
    query, key, value = states(2, 3, 5, 11), states(2, 3, 7, 11, seed=2), states(2, 3, 7, 13, seed=3)
    torch.manual_seed(5)
    dropped = scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    torch.manual_seed(5)
    assert_same(dropped, attend(query, key, value, dropout=0.5))
    assert not torch.equal(dropped, scaled_dot_product_attention(query, key, value))


def test_queries_and_keys_without_width_are_all_alike() -> None:
    query, key, value = states(2, 3, 5, 0), states(2, 3, 7, 0), states(2, 3, 7, 4)
    found = scaled_dot_product_attention(query, key, value)
    assert_same(found, functional.scaled_dot_product_attention(query, key, value))
    assert_same(found, value.mean(dim=2, keepdim=True).expand(2, 3, 5, 4))


def test_the_function_says_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"batch axes of query, key and value are \[2\], \[3\] and \[3\]"):
        scaled_dot_product_attention(states(2, 3, 5, 11), states(3, 3, 7, 11), states(3, 3, 7, 11))
    with pytest.raises(ShapeError, match=r"bias holds floating-point numbers; this one is torch.int64"), as_a_user():
        scaled_dot_product_attention(states(5, 11), states(7, 11), states(7, 11), torch.ones(5, 7, dtype=torch.int64))


# The module


@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 7}])
def test_the_module_draws_its_parameters_anew_as_pytorchs(widths: dict[str, int]) -> None:
    modules = pair(**widths)
    for module in modules:
        torch.manual_seed(3)
        module._reset_parameters()
    ours, theirs = (module.state_dict() for module in modules)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_module_takes_the_padding_of_no_sentences() -> None:
    ours, theirs = pair()
    none, hidden = states(0, 7, MODEL), torch.zeros(0, 7, dtype=torch.bool)
    for found, expected in zip(ours(none, none, none, hidden), theirs(none, none, none, hidden), strict=True):
        assert found.shape == expected.shape
    output, _ = ours(none, none, none, hidden, need_weights=False)  # where PyTorch's fails
    assert output.shape == (0, 7, MODEL)


def test_the_module_holds_pytorchs_parameters() -> None:
    for options in ({}, {"bias": False}, {"add_bias_kv": True}, {"kdim": 17, "vdim": 19}):
        ours, theirs = pair(**options)
        assert {n: p.shape for n, p in ours.state_dict().items()} == {
            n: p.shape for n, p in theirs.state_dict().items()
        }
        assert isinstance(ours, nn.MultiheadAttention)


def test_the_module_reads_keys_and_values_of_other_widths() -> None:
    ours, theirs = pair(kdim=17, vdim=19)
    given = states(2, 5, MODEL), states(2, 7, 17), states(2, 7, 19)
    for actual, expected in zip(ours(*given), theirs(*given), strict=True):
        assert_same(actual, expected)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("numbers", [True, False], ids=["float", "bool"])
def test_the_module_takes_masks_of_both_kinds(numbers: bool, batch_first: bool) -> None:
    ours, theirs = pair(batch_first=batch_first)
    query, key = states(2, 5, MODEL), states(2, 7, MODEL, seed=2)
    if not batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    for shape in ((5, 7), (2 * HEADS, 5, 7)):
        added = states(*shape, seed=3)
        masks: list[Tensor] = [added, HIDDEN.double() * -1.5] if numbers else [added > 1, HIDDEN]
        named = dict(zip(("attn_mask", "key_padding_mask"), masks, strict=True))
        for average in (True, False):
            answers = [m(query, key, key, **named, average_attn_weights=average) for m in (ours, theirs)]
            for actual, expected in zip(*answers, strict=True):
                assert_same(actual, expected)


def test_the_module_needs_no_mask_to_be_causal() -> None:
    ours, theirs = pair()
    later = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    x = states(2, 7, MODEL)
    expected = theirs(x, x, x, attn_mask=later, is_causal=True, need_weights=False)[0]
    assert_same(ours(x, x, x, is_causal=True)[0], expected)
    assert_same(ours(x, x, x, is_causal=True, attn_mask=later)[0], expected)


def test_keys_that_the_module_adds_are_seen_by_causal_queries() -> None:
    ours, theirs = pair(add_bias_kv=True, add_zero_attn=True)
    later = torch.ones(7, 7, dtype=torch.bool).triu(1)
    x = states(2, 7, MODEL)
    for actual, expected in zip(ours(x, x, x, is_causal=True), theirs(x, x, x, attn_mask=later), strict=True):
        assert_same(actual, expected)


def test_a_query_of_the_module_that_may_see_nothing_gets_zeros() -> None:
    ours, _ = pair()
    query, key = states(2, 5, MODEL).requires_grad_(), states(2, 7, MODEL, seed=2)
    hidden = torch.tensor([[True] * 7, [False] * 7])
    output, weights = ours(query, key, key, hidden)
    assert_same(output[0], ours.out_proj.bias.expand(5, -1))
    assert weights is not None
    assert not weights[0].any()
    assert_same(output[1:], ours(query[1:], key[1:], key[1:])[0])
    (gradient,) = torch.autograd.grad(output.square().sum(), query)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e30])
def test_poison_in_padding_leaks_nowhere(poison: float) -> None:
    ours, _ = pair()
    query, key = states(2, 5, MODEL), states(2, 7, MODEL, seed=2)
    clean = ours(query, key, key, HIDDEN)
    poisoned = key.masked_fill(HIDDEN[..., None], poison).requires_grad_()
    answer = ours(query, poisoned, poisoned, HIDDEN)
    for actual, expected in zip(answer, clean, strict=True):
        assert_same(actual, expected)
    found = torch.autograd.grad(answer[0].square().sum(), [poisoned, *ours.parameters()])
    assert all(gradient.isfinite().all() for gradient in found)
    assert not found[0][HIDDEN].any()


def test_the_module_drops_in_training_alone_and_returns_the_weights_before_that() -> None:
    ours, _ = pair(dropout=0.5)
    x = states(2, 7, MODEL)
    whole, weights = ours.eval()(x, x, x)
    dropped, same = ours.train()(x, x, x)
    assert not torch.equal(dropped, whole)
    assert_same(same, weights)


def test_an_observer_sees_the_module_even_inside_of_pytorchs_layer() -> None:
    layer = nn.TransformerEncoderLayer(MODEL, 4, 17, batch_first=True, dtype=torch.float64).eval()
    x = states(2, 7, MODEL)
    with torch.no_grad():
        expected = layer(x)
        ours = MultiheadAttention(MODEL, 4, batch_first=True, dtype=torch.float64)
        ours.load_state_dict(layer.self_attn.state_dict())
        layer.self_attn = ours
        seen: list[AttentionCall] = []

        def watch(call: AttentionCall, run: Run) -> Tensor:
            seen.append(call)
            return run(call)

        observers.append(watch)
        try:
            assert_same(layer(x), expected)
        finally:
            observers.remove(watch)
    assert len(seen) == 1


ROWS = states(2, 7, MODEL)
MISUSES: list[tuple[dict[str, Any], str]] = [
    ({"query": ROWS[..., :11]}, r"query must have the axes \[batch, length, 12\], or \[length, 12\].*\[2, 7, 11\]"),
    ({"key": ROWS[None]}, r"key must have the axes .* it has \[1, 2, 7, 12\]"),
    ({"key_padding_mask": HIDDEN[:, :5]}, r"key_padding_mask must have .* here \[2, 7\], or \[keys\].*\[2, 5\]"),
    ({"key_padding_mask": HIDDEN[None]}, r"key_padding_mask must have .* it has \[1, 2, 7\]"),
    ({"attn_mask": torch.zeros(4, 7, 7)}, r"attn_mask of rank 3 .*\[2 batch entries \* 3 heads.*\[4, 7, 7\]"),
    ({"attn_mask": torch.zeros(7, 5)}, r"bias has shape \[1, 1, 7, 5\]"),
    ({"attn_mask": torch.zeros(7, 7, dtype=torch.int32)}, r"bias holds floating-point numbers.*torch.int32"),
    ({"value": ROWS[:, :5]}, r"key has 3 heads of 7 positions and value has 3 of 5"),
]


@pytest.mark.parametrize(("given", "message"), MISUSES, ids=lambda x: " ".join(x) if isinstance(x, dict) else "")
def test_misuse_of_the_module_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    ours, _ = pair()
    with pytest.raises(ShapeError, match=message), as_a_user():
        ours(**{"query": ROWS, "key": ROWS, "value": ROWS} | given)


def test_the_axes_are_named_in_the_order_that_the_module_wants() -> None:
    ours, _ = pair(batch_first=False)
    with pytest.raises(ShapeError, match=r"query must have the axes \[length, batch, 12\]"):
        ours(ROWS[..., :3], ROWS, ROWS)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors_are_refused() -> None:
    ours, _ = pair()
    nested = torch.nested.nested_tensor([ROWS[0], ROWS[1, :5]])
    with pytest.raises(ShapeError, match=r"query is a nested tensor.*use_nested_tensor"), as_a_user():
        ours(nested, nested, nested)


def test_masks_are_those_of_the_core() -> None:
    assert isinstance(allow_unless(HIDDEN), TensorMask)

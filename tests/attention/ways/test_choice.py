"""Which way takes a map in one piece: by type, by what the ways can run, and by whether a gradient is wanted."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from regard.attention.attend import Attention, attend
from regard.attention.call import AttentionCall, Memory
from regard.attention.lengths import Padding
from regard.attention.masks import Everything, Mask
from regard.attention.normalizers import Sparsemax
from regard.attention.patterns import Causal
from regard.attention.scores import Dot
from regard.attention.ways import additive, choice, fused, products, reference
from tests.attention.judge import case

attending = importlib.import_module("regard.attention.attend")
HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture(params=[False, True], ids=["without tiles", "with tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Have a processor that multiplies tiles, or one that does not."""
    has = bool(request.param)
    monkeypatch.setattr(choice, "multiplies_by_tiles", lambda dtype: has and dtype in HALVES)
    return has


def learning(call: AttentionCall) -> AttentionCall:
    """Want the gradient of the keys alone, as a model whose queries are given does."""
    return call._replace(key=call.key.detach().requires_grad_())


@pytest.mark.parametrize("steady", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_fused(dtype: torch.dtype, steady: bool, tiles: bool) -> None:
    call = case(mask="causal").to(dtype).call()
    assert choice.in_one_piece(call, steady=steady) is choice.in_one_piece(learning(call), steady=steady) is fused


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_that_learns_takes_products_but_for_long_maps(
    dtype: torch.dtype, tiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = learning(case(mask="causal").to(dtype).call())
    scores = call.query.shape[2] * call.key.shape[2]
    assert choice.in_one_piece(call) is choice.in_one_piece(call, steady=True) is products
    monkeypatch.setattr(choice, "FUSED_FROM", scores)
    assert choice.in_one_piece(call) is fused
    monkeypatch.setattr(choice, "FUSED_FROM", scores + 1)
    assert choice.in_one_piece(call) is products


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_that_learns_nothing_is_fused_by_tiles_unless_it_is_to_be_steady(
    dtype: torch.dtype, tiles: bool
) -> None:
    call = case(mask="causal").to(dtype).call()
    assert choice.in_one_piece(call) is (fused if tiles else products)
    assert choice.in_one_piece(call, steady=True) is products
    with torch.no_grad():
        assert choice.in_one_piece(learning(call)) is (fused if tiles else products)


def test_what_the_fused_kernel_cannot_run_goes_to_ways_that_give_weights() -> None:
    assert choice.in_one_piece(case(normalizer="sparsemax").call()) is reference
    assert choice.in_one_piece(case("additive").call()) is additive


def test_the_map_is_held_by_products_where_they_can_run_it() -> None:
    assert choice.holding_the_map(case().call()) is products
    assert choice.holding_the_map(case(soft_cap=1.7).call()) is reference
    assert choice.holding_the_map(case("additive").call()) is additive


FITTING = torch.randn(2, 3, 5, 11), torch.randn(2, 3, 7, 11), torch.randn(2, 3, 7, 11)


def alone(*given: Any, causal: bool = False, steady: bool = False) -> bool:
    return choice.alone(*given, causal=causal, steady=steady)


def with_one(place: int, changed: Any) -> tuple[Any, Any, Any]:
    return tuple(changed if number == place else tensor for number, tensor in enumerate(FITTING))  # type: ignore[return-value]


OTHERS = [
    with_one(0, torch.randn(1, 3, 5, 11)),  # PyTorch would take it for all batch entries
    with_one(0, torch.randn(2, 1, 5, 11)),
    with_one(0, torch.randn(2, 6, 5, 11)),
    with_one(0, torch.randn(3, 5, 11)),
    with_one(0, torch.randn(2, 3, 5, 13)),
    with_one(0, FITTING[0].double()),
    with_one(0, FITTING[0].to("meta")),
    with_one(0, FITTING[0].numpy()),
    with_one(1, torch.randn(2, 1, 7, 11)),
    with_one(1, torch.randn(2, 3, 6, 11)),
    with_one(1, FITTING[1].to("meta")),
    with_one(2, torch.randn(2, 3, 7, 13)),
    with_one(2, torch.randn(2, 3, 1, 11)),
    with_one(2, FITTING[2].to("meta")),
    tuple(tensor.long() for tensor in FITTING),
    tuple(tensor.to("meta") for tensor in FITTING),
    tuple(tensor[..., :0] for tensor in FITTING),
    tuple(tensor[:, :0] for tensor in FITTING),
    tuple(tensor[:, :, :0] for tensor in FITTING),
]


@pytest.mark.parametrize("given", OTHERS)
def test_what_does_not_fit_is_not_left_to_pytorch_alone(given: tuple[Any, Any, Any]) -> None:
    assert alone(*FITTING)
    assert not alone(*given)


def test_nothing_is_left_to_pytorch_alone_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not alone(*FITTING)
        assert attend(*FITTING).dtype == torch.bfloat16


def test_half_precision_is_left_to_pytorch_alone_where_the_fused_kernel_is_chosen(tiles: bool) -> None:
    query, key, value = (tensor.bfloat16() for tensor in FITTING)
    assert alone(query, key, value) is tiles
    assert not alone(query, key, value, steady=True)
    assert not alone(query, key, value.requires_grad_())
    with torch.no_grad():
        assert alone(query, key, value) is tiles


@pytest.mark.parametrize(("queries", "keys", "answer"), [(7, 7, True), (7, 5, True), (5, 7, False), (129, 7, False)])
def test_causal_attention_is_left_to_pytorch_alone_where_it_is_neither_cut_nor_hides_keys_from_all(
    queries: int, keys: int, answer: bool
) -> None:
    query, key = torch.randn(2, 3, queries, 11), torch.randn(2, 3, keys, 11)
    assert alone(query, key, key, causal=True) is answer


@pytest.mark.parametrize("mask", [Everything(), Causal()])
@pytest.mark.parametrize("way", ["auto", "steady"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pytorch_alone_gives_the_bits_of_the_call_that_is_not_built(dtype: torch.dtype, way: str, mask: Mask) -> None:
    query, key, value = torch.randn(3, 2, 3, 7, 11, dtype=dtype).unbind()
    memory = Attention().remember(key, value)
    expected = attend(query, key, value, mask=mask, way="fused")
    assert torch.equal(attend(query, key, value, mask=mask, way=way), expected)
    assert torch.equal(Attention(way=way).eval()(query, memory, mask=mask), expected)


def test_pytorch_alone_is_asked_where_nothing_is_hidden_or_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part that changes a call, and an observer, keeps it a call."""
    built: list[AttentionCall] = []
    real: Callable[[str, AttentionCall], torch.Tensor] = attending.run_by

    def noted(way: str, call: AttentionCall) -> torch.Tensor:
        built.append(call)
        return real(way, call)

    monkeypatch.setattr(attending, "run_by", noted)
    attend(*FITTING)
    Attention(dropout=0.5).eval()(FITTING[0], Memory(*FITTING[1:]))
    assert built == []
    changes: list[dict[str, Any]] = [
        {"score": Dot()}, {"bias": torch.zeros(5, 7)}, {"mask": ~Causal()}, {"mask": torch.ones(5, 7) > 0},
        {"normalizer": Sparsemax()}, {"soft_cap": 3.0}, {"dropout": 0.5}, {"scale": 0.5}, {"way": "reference"},
        {"mask": Causal(), "offset": 1},
    ]  # fmt: skip
    for change in changes:
        attend(*FITTING, **change)
    assert len(built) == len(changes)
    Attention(dropout=0.5)(FITTING[0], Memory(*FITTING[1:]))
    Attention()(FITTING[0], Memory(*FITTING[1:], Padding(torch.tensor([7, 3]))))
    assert len(built) == len(changes) + 2
    monkeypatch.setattr(attending, "observers", [lambda call, run: run(call)])
    attend(*FITTING)
    assert len(built) == len(changes) + 3

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from regard.attention import attend as attending
from regard.attention.attend import Attention, attend
from regard.attention.call import AttentionCall, Memory
from regard.attention.catalogue import SCORES
from regard.attention.lengths import Padding
from regard.attention.normalizers import Sparsemax
from regard.attention.patterns import Causal
from regard.attention.scores import Dot
from regard.attention.ways import fused
from tests.attention.judge import GROUPED, case


@pytest.fixture
def given_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Note what PyTorch's function is given."""
    seen: list[dict[str, Any]] = []
    real: Callable[..., torch.Tensor] = torch.nn.functional.scaled_dot_product_attention

    def noted(*given: Any, **options: Any) -> torch.Tensor:
        seen.append(dict(zip(("attn_mask", "dropout_p", "is_causal"), given[3:], strict=False)) | options)
        return real(*given, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    return seen


def test_causal_attention_from_the_start_needs_no_tensor(given_to_pytorch: list[dict[str, Any]]) -> None:
    case(mask="causal").context("fused")
    assert given_to_pytorch[0]["is_causal"]
    assert given_to_pytorch[0]["attn_mask"] is None


def test_a_step_that_sees_all_keys_needs_no_tensor(given_to_pytorch: list[dict[str, Any]]) -> None:
    replace(case(mask=Causal()), offset=6).context("fused")
    assert not given_to_pytorch[0]["is_causal"]
    assert given_to_pytorch[0]["attn_mask"] is None


def test_padding_costs_a_row_a_sentence(given_to_pytorch: list[dict[str, Any]]) -> None:
    case(mask=Padding(torch.tensor([4, 7]))).context("fused")
    case(mask=Padding(torch.tensor([7, 7]))).context("fused")
    assert given_to_pytorch[0]["attn_mask"].shape == (2, 1, 1, 7)
    assert given_to_pytorch[1]["attn_mask"] is None


def test_grouped_heads_are_not_repeated(given_to_pytorch: list[dict[str, Any]]) -> None:
    case(sizes=GROUPED, groups=2).context("fused")
    case().context("fused")
    assert [options.get("enable_gqa", False) for options in given_to_pytorch] == [True, False]


@pytest.mark.parametrize("score", SCORES)
def test_it_runs_products_alone(score: str) -> None:
    given = case(score)
    reason = fused.why_not(given.call())
    if given.score.product:
        assert reason is None
    else:
        assert reason == f"its score is {type(given.score).__name__.lower()} and fused computes dot products only"


def test_the_reason_does_not_depend_on_what_tensors_hold() -> None:
    for lengths in ([0, 0], [4, 7], [7, 7]):
        assert fused.why_not(case(mask=Padding(torch.tensor(lengths))).call()) is None


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_a_scale_that_is_not_positive_hides_as_any_other(scale: float) -> None:
    torch.manual_seed(1)
    query, key, value = (torch.randn(2, 3, 7, 8) for _ in range(3))
    found, expected = (attend(query, key, value, mask=Causal(), scale=scale, way=way) for way in ("fused", "reference"))
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_long_causal_call_equals_the_reference() -> None:
    torch.manual_seed(1)
    query, key, value = (torch.randn(1, 2, 521, 16) for _ in range(3))
    expected = attend(query, key, value, mask=Causal(), way="reference")
    torch.testing.assert_close(attend(query, key, value, mask=Causal(), way="fused"), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(attend(query, key, value, mask=Causal()), expected, rtol=0, atol=1e-5)


FITTING = torch.randn(2, 3, 5, 11), torch.randn(2, 3, 7, 11), torch.randn(2, 3, 7, 11)


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
    tuple(tensor.bfloat16() for tensor in FITTING),
    tuple(tensor.to("meta") for tensor in FITTING),
    tuple(tensor[..., :0] for tensor in FITTING),
    tuple(tensor[:, :0] for tensor in FITTING),
    tuple(tensor[:, :, :0] for tensor in FITTING),
]


@pytest.mark.parametrize("given", OTHERS)
def test_what_does_not_fit_is_not_left_to_pytorch_alone(given: tuple[Any, Any, Any]) -> None:
    assert fused.alone(*FITTING)
    assert not fused.alone(*given)


def test_nothing_is_left_to_pytorch_alone_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not fused.alone(*FITTING)
        assert attend(*FITTING).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pytorch_alone_gives_the_bits_of_the_call_that_is_not_built(dtype: torch.dtype) -> None:
    query, key, value = (tensor.to(dtype) for tensor in FITTING)
    memory = Attention().remember(key, value)
    expected = attend(query, key, value, way="fused")
    assert torch.equal(attend(query, key, value), expected)
    assert torch.equal(Attention().eval()(query, memory), expected)


def test_pytorch_alone_is_asked_where_nothing_is_hidden_or_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part that changes a call, and an observer, keeps it a call."""
    built: list[AttentionCall] = []
    real = attending.run_by

    def noted(way: str, call: AttentionCall) -> torch.Tensor:
        built.append(call)
        return real(way, call)

    monkeypatch.setattr(attending, "run_by", noted)
    attend(*FITTING)
    Attention(dropout=0.5).eval()(FITTING[0], Memory(*FITTING[1:]))
    assert built == []
    changes: list[dict[str, Any]] = [
        {"score": Dot()}, {"bias": torch.zeros(5, 7)}, {"mask": Causal()}, {"mask": torch.ones(5, 7) > 0},
        {"normalizer": Sparsemax()}, {"soft_cap": 3.0}, {"dropout": 0.5}, {"scale": 0.5}, {"way": "reference"},
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

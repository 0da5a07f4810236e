from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from regard.attention.attend import attend
from regard.attention.catalogue import SCORES
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal
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


@pytest.mark.parametrize("tiles", [False, True])
def test_causal_calls_of_moderate_length_are_cut_where_there_are_no_tiles(
    tiles: bool, given_to_pytorch: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "multiplies_by_tiles", lambda dtype: tiles)
    for length, blocks in ((127, 1), (128, 2), (767, 4), (768, 1)):
        states = torch.zeros(1, 1, length, 2)
        given_to_pytorch.clear()
        attend(states, states, states, mask=Causal(), way="fused")
        assert len(given_to_pytorch) == (1 if tiles else blocks)

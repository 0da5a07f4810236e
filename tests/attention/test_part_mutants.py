"""Mutants of the parts: scores, normalizers and choices with one thing wrong each. Other tests must see them all."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.attention import entmax as entmax_module
from regard.attention import kernels as kernels_module
from regard.attention import normalizers as normalizers_module
from regard.attention.choices import Sampled
from regard.attention.entmax import EntmaxFunction
from regard.attention.kernels import Boxcar, Gaussian, Triangular
from regard.attention.normalizers import AdaptiveEntmax, Normalizer, Sigmoid, SinkSoftmax, Softmax
from regard.attention.scores import Positions, Relative
from tests.attention import test_choices, test_entmax, test_kernels, test_normalizers, test_scores
from tests.attention.judge import case
from tests.attention.mutation import caught
from tests.attention.ways import test_reference

pytestmark = pytest.mark.slow

Patch = pytest.MonkeyPatch


def checks() -> Iterator[Callable[[], None]]:
    """Give the assertions of the quick tests, the quickest first."""
    yield test_entmax.check_by_hand
    yield test_normalizers.check_sinks
    yield test_scores.check_relative
    yield test_kernels.check_edges
    for kernel in test_kernels.KERNELS:
        yield lambda kernel=kernel: test_kernels.check_regression(kernel)  # type: ignore[misc]
    for name in test_normalizers.OTHERS:
        yield lambda name=name: test_normalizers.check_blind_rows(  # type: ignore[misc]
            "a row of the mask", torch.float32, "eval", "reference", name
        )
    yield test_choices.check_shares
    yield test_choices.check_score_function
    for alpha in (1.3, 2.0):
        yield lambda alpha=alpha: test_entmax.check_worth(alpha)  # type: ignore[misc]
        yield lambda alpha=alpha: test_entmax.check_gradients(alpha)  # type: ignore[misc]
    yield test_entmax.check_gradient_of_alpha
    for name in test_normalizers.OTHERS:
        yield lambda name=name: test_reference.check_normalizer(name)  # type: ignore[misc]
    for score in ("relative", "gaussian", "triangular"):
        yield lambda score=score: test_reference.check_equation(score, case(score, "padding"))  # type: ignore[misc]


# Entmax


def entmax_by(patch: Patch, run: Callable[[Tensor, Any], Tensor]) -> None:
    patch.setattr(EntmaxFunction, "forward", staticmethod(run))


def sloped_by(patch: Patch, slope: Callable[[Tensor, Any], Tensor], *, centered: bool = True) -> None:
    """Put another slope in the place of weights^(2 - alpha)."""

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weights, *alphas = ctx.saved_tensors
        slopes = slope(weights, alphas[0] if alphas else ctx.alpha)
        mean = (gradient * slopes).sum(-1, keepdim=True) / slopes.sum(-1, keepdim=True)
        return slopes * (gradient - mean if centered else gradient), None

    patch.setattr(EntmaxFunction, "backward", staticmethod(backward))


def alpha_without_entropy(patch: Patch) -> None:
    real = EntmaxFunction.backward

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        to_scores, to_alpha = real(ctx, gradient)
        if to_alpha is None:
            return to_scores, None
        weights, alpha = ctx.saved_tensors
        slope = torch.where(weights > 0, weights, 1.0) ** (2 - alpha) * (weights > 0)
        moved = (weights - slope / slope.sum(-1, keepdim=True)) / (alpha - 1) ** 2
        return to_scores, (gradient * moved).sum_to_size(alpha.shape)

    patch.setattr(EntmaxFunction, "backward", staticmethod(backward))


def one_step_alone(patch: Patch) -> None:
    patch.setattr(entmax_module, "by_steps", lambda scores, alpha, out: out.copy_(one_step(scores, alpha)))


def one_step(scores: Tensor, alpha: float) -> Tensor:
    """Newton's first step from tau = -1, and no more."""
    power, raised = 1 / (alpha - 1), entmax_module.below_best(scores) * (alpha - 1)
    above = (raised + 1).clamp(min=0)
    slope = power * ((above > 0) * above ** (power - 1)).sum(-1, keepdim=True)
    tau = -1 + ((above**power).sum(-1, keepdim=True) - 1) / slope
    return entmax_module.normalized((raised - tau).clamp(min=0) ** power)


# Other normalizers


def forward_of(patch: Patch, kind: type[Normalizer], run: Callable[[Any, Tensor, Tensor | None], Tensor]) -> None:
    patch.setattr(kind, "forward", run)


def sinks_by(patch: Patch, change: Callable[[Tensor], Tensor]) -> None:
    real = normalizers_module.for_heads
    patch.setattr(normalizers_module, "for_heads", lambda numbers, scores: real(change(numbers), scores))


def sinks_that_stay(patch: Patch) -> None:
    """The weights are made to sum to one after all."""
    real = SinkSoftmax.forward

    def forward(self: SinkSoftmax, scores: Tensor, mask: Tensor | None) -> Tensor:
        weights = real(self, scores, mask)
        return weights / weights.sum(dim=-1, keepdim=True)

    patch.setattr(SinkSoftmax, "forward", forward)


def hidden_by_a_large_number(patch: Patch) -> None:
    def visible(scores: Tensor, mask: Tensor | None) -> Tensor:
        return scores if mask is None else scores.masked_fill(~mask, -1e4)

    patch.setattr(normalizers_module, "visible", visible)


# Scores


def key_columns(patch: Patch, columns: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    patch.setattr(Gaussian, "prepare_key", lambda self, key: torch.cat((key, *columns(key)), dim=-1))


def sharpness_not_squared(patch: Patch) -> None:
    def prepare_query(self: Gaussian, query: Tensor) -> Tensor:
        columns = (query, -kernels_module.half_square(query), torch.ones_like(query[..., :1]))
        return torch.cat(columns, dim=-1) * self.sharpness

    patch.setattr(Gaussian, "prepare_query", prepare_query)


def relative_by(patch: Patch, distance: Callable[[Relative, Positions], Tensor]) -> None:
    def pair(self: Relative, query: Tensor, key: Tensor, positions: Positions) -> Tensor:
        scores = query[..., : key.shape[-1]] @ key.transpose(-2, -1)
        chosen = (distance(self, positions) + self.reach).expand(scores.shape)
        return scores + query[..., key.shape[-1] :].gather(-1, chosen)

    patch.setattr(Relative, "pair", pair)


def held(positions: Positions, reach: int) -> Tensor:
    return (positions.key - positions.query.unsqueeze(-1)).clamp(-reach, reach)


# Choices


def sampled_by(patch: Patch, draw: Callable[[Tensor], Sampled]) -> None:
    patch.setattr(test_choices, "sample", lambda weights, generator=None: draw(weights))


def chosen_of(weights: Tensor, likely: Tensor, told: Tensor) -> Sampled:
    """Draw by one tensor and tell the probability in another."""
    rows = likely.flatten(0, -2)
    first = torch.multinomial(rows, 1, generator=test_choices.seeded(3)).view(*weights.shape[:-1], 1)
    choice = torch.zeros_like(weights).scatter(-1, first, 1.0)
    return Sampled(choice, told.gather(-1, first).squeeze(-1))


def shared(weights: Tensor) -> Tensor:
    return weights.detach() / weights.detach().sum(-1, keepdim=True)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "one step and no more": one_step_alone,
    "alpha scales nothing": lambda patch: entmax_by(
        patch, lambda scores, alpha: entmax_module.by_halving(scores / (alpha - 1), alpha)
    ),
    "entmax is softmax": lambda patch: entmax_by(patch, lambda scores, alpha: torch.softmax(scores, dim=-1)),
    "one below the best": lambda patch: entmax_by(
        patch, lambda scores, alpha: entmax_module.normalized((entmax_module.below_best(scores) + 1).clamp(min=0))
    ),
    "gradient of the softmax": lambda patch: sloped_by(patch, lambda weights, alpha: weights),
    "gradient outside of the support": lambda patch: sloped_by(patch, lambda weights, alpha: torch.ones_like(weights)),
    "gradient of sparsemax for all": lambda patch: sloped_by(patch, lambda weights, alpha: (weights > 0).double()),
    "gradient that moves the sum": lambda patch: sloped_by(
        patch, lambda weights, alpha: (weights > 0) * weights ** (2 - alpha), centered=False
    ),
    "gradient of alpha without the entropies": alpha_without_entropy,
    "sinks ignored": lambda patch: forward_of(
        patch, SinkSoftmax, lambda self, scores, mask: Softmax().forward(scores, mask)
    ),
    "sinks turned round": lambda patch: sinks_by(patch, lambda numbers: numbers.flip(0)),
    "one sink for all heads": lambda patch: sinks_by(patch, lambda numbers: numbers.mean(0, keepdim=True)),
    "sinks that are not exponentiated": lambda patch: sinks_by(patch, lambda numbers: numbers.clamp(min=1e-9).log()),
    "sinks whose share is given back": sinks_that_stay,
    "sigmoid without its shift": lambda patch: forward_of(
        patch, Sigmoid, lambda self, scores, mask: torch.sigmoid(normalizers_module.visible(scores, mask))
    ),
    "sigmoid shifted the other way": lambda patch: forward_of(
        patch, Sigmoid, lambda self, scores, mask: torch.sigmoid(normalizers_module.visible(scores, mask) - self.shift)
    ),
    "one alpha for all heads": lambda patch: patch.setattr(
        AdaptiveEntmax, "alpha", lambda self: 1.01 + 0.99 * self.free.mean().sigmoid().expand(self.free.shape)
    ),
    "hidden by a large number": hidden_by_a_large_number,
    "a Gaussian without the keys' lengths": lambda patch: key_columns(
        patch, lambda key: (torch.ones_like(key[..., :1]), torch.zeros_like(key[..., :1]))
    ),
    "a Gaussian with whole squares": lambda patch: key_columns(
        patch, lambda key: (torch.ones_like(key[..., :1]), -key.square().sum(-1, keepdim=True))
    ),
    "sharpness not squared": sharpness_not_squared,
    "a boxcar not in log space": lambda patch: patch.setattr(Boxcar, "logarithm", lambda self, u: (u <= 1).to(u.dtype)),
    "a boxcar without its edge": lambda patch: patch.setattr(
        Boxcar, "logarithm", lambda self, u: torch.zeros_like(u).masked_fill(u >= 1, -torch.inf)
    ),
    "a triangle not in log space": lambda patch: patch.setattr(
        Triangular, "logarithm", lambda self, u: (1 - u).clamp(min=0)
    ),
    "Epanechikov's own kernel": lambda patch: patch.setattr(
        Triangular, "logarithm", lambda self, u: torch.log((1 - u * u).clamp(min=0))
    ),
    "squares of distances": lambda patch: patch.setattr(
        kernels_module, "distances", lambda query, key: torch.cdist(query, key).square()
    ),
    "relative positions the other way": lambda patch: relative_by(patch, lambda self, at: -held(at, self.reach)),
    "relative positions held one early": lambda patch: relative_by(patch, lambda self, at: held(at, self.reach - 1)),
    "relative positions of the call's rows": lambda patch: relative_by(
        patch, lambda self, at: held(Positions(at.query - at.query[0], at.key), self.reach)
    ),
    "relative positions without the scale": lambda patch: patch.setattr(Relative, "scale", lambda self, width: 1.0),
    "always the greatest": lambda patch: sampled_by(
        patch, lambda weights: chosen_of(weights, (weights == weights.amax(-1, keepdim=True)).double(), weights.log())
    ),
    "any key alike": lambda patch: sampled_by(
        patch, lambda weights: chosen_of(weights, (weights > 0).double(), weights.log())
    ),
    "a probability for its logarithm": lambda patch: sampled_by(
        patch, lambda weights: chosen_of(weights, shared(weights), weights)
    ),
    "the probability of another": lambda patch: sampled_by(
        patch, lambda weights: chosen_of(weights, shared(weights), weights.roll(1, -1).log())
    ),
}


def test_the_checks_pass_on_what_is_right() -> None:
    assert caught(lambda patch: None, checks) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str) -> None:
    assert caught(MUTANTS[name], checks) is not None, f"{name}: no check noticed"

"""Is a pattern to be believed? What a model's output does when what the pattern says is taken away.

belief = measure_belief(model, lambda: model(tokens), "encoder.3.self_attention", heads=[2])
print(belief)        # a line to stand beside the picture
belief.doubts()      # what speaks against reading the picture as an explanation
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regard.attention.attend import Run
from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.errors import OptionError, WorkError
from regard.inspection.effects.interventions import (
    Change,
    HeadsOff,
    Hidden,
    ValuesOff,
    even_weights,
    evened,
    head_numbers,
    intervene,
)
from regard.inspection.selection import in_float32

NOTHING = 1e-6
"""A change of the output below which there is none."""
CLEARLY = 2.0
"""How many times more the most attended token must change the output than a random one."""
HARDLY = 0.2
"""The share of the change without the heads, from which on it matters where they look; and a weak correlation."""

Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Belief:
    """How much the output of a model changes, by what was done to the heads of one module.

    Attributes:
        site: The module.
        heads: Which heads; None is all.
        erased_most: The key that each query used most was hidden, and the others that it may see took its weight.
        erased_random: Another key that it used was, the mean over several draws.
        off: The heads added nothing.
        even: They looked at all that they may see alike.
        values: Rank correlation, over keys, of the weight that a key receives with the change when its value is
            zero; None where there are fewer than three keys, or all are alike.
    """

    site: str
    heads: tuple[int, ...] | None
    erased_most: float
    erased_random: float
    off: float
    even: float
    values: float | None

    def doubts(self) -> list[str]:
        """Say what speaks against reading the weights as what the output rests on; nothing if they may be believed."""
        if self.off <= NOTHING:
            return ["the output does not change without these heads"]
        found = []
        if self.erased_most <= NOTHING or self.erased_most < CLEARLY * self.erased_random:
            found.append("the most attended token matters no more than another")
        if self.even < HARDLY * self.off:
            found.append("even weights do as well")
        if self.values is not None and self.values < HARDLY:
            found.append("the weights do not rank the tokens as their values matter")
        return found

    def __str__(self) -> str:
        """Tell it in a line."""
        times = f" ({self.erased_most / self.erased_random:.1f}x)" if self.erased_random > NOTHING else ""
        values = "" if self.values is None else f"; zeroed values agree with the weights by {self.values:.2f}"
        doubts = self.doubts()
        return (
            f"change of the output: most attended token erased {self.erased_most:.3g}, a random one "
            f"{self.erased_random:.3g}{times}; heads off {self.off:.3g}; even weights {self.even:.3g}{values}. "
            + (f"Doubtful: {', '.join(doubts)}." if doubts else "The weights may be believed.")
        )


def total_variation(changed: Float[Tensor, "*B V"], plain: Float[Tensor, "*B V"]) -> Tensor:
    """Return how much probability moved, the mean over all predictions: from 0 to 1. Takes logits."""
    return (changed.double().softmax(-1) - plain.double().softmax(-1)).abs().sum(-1).mean() / 2


def relative_change(changed: Float[Tensor, "*B M"], plain: Float[Tensor, "*B M"]) -> Tensor:
    """Return how far states moved as a share of their own length, the mean over all positions."""
    moved = (changed.double() - plain.double()).norm(dim=-1)
    shares: Tensor = moved / plain.double().norm(dim=-1).clamp_min(torch.finfo(torch.float64).tiny)
    return shares.mean()


def finite(change: Tensor) -> float:
    """Return a change of the output as a number, or raise if it is none."""
    found = float(change)
    if not math.isfinite(found):
        raise WorkError(
            f"The change of the output is {found}, so that nothing can be measured. Let output() return logits "
            "without NaN or infinities, at least one; in half precision try float32."
        )
    return found


@torch.no_grad()
def measure_belief(
    model: nn.Module,
    output: Callable[[], Tensor],
    site: str,
    *,
    heads: Sequence[int] | None = None,
    distance: Distance = total_variation,
    draws: int = 5,
    keys: int = 32,
    seed: int = 0,
) -> Belief:
    """Measure what the heads of one module do for an output: 4 + `draws` + `keys` runs.

    Args:
        model: In evaluation mode.
        output: Runs the model on one text or batch and returns what is compared, by default logits.
        site: The module, or one above it.
        heads: Measured together; None stands for all.
        distance: `distance(changed, plain)`, a number from 0.
        draws: How many random tokens are erased in turn.
        keys: How many keys' values are zeroed in turn, evenly spread over those that receive weight.
        seed: Of the draws.

    Raises:
        WorkError: The output is another when nothing is changed, or is not finite.
    """
    if draws < 1 or keys < 0:
        raise OptionError(f"draws must be at least 1 and keys at least 0; they are {draws} and {keys}.")
    received: list[Tensor] = []

    def change_by(change: Change) -> float:
        with intervene(model, {site: change}):
            return finite(distance(output(), plain))

    def note(call: AttentionCall, run: Run) -> Tensor:
        weights = reference.weights(in_float32(call))[:, head_numbers(heads, call)]
        received.append(weights.double().sum((0, 1, 2)).cpu())
        return run(call)

    plain = output()
    if not isinstance(plain, Tensor):
        raise OptionError(
            f"output() must return what is compared as a tensor, such as model(...).logits; it returned "
            f"{type(plain).__name__}."
        )
    if change_by(note) > NOTHING:
        raise WorkError(
            "The output changes from run to run though nothing was changed. Call model.eval(), fix the seed."
        )
    generators = [torch.Generator().manual_seed(seed + draw) for draw in range(draws)]
    random = [change_by(Erased(heads, generator)) for generator in generators]
    mass = torch.zeros(max(map(len, received)), dtype=torch.float64)
    for one in received:
        mass[: len(one)] += one
    return Belief(
        site=site,
        heads=None if heads is None else tuple(heads),
        erased_most=change_by(Erased(heads)),
        erased_random=sum(random) / draws,
        off=change_by(HeadsOff(heads)),
        even=change_by(evened(heads)),
        values=agreement(mass, keys, lambda key: change_by(OneValueOff(key, heads))),
    )


@dataclass(frozen=True, eq=False)
class Erased:
    """One key hidden from each query: the one that it uses most, or with a generator another that it uses.

    A query that may look at one key alone keeps it. One that uses a single key of several, as sparsemax and sharp heads
    do, loses it and must look elsewhere; no other that it uses can then be hidden.
    """

    heads: Sequence[int] | None = None
    generator: torch.Generator | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Hide the key."""
        weights = reference.weights(in_float32(call))
        most = nn.functional.one_hot(weights.argmax(-1), weights.shape[-1]).bool()
        erased, others = most, (even_weights(call) > 0) & ~most
        if self.generator is not None:
            others = (weights > 0) & ~most
            luck = torch.rand(weights.shape, generator=self.generator).to(weights.device)
            erased = nn.functional.one_hot((luck + others).argmax(-1), weights.shape[-1]).bool()
        return Hidden(erased & others.any(-1, keepdim=True), self.heads)(call, run)


@dataclass(frozen=True)
class OneValueOff:
    """The value of one key counts as zero, in every call that has this key."""

    key: int
    heads: Sequence[int] | None = None

    def __call__(self, call: AttentionCall, run: Run) -> Tensor:
        """Zero the value."""
        off = torch.arange(call.key.shape[2]) == self.key
        return ValuesOff(off.expand(1, 1, -1), self.heads)(call, run)


def agreement(mass: Float[Tensor, "K"], most: int, change_without: Callable[[int], float]) -> float | None:
    """Return the rank correlation of the weight that keys receive with the change without their values."""
    used = mass.nonzero().flatten().tolist()
    count = min(most, len(used))
    chosen = [used[number * len(used) // count] for number in range(count)]
    if count < 3:
        return None
    changes = torch.tensor([change_without(key) for key in chosen], dtype=torch.float64)
    return rank_correlation(mass[chosen], changes)


def rank_correlation(first: Float[Tensor, "N"], second: Float[Tensor, "N"]) -> float | None:
    """Return Spearman's correlation, equals sharing their mean rank; None where one side is all alike."""
    one, other = (centered(ranks(values)) for values in (first, second))
    norm = float(one.norm() * other.norm())
    return None if norm == 0 else float(one @ other) / norm


def ranks(values: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Return the rank of each value, the mean of their ranks where several are equal."""
    less = (values.unsqueeze(0) < values.unsqueeze(1)).double().sum(1)
    same = (values.unsqueeze(0) == values.unsqueeze(1)).double().sum(1)
    return less + (same - 1) / 2


def centered(values: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Return what the values are above their mean."""
    return values - values.mean()

"""What a picture is made of: weights with their words, the steps of a decoded sentence, the heads of a model.

The pictures (terminal, figures, page) know these records and nothing of where they come from. Everything is
checked here, once, so that no picture can put a weight beside the wrong word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from torch import Tensor

from regard.errors import OptionError, ShapeError
from regard.inspection.alignments.links import Links

ROUNDING = 0.01
"""How far below 0 or above 1 a weight may lie: sums of bfloat16 numbers do."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token that a step could have emitted.

    Attributes:
        token: The token as text.
        probability: Its probability, from 0 to 1.
    """

    token: str
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 + ROUNDING:
            raise OptionError(
                f"the probability of candidate {self.token!r} is {self.probability:g}; it must lie between 0 and 1."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of a decoder: how it came from its scores to the token that it emitted.

    Tensors and arrays are taken alike and kept as read-only float64 arrays.

    Attributes:
        token: The token that was emitted.
        columns: The input tokens that the numbers stand over.
        scores: How alike query and keys are, before normalizing; -inf where a key may not be seen.
        weights: The scores after normalizing.
        shares: The part of each input token in the context: the norm of weight times value, over the sum of these
            norms. A large weight on a small value moves little, and this shows it.
        candidates: The best tokens of this step, best first.
        note: A line below the step, such as where else its weights are shown.
    """

    token: str
    columns: Sequence[str]
    scores: Float[Tensor, "K"] | Float[np.ndarray, "K"]
    weights: Float[Tensor, "K"] | Float[np.ndarray, "K"]
    shares: Float[Tensor, "K"] | Float[np.ndarray, "K"] | None = None
    candidates: Sequence[Candidate] = ()
    note: str = ""

    def __post_init__(self) -> None:
        _keep(self, "columns", tuple(self.columns))
        _keep(self, "candidates", tuple(self.candidates))
        size = (len(self.columns),)
        _keep(self, "scores", _as_array(self.scores, size, "scores", ("columns",), ranged=False))
        _keep(self, "weights", _as_array(self.weights, size, "weights", ("columns",)))
        if self.shares is not None:
            _keep(self, "shares", _as_array(self.shares, size, "shares", ("columns",)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """Which input words each output word used: a matrix with its words.

    Attributes:
        weights: A row for each output word, a column for each input word, from 0 to 1.
        rows: The output words.
        columns: The input words.
        gold: Links that are known to be right, as (source word, target word); None where nobody knows.
        title: A line above the picture.
        note: A line below the picture: the model, the layer, the score.
        belief: A line that says, measured, whether the picture is to be believed (`inspection.effects`), or nothing.
        steps: How the sentence was decoded, a step a token; empty where not asked for.
        values: The weights as a read-only float64 array between 0 and 1.
    """

    weights: Float[Tensor, "Q K"] | Float[np.ndarray, "Q K"]
    rows: Sequence[str]
    columns: Sequence[str]
    gold: Links | None = None
    title: str = ""
    note: str = ""
    belief: str = ""
    steps: Sequence[Step] = ()
    values: Float[np.ndarray, "Q K"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "steps"):
            _keep(self, name, tuple(getattr(self, name)))
        size = (len(self.rows), len(self.columns))
        _keep(self, "values", _as_array(self.weights, size, "weights", ("rows", "columns")))
        if self.gold is not None:
            _keep(self, "gold", frozenset(self.gold))
            _check_links(self.gold, size)

    def strongest(self) -> list[int | None]:
        """Return for each row the column with the largest weight, ties to the first; None where all are zero."""
        if not self.values.size:
            return [None] * len(self.rows)
        return [int(row.argmax()) if row.max() > 0 else None for row in self.values]


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """The maps of all layers and heads of a model for the words of one `Map`.

    Attributes:
        weights: [layers, heads, output words, input words].
        layers: A name for each layer; by default they are numbered from 0.
        heads: A name for each head; by default they are numbered from 0.
        values: The weights as a read-only float64 array between 0 and 1.
    """

    weights: Float[Tensor, "L H Q K"] | Float[np.ndarray, "L H Q K"]
    layers: Sequence[str] = ()
    heads: Sequence[str] = ()
    values: Float[np.ndarray, "L H Q K"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = tuple(self.weights.shape)
        if len(shape) != 4:
            raise ShapeError(
                f"weights of Heads has {len(shape)} axes ({_times(shape)}); it needs 4: layers, heads, output words, "
                "input words."
            )
        _keep(self, "layers", tuple(self.layers) or tuple(f"layer {i}" for i in range(shape[0])))
        _keep(self, "heads", tuple(self.heads) or tuple(f"head {i}" for i in range(shape[1])))
        size = (len(self.layers), len(self.heads), *shape[2:])
        _keep(self, "values", _as_array(self.weights, size, "weights", ("layers", "heads")))


def _keep(record: object, name: str, value: object) -> None:
    """Set an attribute of a frozen record while it is made."""
    object.__setattr__(record, name, value)


def _as_array(
    given: Tensor | np.ndarray, size: tuple[int, ...], name: str, axes: tuple[str, ...], *, ranged: bool = True
) -> np.ndarray:
    """Copy to a read-only float64 array of the size that the words ask for."""
    tensor = given.detach().cpu().double().numpy() if isinstance(given, Tensor) else given
    array = np.array(tensor, dtype=np.float64)
    if array.shape != size:
        words = " and ".join(f"{count} {axis}" for count, axis in zip(size, axes, strict=False))
        raise ShapeError(f"{name} is {_times(array.shape)} but there are {words}: it must be {_times(size)}.")
    _check_values(array, name, ranged=ranged)
    if ranged:
        array = array.clip(0, 1)
    array.flags.writeable = False
    return array


def _check_values(array: np.ndarray, name: str, *, ranged: bool) -> None:
    bad = ~((array >= -ROUNDING) & (array <= 1 + ROUNDING)) if ranged else np.isnan(array) | (array == np.inf)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        allowed = "a weight lies between 0 and 1" if ranged else "a score is a number or -inf"
        where = ", ".join(map(str, place))
        raise OptionError(f"{name}[{where}] is {array[place]:g}, the first of {bad.sum()} that cannot be: {allowed}.")


def _check_links(gold: Links, size: tuple[int, int]) -> None:
    rows, columns = size
    for source, target in sorted(gold):
        if not (0 <= source < columns and 0 <= target < rows):
            raise OptionError(
                f"gold link {source}-{target} points outside: there are {columns} input words (0 to {columns - 1}) "
                f"and {rows} output words (0 to {rows - 1}), and links count from 0."
            )


def _times(size: Sequence[int]) -> str:
    return "x".join(map(str, size)) if size else "a single number"

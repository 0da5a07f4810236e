"""The weights of every mechanism on one fixed example, in float64, so that they are the same on every machine.

The example is self-attention over twelve words. Each distinct word has a fixed random vector, and each place adds a
little of its sines and cosines: the same words find each other, and near ones a little. All heads share the vectors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import regard
from regard.attention import catalogue
from regard.attention.biases import GaussianBias
from regard.attention.caches import SlidingCache
from regard.attention.call import AttentionCall
from regard.attention.catalogue import Sizes
from regard.attention.heads import CrossAttention, SelfAttention
from regard.attention.kernels import Boxcar, Triangular
from regard.attention.lengths import Documents, Padding, document_numbers
from regard.attention.masks import Mask
from regard.attention.patterns import Adjacency, Around, Causal, GlobalTokens, Window
from regard.attention.pooling import AttentionPooling
from regard.attention.positions import GridPositions, sinusoidal
from regard.attention.scores import Additive, Cosine
from regard.attention.shifts import Shifted
from regard.attention.ways import reference

TABLES: Mapping[str, Mapping[str, catalogue.Row[Any]]] = {
    "scores": catalogue.SCORES,
    "biases": catalogue.BIASES,
    "masks": catalogue.MASKS,
    "normalizers": catalogue.NORMALIZERS,
    "choices": catalogue.CHOICES,
    "positions": catalogue.POSITIONS,
    "rotations": catalogue.ROTATIONS,
    "heads": catalogue.HEADS,
    "caches": catalogue.CACHES,
}

WORDS = ["the", "cat", "sat", "on", "the", "mat", ".", "the", "dog", "sat", "too", "."]
FIRST = WORDS.index(".") + 1
"""Words of the first of the two sentences."""

HEADS = 8
WIDTH = 8
PLACE = 0.5
"""How long the vector of a place is beside that of a word."""

GRID = [f"{row}{column}" for row in "abc" for column in "1234"]

# Who hangs on whom, as a grammar would draw it: the verb is the root.
TREE = {0: 1, 1: 2, 3: 2, 4: 5, 5: 3, 6: 2, 7: 8, 8: 9, 10: 9, 11: 9}


class Shown(NamedTuple):
    """A picture before it is drawn.

    Attributes:
        weights: One head's, [rows, columns]; NaN where there is nothing, as in a cache that let go of a key.
        rows: What stands beside the rows: queries.
        columns: What stands above the columns: keys.
    """

    weights: Tensor
    rows: Sequence[str]
    columns: Sequence[str]


class Seen(NamedTuple):
    """A call that was made, and its weights."""

    call: AttentionCall
    weights: Tensor


class Act(nn.Module):
    """Something that attends, as a module that a lens can be held over."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def forward(self) -> object:
        """Do it."""
        return self.act()


def see(act: Callable[[], object]) -> list[Seen]:
    """Return the calls that something makes. Weights are computed at once: a sliding cache writes over its keys."""
    seen: list[Seen] = []
    module = Act(act)
    with torch.no_grad(), regard.lens(module, keep=lambda _, call: seen.append(Seen(call, reference.weights(call)))):
        module()
    return seen


def states(width: int) -> Tensor:
    """Return the vectors of the words in their places, all of one length, [N D]."""
    names = sorted(set(WORDS), key=WORDS.index)
    drawn = torch.randn(len(names), width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    words = nn.functional.normalize(drawn, dim=-1)[[names.index(word) for word in WORDS]]
    places = nn.functional.normalize(sinusoidal(torch.arange(len(WORDS)), width).double(), dim=-1)
    return math.sqrt(width) * nn.functional.normalize(words + PLACE * places, dim=-1)


def centers(sizes: Sizes) -> Tensor:
    """Predict a center from each query as local-p does, S sigmoid(v . q), with a drawn v."""
    drawn = torch.randn(sizes.query_dim, dtype=torch.float64)
    return (sizes.keys - 1) * torch.sigmoid(states(sizes.query_dim) @ drawn).view(1, 1, -1)


def tree() -> Mask:
    """Join each word with the word that it hangs on, both ways, and with itself."""
    edges = torch.zeros(len(WORDS), len(WORDS), dtype=torch.bool)
    for word, head in TREE.items():
        edges[word, head] = edges[head, word] = True
    return Adjacency(edges) | Window(0, 0)


def pooling(sizes: Sizes) -> AttentionPooling:
    """Sum up the words by three queries, eight times as long as at first."""
    module = AttentionPooling(CrossAttention(HEADS * sizes.query_dim, HEADS, regard.Attention()), num_queries=3)
    module.queries.detach().mul_(8)
    return module


def additive(sizes: Sizes) -> Additive:
    """Score by a network whose weights are four times as large as at first."""
    score = Additive(sizes.query_dim, sizes.key_dim, sizes.hidden_dim)
    for parameter in score.parameters():
        parameter.detach().mul_(4)
    return score


# Where what the catalogue draws for its tests would show little on the example.
PARTS: Mapping[tuple[str, str], Callable[[Sizes], Any]] = {
    ("scores", "concat"): additive,
    ("scores", "boxcar"): lambda sizes: Boxcar(0.375 * sizes.query_dim),
    ("scores", "triangular"): lambda sizes: Triangular(0.5 * sizes.query_dim),
    ("scores", "additive"): additive,
    ("masks", "padding"): lambda sizes: Padding(torch.tensor([9])),
    ("masks", "padding_at_start"): lambda sizes: Padding(torch.tensor([12]), torch.tensor([3])),
    ("masks", "documents"): lambda sizes: Documents(document_numbers([[FIRST, len(WORDS) - FIRST]])),
    ("masks", "local_m"): lambda sizes: Window(2, 2),
    ("masks", "global_tokens"): lambda sizes: Window(1, 1) | GlobalTokens(torch.tensor([[True]])),
    ("masks", "adjacency"): lambda sizes: tree(),
    ("masks", "shifted"): lambda sizes: Shifted(Causal(), torch.tensor([FIRST])),
    ("masks", "around"): lambda sizes: Around(torch.arange(sizes.keys).flip(0).view(1, 1, -1), reach=2),
    ("masks", "local_p"): lambda sizes: Around(centers(sizes), reach=2),
    ("biases", "local_p"): lambda sizes: GaussianBias(centers(sizes), deviation=1.5),
    ("positions", "two_dimensional"): lambda sizes: GridPositions(4, sizes.query_dim),
    ("heads", "pooling"): pooling,
}


def sizes_of(group: str, width: int = WIDTH) -> Sizes:
    """Return the sizes of the example, for heads of some width."""
    heads = HEADS // 2 if group == "heads" else HEADS  # there the catalogue makes twice as many
    width = 4 * width if group == "positions" else width
    return Sizes(1, heads, len(WORDS), len(WORDS), width, width, 2 * width)


def built(build: Callable[[Sizes], Any], sizes: Sizes) -> Any:
    """Build a part with its parameters as they are at first, and seed 1.

    They are drawn in float64: the last digit of what is drawn in float32 depends on the processor.
    """
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        torch.set_default_dtype(torch.float64)
        try:
            made = build(sizes)
        finally:
            torch.set_default_dtype(before)
    return made.double() if isinstance(made, nn.Module) else made


def part(group: str, name: str, width: int = WIDTH) -> Any:
    """Build the mechanism as it is shown."""
    return built(PARTS.get((group, name), TABLES[group][name].build), sizes_of(group, width))


def attend(query: Tensor, key: Tensor, **parts: Any) -> Tensor:
    """Attend with heads that share their vectors, [Q D] and [K D]."""
    query, key = (side.expand(1, HEADS, -1, -1) for side in (query, key))
    return regard.attend(query, key, key, **parts)


def act_of_part(group: str, name: str, width: int) -> Callable[[], object]:
    """Give the call a part; of a mask that is shifted, the words of the second sentence ask."""
    given, key = part(group, name, width), states(width)
    query = key[FIRST:] if name == "shifted" else key
    return lambda: attend(query, key, **{"bias" if group == "biases" else group.removesuffix("s"): given})


def act_of_positions(group: str, name: str, width: int) -> Callable[[], object]:
    """Compare positions with positions, without words."""
    vectors = part(group, name, width)(0, len(WORDS)).double()
    return lambda: attend(vectors, vectors, score=Cosine(strength=12.0))


def act_of_rotation(group: str, name: str, width: int) -> Callable[[], object]:
    """Compare a vector with itself, turned by the positions; its numbers fall from 2 to 0.5."""
    vector = torch.linspace(2.0, 0.5, width, dtype=torch.float64)
    turned = part(group, name, width)(vector.expand(1, 1, len(WORDS), -1))[0, 0]
    return lambda: attend(turned, turned)


def act_of_heads(group: str, name: str, width: int) -> Callable[[], object]:
    """Let a module attend to the words; across, the second sentence looks at the first."""
    module = part(group, name, width)
    words = states(width).repeat(1, HEADS).unsqueeze(0)  # [1 N M]
    if isinstance(module, CrossAttention):
        return lambda: module(words[:, FIRST:], module.remember(words[:, :FIRST]))
    return lambda: module(words)


def act_of_cache(group: str, name: str, width: int) -> Callable[[], object]:
    """Decode word by word."""
    cache, words = part(group, name, width), states(width).repeat(1, HEADS).unsqueeze(0)
    module = built(lambda sizes: SelfAttention(HEADS * width, HEADS, regard.Attention()), sizes_of(group, width))
    mask = Window(cache.window - 1, 0) if isinstance(cache, SlidingCache) else Causal()
    return lambda: [module(word, mask=mask, cache=cache) for word in words.split(1, dim=1)]


ACTS: Mapping[str, Callable[[str, str, int], Callable[[], object]]] = {
    "positions": act_of_positions,
    "rotations": act_of_rotation,
    "heads": act_of_heads,
    "caches": act_of_cache,
}


def calls(group: str, name: str, width: int = WIDTH) -> list[Seen]:
    """Run a mechanism on the example and return the calls that it makes."""
    return see(ACTS.get(group, act_of_part)(group, name, width))


def shown(group: str, name: str) -> Shown:
    """Return what the picture of a mechanism shows: the weights of the first head."""
    if group == "choices":
        words = states(WIDTH).expand(1, HEADS, -1, -1)
        drawn = part(group, name)(regard.attention_weights(words, words), generator=torch.Generator().manual_seed(1))
        return Shown(drawn.choice[0, 0], WORDS, WORDS)
    seen = calls(group, name)
    weights = torch.full((sum(one.weights.shape[2] for one in seen), keys_of(seen[-1])), torch.nan).double()
    row = 0
    for call, found in seen:
        weights[row : row + found.shape[2], call.first_key : call.first_key + found.shape[3]] = found[0, 0]
        row += found.shape[2]
    return Shown(weights, *words_of(group, name, *weights.shape))


def keys_of(seen: Seen) -> int:
    """Count the positions of keys up to the last."""
    return seen.call.first_key + seen.weights.shape[3]


def words_of(group: str, name: str, rows: int, columns: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the words beside the rows and above the columns."""
    if group == "positions" and isinstance(part(group, name), GridPositions):
        return GRID, GRID
    if group in ("positions", "rotations"):
        return [str(place) for place in range(rows)], [str(place) for place in range(columns)]
    if isinstance(part(group, name), AttentionPooling):
        return [str(query + 1) for query in range(rows)], WORDS
    return WORDS[len(WORDS) - rows :], WORDS[:columns]

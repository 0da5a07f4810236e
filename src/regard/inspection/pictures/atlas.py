"""Every layer and head over one text, made small enough for a page: block means, strongest keys, exact heads.

All weights of 12 x 12 heads are 38 million numbers at 512 tokens and 10 thousand million at 8,192. An atlas keeps what
a reader looks at: of every map the means of its blocks; of short texts also the strongest keys of each query; of long
ones the query and key of a few heads, from which a page computes any part of the map. It says what it left out.
Maps are read by blocks of queries, so that nothing ever holds a whole one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8, UInt16
from torch import Tensor

from regard.attention.call import AttentionCall
from regard.attention.ways import reference
from regard.attention.ways.blocks import by_rows
from regard.errors import OptionError, ShapeError
from regard.inspection.pictures.hidden import HiddenPairs, HiddenRows, bias_and_hidden
from regard.inspection.pictures.quantized import Exact, quantized

LONG = 1024
"""Tokens a side from which on an atlas keeps exact heads instead of the strongest keys of all."""
TILES, TILES_OF_LONG = 64, 256
"""Blocks along a side of a map."""
KEPT = 16
"""Keys that are kept for each query at most."""
KEPT_BYTES = 5_200_000
"""Bytes that the strongest keys of all maps may take; beyond, fewer are kept."""
EXACT = 8
"""Heads of a long text whose query and key are kept, where none are named."""
SCORES = 2**22
"""Scores in a block of queries."""
WHOLE = 65535
"""A weight of one, as a kept weight is stored."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """A picture that was cut into patches, each one token.

    Attributes:
        pixels: [height, width, 3], from 0 to 255.
        rows: Rows of patches.
        columns: Columns of patches.
        first: Which token is the first patch; ViT has its class token before.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    rows: int
    columns: int
    first: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What stands along one side of a map.

    Attributes:
        tokens: The tokens as text.
        words: For each token the index of its word, -1 for none; None where nobody knows.
        patches: The picture that the tokens are patches of.
        spelled: The words by index, for words of several tokens; None or "" joins the tokens.
    """

    tokens: Sequence[str]
    words: Sequence[int] | None = None
    patches: Patches | None = None
    spelled: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tokens, str) or not all(isinstance(token, str) for token in self.tokens):
            raise OptionError(
                f"tokens must be texts, one a token, such as ['my', 'feet']; they are {self.tokens!r:.60}."
            )
        if self.words is not None and len(self.words) != len(self.tokens):
            raise ShapeError(f"words names {len(self.words)} tokens and there are {len(self.tokens)}: name each.")
        if self.spelled is not None and len(self.spelled) <= max(self.words or [-1]):
            raise ShapeError(
                f"spelled has {len(self.spelled)} words and words goes up to {max(self.words or [-1])}: spell each."
            )
        picture = self.patches
        if picture is not None and picture.first + picture.rows * picture.columns > len(self.tokens):
            raise ShapeError(
                f"patches are {picture.rows} x {picture.columns} from token {picture.first} on, and there are "
                f"{len(self.tokens)} tokens: cut the picture as the model does."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """One head of one layer, made small.

    Attributes:
        layer: The name of its attention.
        head: Its number from 0.
        means: The mean of each block, as the root of its share of `peak`, in 255 steps.
        peak: The largest mean.
        keys: [queries, kept] The strongest keys of each query, strongest first; None for a long text.
        weights: Their weights, in 65,535 steps.
        rests: The weight of each query that is not in `weights`; None for a long text.
        hidden: Which pairs may not look; None where all may.
        exact: Query and key, from which every weight can be computed; None where it is not kept.
        sharpness: The mean of the largest weight in a block of keys.
        belief: A line that measures whether it is to be believed (`inspection.effects.belief`); empty where nobody did.
    """

    layer: str
    head: int
    means: UInt8[np.ndarray, "R C"]
    peak: float
    keys: UInt16[np.ndarray, "Q k"] | None
    weights: UInt16[np.ndarray, "Q k"] | None
    rests: Float32[np.ndarray, "Q"] | None
    hidden: HiddenPairs | None
    exact: Exact | None
    sharpness: float
    belief: str = ""

    @property
    def dropped(self) -> tuple[float, float] | None:
        """Return the weight of a query that is not in `weights`, on average and at most; None for a long text."""
        return None if self.rests is None else (float(self.rests.mean()), float(self.rests.max()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """All layers and heads over one pair of texts.

    Attributes:
        name: What it shows, such as "encoder".
        rows: The queries.
        columns: The keys.
        charts: A chart a head.
        block: How many queries and keys a block of `means` has.
        refused: Why a head that was asked for could not be kept exactly, a sentence a head.
    """

    name: str
    rows: Side
    columns: Side
    charts: Sequence[Chart]
    block: tuple[int, int]
    refused: Sequence[str] = field(default=())


def panel(
    sites: Mapping[str, Sequence[AttentionCall]],
    rows: Side,
    columns: Side | None = None,
    *,
    name: str = "",
    entry: int = 0,
    exact: Sequence[tuple[str, int]] | None = None,
) -> Panel:
    """Make a panel of what a lens saw.

    Args:
        sites: For each layer its calls, such as a `Lens` or a part of one; together they are the queries in order.
        rows: The tokens that looked.
        columns: The tokens that were looked at; by default the same.
        name: A heading.
        entry: Which text of the batch.
        exact: Layers and heads of a long text that the page shall know exactly; by default the eight sharpest.

    Raises:
        ShapeError: The calls of a site are not of the size of the texts.
        OptionError: There are no sites, or `exact` names what is not there.
    """
    columns = rows if columns is None else columns
    for side in (rows, columns):
        if not isinstance(side, Side):
            raise OptionError(f"A text is given as Side(tokens=[...]); this is of type {type(side).__name__}.")
    if not isinstance(sites, Mapping):
        raise OptionError(
            f"sites must be a lens or {{name: lens[name]}}, the calls of each layer; it is of type "
            f"{type(sites).__name__}."
        )
    if not sites:
        raise OptionError("a panel needs 1 site at least, and there are 0: run the model under a lens first.")
    size = (len(rows.tokens), len(columns.tokens))
    calls = {site: [_entry(call, entry) for call in seen] for site, seen in sites.items()}
    heads = sum(its[0].query.shape[1] for its in calls.values())
    for site, its in calls.items():
        _check_size(site, its, size)
    long = max(size) > LONG
    kept = 0 if long else max(1, min(KEPT, size[1], KEPT_BYTES // (4 * heads * size[0])))
    charts = [chart for site, its in calls.items() for chart in _charts(site, its, size, kept)]
    refused: list[str] = []
    if long:
        chosen = _sharpest(charts) if exact is None else list(exact)
        charts, refused = _with_exact(charts, calls, chosen)
    return Panel(name=name, rows=rows, columns=columns, charts=charts, block=_block(size), refused=refused)


def _entry(call: AttentionCall, entry: int) -> AttentionCall:
    """Cut one text out of a batch, in float32 at least."""
    batch = call.query.shape[0]
    if not -batch <= entry < batch:
        raise OptionError(f"entry ({entry}) must be from 0 to {batch - 1}: so many texts ran at once.")
    chosen = torch.tensor([entry % batch], device=call.query.device)
    parts = {part: getattr(call, part)[chosen].detach() for part in ("query", "key", "value")}
    if call.score.product:
        parts = {part: tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for part, tensor in parts.items()}
    bias = None if call.bias is None else call.bias.keep(chosen)
    return call._replace(**parts, mask=call.mask.keep(chosen), bias=bias)


def _check_size(site: str, calls: Sequence[AttentionCall], size: tuple[int, int]) -> None:
    seen = sum(call.query.shape[2] for call in calls), max(call.key.shape[2] for call in calls)
    if seen != size:
        raise ShapeError(
            f"{site} has {seen[0]} queries and {seen[1]} keys; the panel names {size[0]} and {size[1]} tokens. "
            "Give the texts that ran, and sites of one size."
        )


def _block(size: tuple[int, int]) -> tuple[int, int]:
    tiles = TILES_OF_LONG if max(size) > LONG else TILES
    return math.ceil(size[0] / tiles), math.ceil(size[1] / tiles)


@torch.no_grad()
def _blocks(
    calls: Sequence[AttentionCall],
) -> Iterator[tuple[int, Float[Tensor, "H q K"], Bool[Tensor, "h q K"]]]:
    """Give the weights by blocks of queries, each with the place of its first query, and what is hidden."""
    start = 0
    for call in calls:
        rows = max(1, SCORES // (call.query.shape[1] * call.key.shape[2]))
        for block in by_rows(call, rows):
            weights, (_, hidden) = reference.weights(block)[0], bias_and_hidden(block)
            if block.bias is not None:  # where it hides all keys of a query alike, a softmax spreads over them
                hidden = hidden & (weights == 0)
            yield start, weights, hidden
            start += block.query.shape[2]


def check_shares(site: str, seen: Float[Tensor, "H q K"]) -> None:
    """Raise if weights of a layer are no numbers that could be shown, or none from 0 to 1."""
    wrong = (~seen.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        raise OptionError(
            f"{site}: weights of head {', '.join(map(str, wrong))} are not finite. Look for what became NaN before, or "
            "choose other layers."
        )
    step = 1 / WHOLE
    beyond = ((seen < -step) | (seen > 1 + step)).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if beyond:
        low, high = float(seen.min()), float(seen.max())
        raise OptionError(
            f"{site}: weights of head {', '.join(map(str, beyond))} lie between {low:.4g} and {high:.4g}; the page "
            "shows shares from 0 to 1. Leave this layer out; the lens has its weights."
        )


def _charts(site: str, calls: Sequence[AttentionCall], size: tuple[int, int], kept: int) -> list[Chart]:
    """Read the maps of one layer once."""
    (down, along), heads = _block(size), calls[0].query.shape[1]
    tiles = math.ceil(size[0] / down), math.ceil(size[1] / along)
    sums = torch.zeros(heads, *tiles, dtype=torch.float64)
    keys = np.zeros((heads, size[0], kept), np.uint16)
    weights = np.zeros((heads, size[0], kept), np.uint16)
    rests = np.zeros((heads, size[0]), np.float32)
    hidden = HiddenRows(size[1])
    sharp = torch.zeros(heads, dtype=torch.float64)
    for start, seen, unseen in _blocks(calls):
        stop = start + seen.shape[1]
        check_shares(site, seen)
        pooled = _pooled(seen, along, tiles[1])  # [H q C]
        sharp += pooled.amax(dim=-1).sum(dim=-1).double().cpu()
        sums.index_add_(1, torch.arange(start, stop) // down, pooled.double().cpu())
        hidden.add(unseen)
        if kept:
            best, places = seen.topk(min(kept, seen.shape[2]), dim=-1)
            here = slice(start, stop), slice(best.shape[2])
            keys[:, *here] = places.cpu().numpy().astype(np.uint16)
            weights[:, *here] = (best.clamp(0, 1) * WHOLE).round().cpu().numpy().astype(np.uint16)
            rests[:, start:stop] = (seen.sum(dim=-1) - best.sum(dim=-1)).clamp_min(0).cpu().numpy()
    means = sums / _areas(size, (down, along), tiles)
    return [
        Chart(
            layer=site,
            head=head,
            means=_roots(means[head]),
            peak=float(means[head].max()),
            keys=keys[head] if kept else None,
            weights=weights[head] if kept else None,
            rests=rests[head] if kept else None,
            hidden=hidden.of(head),
            exact=None,
            sharpness=float(sharp[head]) / size[0],
        )
        for head in range(heads)
    ]


def _pooled(seen: Float[Tensor, "H q K"], along: int, tiles: int) -> Float[Tensor, "H q C"]:
    """Sum over blocks of keys; the last one may be shorter, and caches may not hold all keys yet."""
    padded = torch.nn.functional.pad(seen, (0, tiles * along - seen.shape[2]))
    return padded.view(*padded.shape[:2], tiles, along).sum(dim=-1)


def _areas(size: tuple[int, int], block: tuple[int, int], tiles: tuple[int, int]) -> Float[Tensor, "R C"]:
    """Return how many weights each block holds."""
    high, wide = (
        torch.tensor([min(step, length - place * step) for place in range(count)], dtype=torch.float64)
        for length, step, count in zip(size, block, tiles, strict=True)
    )
    return high[:, None] * wide


def _roots(means: Float[Tensor, "R C"]) -> UInt8[np.ndarray, "R C"]:
    """Round the root of each share of the largest to 255 steps: small weights keep their order."""
    shares = means / means.max().clamp_min(torch.finfo(means.dtype).tiny)
    return (shares.clamp(0, 1).sqrt() * 255).round().numpy().astype(np.uint8)


def _sharpest(charts: Sequence[Chart]) -> list[tuple[str, int]]:
    ranked = sorted(charts, key=lambda chart: -chart.sharpness)
    return [(chart.layer, chart.head) for chart in ranked[:EXACT]]


def _with_exact(
    charts: list[Chart], calls: Mapping[str, Sequence[AttentionCall]], chosen: Sequence[tuple[str, int]]
) -> tuple[list[Chart], list[str]]:
    """Keep query and key of the chosen heads, and say for which it cannot be done."""
    places = {(chart.layer, chart.head): place for place, chart in enumerate(charts)}
    refused = []
    for layer, head in chosen:
        if (layer, head) not in places:
            raise OptionError(f"exact names head {head} of {layer!r}, which the panel does not have.")
        found = quantized(calls[layer], head)
        if isinstance(found, str):
            refused.append(f"{layer}, head {head}: {found}")
            continue
        place = places[layer, head]
        charts[place] = Chart(**{**vars(charts[place]), "exact": found})
    return charts, refused

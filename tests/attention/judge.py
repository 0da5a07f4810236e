"""The equation entry by entry in plain Python, and the assertions that the tests of attention share.

`by_the_equation` judges `reference`; `reference` judges every other way; `test_mutants.py` judges the judges.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import jaxtyping
import torch
from torch import Tensor

from regard.attention.attend import EVERYTHING, WAYS, attend, attention_weights
from regard.attention.biases import Bias
from regard.attention.call import AttentionCall, own_memory, prepared_call
from regard.attention.catalogue import BIASES, MASKS, NORMALIZERS, SCORES, Sizes
from regard.attention.masks import Mask
from regard.attention.normalizers import Normalizer, Softmax
from regard.attention.scores import Positions, ScaledDot, Score
from tests.attention.plain_normalizers import weights_of

SIZES = Sizes(batch=2, heads=3, queries=5, keys=7, query_dim=11, key_dim=11, hidden_dim=13)
GROUPED = SIZES._replace(heads=6)  # six query heads over three or two: tiling them is not interleaving them
VALUE_DIM = 17
PRODUCT_WAYS = [name for name in WAYS if name not in ("additive", "flex")]  # on a CPU, with the softmax
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@dataclass(frozen=True)
class Case:
    """What is given to `attend`."""

    query: Tensor
    key: Tensor
    value: Tensor
    score: Score = field(default_factory=ScaledDot)
    bias: Bias | None = None
    mask: Mask = EVERYTHING
    soft_cap: float | None = None
    scale: float | None = None
    offset: int = 0
    dropout: float = 0.0
    normalizer: Normalizer = field(default_factory=Softmax)

    def parts(self) -> dict[str, object]:
        names = ("score", "bias", "mask", "soft_cap", "scale", "offset", "normalizer")
        return {name: getattr(self, name) for name in names}

    def context(self, way: str = "auto") -> Tensor:
        return attend(self.query, self.key, self.value, dropout=self.dropout, way=way, **self.parts())  # type: ignore[arg-type]

    def weights(self) -> Tensor:
        return attention_weights(self.query, self.key, **self.parts())  # type: ignore[arg-type]

    def call(self) -> AttentionCall:
        memory = own_memory(self.query, self.key, self.value, self.mask, self.score, self.offset)
        parts = self.parts() | {"mask": EVERYTHING}
        return prepared_call(self.query, memory, dropout=self.dropout, **parts)  # type: ignore[arg-type]

    def able_ways(self) -> list[str]:
        return [name for name in WAYS if not WAYS[name].why_not(self.call())]

    def to(self, dtype: torch.dtype) -> "Case":
        tensors = {name: getattr(self, name).detach().to(dtype) for name in ("query", "key", "value")}
        score, normalizer = copy.deepcopy(self.score).to(dtype), copy.deepcopy(self.normalizer).to(dtype)
        return replace(self, score=score, normalizer=normalizer, **tensors)


def case(
    score: str = "scaled_dot",
    mask: str | Mask = "everything",
    bias: str | None = None,
    *,
    sizes: Sizes = SIZES,
    groups: int | None = None,
    seed: int = 1,
    soft_cap: float | None = None,
    scale: float | None = None,
    device: str = "cpu",
    normalizer: str = "softmax",
) -> Case:
    """Draw a case in float64."""
    torch.manual_seed(seed)
    key_heads = sizes.heads if groups is None else groups
    with torch.device(device):
        given = Case(
            torch.randn(sizes.batch, sizes.heads, sizes.queries, sizes.query_dim, dtype=torch.float64),
            torch.randn(sizes.batch, key_heads, sizes.keys, sizes.key_dim, dtype=torch.float64),
            torch.randn(sizes.batch, key_heads, sizes.keys, VALUE_DIM, dtype=torch.float64),
            SCORES[score].build(sizes).double(),
            None if bias is None else BIASES[bias].build(sizes),
            MASKS[mask].build(sizes) if isinstance(mask, str) else mask,
            soft_cap,
            scale,
            sizes.offset,
            normalizer=NORMALIZERS[normalizer].build(sizes).double(),
        )
        for parameter in given.normalizer.parameters():
            torch.nn.init.normal_(parameter)
    return given


def plain_score(score: str, part: Score, query: Tensor, key: Tensor, i: int, j: int) -> Tensor:
    """Score one query vector with one key vector, by the formula; a score that is not named here by its own code."""
    parameters = dict(part.named_parameters())
    if score in ("dot", "scaled_dot"):
        return sum_of(query[d] * key[d] for d in range(len(query)))
    if score == "cosine":
        return (query * key).sum() / (query.square().sum().sqrt() * key.square().sum().sqrt())
    if score == "general":
        return (parameters["weight.weight"] * torch.outer(key, query)).sum()
    if score in ("additive", "concat"):
        hidden = parameters["query.weight"].mv(query) + parameters["key.weight"].mv(key)
        return (parameters["vector.weight"][0] * hidden.tanh()).sum()
    if score == "location":
        return (parameters["weight.weight"][j] * query).sum()
    if score == "relative":
        vectors = parameters["vectors.weight"]
        reach = len(vectors) // 2
        return (query * (key + vectors[reach + max(-reach, min(reach, j - i))])).sum()
    if score in KERNELS:
        return KERNELS[score](part, (query - key).square().sum())
    prepared = part.prepare_query(query[None, None, None]), part.prepare_key(key[None, None, None])
    return part.pair(*prepared, Positions(torch.tensor([i]), torch.tensor([j])))[0, 0, 0, 0]


KERNELS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "gaussian": lambda part, square: -square * part.sharpness**2 / 2,
    "boxcar": lambda part, square: torch.where(square <= part.width**2, 0.0, -math.inf).double(),
    "triangular": lambda part, square: torch.log((1 - square.sqrt() / part.width).clamp(min=0)),
    "constant": lambda part, square: torch.zeros_like(square),
}
"""The logarithms of the kernels, from the square of the distance."""


def plain_scale(score: str, width: int) -> float:
    """Return what a score is multiplied by; SCORES builds the cosine with strength 3."""
    return {"scaled_dot": 1 / math.sqrt(width), "relative": 1 / math.sqrt(width), "cosine": 3.0}.get(score, 1.0)


def sum_of(terms: Iterator[Tensor]) -> Tensor:
    """Add tensors one by one."""
    total = torch.zeros((), dtype=torch.float64)
    for term in terms:
        total = total + term
    return total


def by_the_equation(score: str, case: Case) -> tuple[Tensor, Tensor]:
    """Return weights and context of a case in float64: every entry by itself, keys that are hidden left out."""
    (B, H, Q, D), (G, K) = case.query.shape, case.key.shape[1:3]
    indices = [torch.arange(n) for n in (B, H, Q, K)]
    grid = torch.meshgrid(indices[0], indices[1], indices[2] + case.offset, indices[3], indexing="ij")
    allowed = case.mask.allows(*grid).expand(B, H, Q, K).tolist()
    added = None if case.bias is None else case.bias.adds(*grid).expand(B, H, Q, K).double()
    scale = plain_scale(score, D) if case.scale is None else case.scale
    weights, contexts = [], []
    for b, h, q in itertools.product(range(B), range(H), range(Q)):
        row = plain_row(score, case, b, h, q, allowed[b][h][q], None if added is None else added[b, h, q], scale)
        weights.append(row)
        contexts.append(sum_of(row[k] * case.value[b, h * G // H, k] for k in range(K)))
    return torch.stack(weights).view(B, H, Q, K), torch.stack(contexts).view(B, H, Q, -1)


def plain_row(
    score: str, case: Case, b: int, h: int, q: int, allowed: list[bool], added: Tensor | None, scale: float
) -> Tensor:
    """Return the weights of one query."""
    group = h * case.key.shape[1] // case.query.shape[1]
    raised = {}
    for j, may_look in enumerate(allowed):
        number = plain_score(score, case.score, case.query[b, h, q], case.key[b, group, j], case.offset + q, j) * scale
        if case.soft_cap is not None:
            number = case.soft_cap * torch.tanh(number / case.soft_cap)
        if added is not None:
            number = number + added[j]
        if may_look and number.item() > -math.inf:
            raised[j] = number
    return weights_of(case.normalizer, raised, h, len(allowed))


def gradients(case: Case, run: Callable[[Case], Tensor]) -> dict[str, Tensor]:
    """Return the gradients of a fixed mixture of what `run` makes of a case, by the name of what they belong to."""
    leaves = {name: getattr(case, name).detach().clone().requires_grad_() for name in ("query", "key", "value")}
    result = run(replace(case, **leaves))
    factors = torch.linspace(-1.0, 1.3, result.numel(), dtype=torch.float64, device=result.device)
    named = leaves | dict(case.score.named_parameters()) | dict(case.normalizer.named_parameters())
    loss = (result.double() * factors.view(result.shape)).sum()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: torch.zeros_like(named[name]) if g is None else g for name, g in zip(named, found, strict=True)}


def assert_same(actual: Tensor, expected: Tensor, tolerance: float | None = None) -> None:
    """Compare, in float64 to 1e-12 and in float32 to 1e-5 of the largest number."""
    if tolerance is None:
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}[actual.dtype]
    assert actual.shape == expected.shape, f"{list(actual.shape)} instead of {list(expected.shape)}"
    assert bool(actual.isfinite().all()), "not finite"
    if actual.numel() == 0:
        return
    difference = (actual.detach().double() - expected.detach().double()).abs().max().item()
    assert difference <= tolerance * max(1.0, expected.detach().abs().max().item()), f"differs by {difference}"


def assert_same_gradients(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name in actual:
        try:
            assert_same(actual[name], expected[name])
        except AssertionError as error:
            raise AssertionError(f"gradient of {name}: {error}") from None


@contextmanager
def as_a_user() -> Iterator[None]:
    """Switch the checks by jaxtyping off, which a user does not have and which would speak before our own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)

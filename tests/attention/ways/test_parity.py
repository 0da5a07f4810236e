"""Every way equals `reference`, over the catalogue: a new way or a new row is picked up."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from regard.attention.attend import WAYS
from regard.attention.biases import TensorBias
from regard.attention.catalogue import BIASES, MASKS, NORMALIZERS, SCORES
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal, TensorMask, Window
from regard.attention.ways import fused, products
from tests.attention.judge import (
    DEVICES,
    GROUPED,
    PRODUCT_WAYS,
    SIZES,
    Case,
    assert_same,
    assert_same_gradients,
    case,
    gradients,
)

OTHERS = [name for name in WAYS if name != "reference" and (name != "flex" or torch.cuda.is_available())]
DTYPES = [torch.float64, torch.float32]
BIASED = ("scaled_dot", "additive", "location")


def check_ways(given: Case, ways: Sequence[str] = OTHERS) -> set[str]:
    """Compare ways with `reference`, context and gradients; return those that can run the case at all."""
    able = set(ways) & set(given.able_ways())
    if not able:
        return able
    expected = given.context("reference").detach()
    wanted = gradients(given, lambda c: c.context("reference"))
    for way in sorted(able):
        run = functools.partial(Case.context, way=way)
        try:
            assert_same(run(given), expected)
            assert_same_gradients(gradients(given, run), wanted)
            with torch.no_grad():
                assert_same(run(given), expected)
        except AssertionError as error:
            raise AssertionError(f"{way}: {error}") from None
    return able


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_ways_equal_the_reference_for_every_score_and_bias(mask: str, dtype: torch.dtype, device: str) -> None:
    number = list(MASKS).index(mask)  # biases meet scores in turn
    pairs = [(score, None) for score in SCORES] + [(BIASED[(number + i) % 3], bias) for i, bias in enumerate(BIASES)]
    for score, bias in pairs if dtype == torch.float64 else pairs[number % 4 :: 4]:
        check_ways(case(score, mask, bias, sizes=SIZES._replace(offset=2), device=device).to(dtype))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_ways_equal_the_reference_for_every_normalizer(normalizer: str) -> None:
    number = list(NORMALIZERS).index(normalizer)
    for mask in list(MASKS)[number % 3 :: 3]:
        check_ways(case(mask=mask, normalizer=normalizer))
    for score in SCORES:
        check_ways(case(score, "causal", "tensor", normalizer=normalizer, soft_cap=1.7))


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_ways_equal_the_reference_for_grouped_heads(groups: int) -> None:
    for mask in ("everything", "causal", "tensor"):
        check_ways(case(mask=mask, sizes=GROUPED, groups=groups))
        check_ways(case("additive", mask, sizes=GROUPED, groups=groups))


@pytest.mark.parametrize(("queries", "keys"), [(11, 11), (7, 13), (13, 7), (1, 5)])
@pytest.mark.parametrize("mask", ["everything", "causal", "tensor"])
def test_ways_equal_the_reference_however_small_their_blocks(
    mask: str, queries: int, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "CUT_FROM", 1)
    monkeypatch.setattr(fused, "multiplies_by_tiles", lambda dtype: False)
    monkeypatch.setattr(fused, "ROWS", 1)
    monkeypatch.setattr(products, "ROWS", 2)
    monkeypatch.setattr(products, "CACHED", 40)
    for bias in (None, "tensor"):
        for groups in (1, 3):
            given = case("scaled_dot", mask, bias, sizes=SIZES._replace(queries=queries, keys=keys), groups=groups)
            assert {"fused", "products"} & check_ways(given, ("fused", "products"))


@pytest.mark.parametrize("offset", [-3, 0, 1, 6, 20])
def test_ways_equal_the_reference_at_every_offset(offset: int) -> None:
    for mask in ("causal", "window", "padding"):
        for score, bias in (("scaled_dot", None), ("scaled_dot", "local_p"), ("additive", "local_p")):
            check_ways(case(score, mask, bias, sizes=SIZES._replace(offset=offset)))


def test_ways_equal_the_reference_for_joined_masks() -> None:
    padding = Padding(torch.tensor([4, 7]), torch.tensor([1, 0]))
    for mask in (
        Causal() & padding,
        padding & Causal() & Window(3, 0),
        Causal() | padding,
        ~Causal() & Window(3, 3),
        ~(padding | Window(1, 0)) & Causal(),
        ~padding,
    ):
        for offset in (0, 2):
            check_ways(case("dot", mask, sizes=SIZES._replace(offset=offset)))
            check_ways(case("location", mask, "tensor", sizes=SIZES._replace(offset=offset)))


def test_ways_equal_the_reference_with_a_scale_and_a_cap() -> None:
    for scale in (-1.3, 0.0, 2.7):
        check_ways(case(mask="causal", scale=scale))
        for score in ("scaled_dot", "additive"):
            check_ways(case(score, "causal", "tensor", soft_cap=0.7, scale=scale))


@pytest.mark.parametrize("shape", [(1, 1), (1, 29), (31, 1), (37, 41), (2, 67)], ids=str)
def test_ways_equal_the_reference_at_odd_sizes(shape: tuple[int, int]) -> None:
    sizes = SIZES._replace(queries=shape[0], keys=shape[1], query_dim=23, key_dim=23)
    for mask in ("everything", "causal", "padding", "window"):
        assert check_ways(case(mask=mask, sizes=sizes)) >= {"products", "fused", "streamed", "windowed"}
    assert check_ways(case("additive", "causal", sizes=sizes)) >= {"additive", "streamed", "windowed"}


BROADCAST = [(1, 7), (5, 1), (5, 7), (3, 1, 7), (2, 1, 1, 7), (2, 1, 5, 1), (1, 3, 1, 1), (1, 1, 1, 1), (2, 3, 5, 7)]


@pytest.mark.parametrize("shape", BROADCAST, ids=str)
def test_ways_equal_the_reference_for_a_mask_that_broadcasts(shape: tuple[int, ...]) -> None:
    torch.manual_seed(8)
    check_ways(replace(case(), mask=TensorMask(torch.rand(shape) < 0.7)))


@pytest.mark.parametrize("way", OTHERS)
def test_a_bias_gets_the_gradient_that_reference_gives(way: str) -> None:
    for shape in [(5, 7), (1, 3, 5, 7), (2, 1, 1, 7), (2, 3, 5, 1)]:
        found: list[torch.Tensor] = []
        for name in ("reference", way):
            added = torch.linspace(-2, 2, 210, dtype=torch.float64)[: torch.Size(shape).numel()].view(shape)
            added.requires_grad_()
            given = replace(case(mask="causal"), bias=TensorBias(added))
            if name not in given.able_ways():
                return
            found += torch.autograd.grad(given.context(name).square().sum(), added)
        assert_same(found[1], found[0])


# Dropout, by its effect


def check_dropout(way: str, given: Case, p: float) -> None:
    """With the identity as values the context is the weights: each is dropped or divided by 1 - p."""
    copies = 211
    batch = replace(
        given,
        query=given.query[:1].expand(copies, -1, -1, -1),
        key=given.key[:1].expand(copies, -1, -1, -1),
        value=torch.eye(7, dtype=given.query.dtype).expand(copies, 3, -1, -1),
        dropout=p,
    )
    torch.manual_seed(9)
    dropped = batch.context(way)
    weights = given.weights()[:1].expand_as(dropped)
    kept = dropped != 0
    assert_same(dropped[kept], weights[kept] / (1 - p))
    share = kept[weights > 0].double().mean().item()
    assert abs(share - (1 - p)) < 0.01, f"{share} of the weights are kept"
    error = (dropped.mean(dim=0) - weights[0]).abs().max().item()
    assert error < 6 * (p / (1 - p) / copies) ** 0.5, f"the mean is off by {error}"


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_dropout_drops_weights_and_keeps_their_mean(way: str, p: float) -> None:
    check_dropout(way, case(mask="causal"), p)


@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_dropout_of_one_drops_everything(way: str) -> None:
    assert not replace(case(), dropout=1.0).context(way).any()


@pytest.mark.parametrize("way", PRODUCT_WAYS)
def test_gradients_are_right_under_dropout(way: str) -> None:
    """The same seed drops the same weights, so that differences can be taken."""
    given = replace(case(mask="causal", sizes=SIZES._replace(batch=1, heads=1, query_dim=3, key_dim=3)), dropout=0.4)

    def run(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(10)
        return replace(given, query=query, key=key, value=value).context(way)

    leaves = [tensor.requires_grad_() for tensor in (given.query, given.key, given.value)]
    assert torch.autograd.gradcheck(run, leaves, atol=1e-6)


# Half precision


def naive(low: Case) -> torch.Tensor:
    """Compute in the precision of the case as one would write it down, nothing widened."""
    call = low.call()
    scores = call.score.pair(call.query, call.key, call.positions()) * call.scale
    mask = call.dense_mask()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.softmax(scores, dim=-1) @ call.value


def errors(given: Case, low: Case, way: str | None) -> tuple[float, dict[str, float]]:
    """Return how far a way (or the naive computation) is off, forward and gradients."""

    def run(c: Case) -> torch.Tensor:
        return naive(c) if way is None else c.context(way)

    exact, grads = given.context("reference"), gradients(given, lambda c: c.context("reference"))
    found = gradients(low, run)
    return distance(run(low), exact), {name: distance(found[name], grads[name]) for name in grads}


def distance(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return (actual.double() - expected).abs().max().item()


HALVES = [(way, "scaled_dot") for way in PRODUCT_WAYS] + [
    (w, "additive") for w in ("reference", "additive", "streamed")
]


@pytest.mark.parametrize("mask", ["everything", "causal", "padding"])
@pytest.mark.parametrize("width", [59, 111])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("way", "score"), HALVES)
def test_half_precision_is_as_good_as_it_can_be(
    way: str, score: str, dtype: torch.dtype, width: int, mask: str
) -> None:
    sizes = SIZES._replace(queries=31, keys=37, query_dim=width, key_dim=width)
    for seed in range(3):
        low = case(score, mask, sizes=sizes, seed=seed).to(dtype)
        given = low.to(torch.float64)  # the same rounded numbers
        if way not in low.able_ways():
            return
        forward, backward = errors(given, low, way)
        allowed_forward, allowed_backward = errors(given, low, None)
        assert forward <= 2 * allowed_forward + 1e-5
        for name, error in backward.items():
            # what is no tensor of the call is summed block by block in half precision
            looser = 4 if way == "streamed" and name not in ("query", "key", "value") else 1
            assert error <= 3 * looser * allowed_backward[name] + 1e-5, name


@pytest.mark.parametrize("from_scores", [0, 10**9], ids=["by hand", "by autograd"])
@pytest.mark.parametrize("mask", ["everything", "causal", "padding"])
def test_products_of_half_precision_lose_nothing_by_being_cut(
    mask: str, from_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients of keys and values are summed over the blocks in float32."""
    monkeypatch.setattr(products, "BY_HAND_FROM", from_scores)
    monkeypatch.setattr(products, "ROWS", 2)
    monkeypatch.setattr(products, "CACHED", 2 * 37)
    sizes = SIZES._replace(queries=31, keys=37)
    low = case(mask=mask, sizes=sizes).to(torch.bfloat16)
    given = low.to(torch.float64)
    forward, backward = errors(given, low, "products")
    allowed_forward, allowed_backward = errors(given, low, None)
    assert forward <= 2 * allowed_forward
    assert all(error <= 2 * allowed_backward[name] for name, error in backward.items())

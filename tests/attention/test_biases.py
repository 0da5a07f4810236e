import math
from collections.abc import Callable

import pytest
import torch

from regard.attention.attend import attend, attention_weights
from regard.attention.biases import Alibi, Bias, BucketBias, DistanceBuckets, GaussianBias, TensorBias, alibi_slopes
from regard.attention.catalogue import BIASES
from regard.attention.grid import Extent
from regard.attention.patterns import Around
from regard.errors import OptionError, ShapeError
from tests.attention.judge import SIZES, as_a_user, assert_same, case

EXTENT = Extent(batch=2, heads=3, queries=5, keys=7, offset=1, device=torch.device("cpu"))


class Distance(Bias):
    """Minus the distance, the same for every batch entry and head: a bias of rank 2."""

    def adds(self, batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return -(query - key).abs().float()


@pytest.mark.parametrize("name", BIASES)
def test_every_bias_of_the_catalogue_is_dense_as_it_answers(name: str) -> None:
    torch.manual_seed(2)
    bias = BIASES[name].build(SIZES._replace(offset=EXTENT.offset))
    bias.check(EXTENT)
    assert torch.equal(bias.dense(EXTENT).expand(2, 3, 5, 7), bias.adds(*EXTENT.indices()).expand(2, 3, 5, 7))


def test_a_bias_of_positions_alone_is_dense_with_four_axes() -> None:
    assert Distance().dense(EXTENT).shape == (1, 1, 5, 7)
    assert Distance().dense(EXTENT)[0, 0, 0].tolist() == [-1, 0, -1, -2, -3, -4, -5]


def test_a_gaussian_by_hand() -> None:
    bias = GaussianBias(torch.tensor([[[1.0, 2.5]]]), deviation=2.0, first_query=3)
    added = bias.dense(EXTENT._replace(batch=1, heads=1, queries=1, offset=4))
    assert added[0, 0, 0].tolist() == [-(d**2) / 8 for d in (2.5, 1.5, 0.5, 0.5, 1.5, 2.5, 3.5)]


def test_the_paper_multiplies_the_weights_and_so_does_the_log_up_to_their_sum() -> None:
    given = case()
    bias = GaussianBias(torch.tensor([[[0.0, 1.7, 3.0, 5.2, 9.0]]], dtype=torch.float64), deviation=1.5)
    plain = given.weights()
    multiplied = plain * torch.exp(bias.dense(given.call().extent()))
    weights = attention_weights(given.query, given.key, bias=bias)
    assert_same(weights, multiplied / multiplied.sum(dim=-1, keepdim=True))


def test_centers_learn_through_the_bias() -> None:
    centers = torch.tensor([[[0.0, 1.7, 3.0, 5.2, 9.0]]], dtype=torch.float64, requires_grad=True)
    given = case()
    context = attend(given.query, given.key, given.value, bias=GaussianBias(centers, deviation=1.5))
    (gradient,) = torch.autograd.grad(context.square().sum(), centers)
    assert bool((gradient != 0).all())


@pytest.mark.parametrize("name", BIASES)
@pytest.mark.parametrize("joined", [False, True])
def test_keep_chooses_batch_entries(name: str, joined: bool) -> None:
    torch.manual_seed(2)
    bias = BIASES[name].build(SIZES._replace(offset=EXTENT.offset))
    if joined:
        bias = Distance() + bias + TensorBias(torch.randn(1, 3, 5, 7), first_query=1)
    kept = bias.keep(torch.tensor([1, 1, 0]))
    extent = EXTENT._replace(batch=3)
    kept.check(extent)
    expected = bias.dense(EXTENT).expand(2, 3, 5, 7)[[1, 1, 0]]
    assert torch.equal(kept.dense(extent).expand(3, 3, 5, 7), expected)


def check_slopes() -> None:
    """1/2, 1/4, ... 1/256 for eight heads; sixteen begin with 1/sqrt(2) (Press et al. 2022, 3)."""
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    assert alibi_slopes(16)[:2] == [2.0**-0.5, 0.5]
    assert alibi_slopes(1) == [2.0**-8]
    assert alibi_slopes(3) == [2.0**-4, 2.0**-8, 2.0**-2]
    assert alibi_slopes(12) == alibi_slopes(8) + alibi_slopes(16)[:8:2]
    bias = Alibi(3)
    added = bias.dense(EXTENT._replace(batch=1))
    assert added.shape == (1, 3, 5, 7)
    assert added[0, 0, 2].tolist() == [-d / 16 for d in (3, 2, 1, 0, 1, 2, 3)]
    assert added[0, 2, 0].tolist() == [-d / 4 for d in (1, 0, 1, 2, 3, 4, 5)]


def test_alibi_by_hand() -> None:
    check_slopes()


def check_buckets() -> None:
    """The buckets of T5 (Raffel et al. 2020, 2.1): where each begins, and that both directions have their own."""
    both = BucketBias(torch.zeros(32, 3), max_distance=128, bidirectional=True)
    begin = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91, 150]
    expected = [bucket for bucket in range(16) for _ in range(begin[bucket], begin[bucket + 1])]
    assert both.bucket(-torch.arange(150)).tolist() == expected
    assert both.bucket(torch.arange(1, 150)).tolist() == [16 + bucket for bucket in expected[1:]]
    back = BucketBias(torch.zeros(8, 3), max_distance=20, bidirectional=False)
    assert back.bucket(torch.tensor([3, 1, 0, -1, -3, -4, -5, -6, -8, -9, -13, -14, -99])).tolist() == (
        [0, 0, 0, 1, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    )


def test_buckets_by_hand() -> None:
    check_buckets()


def test_evaluated_buckets_are_those_by_position() -> None:
    part = DistanceBuckets(3, num_buckets=8, max_distance=5)
    evaluated = part(5, 7, offset=1)
    evaluated.check(EXTENT)
    assert torch.equal(evaluated.dense(EXTENT), part.bias().dense(EXTENT))
    step = part(1, 7, offset=5)
    assert torch.equal(step.dense(EXTENT._replace(queries=1, offset=5)), evaluated.dense(EXTENT)[:, :, 4:])


def test_buckets_learn() -> None:
    part = DistanceBuckets(3, num_buckets=8, max_distance=5, bidirectional=False)
    part(5, 7).added.sum().backward()
    assert part.weight.grad is not None
    assert part.weight.grad.sum(dim=1).tolist() == [3 * n for n in (25, 4, 3, 2, 1, 0, 0, 0)]


def check_bias_before_softmax() -> None:
    """A bias of log 3 on one of two equal keys makes it weigh three quarters."""
    key = torch.ones(1, 1, 2, 4, dtype=torch.float64)
    weights = attention_weights(key[:, :, :1], key, bias=torch.tensor([[math.log(3), 0.0]], dtype=torch.float64))
    assert_same(weights.flatten(), torch.tensor([0.75, 0.25], dtype=torch.float64))


def test_a_bias_is_added_to_the_scores() -> None:
    check_bias_before_softmax()


def test_biases_add_up() -> None:
    one, other = Distance(), TensorBias(torch.randn(3, 5, 7), first_query=1)
    both = one + other
    both.check(EXTENT)
    torch.testing.assert_close(both.dense(EXTENT), one.dense(EXTENT) + other.dense(EXTENT))
    cells = both.adds(*EXTENT.indices()).expand(2, 3, 5, 7)
    torch.testing.assert_close(cells, both.dense(EXTENT).expand(2, 3, 5, 7))


def test_a_tensor_bias_speaks_of_the_queries_from_its_first_row_on() -> None:
    added = torch.randn(5, 7)
    later = EXTENT._replace(offset=12, queries=3)
    assert torch.equal(TensorBias(added, first_query=10).dense(later)[0, 0], added[2:5])


@pytest.mark.parametrize("name", BIASES)
def test_a_block_of_keys_is_cut_from_the_whole(name: str) -> None:
    torch.manual_seed(2)
    bias = BIASES[name].build(SIZES._replace(offset=EXTENT.offset))
    block = EXTENT._replace(first_key=3, keys=2)
    assert torch.equal(bias.dense(block).expand(2, 3, 5, 2), bias.dense(EXTENT).expand(2, 3, 5, 7)[..., 3:5])
    assert torch.equal(bias.dense(block).expand(2, 3, 5, 2), bias.adds(*block.indices()).expand(2, 3, 5, 2))


def test_a_block_of_keys_wants_a_tensor_with_columns_up_to_its_end() -> None:
    bias = TensorBias(torch.ones(5, 7), first_query=1)
    bias.check(EXTENT._replace(first_key=3, keys=4))
    with pytest.raises(ShapeError, match=r"bias has shape \[1, 1, 5, 7\] .* needs \[2, 3, 5, 10\]"):
        bias.check(EXTENT._replace(first_key=3))


def test_a_bias_of_another_precision_is_cast() -> None:
    given = case().to(torch.bfloat16)
    context = attend(given.query, given.key, given.value, bias=torch.zeros(5, 7, dtype=torch.float64))
    assert context.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TensorBias(torch.ones(5, 7, dtype=torch.bool)), ["floating-point", "torch.bool", "TensorMask"]),
        (lambda: TensorBias(torch.ones(5, 7, dtype=torch.long)), ["torch.int64"]),
        (lambda: TensorBias(torch.ones(7)), ["[batch, heads, queries, keys]", "[7]"]),
        (lambda: TensorBias(torch.ones(1, 2, 3, 5, 7)), ["[1, 2, 3, 5, 7]"]),
        (
            lambda: TensorBias(torch.ones(5, 11), first_query=1).check(EXTENT),
            ["bias has shape [1, 1, 5, 11]", "[2, 3, 5, 7]", "position 1"],
        ),
        (lambda: TensorBias(torch.ones(5, 7)).check(EXTENT), ["bias", "position 0", "position 1", "first_query"]),
        (lambda: TensorBias(torch.ones(4, 5, 7), first_query=1).check(EXTENT), ["[1, 4, 5, 7]"]),
        (lambda: (Distance() + TensorBias(torch.ones(3, 3, 5, 7), first_query=1)).check(EXTENT), ["[3, 3, 5, 7]"]),
        (lambda: GaussianBias(torch.zeros(2, 3, 5), 2.0).check(EXTENT), ["centers", "[2, 3, 5]", "position 1"]),
        (lambda: TensorBias(torch.ones(5, 7, device="meta"), first_query=1).check(EXTENT), ["bias is on meta", "cpu"]),
        (lambda: GaussianBias(torch.zeros(5), 2.0), ["centers must have the axes [batch, heads, queries]", "[5]"]),
        (lambda: Around(torch.zeros(3, 5), 2), ["centers must have the axes [batch, heads, queries]", "[3, 5]"]),
        (lambda: Alibi(5).check(EXTENT), ["slopes for 5 heads", "the call has 3", "Alibi(3)"]),
        (lambda: DistanceBuckets(5).bias().check(EXTENT), ["numbers for 5 heads", "the call has 3"]),
        (lambda: DistanceBuckets(3).to("meta").bias().check(EXTENT), ["buckets is on meta", "query on cpu"]),
    ],
)
def test_a_bias_that_does_not_fit_says_so(make: Callable[[], object], words: list[str]) -> None:
    with as_a_user(), pytest.raises(ShapeError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_biases_add_to_biases_alone() -> None:
    with as_a_user(), pytest.raises(TypeError):
        Distance() + 1.0  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GaussianBias(torch.zeros(2, 3, 5), 0.0), "deviation of a Gaussian bias must be above 0; it is 0.0"),
        (
            lambda: attend(*[torch.zeros(2, 3, 5, 7)] * 3, bias=DistanceBuckets(3)),  # type: ignore[arg-type]
            r"Evaluate it once a forward: buckets\(queries, keys\)",
        ),
        (lambda: Alibi(0), "num_heads must be 1 or more; it is 0"),
        (lambda: DistanceBuckets(3, num_buckets=2), "num_buckets must be 4 or more and even, .* it is 2"),
        (lambda: DistanceBuckets(3, num_buckets=7), "num_buckets must be 4 or more and even, .* it is 7"),
        (lambda: DistanceBuckets(3, num_buckets=1, bidirectional=False), "num_buckets must be 2 or more; it is 1"),
        (lambda: DistanceBuckets(3, max_distance=8), "max_distance must be more than 8, .* it is 8"),
        (lambda: DistanceBuckets(3, max_distance=16, bidirectional=False), "max_distance must be more than 16"),
    ],
)
def test_a_bias_that_cannot_be_made_says_why(make: Callable[[], object], words: str) -> None:
    with as_a_user(), pytest.raises(OptionError, match=words):
        make()

import math
from collections.abc import Callable

import pytest
import torch

from regard.attention.attend import attend, attention_weights
from regard.attention.biases import Bias, GaussianBias, TensorBias
from regard.attention.catalogue import BIASES
from regard.attention.grid import Extent
from regard.errors import ShapeError
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

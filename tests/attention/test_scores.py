import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from regard.attention.attend import Attention, attend, attention_weights
from regard.attention.catalogue import SCORES
from regard.attention.scores import Additive, Cosine, Dot, General, Location, Positions, Relative, ScaledDot, Score
from regard.errors import InputError, OptionError, ShapeError
from tests.attention.judge import SIZES, as_a_user, assert_same, case


def paired(score: Score, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Score one query with one key."""
    prepared = score.prepare_query(query[None, None, None]), score.prepare_key(key[None, None, None])
    return score.pair(*prepared, Positions(torch.tensor([0]), torch.tensor([0])))[0, 0, 0, 0]


def test_scores_by_hand() -> None:
    query, key = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0])
    assert paired(Dot(), query, key) == 1
    assert ScaledDot().scale(2) == pytest.approx(1 / math.sqrt(2))
    general = General(2, 2)
    nn.init.eye_(general.weight.weight)
    general.weight.weight.data[0, 1] = 5.0  # k_0 q_1
    assert paired(general, query, key) == 1 + 5 * 3 * 2
    additive = Additive(2, 2, 1)
    for linear, number in ((additive.query, 0.5), (additive.key, 0.25), (additive.vector, 2.0)):
        nn.init.constant_(linear.weight, number)
    torch.testing.assert_close(paired(additive, query, key), torch.tensor(2 * math.tanh(0.5 * 3 + 0.25 * 2)))
    location = Location(2, 3)
    nn.init.constant_(location.weight.weight, 1.5)
    assert paired(location, query, key) == 4.5


def check_cosine() -> None:
    """The cosine of (1, 2) and (3, -1) is 1 / sqrt(5 * 10), whatever the lengths."""
    for factor in (1e-3, 1.0, 1e3):
        query, key = torch.tensor([1.0, 2.0]), factor * torch.tensor([3.0, -1.0])
        torch.testing.assert_close(paired(Cosine(), query, key), torch.tensor(1 / math.sqrt(50)))
    assert Cosine(strength=7.0).scale(11) == 7


def test_the_cosine_does_not_see_lengths() -> None:
    check_cosine()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_a_vector_of_length_zero_has_the_cosine_zero_and_a_finite_gradient(dtype: torch.dtype) -> None:
    query, key, value = torch.randn(1, 1, 5, 11).to(dtype), torch.randn(1, 1, 7, 11).to(dtype), torch.eye(7)[None, None]
    query[0, 0, 2], key[0, 0, 3] = 0, 0
    query.requires_grad_()
    key.requires_grad_()
    context = attend(query, key, value.to(dtype), score=Cosine(5.0))
    torch.testing.assert_close(context[0, 0, 2].float(), torch.full((7,), 1 / 7), rtol=0, atol=2e-3)
    for gradient in torch.autograd.grad(context.square().sum(), (query, key)):
        assert bool(gradient.isfinite().all())
        assert gradient.abs().max() < 1e3


def check_variance() -> None:
    """The product of independent components of variance 1 has the variance D, and scaled 1."""
    torch.manual_seed(1)
    query, key = torch.randn(1, 1, 1009, 211, dtype=torch.float64), torch.randn(1, 1, 1013, 211, dtype=torch.float64)
    call = Attention(ScaledDot())
    products = call.score.pair(query, key, Positions(torch.arange(1009), torch.arange(1013)))
    assert products.var().item() == pytest.approx(211, rel=0.02)
    assert (products * call.score.scale(211)).var().item() == pytest.approx(1, rel=0.02)


def test_the_scale_keeps_the_variance_one() -> None:
    check_variance()


def test_concat_is_additive() -> None:
    score = Additive(11, 13, 17).double()
    query, key = torch.randn(1, 1, 5, 11, dtype=torch.float64), torch.randn(1, 1, 7, 13, dtype=torch.float64)
    both = torch.cat((query[0, 0, :, None].expand(-1, 7, -1), key[0, 0, None].expand(5, -1, -1)), dim=-1)
    weight = torch.cat((score.query.weight, score.key.weight), dim=1)  # W of Luong's v . tanh(W [q; k])
    expected = torch.softmax(torch.tanh(both @ weight.T) @ score.vector.weight[0], dim=-1)
    assert_same(attention_weights(query, key, score=score)[0, 0], expected)
    assert SCORES["concat"] is SCORES["additive"]


def test_the_location_score_does_not_see_the_keys() -> None:
    given = case("location")
    weights = given.weights()
    assert_same(attention_weights(given.query, torch.zeros_like(given.key), score=given.score), weights)
    fewer = attention_weights(given.query, given.key[:, :, :4], score=given.score)
    assert_same(fewer, weights[..., :4] / weights[..., :4].sum(dim=-1, keepdim=True))


def check_relative() -> None:
    """Vectors that hold the distance they stand for, from 2 back to 2 ahead: the score is q . k and the distance."""
    score = Relative(2, reach=2)
    with torch.no_grad():
        score.vectors.weight.copy_(torch.tensor([[-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]))
    query, key = (
        torch.tensor([[1.0, 5.0]]).expand(3, -1)[None, None],
        torch.tensor([[3.0, 1.0]]).expand(6, -1)[None, None],
    )
    found = score.pair(score.prepare_query(query), key, Positions(torch.arange(1, 4), torch.arange(6)))[0, 0]
    expected = 8 + torch.tensor([[-1.0, 0, 1, 2, 2, 2], [-2, -1, 0, 1, 2, 2], [-2, -2, -1, 0, 1, 2]])
    assert torch.equal(found, expected)
    assert score.scale(2) == pytest.approx(1 / math.sqrt(2))


def test_relative_positions_by_hand() -> None:
    check_relative()


def test_without_vectors_relative_is_scaled_dot() -> None:
    given, plain = case("relative", "causal"), case("scaled_dot", "causal")
    nn.init.zeros_(given.score.get_submodule("vectors").weight)  # type: ignore[arg-type]
    assert_same(given.context(), plain.context())


def test_a_step_has_the_relative_positions_of_the_whole() -> None:
    given = case("relative", "causal", sizes=SIZES._replace(queries=7))
    for step in range(7):
        query = given.query[:, :, step : step + 1]
        context = attend(query, given.key, given.value, score=given.score, mask=given.mask, offset=step)
        assert_same(context, given.context()[:, :, step : step + 1])


@pytest.mark.parametrize("score", SCORES)
def test_every_score_of_the_catalogue_has_the_shapes_and_learns(score: str) -> None:
    given = case(score)
    assert given.context().shape == (2, 3, 5, 17)
    parameters = list(given.score.parameters())
    if parameters:
        gradients = torch.autograd.grad(given.context().square().sum(), parameters)
        assert all(bool(gradient.any()) for gradient in gradients)


@pytest.mark.parametrize("make", [lambda: General(11, 13), lambda: Additive(11, 13, 17), lambda: Location(11, 7)])
def test_query_and_key_may_differ_in_width(make: Callable[[], Score]) -> None:
    context = attend(torch.randn(2, 3, 5, 11), torch.randn(2, 3, 7, 13), torch.randn(2, 3, 7, 19), score=make())
    assert context.shape == (2, 3, 5, 19)


class Counting(Additive):
    """Counts how often it prepares."""

    queries = keys = 0

    def prepare_query(self, query: torch.Tensor) -> torch.Tensor:
        self.queries += 1
        return super().prepare_query(query)

    def prepare_key(self, key: torch.Tensor) -> torch.Tensor:
        self.keys += 1
        return super().prepare_key(key)


def test_keys_are_prepared_once_for_many_steps() -> None:
    score = Counting(11, 11, 13)
    attention = Attention(score)
    memory = attention.remember(torch.randn(2, 1, 7, 11), torch.randn(2, 1, 7, 11))
    for _ in range(5):
        attention(torch.randn(2, 1, 1, 11), memory)
    assert (score.queries, score.keys) == (5, 1)


# Refusals


def four(batch: int, heads: int, length: int, width: int) -> torch.Tensor:
    return torch.randn(batch, heads, length, width)


@pytest.mark.parametrize(
    ("score", "query", "key", "words"),
    [
        (General(13, 11), four(2, 3, 5, 11), four(2, 3, 7, 11), ["query has width 11", "built for width 13"]),
        (General(11, 13), four(2, 3, 5, 11), four(2, 3, 7, 11), ["key has width 11", "built for width 13"]),
        (Additive(13, 11, 17), four(2, 3, 5, 11), four(2, 3, 7, 11), ["query has width 11", "built for width 13"]),
        (Additive(11, 13, 17), four(2, 3, 5, 11), four(2, 3, 7, 11), ["key has width 11", "built for width 13"]),
        (Location(13, 7), four(2, 3, 5, 11), four(2, 3, 7, 11), ["query has width 11", "built for width 13"]),
        (Location(11, 5), four(2, 3, 5, 11), four(2, 3, 7, 11), ["at most 5 keys", "given 7", "max_length"]),
        (ScaledDot(), four(2, 3, 5, 11), four(2, 3, 7, 13), ["query has width 11", "key 13", "General"]),
        (Cosine(), four(2, 3, 5, 11), four(2, 3, 7, 13), ["query has width 11", "key 13"]),
        (Relative(13, 2), four(2, 3, 5, 11), four(2, 3, 7, 11), ["query has width 11", "built for width 13"]),
        (Relative(11, 2), four(2, 3, 5, 11), four(2, 3, 7, 13), ["query has width 11", "key 13", "Additive"]),
        (
            General(11, 11),
            four(2, 3, 5, 11).double(),
            four(2, 3, 7, 11).double(),
            ["query is torch.float64", "float32"],
        ),
        (Additive(11, 11, 13), four(2, 3, 5, 11), four(2, 3, 7, 11).double(), ["key is torch.float64", "float32"]),
        (General(11, 11).to("meta"), four(2, 3, 5, 11), four(2, 3, 7, 11), ["query", "on cpu", "on meta"]),
    ],
)
def test_a_score_refuses_what_it_was_not_built_for(
    score: Score, query: torch.Tensor, key: torch.Tensor, words: list[str]
) -> None:
    with as_a_user(), pytest.raises(ShapeError) as caught:
        attend(query, key, torch.zeros_like(key), score=score)
    for word in words:
        assert word in str(caught.value)


def test_the_location_score_refuses_keys_that_a_cache_brought() -> None:
    attention = Attention(Location(11, 5))
    memory = attention.remember(four(1, 1, 5, 11), four(1, 1, 5, 11))
    grown = memory._replace(key=four(1, 1, 6, 11), value=four(1, 1, 6, 11))
    with pytest.raises(ShapeError, match="at most 5 keys and was given 6"):
        attention(four(1, 1, 1, 11), grown)


@pytest.mark.parametrize("strength", [0.0, -2.5, math.nan])
def test_a_cosine_needs_a_strength_above_zero(strength: float) -> None:
    with pytest.raises(OptionError, match=f"above 0; it is {strength}"):
        Cosine(strength)


def test_relative_positions_reach_no_less_than_nowhere() -> None:
    with pytest.raises(OptionError, match="0 or more; it is -1"):
        Relative(11, -1)
    assert Relative(11, 0).vectors.out_features == 1


@pytest.mark.parametrize("score", SCORES)
def test_every_score_works_under_autocast(score: str) -> None:
    given = case(score, "causal").to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        context = given.context()
        weights = given.weights()
    assert context.dtype == weights.dtype == torch.bfloat16
    torch.testing.assert_close(context.float(), given.context(), rtol=0, atol=0.08)
    torch.testing.assert_close(weights.float(), given.weights(), rtol=0, atol=0.04)


def test_a_score_that_is_not_written_says_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Score().pair(four(1, 1, 1, 2), four(1, 1, 1, 2), Positions(torch.tensor([0]), torch.tensor([0])))
    assert Score().scale(SIZES.query_dim) == 1
    assert issubclass(ShapeError, InputError)

from dataclasses import replace

import pytest
import torch

from regard.attention.attend import attend, attention_weights, mix
from regard.attention.catalogue import BIASES, MASKS, NORMALIZERS, SCORES
from regard.attention.lengths import Padding
from regard.attention.patterns import Causal, Window
from regard.attention.scores import Dot
from regard.attention.ways import reference
from regard.errors import ShapeError
from tests.attention.judge import (
    GROUPED,
    SIZES,
    Case,
    as_a_user,
    assert_same,
    assert_same_gradients,
    by_the_equation,
    case,
    gradients,
)


def check_equation(score: str, given: Case) -> None:
    """Compare weights, context and gradients with the equation written out entry by entry."""
    weights, context = by_the_equation(score, given)
    assert_same(given.weights(), weights)
    assert_same(given.context("reference"), context)
    assert_same_gradients(
        gradients(given, lambda c: c.context("reference")), gradients(given, lambda c: by_the_equation(score, c)[1])
    )


@pytest.mark.parametrize("score", SCORES)
def test_every_score_gives_the_equation(score: str) -> None:
    check_equation(score, case(score, "padding"))


@pytest.mark.parametrize("mask", MASKS)
def test_every_mask_gives_the_equation(mask: str) -> None:
    check_equation("scaled_dot", case(mask=mask, sizes=SIZES._replace(offset=2)))


@pytest.mark.parametrize("bias", BIASES)
def test_every_bias_gives_the_equation(bias: str) -> None:
    check_equation("additive", case("additive", "causal", bias, sizes=SIZES._replace(offset=1)))


def check_normalizer(normalizer: str) -> None:
    for mask, bias in (("tensor", None), ("causal", "tensor")):
        check_equation("scaled_dot", case(mask=mask, bias=bias, scale=0.9, normalizer=normalizer))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_every_normalizer_gives_the_equation(normalizer: str) -> None:
    check_normalizer(normalizer)


def check_grouped_heads() -> None:
    for groups in (1, 2, 3):
        check_equation("scaled_dot", case(mask="tensor", sizes=GROUPED, groups=groups))


def test_neighboring_heads_share_a_key_head() -> None:
    check_grouped_heads()


def check_order_of_soft_cap() -> None:
    """The cap comes after the scale and before bias and mask; a small cap and a large scale make the order matter."""
    check_equation("scaled_dot", case(mask="causal", bias="tensor", soft_cap=0.7, scale=1.9))


def test_the_cap_comes_after_the_scale_and_before_bias_and_mask() -> None:
    check_order_of_soft_cap()


@pytest.mark.parametrize("scale", [-1.3, 0.0, 0.37])
def test_a_given_scale_replaces_that_of_the_score(scale: float) -> None:
    check_equation("cosine", case("cosine", scale=scale))


def check_offset() -> None:
    for offset in (-3, 0, 1, 6, 20):
        check_equation("scaled_dot", case(mask="causal", sizes=SIZES._replace(offset=offset)))
        check_equation("scaled_dot", case(mask="window", bias="local_p", sizes=SIZES._replace(offset=offset)))


def test_the_offset_moves_the_queries() -> None:
    check_offset()


def test_joined_masks_give_the_equation() -> None:
    padding = Padding(torch.tensor([4, 7]), torch.tensor([1, 0]))
    for mask in (
        Causal() & padding,
        Causal() | padding,
        ~Causal() & Window(3, 3),
        ~(padding | Window(1, 0)) & Causal(),
    ):
        check_equation("dot", case("dot", mask, sizes=SIZES._replace(offset=1)))


# Exact cases of the sources


def check_uniform_weights() -> None:
    """Where all scores are equal, attention is the mean; one key alone is looked up (rows B1 of the sources)."""
    torch.manual_seed(4)
    value = torch.randn(2, 3, 7, 17, dtype=torch.float64)
    key = torch.ones(2, 3, 7, 11, dtype=torch.float64)
    query = torch.randn(2, 3, 5, 11, dtype=torch.float64)
    assert_same(attend(query, key, value), value.mean(dim=2, keepdim=True).expand(-1, -1, 5, -1))
    one = attend(query, key, value, mask=torch.arange(7)[None] == 3)
    assert torch.equal(one, value[:, :, 3:4].expand(-1, -1, 5, -1))


def test_uniform_weights_give_the_mean() -> None:
    check_uniform_weights()


def check_covariance() -> None:
    """With k = v and the score q . k, the derivative of the context by the query is the covariance of the keys."""
    torch.manual_seed(5)
    key = torch.randn(1, 1, 7, 5, dtype=torch.float64)

    def context(query: torch.Tensor) -> torch.Tensor:
        return attend(query[None, None, None], key, key, score=Dot(), way="reference")[0, 0, 0]

    query = torch.randn(5, dtype=torch.float64)
    jacobian = torch.func.jacrev(context)(query)
    weights = attention_weights(query[None, None, None], key, score=Dot())[0, 0, 0]
    mean = weights @ key[0, 0]
    covariance = (key[0, 0] - mean).T @ torch.diag(weights) @ (key[0, 0] - mean)
    assert_same(jacobian, covariance)


def test_the_gradient_is_a_covariance() -> None:
    check_covariance()


POSITIONAL = ("location", "relative")
FLAT = ("location", "boxcar", "constant")
CONTENT = [name for name in SCORES if name not in POSITIONAL]


def check_toy_lengths(score: str) -> None:
    """Equal keys and the values 0 to 39 in rows of four: lengths 2 and 6 give the means of the first 2 and 6 rows."""
    torch.manual_seed(6)
    part = SCORES[score].build(SIZES._replace(keys=10))
    query, key = torch.randn(2, 1, 1, 11), torch.ones(2, 1, 10, 11)
    value = torch.arange(40.0).reshape(1, 1, 10, 4).expand(2, -1, -1, -1)
    context = attend(query, key, value, score=part, mask=Padding(torch.tensor([2, 6])))
    expected = torch.tensor([[2.0, 3, 4, 5], [10.0, 11, 12, 13]])
    assert_same(context[:, 0, 0], expected, 1e-6)


@pytest.mark.parametrize("score", CONTENT)
def test_equal_keys_give_the_mean_of_what_may_be_seen(score: str) -> None:
    check_toy_lengths(score)


# Laws


def check_hidden_keys_get_no_gradient(score: str) -> None:
    mask = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(7)) < 0.6
    mask[0, :, :, 2] = False
    given = case(score)
    found = gradients(given, lambda c: attend(c.query, c.key, c.value, score=c.score, mask=mask))
    assert not found["key"][0, :, 2].any()
    assert not found["value"][0, :, 2].any()
    assert score in FLAT or bool(found["key"][1].any())


@pytest.mark.parametrize("score", SCORES)
def test_keys_that_nobody_sees_get_no_gradient(score: str) -> None:
    check_hidden_keys_get_no_gradient(score)


@pytest.mark.parametrize("score", CONTENT)
def test_permuting_the_keys_changes_nothing(score: str) -> None:
    given = case(score)
    order = torch.tensor([4, 0, 6, 2, 1, 5, 3])
    permuted = replace(given, key=given.key[:, :, order], value=given.value[:, :, order])
    assert_same(permuted.context("reference"), given.context("reference"))
    assert_same(permuted.weights(), given.weights()[..., order])


@pytest.mark.parametrize("score", [name for name in SCORES if name != "relative"])
def test_permuting_the_queries_permutes_the_rows(score: str) -> None:
    given = case(score, "padding")
    order = torch.tensor([4, 0, 2, 1, 3])
    permuted = replace(given, query=given.query[:, :, order])
    assert_same(permuted.context("reference"), given.context("reference")[:, :, order])


def check_mix() -> None:
    given = case(mask="tensor", sizes=GROUPED, groups=3)
    assert torch.equal(mix(given.weights(), given.value), given.context("reference"))
    assert_same(given.weights().sum(-1), torch.ones(2, 6, 5, dtype=torch.float64))


def test_attend_is_mix_of_attention_weights() -> None:
    check_mix()


def test_scores_come_before_the_mask() -> None:
    given = case(mask="causal", bias="tensor", sizes=SIZES._replace(offset=2))  # no key is hidden from all queries
    call = given.call()
    everywhere = by_the_equation("scaled_dot", replace(given, mask=~Causal() | Causal()))[0]
    assert_same(torch.softmax(reference.scores(call), dim=-1), everywhere)


def test_reference_runs_anything() -> None:
    for score in SCORES:
        assert reference.why_not(case(score, "tensor", "tensor", soft_cap=1.0).call()) is None


@pytest.mark.parametrize(
    ("value", "words"), [((2, 3, 7, 11), "5 heads and 7 keys and value has 3 and 7"), ((2, 5, 6, 11), "5 and 6")]
)
def test_weights_mix_values_of_as_many_keys_alone(value: tuple[int, ...], words: str) -> None:
    with as_a_user(), pytest.raises(ShapeError, match=words):
        mix(torch.ones(2, 5, 3, 7), torch.ones(value))


def test_weights_and_values_have_four_axes() -> None:
    with (
        as_a_user(),
        pytest.raises(ShapeError, match=r"weights must have .*\[batch, heads, queries, keys\].*\[5, 3, 7\]"),
    ):
        mix(torch.ones(5, 3, 7), torch.ones(2, 5, 7, 11))
    with as_a_user(), pytest.raises(ShapeError, match=r"value must have the axes .* \[5, 7, 11\]"):
        mix(torch.ones(2, 5, 3, 7), torch.ones(5, 7, 11))
    with as_a_user(), pytest.raises(ShapeError, match="weights must be a tensor; it is of type list"):
        mix([[1.0]], torch.ones(2, 5, 7, 11))  # type: ignore[arg-type]

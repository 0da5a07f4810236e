"""Hard attention: what is drawn follows the weights, and its log-probability brings their gradient."""

import pytest
import torch
from torch import Tensor

from regard.attention.attend import attention_weights, mix
from regard.attention.choices import sample
from regard.attention.lengths import Padding
from regard.attention.normalizers import SinkSoftmax, Softmax, Sparsemax
from tests.attention.judge import assert_same, case


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def many(weights: Tensor, times: int = 20011) -> Tensor:
    """Draw many times for one row."""
    return sample(weights.expand(1, 1, times, -1), generator=seeded()).choice[0, 0]


def check_shares() -> None:
    weights = torch.tensor([0.5, 0.05, 0.0, 0.15, 0.3])
    for level in (1.0, 0.01, 7.0):  # in proportion
        shares = many(level * weights).mean(dim=0)
        assert_same(shares, weights, 0.015)
        assert shares[2] == 0


def test_keys_are_drawn_as_often_as_their_weights_say() -> None:
    check_shares()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_one_key_is_chosen_and_its_probability_told(dtype: torch.dtype) -> None:
    weights = case(mask="causal").to(dtype).weights().requires_grad_()
    choice, log_probability = sample(weights, generator=seeded())
    assert choice.dtype == log_probability.dtype == dtype
    assert choice.shape == weights.shape
    assert not choice.requires_grad
    assert bool((choice.sum(dim=-1) == 1).all())
    assert bool(((choice == 0) | (choice == 1)).all())
    expected = (choice * weights).sum(dim=-1).double().log()
    torch.testing.assert_close(log_probability.double(), expected, rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_a_seed_draws_the_same_again() -> None:
    weights = case().weights()
    first, again, other = (sample(weights, generator=seeded(seed)).choice for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_choice_is_mixed_as_weights_are() -> None:
    given = case("dot", "padding")
    choice, _ = sample(given.weights())
    chosen = choice.argmax(dim=-1, keepdim=True).expand(-1, -1, -1, 17)
    assert torch.equal(mix(choice, given.value), given.value.gather(2, chosen))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_where_nothing_may_be_seen_nothing_is_chosen(dtype: torch.dtype) -> None:
    given = case(mask=Padding(torch.tensor([0, 5]))).to(dtype)
    query, key = given.query.requires_grad_(), given.key.requires_grad_()
    for normalizer in (Softmax(), Sparsemax(), SinkSoftmax(3)):
        choice, log_probability = sample(attention_weights(query, key, mask=given.mask, normalizer=normalizer))
        assert not choice[0].any()
        assert not log_probability[0].any()
        assert bool((choice[1].sum(dim=-1) == 1).all())
        for gradient in torch.autograd.grad(log_probability.sum(), (query, key)):
            assert bool(gradient.isfinite().all())
            assert not gradient[0].any()


def check_score_function() -> None:
    """The mean of reward * gradient of the log-probability is the gradient of the mean reward."""
    scores = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    reward = torch.tensor([1.0, 3.0, -2.0, 0.5], dtype=torch.float64)
    weights = torch.softmax(scores, dim=-1)
    (exact,) = torch.autograd.grad(weights @ reward, scores, retain_graph=True)
    choice, log_probability = sample(weights.expand(1, 1, 40009, -1), generator=seeded())
    (found,) = torch.autograd.grad((log_probability * (choice @ reward)).mean(), scores)
    assert_same(found, exact, 0.02)


def test_its_gradient_is_that_of_the_mean_reward() -> None:
    check_score_function()

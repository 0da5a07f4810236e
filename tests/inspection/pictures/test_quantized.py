import numpy as np
import pytest
import torch

from regard.attention.biases import Alibi, TensorBias
from regard.attention.call import AttentionCall
from regard.attention.normalizers import Sparsemax
from regard.attention.patterns import Causal, Window
from regard.attention.scores import Additive
from regard.attention.ways import reference
from regard.inspection.pictures.hidden import bias_and_hidden, own_head
from regard.inspection.pictures.quantized import Exact, quantized
from tests.inspection.atlases import a_call


def weights_of(exact: Exact, call: AttentionCall, head: int) -> np.ndarray:
    """What the page computes where nothing is hidden, said once more in numpy."""
    scores = exact.query.astype(float) @ exact.key.astype(float).T
    scores *= exact.query_scale[:, None] * exact.key_scale
    if exact.soft_cap is not None:
        scores = exact.soft_cap * np.tanh(scores / exact.soft_cap)
    queries, keys = scores.shape
    if exact.distances is not None:
        scores += exact.distances[np.arange(keys) - np.arange(queries)[:, None] + queries - 1]
    weights = np.exp(scores - exact.log_sums[:, None].astype(float))
    weights[own_head(bias_and_hidden(call)[1], head).numpy()] = 0
    return np.asarray(weights)


CALLS = {
    "plain": a_call(),
    "causal": a_call(13, 13, mask=Causal()),
    "window and grouped heads": a_call(13, 13, heads=4, groups=2, mask=Causal() & Window(3, 0)),
    "alibi": a_call(13, 13, heads=4, bias=Alibi(4)),
    "soft cap": a_call(soft_cap=5.0),
    "padding as a float mask": a_call(
        bias=TensorBias(torch.tensor([0.0] * 11 + [torch.finfo(torch.float32).min] * 6)[None, None, None])
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_weights_from_8_bits_are_near_the_models_and_rows_sum_to_one(name: str) -> None:
    call = CALLS[name]
    one = call._replace(query=call.query[:1], key=call.key[:1], value=call.value[:1])
    head = call.query.shape[1] - 1
    exact = quantized([one], head)
    assert isinstance(exact, Exact)
    ours = weights_of(exact, one, head)
    model = reference.weights(one)[0, head].numpy()
    assert np.abs(ours - model).max() == pytest.approx(exact.error, abs=1e-5)
    assert exact.error < 0.03
    assert ours.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_mean_that_all_keys_share_costs_no_precision() -> None:
    call = a_call()
    one = call._replace(query=call.query[:1], key=call.key[:1])
    far = one._replace(key=one.key + 100 * torch.randn(11, generator=torch.Generator().manual_seed(5)))
    near, shifted = quantized([one], 0), quantized([far], 0)
    assert isinstance(near, Exact)
    assert isinstance(shifted, Exact)
    assert shifted.error < 2 * near.error + 1e-3


def test_a_row_that_may_see_nothing_gets_zeros() -> None:
    from regard.attention.patterns import TensorMask

    allowed = torch.ones(13, 17, dtype=torch.bool)
    allowed[4] = False
    call = a_call(mask=TensorMask(allowed))._replace(query=a_call().query)
    exact = quantized([call], 0)
    assert isinstance(exact, Exact)
    assert (weights_of(exact, call, 0)[4] == 0).all()
    assert np.isposinf(exact.log_sums[4])


def additive() -> AttentionCall:
    return a_call(score=Additive(11, 11, 7))


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ([a_call(), a_call()], "its queries came in 2 calls"),
        ([additive()], "its score is no dot product"),
        ([a_call(normalizer=Sparsemax())], "its weights are not made by a plain softmax"),
        ([a_call(bias=TensorBias(torch.randn(1, 1, 13, 17)))], "its bias is not one of distances alone"),
    ],
)
def test_what_a_page_cannot_compute_is_said_in_words(calls: list[AttentionCall], told: str) -> None:
    found = quantized(calls, 0)
    assert isinstance(found, str)
    assert told in found

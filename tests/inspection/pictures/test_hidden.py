import numpy as np
import pytest
import torch

from regard.attention.biases import Alibi, TensorBias
from regard.attention.call import AttentionCall
from regard.attention.patterns import Causal, TensorMask, Window
from regard.inspection.pictures.hidden import HiddenPairs, HiddenRows, bias_and_hidden
from tests.inspection.atlases import a_call

KEYS = 17


def dense(hidden: HiddenPairs | None, queries: int, keys: int) -> np.ndarray:
    """What the page takes for hidden, said once more in numpy."""
    if hidden is None:
        return np.zeros((queries, keys), bool)
    if hidden.stretches is not None:
        first, last = hidden.stretches[..., None]
        return np.asarray((np.arange(keys) < first) | (np.arange(keys) >= last))
    assert hidden.bits is not None
    return np.unpackbits(hidden.bits, axis=1, count=keys, bitorder="little").astype(bool)


def random_mask(heads: int) -> TensorMask:
    return TensorMask(torch.rand(1, heads, 13, KEYS, generator=torch.Generator().manual_seed(3)) < 0.5)


CALLS = {
    "everything": (a_call(), "nothing"),
    "causal": (a_call(mask=Causal()), "stretches"),
    "a window": (a_call(mask=Causal() & Window(3, 0)), "stretches"),
    "a float mask": (
        a_call(bias=TensorBias(torch.tensor([0.0] * 11 + [torch.finfo(torch.float32).min] * 6)[None, None, None])),
        "stretches",
    ),
    "numbers that hide nothing": (a_call(13, 17, heads=4, bias=Alibi(4)), "nothing"),
    "an irregular mask": (a_call(mask=random_mask(1)), "bits"),
    "a mask a head": (a_call(mask=random_mask(3)), "bits"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_hidden_is_kept_as_shortly_as_it_can_be(name: str) -> None:
    call, kind = CALLS[name]
    one = call._replace(query=call.query[:1], key=call.key[:1], value=call.value[:1])
    rows = HiddenRows(KEYS)
    for start, stop in ((0, 5), (5, 13)):  # block by block
        rows.add(bias_and_hidden(one)[1][:, start:stop])
    for head in range(call.query.shape[1]):
        wanted = bias_and_hidden(one)[1].expand(call.query.shape[1], -1, -1)[head]
        found = rows.of(head)
        assert (dense(found, 13, KEYS) == wanted.numpy()).all()
        assert kind == ("nothing" if found is None else "bits" if found.stretches is None else "stretches")


def test_keys_that_a_cache_did_not_hold_yet_are_hidden() -> None:
    rows = HiddenRows(7)
    for length in range(3, 8):
        rows.add(torch.zeros(1, 1, length, dtype=torch.bool))
    assert (dense(rows.of(0), 5, 7) == np.triu(np.ones((5, 7), bool), 3)).all()


def test_blocks_of_stretches_and_of_bits_are_one_head() -> None:
    mask = torch.zeros(2, 5, 7, dtype=torch.bool)
    mask[1, 4, 2:4] = True
    mask[:, 1] = True
    rows = HiddenRows(7)
    rows.add(mask[:, :3])
    rows.add(mask[:, 3:])
    assert (dense(rows.of(0), 5, 7) == mask[0].numpy()).all()
    assert (dense(rows.of(1), 5, 7) == mask[1].numpy()).all()


def test_a_mask_costs_two_numbers_a_query_whatever_the_length() -> None:
    call: AttentionCall = a_call(1, 8191, mask=Window(500, 500))
    rows = HiddenRows(8191)
    rows.add(bias_and_hidden(call)[1])
    found = rows.of(0)
    assert found is not None
    assert found.stretches is not None
    assert found.stretches.nbytes == 8

"""Every way is right where the first key does not stand at position 0, as behind a cache that let go of keys."""

import pytest
import torch

from regard.attention.attend import WAYS
from regard.attention.call import AttentionCall
from regard.attention.catalogue import BIASES, MASKS
from regard.attention.patterns import Causal, TensorMask, Window
from tests.attention.judge import SIZES, assert_same, case

LATER = TensorMask((torch.arange(7) >= 3)[None])


def behind(call: AttentionCall) -> AttentionCall:
    """Let go of three keys."""
    return call._replace(key=call.key[:, :, 3:], value=call.value[:, :, 3:], first_key=3)


def check_way(way: str, call: AttentionCall) -> None:
    """A call without its first keys is one whose mask hides them."""
    if WAYS[way].why_not(behind(call)) is None:
        expected = WAYS["reference"].run(call._replace(mask=call.mask & LATER))
        assert_same(WAYS[way].run(behind(call)), expected)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("way", WAYS)
def test_masks_and_biases_count_from_the_start_of_the_text(way: str, mask: str) -> None:
    for bias in (None, *BIASES):
        check_way(way, case(mask=mask, bias=bias, sizes=SIZES._replace(offset=3)).call())


@pytest.mark.parametrize("way", WAYS)
def test_scores_and_joins_count_from_the_start_of_the_text(way: str) -> None:
    for score in ("location", "relative", "additive", "gaussian"):
        for joined in (Causal(), Causal() & Window(2, 0), ~Causal() | Window(1, 0)):
            check_way(way, case(score, joined, sizes=SIZES._replace(offset=4)).call())

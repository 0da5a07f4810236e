"""T5's buckets and ALiBi's slopes beside those of the package transformers."""

import pytest
import torch

from regard.attention.biases import Alibi, DistanceBuckets
from regard.attention.grid import Extent

pytest.importorskip("transformers", reason="these need the package transformers (extra 'conformance')")


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets_are_those_of_t5(bidirectional: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    ours = DistanceBuckets(3, num_buckets=20, max_distance=70, bidirectional=bidirectional).bias()
    distance = torch.arange(-300, 300)
    expected = T5Attention._relative_position_bucket(distance, bidirectional, 20, 70)
    assert torch.equal(ours.bucket(distance), expected)


@pytest.mark.parametrize("num_heads", [1, 2, 8, 12, 20])
def test_slopes_are_those_of_bloom(num_heads: int) -> None:
    """Bloom adds slope times position; within a row this differs from minus slope times distance by one number."""
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    theirs = build_alibi_tensor(torch.ones(1, 7), num_heads, torch.float32).view(num_heads, 7)
    ours = Alibi(num_heads).dense(Extent(1, num_heads, 1, 7, 6, torch.device("cpu")))[0, :, 0]
    torch.testing.assert_close(ours - ours[:, :1], theirs)

"""Scalings of rotary positions, T5's buckets and ALiBi's slopes beside those of the package transformers."""

from typing import Any

import pytest
import torch

from regard.attention.biases import Alibi, DistanceBuckets
from regard.attention.grid import Extent
from regard.attention.scalings import UNSCALED, DynamicNtk, LinearScaling, Llama3, LongRope, Scaling, Yarn

transformers = pytest.importorskip("transformers", reason="these need the package transformers (extra 'conformance')")

SHORT, LONG = [1 + j / 8 for j in range(64)], [2 + j / 4 for j in range(64)]
ORIGINAL = {"original_max_position_embeddings": 2048}

SCALINGS: dict[str, tuple[Scaling, dict[str, Any]]] = {
    "linear": (LinearScaling(3.0), {"factor": 3.0}),
    "dynamic": (DynamicNtk(3.0, 8192), {"factor": 3.0}),
    "yarn": (Yarn(4.0, 2048), {"factor": 4.0} | ORIGINAL),
    "llama3": (
        Llama3(4.0, 2048),
        {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0} | ORIGINAL,
    ),
    "longrope": (
        LongRope(SHORT, LONG, 4.0, 2048),
        {"factor": 4.0, "short_factor": SHORT, "long_factor": LONG} | ORIGINAL,
    ),
}


@pytest.mark.parametrize("length", [100, 8192, 20_011])
@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_is_that_of_transformers(name: str, length: int) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    ours, parameters = SCALINGS[name]
    config = transformers.LlamaConfig(
        hidden_size=256,
        num_attention_heads=2,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": name, "rope_theta": 500_000.0} | parameters,
    )
    frequencies, amplitude = ROPE_INIT_FUNCTIONS[name](config, "cpu", seq_len=length)
    found = ours.frequencies(500_000.0, 128, length)
    torch.testing.assert_close(found.float(), frequencies, rtol=1e-6, atol=0)
    assert ours.amplitude == pytest.approx(amplitude, rel=1e-12)
    assert UNSCALED.amplitude == 1.0


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

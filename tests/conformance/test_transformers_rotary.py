"""Rotary positions beside those of the library transformers: every scaling that its models name, and both pairings."""

import random
from typing import Any

import pytest
import torch

from regard.attention.rotary import Rotary, halves, neighbors
from regard.attention.scalings import UNSCALED, DynamicNtk, LinearScaling, Llama3, LongRope, Proportional, Scaling, Yarn
from tests.attention.judge import assert_same

transformers = pytest.importorskip("transformers", reason="its positions need the package transformers ('conformance')")

ORIGINAL, EXTENDED = 64, 512


def drawn(kind: str, seed: int) -> tuple[Scaling, dict[str, Any], int]:
    """Draw a scaling, in our words and in those of transformers, and how many dimensions turn."""
    draw = random.Random(seed)
    pairs = draw.choice([2, 4, 8, 13, 32])
    factor = draw.choice([1.0, 2.0, 7.5, 32.0])
    named: dict[str, Any] = {"rope_type": kind, "factor": factor}
    if kind == "linear":
        return LinearScaling(factor), named, 2 * pairs
    if kind == "proportional":
        share = draw.choice([0.0, 0.25, 0.6, 1.0])
        return Proportional(share, factor), named | {"partial_rotary_factor": share}, 2 * pairs
    if kind == "dynamic":
        return DynamicNtk(factor, EXTENDED), named, 2 * pairs  # it begins where max_position_embeddings ends
    named["original_max_position_embeddings"] = ORIGINAL
    if kind == "llama3":
        low, high = draw.choice([(1.0, 4.0), (0.5, 2.0)])
        return (
            Llama3(factor, ORIGINAL, low, high),
            named | {"low_freq_factor": low, "high_freq_factor": high},
            2 * pairs,
        )
    if kind == "longrope":
        short, long = ([draw.uniform(1, 9) for _ in range(pairs)] for _ in range(2))
        attention = draw.choice([None, 1.3])
        named |= {"short_factor": short, "long_factor": long, "attention_factor": attention}
        return LongRope(short, long, factor, ORIGINAL, attention), named, 2 * pairs
    fast, slow, attention = draw.choice([32.0, 8.0]), draw.choice([1.0, 2.0]), draw.choice([None, 0.7])
    rounded = draw.choice([True, False])
    scaling = Yarn(factor, ORIGINAL, fast, slow, attention, rounded)
    named |= {"beta_fast": fast, "beta_slow": slow, "attention_factor": attention, "truncate": rounded}
    return scaling, named, 2 * pairs


def config(named: dict[str, Any], rotary_dim: int, base: float) -> Any:
    return transformers.LlamaConfig(
        hidden_size=3 * rotary_dim,
        num_attention_heads=3,
        head_dim=rotary_dim,
        max_position_embeddings=EXTENDED,
        rope_parameters={name: value for name, value in named.items() if value is not None} | {"rope_theta": base},
    )


KINDS = ["linear", "dynamic", "yarn", "longrope", "llama3", "proportional"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaling_gives_the_frequencies_of_transformers(kind: str) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    for seed in range(20):
        scaling, named, rotary_dim = drawn(kind, seed)
        base = random.Random(seed).choice([10_000.0, 500_000.0, 50.0])
        theirs = config(named, rotary_dim, base)
        for length in (1, ORIGINAL, ORIGINAL + 1, EXTENDED, 2 * EXTENDED):
            expected, amplitude = ROPE_INIT_FUNCTIONS[kind](theirs, "cpu", seq_len=length)
            actual = scaling.frequencies(base, rotary_dim, length)
            torch.testing.assert_close(actual.float(), expected, msg=lambda text: f"seed {seed}: {text}")  # noqa: B023
            assert scaling.amplitude == pytest.approx(amplitude)


def test_a_scaling_is_here_for_each_that_transformers_knows() -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert set(ROPE_INIT_FUNCTIONS) - {"default"} == set(KINDS)


@pytest.mark.parametrize("kind", ["default", "yarn", "llama3"])
def test_halves_turn_as_in_llama(kind: str) -> None:
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    scaling, named, rotary_dim = drawn(kind, 3) if kind != "default" else (UNSCALED, {"rope_type": kind}, 12)
    torch.manual_seed(1)
    query, key = torch.randn(2, 6, 7, rotary_dim), torch.randn(2, 2, 7, rotary_dim)
    positions = torch.randint(0, 90, (2, 7))
    cosine, sine = LlamaRotaryEmbedding(config(named, rotary_dim, 10_000.0))(query, positions)
    expected = apply_rotary_pos_emb(query, key, cosine, sine)
    rotary = Rotary(rotary_dim, scaling=scaling, pairing=halves)
    for vectors, turned in zip((query, key), expected, strict=True):
        assert_same(rotary.at(vectors, positions), turned, 3e-5)  # theirs takes angles in float32


def test_neighbors_turn_as_in_gpt_j() -> None:
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

    torch.manual_seed(2)
    vectors = torch.randn(2, 7, 3, 10)  # its axes are batch, length, heads, width
    sine, cosine = create_sinusoidal_positions(20, 10)[3:10].expand(2, -1, -1).chunk(2, dim=-1)
    expected = apply_rotary_pos_emb(vectors, sine, cosine).transpose(1, 2)
    assert_same(Rotary(10, pairing=neighbors)(vectors.transpose(1, 2), 3), expected, 1e-5)

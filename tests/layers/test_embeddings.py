import math

import pytest
import torch

from regard.attention.positions import LearnedPositions, SinusoidalPositions, sinusoidal
from regard.errors import InputError
from regard.layers.embeddings import Embedding, Output
from tests.attention.judge import as_a_user

TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])


def embedding(positions: torch.nn.Module | None = None, dropout: float = 0.0) -> Embedding:
    torch.manual_seed(1)
    return Embedding(11, 12, positions=positions, dropout=dropout)


def test_an_embedding_is_the_vector_times_the_root_of_the_width_plus_the_position() -> None:
    part = embedding(SinusoidalPositions(12))
    expected = part.weight[TOKENS] * math.sqrt(12) + sinusoidal(torch.arange(5), 12)
    torch.testing.assert_close(part(TOKENS), expected)


def test_vectors_have_the_size_of_positions() -> None:
    """The root of the width undoes the spread of the weights, so that neither drowns the other."""
    torch.manual_seed(2)
    part = Embedding(1009, 64, positions=None, dropout=0.0)
    assert part(torch.arange(1009)[None]).std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("positions", [SinusoidalPositions(12), LearnedPositions(7, 12)])
def test_the_start_moves_the_positions(positions: torch.nn.Module) -> None:
    part = embedding(positions)
    for start in range(5):
        torch.testing.assert_close(part(TOKENS[:, start:], start), part(TOKENS)[:, start:])


def test_beams_side_by_side_stand_at_one_position() -> None:
    part = embedding(SinusoidalPositions(12))
    beams = part.at(TOKENS, 3, 1)
    for beam in range(5):
        torch.testing.assert_close(beams[:, beam : beam + 1], part(TOKENS[:, beam : beam + 1], 3))


def test_an_embedding_without_positions_does_not_see_them() -> None:
    part = embedding()
    assert torch.equal(part(TOKENS, 0), part(TOKENS, 17))
    assert torch.equal(part(TOKENS)[0, 1], part(TOKENS)[0, 3])


def test_dropout_acts_in_training_alone() -> None:
    part = embedding(SinusoidalPositions(12), dropout=0.5)
    assert not torch.equal(part.train()(TOKENS), part(TOKENS))
    assert torch.equal(part.eval()(TOKENS), part(TOKENS))


def test_the_output_layer_scores_by_products() -> None:
    part = Output(11, 12, bias=True)
    assert part.bias is not None
    torch.nn.init.normal_(part.bias)
    states = torch.randn(2, 5, 12)
    torch.testing.assert_close(part(states), states @ part.weight.T + part.bias)
    assert part(states[0, 0]).shape == (11,)


def test_a_tied_output_layer_has_the_weight_of_the_embedding() -> None:
    shared = embedding()
    part = Output(11, 12, tied=shared)
    assert part.weight is shared.weight
    assert part.bias is None


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (torch.tensor([[3, 11, 5]]), ["tokens", "between 0 and 10", "holds 11", "from 3 to 11", "tokenizer"]),
        (torch.tensor([[3, -1, 5]]), ["tokens", "between 0 and 10", "from -1 to 5"]),
        (torch.tensor([[3.0, 1.0]]), ["tokens", "whole numbers", "torch.float32"]),
        (torch.tensor([[True, False]]), ["tokens", "whole numbers", "torch.bool"]),
    ],
)
def test_tokens_of_another_vocabulary_are_refused(tokens: torch.Tensor, words: list[str]) -> None:
    with as_a_user(), pytest.raises(InputError) as caught:
        embedding()(tokens)
    for word in words:
        assert word in str(caught.value)

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regard.attention.catalogue import POSITIONS
from regard.attention.positions import GridPositions, LearnedPositions, SinusoidalPositions, sinusoidal
from regard.errors import OptionError, ShapeError
from tests.attention.judge import SIZES, as_a_user


def test_sines_and_cosines_by_hand() -> None:
    table = sinusoidal(torch.arange(4), 6)
    for position in range(4):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def check_rotation(position: int, shift: int) -> None:
    """A shift by d turns every pair of columns by d / 10000^(2j/M), at every position (Vaswani et al. 2017, 3.5)."""
    here, there = sinusoidal(torch.tensor([position, position + shift]), 22).double()
    for pair in range(11):
        angle = shift / 10_000 ** (2 * pair / 22)
        sine, cosine = here[2 * pair], here[2 * pair + 1]
        assert there[2 * pair].item() == pytest.approx(
            (sine * math.cos(angle) + cosine * math.sin(angle)).item(), abs=3e-7
        )
        assert there[2 * pair + 1].item() == pytest.approx(
            (cosine * math.cos(angle) - sine * math.sin(angle)).item(), abs=3e-7
        )


@given(st.integers(0, 100_000), st.integers(-1000, 1000))
def test_a_shift_is_a_rotation(position: int, shift: int) -> None:
    check_rotation(position, shift)


def test_two_positions_of_one_distance_are_as_alike_anywhere() -> None:
    table = sinusoidal(torch.arange(200), 64)
    products = (table[:-7] * table[7:]).sum(dim=1)
    torch.testing.assert_close(products, products[:1].expand_as(products), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", POSITIONS)
def test_the_position_is_the_number_that_was_asked_for(name: str) -> None:
    part = POSITIONS[name].build(SIZES._replace(query_dim=24, offset=12))
    whole = part(0, 17)
    assert whole.shape == (17, 24)
    for position in range(17):
        assert torch.equal(part(position, 1), whole[position : position + 1])
    assert torch.equal(part(3, 5), whole[3:8])
    assert part(4, 0).shape == (0, 24)


def test_sinusoidal_positions_have_no_end_and_are_not_saved() -> None:
    part = SinusoidalPositions(22)
    before = part(250, 6).clone()
    assert torch.equal(part(1000, 3), sinusoidal(torch.arange(1000, 1003), 22))
    assert torch.equal(part(250, 6), before)
    assert part.state_dict() == {}
    assert list(part.parameters()) == []


def test_positions_are_right_wherever_a_model_was_and_goes() -> None:
    whole = sinusoidal(torch.arange(256), 22)
    with torch.device("meta"):
        built = SinusoidalPositions(22)
    assert torch.equal(built.to_empty(device="cpu")(0, 256), whole)
    assert torch.equal(SinusoidalPositions(22).half().float()(0, 256), whole)
    assert SinusoidalPositions(22).bfloat16()(3, 5).dtype == torch.bfloat16


def test_positions_that_grew_in_inference_mode_serve_training() -> None:
    part = SinusoidalPositions(22)
    with torch.inference_mode():
        part(1000, 3)
    states = torch.randn(3, 22, requires_grad=True)
    (states * part(1000, 3)).sum().backward()
    assert states.grad is not None


def test_positions_follow_the_model_to_another_precision() -> None:
    part = SinusoidalPositions(22).to(torch.bfloat16)
    assert part(0, 3).dtype == torch.bfloat16
    assert part(1000, 3).dtype == torch.bfloat16


def check_grid() -> None:
    """Position 17 of rows of 5 stands in row 3, column 2: half of the columns say the one, half the other."""
    part = GridPositions(5, 12)
    for position in range(17):
        row, column = sinusoidal(torch.tensor([position // 5, position % 5]), 6)
        assert torch.equal(part(position, 1)[0], torch.cat((row, column)))
    assert part(3, 14).shape == (14, 12)
    assert torch.equal(part(3, 14), part(0, 17)[3:])


def test_a_grid_tells_row_and_column() -> None:
    check_grid()


@given(st.integers(0, 6), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3))
def test_two_patches_of_one_distance_are_as_alike_anywhere(row: int, column: int, down: int, right: int) -> None:
    part = GridPositions(8, 24)
    table = part(0, 80).double().view(10, 8, 24)
    here = (table[row, column] * table[row + down, column + right]).sum()
    torch.testing.assert_close(here, (table[0, 0] * table[down, right]).sum(), rtol=0, atol=1e-5)


def test_a_grid_is_not_saved() -> None:
    assert GridPositions(5, 12).state_dict() == {}


def test_learned_positions_learn() -> None:
    part = LearnedPositions(7, 11)
    part(2, 3).sum().backward()
    assert part.weight.grad is not None
    assert part.weight.grad.sum(dim=1).tolist() == [0, 0, 11, 11, 11, 0, 0]


def test_learned_positions_end() -> None:
    part = LearnedPositions(7, 11)
    assert part(2, 5).shape == (5, 11)
    with as_a_user(), pytest.raises(ShapeError, match="There are 7 learned positions and 8 were asked for"):
        part(2, 6)


def test_sines_need_cosines() -> None:
    with pytest.raises(OptionError, match=r"model_dim \(11\) must be even"):
        sinusoidal(torch.arange(3), 11)


def test_a_grid_needs_columns_and_pairs_in_both_directions() -> None:
    with pytest.raises(OptionError, match="columns must be 1 or more; it is 0"):
        GridPositions(0, 12)
    with pytest.raises(OptionError, match=r"model_dim \(14\) must be a multiple of 4"):
        GridPositions(5, 14)

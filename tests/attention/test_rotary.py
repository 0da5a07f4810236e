import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regard.attention.catalogue import ROTATIONS
from regard.attention.rotary import Rotary, halves, neighbors
from regard.attention.scalings import DynamicNtk, LinearScaling, Yarn
from regard.errors import OptionError, ShapeError
from tests.attention.judge import SIZES, as_a_user, assert_same

WIDTH = SIZES.query_dim  # 11: ten dimensions turn, the last one stays


def build(name: str) -> Rotary:
    torch.manual_seed(7)
    return ROTATIONS[name].build(SIZES)


def vectors(length: int, *, batch: int = 2, heads: int = 3, width: int = WIDTH, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, length, width, generator=generator, dtype=torch.float64)


def check_turns_by_hand() -> None:
    """Pair j of position p is turned by p base^(-2j/R), against the clock; the rest stays."""
    given = vectors(3, batch=1, heads=1, width=7)
    for pairing, pairs in ((neighbors, [(0, 1), (2, 3), (4, 5)]), (halves, [(0, 3), (1, 4), (2, 5)])):
        turned = Rotary(6, base=50.0, pairing=pairing)(given, 11)
        for row in range(3):
            for j, (one, other) in enumerate(pairs):
                angle = (11 + row) * 50.0 ** (-2 * j / 6)
                x, y = given[0, 0, row, one].item(), given[0, 0, row, other].item()
                assert turned[0, 0, row, one].item() == pytest.approx(x * math.cos(angle) - y * math.sin(angle))
                assert turned[0, 0, row, other].item() == pytest.approx(x * math.sin(angle) + y * math.cos(angle))
        assert torch.equal(turned[..., 6], given[..., 6])


def test_pairs_turn_against_the_clock() -> None:
    check_turns_by_hand()


def check_differences_only(name: str, query_at: int, key_at: int, shift: int, length: int) -> None:
    """A product depends on how far the key stands from the query, not on where (Su et al. 2021, eq. 11)."""
    part, query, key = build(name), vectors(1), vectors(1, seed=6)

    def product(by: int) -> Tensor:
        turned = part(query, query_at + by, length=length), part(key, key_at + by, length=length)
        result: Tensor = (turned[0] * turned[1]).sum(dim=-1)
        return result

    assert_same(product(shift), product(0), 1e-9)


@pytest.mark.parametrize("name", ROTATIONS)
@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 6000))
@settings(max_examples=20)
def test_products_depend_on_differences_only(name: str, query_at: int, key_at: int, shift: int, length: int) -> None:
    check_differences_only(name, query_at, key_at, shift, length)


@pytest.mark.parametrize("name", ROTATIONS)
def test_turning_keeps_lengths_up_to_the_amplitude(name: str) -> None:
    part, given = build(name), vectors(13)
    turned = part(given, 5)
    first, rest = given[..., : part.rotary_dim], given[..., part.rotary_dim :]
    assert_same(turned[..., : part.rotary_dim].norm(dim=-1), part.scaling.amplitude * first.norm(dim=-1))
    assert torch.equal(turned[..., part.rotary_dim :], rest)


@pytest.mark.parametrize("name", ROTATIONS)
def test_nothing_turns_at_position_zero(name: str) -> None:
    part, given = build(name), vectors(1)
    expected = torch.cat((given[..., : part.rotary_dim] * part.scaling.amplitude, given[..., part.rotary_dim :]), -1)
    assert_same(part(given), expected)


@pytest.mark.parametrize("name", ROTATIONS)
def test_a_part_is_turned_as_in_the_whole(name: str) -> None:
    part, given = build(name), vectors(300)
    whole = part(given, 2, length=400)
    for start, count in ((0, 1), (7, 5), (299, 1), (4, 0)):
        piece = given[:, :, start : start + count]
        assert_same(part(piece, 2 + start, length=400), whole[:, :, start : start + count])
        assert_same(
            part.at(piece, torch.arange(2 + start, 2 + start + count), length=400), part(piece, 2 + start, length=400)
        )
    assert_same(build(name)(given, 0), part.at(given, torch.arange(300)))


def test_every_batch_entry_may_stand_elsewhere() -> None:
    part, given = build("rotary"), vectors(3)
    positions = torch.tensor([[4, 9, 2], [0, -1, 700]])
    turned = part.at(given, positions)
    for entry in range(2):
        for row in range(3):
            alone = part(given[entry : entry + 1, :, row : row + 1], int(positions[entry, row]))
            assert_same(turned[entry : entry + 1, :, row : row + 1], alone)


def test_halves_are_neighbors_in_another_order() -> None:
    given = vectors(5, width=10)
    order = torch.arange(10).view(2, 5).t().flatten()  # 0 5 1 6 ...
    turned = Rotary(10)(given, 3)
    assert_same(Rotary(10, pairing=neighbors)(given[..., order], 3), turned[..., order])


def check_growing() -> None:
    """Where frequencies vary, a text is turned by its own length, whatever was asked before."""
    part, given = build("dynamic_ntk"), vectors(6)
    assert part.varies
    longer = part(given, length=100)
    assert not torch.allclose(part(given), longer)
    assert_same(part(given, length=100), longer)
    assert_same(part(given[:, :, 2:], 2), part(given, length=6)[:, :, 2:])
    assert_same(part.at(given, torch.arange(6)), part(given))
    assert [name for name in ROTATIONS if build(name).varies] == ["dynamic_ntk", "long_rope"]


def test_frequencies_may_change_as_a_text_grows() -> None:
    check_growing()


def test_half_precision_is_turned_in_float32() -> None:
    """Off by the rounding of the result alone, at positions that bfloat16 could not even count."""
    part, given = Rotary(10), vectors(7).bfloat16()
    expected = part(given.double(), 100_003)
    assert part(given, 100_003).dtype == torch.bfloat16
    assert_same(part(given, 100_003).double(), expected, 2.0**-8)


def test_a_rotation_keeps_its_precision_when_a_model_is_cast_and_is_not_saved() -> None:
    part = Rotary(10)
    before = part(vectors(3), 5)
    part.to(torch.bfloat16)
    assert torch.equal(part(vectors(3), 5), before)
    assert part(vectors(3).float(), 5).dtype == torch.float32
    assert torch.equal(part(vectors(3), 5), before)
    assert torch.equal(copy.deepcopy(part)(vectors(3), 5), before)
    assert part.state_dict() == {}
    assert list(part.parameters()) == []


def test_what_was_turned_in_inference_mode_serves_training() -> None:
    part = Rotary(10)
    with torch.inference_mode():
        part(vectors(3))
    given = vectors(3).requires_grad_()
    part(given).square().sum().backward()
    assert given.grad is not None
    assert_same(given.grad, 2 * given)  # lengths stay, so their squares have the gradient of what was given


def test_vectors_on_the_meta_device_are_turned_in_shape() -> None:
    assert Rotary(10)(vectors(3).to("meta"), 5).shape == (2, 3, 3, WIDTH)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Rotary(7), "rotary_dim must be even and 2 or more, .* it is 7"),
        (lambda: Rotary(0), "rotary_dim must be even and 2 or more, .* it is 0"),
        (lambda: Rotary(8, base=1.0), "base of rotary positions must be more than 1; it is 1.0"),
    ],
)
def test_a_rotation_that_cannot_be_made_says_why(make: Callable[[], object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        make()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda part: part(vectors(3, width=9)), "vectors have width 9 and 10 .* rotary_dim=8 or less"),
        (lambda part: part.at(vectors(3), torch.arange(4)), r"positions must be \[3\] or \[2, 3\], .* are \[4\]"),
        (lambda part: part.at(vectors(3), torch.zeros(3, 2).long()), r"positions must be .* are \[3, 2\]"),
    ],
)
def test_vectors_that_cannot_be_turned_are_refused(run: Callable[[Rotary], object], words: str) -> None:
    with as_a_user(), pytest.raises(ShapeError, match=words):
        run(Rotary(10, scaling=LinearScaling(2.0)))


def test_a_rotation_tells_its_parts() -> None:
    assert "rotary_dim=8, base=500.0, scaling=Yarn(factor=4.0" in repr(Rotary(8, base=500.0, scaling=Yarn(4.0, 64)))
    assert "DynamicNtk" in repr(Rotary(8, scaling=DynamicNtk(2.0, 3)))

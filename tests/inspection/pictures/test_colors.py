import pytest

from regard.inspection.pictures.colors import NIGHT, PAPER, Color, is_light, shade


def luma(color: Color) -> float:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def test_ink_darkens_paper_and_light_brightens_the_night_all_the_way() -> None:
    paper = [luma(shade(percent / 100, PAPER)) for percent in range(101)]
    night = [luma(shade(percent / 100, NIGHT)) for percent in range(101)]
    assert paper == sorted(paper, reverse=True)
    assert night == sorted(night)
    assert paper[0] - paper[100] > 150
    assert night[100] - night[0] > 150


@pytest.mark.parametrize("ramp", [PAPER, NIGHT])
def test_a_ramp_begins_and_ends_with_its_colors_and_goes_no_further(ramp: tuple[Color, ...]) -> None:
    assert shade(0, ramp) == shade(-1, ramp) == ramp[0]
    assert shade(1, ramp) == shade(2, ramp) == ramp[-1]
    assert shade(0.25, ramp) == ramp[1]


def test_light_is_told_from_dark() -> None:
    assert is_light((255, 255, 255))
    assert not is_light((13, 54, 112))

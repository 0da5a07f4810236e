"""The colors that every picture shares: one hue for attention, gold for links that are known to be right.

Both ramps run evenly in lightness, so that a copy in gray reads the same. `paper` is for white ground, where
ink is strength; `night` for dark ground, where light is.
"""

Color = tuple[int, int, int]

PAPER: tuple[Color, ...] = ((255, 255, 255), (214, 228, 243), (140, 182, 222), (62, 119, 182), (13, 54, 112))
NIGHT: tuple[Color, ...] = ((22, 28, 38), (27, 58, 100), (42, 104, 170), (105, 171, 228), (226, 242, 255))
GOLD: Color = (217, 119, 6)
GOLD_AT_NIGHT: Color = (251, 191, 36)


def shade(weight: float, ramp: tuple[Color, ...]) -> Color:
    """Return the color of a weight between 0 and 1."""
    place = min(max(weight, 0.0), 1.0) * (len(ramp) - 1)
    below = min(int(place), len(ramp) - 2)
    part = place - below
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(ramp[below], ramp[below + 1], strict=True))
    return red, green, blue


def is_light(color: Color) -> bool:
    """Say whether dark text reads better on a color than light text (the luma of ITU-R BT.601)."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140

"""Colours that colour-blind people can tell apart: Okabe & Ito, Color Universal Design, 2008.

A colour is (red, green, blue), each 0 to 255.
"""

from functools import cache

Colour = tuple[int, int, int]

ORANGE, SKY_BLUE, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILLION, PURPLE, BLACK = (0, 114, 178), (213, 94, 0), (204, 121, 167), (0, 0, 0)
WHITE, INK = (255, 255, 255), (30, 30, 30)

GROUND_TRUTH, PREDICTION, CONFUSED = SKY_BLUE, ORANGE, PURPLE

_CLASSES = (ORANGE, SKY_BLUE, GREEN, YELLOW, BLUE, VERMILLION, PURPLE)
_SHADES = ((255, 0.0), (255, 0.5), (0, 0.4), (255, 0.75), (0, 0.65))  # (towards, how far): ours


@cache
def palette() -> tuple[Colour, ...]:
    """Return the colour of each class id 0..255: black for 0, 35 different ones, then again."""
    colours: list[Colour] = [BLACK]
    for index in range(255):
        towards, part = _SHADES[index // len(_CLASSES) % len(_SHADES)]
        red, green, blue = (
            round(c + (towards - c) * part) for c in _CLASSES[index % len(_CLASSES)]
        )
        colours.append((red, green, blue))
    return tuple(colours)


def hex_colour(colour: Colour) -> str:
    """Return a colour as matplotlib takes it, such as "#1e1e1e"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)

"""Returns the colour of each class. All views use the same colours."""

from __future__ import annotations

__all__ = ["Colour", "colour_of"]

# A colour has the values of blue, green and red, each from 0 to 255.
Colour = tuple[int, int, int]

# The palette of Okabe and Ito. Colour-blind people can tell these colours apart, and no colour of the palette signals
# danger.
_PALETTE: tuple[Colour, ...] = (
    (0, 159, 230),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (178, 114, 0),
    (0, 94, 213),
    (167, 121, 204),
)


def colour_of(index: int) -> Colour:
    """Returns the colour of the class with this index.

    There are seven colours. The eighth class has the same colour as the first class.
    """
    return _PALETTE[index % len(_PALETTE)]

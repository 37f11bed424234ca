"""The colour of each class, the same in every view."""

from __future__ import annotations

__all__ = ["Colour", "colour_of"]

# The values of blue, green and red, each from 0 to 255.
Colour = tuple[int, int, int]

# The colours of Okabe and Ito, in the order blue, green, red. Colour-blind people can tell these colours apart, and no
# colour of this palette signals danger.
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
    """Returns the colour of the class with this index, in the order blue, green, red.

    There are seven colours. The eighth class has the colour of the first class again.
    """
    return _PALETTE[index % len(_PALETTE)]

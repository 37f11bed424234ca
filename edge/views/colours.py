"""The colour of each class, the same in every view."""

from __future__ import annotations

__all__ = ["Colour", "colour_of"]

# Blue, green and red, each 0 to 255.
Colour = tuple[int, int, int]

# Okabe and Ito's colours, which colour-blind people can tell apart, blue first; none of them says "danger".
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
    """Returns the colour of the class with this index, blue first."""
    return _PALETTE[index % len(_PALETTE)]

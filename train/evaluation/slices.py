"""Divides photos into groups that are scored separately: by source, by view, and by properties of people and lesions.

In the code and in the JSON, a group of photos is called a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dermedge.train.data.scoring import LabelledPhoto

__all__ = ["NOT_KNOWN", "SLICES", "SOURCE", "age_band", "slice_values"]

NOT_KNOWN = "not known"
SOURCE = "source"
# Upper ends of the age bands in years. An age that equals an upper end belongs to the next band.
_AGE_ENDS = (30, 50, 70)
_TONES = ("very dark", "dark", "brown", "intermediate", "light", "very light")


def age_band(age: str) -> str:
    """Returns the age band: ``under 30``, ``30 to 49``, ``50 to 69`` or ``70 and over``.

    ``age`` is a whole number of years as text. The result is empty if ``age`` is empty.
    """
    if not age:
        return ""
    years = int(age)
    if years < _AGE_ENDS[0]:
        return f"under {_AGE_ENDS[0]}"
    for start, end in pairwise(_AGE_ENDS):
        if years < end:
            return f"{start} to {end - 1}"
    return f"{_AGE_ENDS[-1]} and over"


def _skin_tone(tone: str) -> str:
    return f"{tone}, {_TONES[int(tone)]}" if tone else ""


# The properties by which photos are grouped: name of a property -> function that returns the value of the property for
# a photo, or "" if the value is not known.
SLICES: dict[str, Callable[[LabelledPhoto], str]] = {
    SOURCE: lambda photo: photo.entry.source,
    "view": lambda photo: photo.entry.view,
    "age": lambda photo: age_band(photo.entry.age),
    "sex": lambda photo: photo.entry.sex,
    "body site": lambda photo: photo.entry.site,
    "skin tone": lambda photo: _skin_tone(photo.entry.skin_tone),
    "Fitzpatrick type": lambda photo: photo.entry.fitzpatrick,
}


def slice_values(photos: Sequence[LabelledPhoto]) -> dict[str, NDArray[np.str_]]:
    """Returns a dict: name of a property in `SLICES` -> value of the property for each photo, or "not known".

    A property is left out if its value is not known for any photo. The source is never left out.
    """
    values = {name: [value_of(photo) for photo in photos] for name, value_of in SLICES.items()}
    return {
        name: np.array([value or NOT_KNOWN for value in column])
        for name, column in values.items()
        if any(column) or name == SOURCE
    }

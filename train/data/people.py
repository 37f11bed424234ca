"""Reads what a table states about a photo besides the diagnosis: age, sex, body site, skin tone and view.

Publishers write the same value in many ways, such as "f", "female" and "woman". Each function accepts the text of a
table cell, and returns the value as dermedge writes it. The result is an empty string if the cell is not understood.
"""

from __future__ import annotations

import re

from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.photo_view import DERMOSCOPIC
from dermedge.train.data.diagnoses import normal_name

__all__ = ["SITES", "VIEWS", "age_of", "fitzpatrick_of", "sex_of", "site_of", "skin_tone_of", "view_of"]

VIEWS = (CLOSE_UP, DERMOSCOPIC)
_HEAD, _TRUNK, _UPPER, _LOWER, _ACRAL, _GENITAL = SITES = (
    "head and neck",
    "trunk",
    "upper extremity",
    "lower extremity",
    "hand or foot",
    "mouth or genitals",
)
_SITES = {
    _HEAD: "head/neck, head neck face, head neck, head and neck, head, face, scalp, neck, ear, nose, lip, forehead, "
    "eyelid",
    _TRUNK: "trunk, torso, back, upper back, lower back, chest, breast, abdomen, belly, flank, buttock, buttocks, "
    "anterior torso, posterior torso, lateral torso",
    _UPPER: "upper extremity, upper extremities, upper limbs, arm, left arm, right arm, upper arm, forearm, elbow, "
    "shoulder, wrist",
    _LOWER: "lower extremity, lower extremities, lower limbs, leg, left leg, right leg, lower leg, thigh, calf, "
    "shin, knee, ankle",
    _ACRAL: "hand, foot, hands, feet, palm, sole, finger, toe, nail, palms/soles, "
    "palms and soles, acral, acral nos, acral palms or soles",
    _GENITAL: "genital areas, genital, genitals, oral/genital, oral or genital, oral and genital, mouth",
}
# Matches the side in names such as "left upper back" and "thigh (right)". dermedge does not store the side.
_SIDE = re.compile(r"^(left|right) | \(?(left|right)\)?$")
_SITE_OF = {name: site for site, names in _SITES.items() for name in names.split(", ")}
_SEXES = {
    **dict.fromkeys(
        ("f", "female", "w", "woman", "weiblich", "femme", "mujer", "femenino", "feminino"), "female"
    ),
    **dict.fromkeys(("m", "male", "man", "männlich", "maennlich", "homme", "hombre", "masculino"), "male"),
}
# A range of ages, such as 55-60, is understood only if it spans at most this many years.
_WIDEST_RANGE = 10
_RANGE = re.compile(r"(\d{1,3}) ?(?:-|\u2013|to) ?(\d{1,3})")
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6"}
_VIEWS = {
    "dermoscopic": DERMOSCOPIC,
    "dermoscopy": DERMOSCOPIC,
    "dermatoscopic": DERMOSCOPIC,
    "clinical: close-up": CLOSE_UP,
    "clinical": CLOSE_UP,
    "close-up": CLOSE_UP,
    "closeup": CLOSE_UP,
    "smartphone": CLOSE_UP,
    "tbp tile: close-up": CLOSE_UP,
    "macroscopic": CLOSE_UP,
}
_OLDEST = 120


def age_of(cell: str) -> str:
    """Returns an age in whole years.

    ``45``, ``45.0`` and ``45+`` give 45. A range such as ``55-60`` gives the middle, rounded down.
    """
    if ends := _RANGE.fullmatch(cell.strip()):
        youngest, oldest = map(int, ends.groups())
        cell = str((youngest + oldest) // 2) if 0 <= oldest - youngest <= _WIDEST_RANGE else ""
    number = _whole(cell.strip().removesuffix("+"))
    return number if number and int(number) <= _OLDEST else ""


def sex_of(cell: str) -> str:
    """Returns female or male; empty if the cell is not understood."""
    return _SEXES.get(normal_name(cell), "")


def site_of(cell: str) -> str:
    """Returns one of `SITES`; empty if the cell is not understood."""
    name = normal_name(cell)
    return _SITE_OF.get(name) or _SITE_OF.get(_SIDE.sub("", name), "")


def skin_tone_of(cell: str) -> str:
    """Returns the skin tone on MILK10k's scale ``skin_tone_class``: 0 (very dark) to 5 (very light)."""
    number = _whole(cell)
    return number if number and int(number) <= 5 else ""


def fitzpatrick_of(cell: str) -> str:
    """Returns Fitzpatrick's skin type, 1 to 6, from an Arabic or Roman numeral."""
    number = _ROMAN.get(normal_name(cell).removeprefix("type "), "") or _whole(cell)
    return number if number and 1 <= int(number) <= 6 else ""


def view_of(cell: str) -> str:
    """Returns one of `VIEWS`; empty if the cell is not understood."""
    return _VIEWS.get(normal_name(cell), "")


def _whole(cell: str) -> str:
    """Returns a number without its decimals; an empty string if the number is negative or the text is not a number."""
    try:
        number = float(cell.strip().replace(",", "."))
    except ValueError:
        return ""
    return str(int(number)) if 0 <= number < float("inf") else ""

"""Facts about a photo besides the diagnosis: age, sex, body site, skin tone, and view.

Publishers write the same fact in many ways; each function here takes a cell of a table and returns the one value
that dermedge uses, or an empty string if the cell is not understood.
"""

from __future__ import annotations

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
    _HEAD: "head/neck, head neck face, head and neck, head, face, scalp, neck, ear, nose, lip, forehead, eyelid",
    _TRUNK: "trunk, torso, back, chest, abdomen, anterior torso, posterior torso, lateral torso",
    _UPPER: "upper extremity, upper extremities, arm, left arm, right arm, forearm",
    _LOWER: "lower extremity, lower extremities, leg, left leg, right leg, thigh",
    _ACRAL: "hand, foot, palms/soles, palms and soles, acral, acral nos, acral palms or soles",
    _GENITAL: "genital, genitals, oral/genital, oral or genital, oral and genital, mouth",
}
_SITE_OF = {name: site for site, names in _SITES.items() for name in names.split(", ")}
_SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}
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
    """Whole years, from ``45``, ``45.0`` or ``85+``."""
    number = _whole(cell.strip().removesuffix("+"))
    return number if number and int(number) <= _OLDEST else ""


def sex_of(cell: str) -> str:
    """Female or male."""
    return _SEXES.get(normal_name(cell), "")


def site_of(cell: str) -> str:
    """Returns one of `SITES`."""
    return _SITE_OF.get(normal_name(cell), "")


def skin_tone_of(cell: str) -> str:
    """MILK10k's ``skin_tone_class``: 0 (very dark) to 5 (very light)."""
    number = _whole(cell)
    return number if number and int(number) <= 5 else ""


def fitzpatrick_of(cell: str) -> str:
    """Fitzpatrick's skin type, 1 to 6, from Arabic or Roman numerals."""
    number = _ROMAN.get(normal_name(cell).removeprefix("type "), "") or _whole(cell)
    return number if number and 1 <= int(number) <= 6 else ""


def view_of(cell: str) -> str:
    """Returns one of `VIEWS`."""
    return _VIEWS.get(normal_name(cell), "")


def _whole(cell: str) -> str:
    """Returns a number without its sign and decimals, or an empty string."""
    try:
        number = float(cell.strip().replace(",", "."))
    except ValueError:
        return ""
    return str(int(number)) if 0 <= number < float("inf") else ""

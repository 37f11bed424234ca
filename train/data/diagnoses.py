"""The names of diagnoses: the names that publishers and folders use, and the diagnoses that they mean.

Eight diagnoses are classes of the shipped models. Finer names (melanoma in situ, Reed nevus) belong to one of
them. A keratoacanthoma counts as squamous cell carcinoma, as in MILK10k's own classes, but keeps its own name as
diagnosis, so that it can be scored apart. Some names leave open which diagnosis they mean (HAM10000's akiec, a bare
"malignant"); `possible_diagnoses` lists what they may be.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from functools import lru_cache

__all__ = [
    "LESION_DIAGNOSES",
    "NAMED_CLASSES",
    "class_of",
    "compatible",
    "diagnosis_of",
    "is_known",
    "is_open",
    "likely_meant",
    "normal_name",
    "own_name",
    "possible_diagnoses",
]

_MELANOMA, _NEVUS, _FIBROMA = "melanoma", "nevus", "dermatofibroma"
_SQUAMOUS, _BASAL, _ACTINIC = "squamous cell carcinoma", "basal cell carcinoma", "actinic keratosis"
_KERATOSIS, _VASCULAR, _ACANTHOMA = "benign keratosis", "vascular lesion", "keratoacanthoma"
# The classes of lesions that the shipped models name, in the order of DESIGN.md and the models' cards.
NAMED_CLASSES = (_MELANOMA, _FIBROMA, _NEVUS, _SQUAMOUS, _BASAL, _ACTINIC, _KERATOSIS, _VASCULAR)

# Diagnosis -> the names that mean it, in the normal form of `normal_name`. Finer names need not be
# listed: see `_FINER_FORMS`.
_NAMES = {
    _MELANOMA: (
        "mel",
        "melanomas",
        "malignant melanoma",
        "lentigo maligna melanoma",
        "lentigo maligna",
        "malignant melanocytic proliferations (melanoma)",
        "melanom",
        "melanome",
        "malignes melanom",
        "melanoma maligno",
    ),
    _NEVUS: (
        "nv",
        "nev",
        "mole",
        "moles",
        "naevus",
        "nevi",
        "melanocytic nevus",
        "melanocytic nevi",
        "melanocytic naevus",
        "common nevus",
        "atypical nevus",
        "dysplastic nevus",
        "blue nevus",
        "spitz nevus",
        "reed nevus",
        "congenital nevus",
        "clark nevus",
        "combined nevus",
        "compound nevus",
        "dermal nevus",
        "junctional nevus",
        "recurrent nevus",
        "reed or spitz nevus",
        "naevi",
        "melanocytic naevi",
        "navus",
        "navi",
        "nevo",
        "nevos",
        "nevo melanocitico",
        "nevus melanocitico",
        "muttermal",
        "blauer naevus",
        "blauer nevus",
        "naevus bleu",
        "nevus bleu",
        "lunar",
    ),
    _FIBROMA: ("df", "dermatofibromas", "dermatofibrom", "dermatofibrome", "dermatofibromen"),
    _SQUAMOUS: (
        "scc",
        "squamous cell carcinoma, invasive",
        "squamous cell carcinoma, nos",
        "squamous cell carcinoma in situ",
        "squamous cell carcinoma in situ, bowens disease",
        "squamous cell carcinoma in situ, bowen's disease",
        "bowen's disease",
        "bowens disease",
        "bowen disease",
        "bowen",
        "morbus bowen",
        "squamous cell carcinomas",
        "in situ squamous cell carcinoma",
        "invasive squamous cell carcinoma",
        "cutaneous squamous cell carcinoma",
        "scc in situ",
        "plattenepithelkarzinom",
        "spinaliom",
        "carcinome epidermoide",
        "carcinoma epidermoide",
        "carcinoma espinocelular",
        "carcinoma de celulas escamosas",
        "carcinoma spinocellulare",
    ),
    _ACANTHOMA: ("squamous cell carcinoma, keratoacanthoma",),
    _BASAL: (
        "bcc",
        "basal cell carcinoma, nos",
        "basal cell carcinomas",
        "basalioma",
        "nodular basal cell carcinoma",
        "superficial basal cell carcinoma",
        "pigmented basal cell carcinoma",
        "basaliom",
        "basalzellkarzinom",
        "carcinome basocellulaire",
        "carcinoma basocelular",
        "carcinoma basocellulare",
    ),
    _ACTINIC: (
        "ak",
        "ack",
        "solar or actinic keratosis",
        "solar keratosis",
        "actinic keratoses",
        "aktinische keratose",
        "keratose actinique",
        "queratosis actinica",
        "queratose actinica",
        "ceratose actinica",
        "cheratosi attinica",
    ),
    _KERATOSIS: (
        "bkl",
        "sek",
        "sk",
        "pbk",
        "pigmented benign keratosis",
        "benign keratosis-like lesions",
        "seborrheic keratosis",
        "seborrhoeic keratosis",
        "seborrheic keratoses",
        "seborrhoische keratose",
        "keratose seborrheique",
        "queratosis seborreica",
        "queratose seborreica",
        "ceratose seborreica",
        "cheratosi seborroica",
        "lichen planus like keratosis",
        "lichenoid keratosis",
        "solar lentigo",
    ),
    _VASCULAR: (
        "vasc",
        "vascular lesions",
        "vascular",
        "hemangioma",
        "haemangioma",
        "hemangioma, hobnail",
        "angioma",
        "angiokeratoma",
        "pyogenic granuloma",
        "angiom",
        "angiome",
        "hamangiom",
        "haemangiom",
        "hemangiome",
        "benign soft tissue proliferations - vascular",
    ),
}
# An ambiguous name -> the diagnoses that it may mean.
_OPEN = {
    "akiec": (_ACTINIC, _SQUAMOUS),
    "actinic keratoses and intraepithelial carcinoma": (_ACTINIC, _SQUAMOUS),
    "benign": (_NEVUS, _FIBROMA, _KERATOSIS, _VASCULAR),
    "malignant": (_MELANOMA, _SQUAMOUS, _BASAL, _ACANTHOMA),
    "cancer": (_MELANOMA, _SQUAMOUS, _BASAL, _ACANTHOMA),
    "no cancer": (_NEVUS, _FIBROMA, _KERATOSIS, _VASCULAR),
    "non cancer": (_NEVUS, _FIBROMA, _KERATOSIS, _VASCULAR),
    "not cancer": (_NEVUS, _FIBROMA, _KERATOSIS, _VASCULAR),
    "indeterminate": (_ACTINIC, _MELANOMA, _NEVUS),
    "benign melanocytic proliferations": (_NEVUS,),
    "indeterminate melanocytic proliferations": (_MELANOMA, _NEVUS),
    "atypical melanocytic proliferation": (_MELANOMA, _NEVUS),
    "atypical spitz tumor": (_MELANOMA, _NEVUS),
    "benign epidermal proliferations": (_KERATOSIS,),
    "indeterminate epidermal proliferations": (_ACTINIC,),
    "malignant epidermal proliferations": (_SQUAMOUS, _ACANTHOMA),
    "malignant adnexal epithelial proliferations - follicular": (_BASAL,),
    "benign soft tissue proliferations - fibro-histiocytic": (_FIBROMA,),
    "collision - at least one malignant proliferation": (_MELANOMA, _SQUAMOUS, _BASAL, _ACANTHOMA),
    "collision - only benign proliferations": (_NEVUS, _FIBROMA, _KERATOSIS, _VASCULAR),
    "lentigo": (_KERATOSIS, _NEVUS),
    "lentigo nos": (_KERATOSIS, _NEVUS),
}
# Other lesions of the skin, which belong to no named class, in the normal form.
_OTHER_LESIONS = (
    "angiofibroma or fibrous papule",
    "benign - other",
    "cafe-au-lait macule",
    "clear cell acanthoma",
    "exogenous",
    "infundibular or epidermal cyst",
    "inflammatory or infectious diseases",
    "ink-spot lentigo",
    "juvenile xanthogranuloma",
    "lentigo simplex",
    "mastocytosis",
    "melanosis",
    "miscellaneous",
    "molluscum",
    "mucosal melanotic macule",
    "neurofibroma",
    "porokeratosis",
    "scar",
    "sebaceous hyperplasia",
    "supernumerary nipple",
    "trichoblastoma",
    "verruca",
)
# Code -> the name that it means, for classes that keep the names of their set.
_CODES = {
    "mel": _MELANOMA,
    "nv": _NEVUS,
    "nev": _NEVUS,
    "df": _FIBROMA,
    "scc": _SQUAMOUS,
    "bcc": _BASAL,
    "ak": _ACTINIC,
    "ack": _ACTINIC,
    "bkl": _KERATOSIS,
    "sek": "seborrheic keratosis",
    "vasc": _VASCULAR,
}


def _key(name: str) -> str:
    """Returns a name for look-ups: the normal name without hyphens and accents."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("æ", "ae").replace("œ", "oe"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.replace("_", " ").replace("-", " ").split())


_DIAGNOSES = {_key(name): diagnosis for diagnosis, names in _NAMES.items() for name in (diagnosis, *names)}
# Names that mean "unknown" in a table.
_UNKNOWN = frozenset(
    {"", "unk", "unknown", "n/a", "#n/a", "na", "nan", "none", "null", "not known", "-", "?"}
)
# Matches "melanoma in situ" and "nevus, reed", but not "melanoma negative".
_FINER = re.compile(
    r"(melanoma|nevus|naevus)(,.*| \(.*| in situ| invasive| metastasis| metastatic| nos| spilus| pigmentosus)"
)
# Diagnosis -> its name, and words that may stand before and behind it. They match "nodular melanoma" and "seborrheic
# keratosis irritated", but not "sebaceous nevus", which is not a mole, or "non melanoma".
_FINER_FORMS = {
    _MELANOMA: (
        "melanomas?",
        "superficial spreading|ssm|nodular|acral|lentiginous|lentigo maligna|amelanotic|desmoplastic|spitzoid|"
        "metastatic|invasive|in situ|early|thin|thick|primary|cutaneous|malignant|pigmented",
    ),
    _NEVUS: (
        "na?ev(us|i)",
        "acral|acquired|atypical|benign|blue|clark|combined|common|compound|congenital|dermal|dysplastic|halo|"
        "intradermal|junctional|melanocytic|nevocytic|pigmented|recurrent|reed|spitz",
    ),
    _SQUAMOUS: (
        "squamous cell carcinomas?|scc",
        "invasive|in situ|cutaneous|(well|moderately|poorly) differentiated|keratinizing",
    ),
    _BASAL: (
        "basal cell carcinomas?|bcc",
        "nodular|micronodular|superficial|pigmented|solid|cystic|infiltrative|infiltrating|morpheaform|morpheiform|"
        "sclerosing|ulcerated|recurrent",
    ),
    _ACTINIC: ("actinic keratos[ei]s|ak", "hyperkeratotic|hypertrophic|pigmented"),
    _KERATOSIS: (
        "seborrho?eic keratos[ei]s|sk|solar lentig(o|ines)",
        "irritated|inflamed|pigmented|flat|acanthotic",
    ),
    _VASCULAR: ("(ha?em)?angiomas?", "cherry|spider|senile|capillary|infantile"),
    _FIBROMA: ("dermatofibromas?", "cellular|atypical|pigmented"),
}
_FINER_PATTERNS = {
    diagnosis: re.compile(rf"(({words}|nos) )*({core})( ({words}|nos))*")
    for diagnosis, (core, words) in _FINER_FORMS.items()
}
# The number before a folder's name, and the word or count behind it: "1. Melanoma", "nevus images", "nevus (120)".
_NUMBER_IN_FRONT = re.compile(r"^\d{1,2}[.):]? ")
_WORD_BEHIND = re.compile(r" (images?|photos?|pictures?|cases?|class|\(\d+\))")
# From this similarity on, a name counts as a misspelling of a known one, if their lengths hardly differ.
_LIKENESS = 0.85
_LETTERS_TOO_MANY = 2

# The results of `diagnosis_of` that are lesions of the skin. Any other word may mean a shirt or a hand.
LESION_DIAGNOSES = frozenset({*_NAMES, *_OPEN, *_OTHER_LESIONS})
_AS_LISTED = {_key(name): name for name in (*_OPEN, *_OTHER_LESIONS)}


def normal_name(name: str) -> str:
    """Returns a name in lower case, with single spaces for underscores and runs of spaces."""
    return " ".join(name.replace("_", " ").lower().split())


def diagnosis_of(name: str | None) -> str | None:
    """Returns the diagnosis that a publisher's code or a folder's name means.

    Returns:
        The name that all sets share, if it is known. For other lesions, and for open names such as akiec, the normal
        name. For any other word, the word without spaces around it. None if it means "unknown".
    """
    normal = normal_name(name or "")
    if name is None or normal in _UNKNOWN:
        return None
    return _known_diagnosis(normal) or name.strip()


@lru_cache(maxsize=65536)
def _known_diagnosis(normal: str) -> str | None:
    """Returns the diagnosis of a normal name; None if it is not known."""
    core = re.sub(f"({_WORD_BEHIND.pattern})+$", "", _NUMBER_IN_FRONT.sub("", normal, count=1))
    for name in dict.fromkeys((normal, core)):
        known = _DIAGNOSES.get(_key(name)) or _AS_LISTED.get(_key(name)) or _of_finer_name(name)
        if known:
            return known
    return None


def _of_finer_name(name: str) -> str | None:
    if finer := _FINER.fullmatch(name):
        return _DIAGNOSES[_key(finer[1])]
    key = _key(name)
    return next((diagnosis for diagnosis, form in _FINER_PATTERNS.items() if form.fullmatch(key)), None)


def likely_meant(name: str) -> str | None:
    """Returns the diagnosis of which an unknown name is a misspelling, by its shared name; None if there is none."""
    key = _key(name)
    if is_known(name) or len(key) <= len(_NEVUS):
        return None
    close = get_close_matches(key, _DIAGNOSES, 1, _LIKENESS)
    return _DIAGNOSES[close[0]] if close and abs(len(close[0]) - len(key)) <= _LETTERS_TOO_MANY else None


def own_name(original: str) -> str:
    """Returns the name of a class as a table or folder writes it; codes are replaced by the names that they mean."""
    normal = normal_name(original)
    return _CODES.get(normal, normal if is_known(normal) else original)


def is_open(diagnosis: str) -> bool:
    """Tells whether a diagnosis leaves open which class it belongs to."""
    return diagnosis in _OPEN


def is_known(name: str) -> bool:
    """Tells whether a name is a diagnosis, or benign, malignant and the like."""
    return diagnosis_of(name) in LESION_DIAGNOSES


def class_of(diagnosis: str) -> str:
    """Returns the class of a diagnosis: itself, and squamous cell carcinoma for a keratoacanthoma."""
    return _SQUAMOUS if diagnosis == _ACANTHOMA else diagnosis


def possible_diagnoses(diagnosis: str) -> frozenset[str]:
    """Returns the diagnoses that a name may mean: itself, or several if the name is open."""
    return frozenset(_OPEN.get(diagnosis, (diagnosis,)))


def compatible(one: str, other: str) -> bool:
    """Tells whether two diagnoses can be of one lesion: one may be more specific than the other."""
    return not {class_of(name) for name in possible_diagnoses(one)}.isdisjoint(
        class_of(name) for name in possible_diagnoses(other)
    )

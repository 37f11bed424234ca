"""Maps the names in publishers' tables and the names of folders to diagnoses.

The main diagnoses are the eight of the challenge ISIC 2019. More specific names, such as melanoma in situ or Reed
nevus, belong to one of the eight. A keratoacanthoma belongs to the class squamous cell carcinoma, as in MILK10k's own
classes, but keeps the diagnosis keratoacanthoma, so that keratoacanthomas can be scored separately. Some names are
ambiguous, such as HAM10000's akiec or "malignant". `possible_diagnoses` lists the diagnoses that an ambiguous name can
mean.
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
    "lists_several",
    "names_no_diagnosis",
    "normal_name",
    "own_name",
    "possible_diagnoses",
    "spelling_key",
]

_MELANOMA, _NEVUS, _FIBROMA = "melanoma", "nevus", "dermatofibroma"
_SQUAMOUS, _BASAL, _ACTINIC = "squamous cell carcinoma", "basal cell carcinoma", "actinic keratosis"
_KERATOSIS, _VASCULAR, _ACANTHOMA = "benign keratosis", "vascular lesion", "keratoacanthoma"
# The eight diagnoses of the challenge ISIC 2019.
NAMED_CLASSES = (_MELANOMA, _FIBROMA, _NEVUS, _SQUAMOUS, _BASAL, _ACTINIC, _KERATOSIS, _VASCULAR)

# For each diagnosis, the names that mean this diagnosis, as `normal_name` returns them. A more specific name need not
# be listed if `_FINER_FORMS` matches the name. A name with ä or ö is listed with ae or oe; `_spellings` adds the other
# spelling.
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
        "melanom in situ",
        "melanome in situ",
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
        "junction nevus",
        "pigmented spindle cell nevus of reed",
        "atypical spindle cell nevus of reed",
        "naevuszellnaevus",
        "dysplastischer naevus",
        "kongenitaler naevus",
        "naevus melanocytaire",
        "naevus atypique",
        "nevus atipico",
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
        "sccka",
        "plattenepithelkarzinom",
        "spinaliom",
        "carcinome epidermoide",
        "carcinoma epidermoide",
        "carcinoma espinocelular",
        "carcinoma de celulas escamosas",
        "carcinoma spinocellulare",
        "carcinome spinocellulaire",
        "spinozellulaeres karzinom",
    ),
    _ACANTHOMA: ("squamous cell carcinoma, keratoacanthoma", "squamous cell carcinoma keratoacanthoma"),
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
        "aktinische keratosen",
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
        "seborrhoeische keratose",
        "keratose seborrheique",
        "queratosis seborreica",
        "queratose seborreica",
        "ceratose seborreica",
        "cheratosi seborroica",
        "lichen planus like keratosis",
        "lichenoid keratosis",
        "solar lentigo",
        "seborrhoische keratosen",
        "seborrhoische warze",
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
        "haemangiom",
        "hemangiome",
        "benign soft tissue proliferations - vascular",
        "granuloma pyogenic",
        "arteriovenous hemangioma",
        "strawberry hemangioma",
    ),
}
# For each ambiguous name, the diagnoses that the name can mean.
_OPEN = {
    "akiec": (_ACTINIC, _SQUAMOUS),
    "actinic keratoses and intraepithelial carcinoma": (_ACTINIC, _SQUAMOUS),
    "actinic keratoses and intraepithelial carcinomae": (_ACTINIC, _SQUAMOUS),
    "actinic keratoses and intraepithelial carcinoma / bowen's disease": (_ACTINIC, _SQUAMOUS),
    "actinic keratoses and intraepithelial carcinoma / bowens disease": (_ACTINIC, _SQUAMOUS),
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
    "atypical intraepithelial melanocytic proliferation": (_MELANOMA, _NEVUS),
    "atypical melanocytic neoplasm": (_MELANOMA, _NEVUS),
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
# Names of skin lesions that are none of the diagnoses in `_NAMES`, as `normal_name` returns them.
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
# For each publisher's code, the name that the code means. `own_name` uses these names for classes.
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
    """Returns a name as it is looked up: in lower case, without accents, with spaces for underscores and hyphens."""
    # word processors write the apostrophe in names such as Bowen's as another character
    straight = re.sub("[\u2019\u00b4`]", "'", name.lower())
    plain = unicodedata.normalize("NFKD", straight.replace("æ", "ae").replace("œ", "oe"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(plain.replace("_", " ").replace("-", " ").split())


def _spellings(name: str) -> tuple[str, str]:
    """Returns the keys of a name that is written with ae or oe, and of the same name with ä or ö, such as nävus."""
    key = _key(name)
    return key, key.replace("ae", "a").replace("oe", "o")


_DIAGNOSES = {
    key: diagnosis
    for diagnosis, names in _NAMES.items()
    for name in (diagnosis, *names)
    for key in _spellings(name)
}
# A table cell with one of these texts means "unknown".
_UNKNOWN = frozenset(
    {"", "unk", "unknown", "n/a", "#n/a", "na", "nan", "none", "null", "not known", "-", "?"}
    | {
        "unlabelled",
        "unlabeled",
        "not labelled",
        "not labeled",
        "n.a.",
        "not available",
        "missing",
        "unspecified",
    }
    | {"--", "unbekannt", "keine angabe", "inconnu", "desconocido", "desconhecido", "sconosciuto"}
)
# A folder with one of these names may hold photos that nobody has diagnosed yet, and so may a folder with a name in
# `_UNKNOWN`. The folder "none" is not one of them: it may hold photos that show none of the other classes.
_UNSORTED = frozenset(
    {"unsorted", "unclassified", "undiagnosed", "unannotated", "uncategorized", "todo", "to do", "tbd"}
)
# For each diagnosis: a pattern for the name of the diagnosis, and a pattern for words that may stand before and after
# the name. Together, the two patterns match "nodular melanoma" and "seborrheic keratosis irritated". They do not match
# "non melanoma", and they do not match "sebaceous nevus", because a sebaceous nevus is not a mole. A comma may stand
# before the words that follow the name, as in "basal cell carcinoma, nodular". After a comma or in parentheses, nearly
# any words may follow the names melanoma and nevus, as in "nevus, reed". The patterns are applied to results of `_key`,
# in which the ä of "nävus" is an a.
_FINER_FORMS = {
    _MELANOMA: (
        r"melanomas?|melanoma( invasive| in situ)?(,| \().*|melanoma metastasis",
        "superficial spreading|ssm|nodular|acral|lentiginous|lentigo maligna|amelanotic|desmoplastic|spitzoid|"
        "metastatic|invasive|in situ|early|thin|thick|primary|cutaneous|malignant|pigmented",
    ),
    _NEVUS: (
        r"n(ae?|e)v(us|i)|n(ae?|e)vus((,| \()(?! ?(sebaceous|epidermal|flammeus)).*| spilus| pigmentosus)",
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
        "seborrh(oe?|e)ic keratos[ei]s|sk|solar lentig(o|ines)",
        "irritated|inflamed|pigmented|flat|acanthotic",
    ),
    _VASCULAR: ("(h(ae?|e)m)?angiomas?", "cherry|spider|senile|capillary|infantile"),
    _FIBROMA: ("dermatofibromas?", "cellular|atypical|pigmented"),
}
_FINER_PATTERNS = {
    diagnosis: re.compile(rf"(({words}|nos) )*({core})(,? ({words}|nos))*")
    for diagnosis, (core, words) in _FINER_FORMS.items()
}
# Match the parts of a folder's name that do not belong to the diagnosis: a number in front, as in "1. Melanoma", and a
# word or count at the end, as in "nevus images", "nevus (120)", "nevus - 7970", "nevus 3323" and "nevus 1.8k". A count
# with nothing but a space before it must have four digits, because "nevus 002" and "nevus 120" may be single lesions.
_NUMBER_IN_FRONT = re.compile(r"^\d{1,2}[.):]? ")
_WORD_BEHIND = re.compile(
    r" (images?|photos?|pictures?|cases?|class|\(\d+\)|- \d{3,}|[1-9]\d{3,}|(- )?\d+(\.\d+)?k)"
)
_AMBIGUOUS_CODE = "akiec"
# Matches a name with its abbreviation, as in "basal cell carcinoma (bcc)".
_ABBREVIATED = re.compile(r"(.+?) ?\(([^()]+)\)")
# A label in which `_LISTING` is found, such as "melanoma, nevus" or "melanoma or nevus", may be a list of diagnoses.
# `_BETWEEN` splits such a list. `_LISTING` has no "/" and no "&", because "BCC/SCC" and "BCC & SCC" may be classes of a
# user.
_LISTING = re.compile(r"[,;|+\n]| or ")
_BETWEEN = re.compile(rf"{_LISTING.pattern}|[/&]| and ")
_WHOLE_NUMBER = re.compile(r"\d+\.0+")
# A name counts as a misspelling of a known name if the similarity of the two names, from 0 to 1, is at least _LIKENESS,
# and their lengths differ by at most _LETTERS_TOO_MANY letters.
_LIKENESS = 0.85
_LETTERS_TOO_MANY = 2

# The results of `diagnosis_of` that are names of skin lesions. Any other result may name something else, such as a
# shirt or a hand.
LESION_DIAGNOSES = frozenset({*_NAMES, *_OPEN, *_OTHER_LESIONS})
_AS_LISTED = {_key(name): name for name in (*_OPEN, *_OTHER_LESIONS)}


def normal_name(name: str) -> str:
    """Returns a name in lower case. Underscores become spaces, and several spaces become one.

    The result is in the Unicode form NFC, because a Mac may write a letter such as ä as two characters (NFD).
    """
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").lower().split())


def spelling_key(name: str) -> str:
    """Returns the text that all spellings of a label have in common.

    Two labels are spellings of one label if they differ only in capitals, spaces and underscores, or if they are one
    number, such as 1 and 1.0. Some programs write 1.0 for 1 if another cell of the column is
    empty.
    """
    normal = normal_name(name)
    return normal.partition(".")[0] if _WHOLE_NUMBER.fullmatch(normal) else normal


def diagnosis_of(name: str | None) -> str | None:
    """Returns the diagnosis that a publisher's code or a folder's name means.

    Returns:
        For a known diagnosis, the name that dermedge uses for all datasets. For any other skin lesion, and for an
        ambiguous name such as akiec, the name in lower case. For a name that means "unknown", None. For any other
        name, the same name without spaces around it.
    """
    normal = normal_name(name or "")
    if name is None or normal in _UNKNOWN:
        return None
    return _known_diagnosis(normal) or name.strip()


@lru_cache(maxsize=65536)
def _known_diagnosis(normal: str) -> str | None:
    """Returns the diagnosis that a name from `normal_name` means; None if the name is not known."""
    for name in dict.fromkeys((normal, _without_additions(normal))):
        known = (
            _DIAGNOSES.get(_key(name))
            or _AS_LISTED.get(_key(name))
            or _of_finer_name(name)
            or _of_abbreviated_name(name)
        )
        if known:
            return known
    return None


def _of_abbreviated_name(name: str) -> str | None:
    """Returns the diagnosis of a name that is followed by an abbreviation or a wider name in parentheses.

    Examples are "basal cell carcinoma (BCC)" and "basal cell carcinoma (malignant)". If the abbreviation is akiec, the
    result is akiec, because the publisher uses this abbreviation for several diagnoses. The result is None if one of
    the two names is not known, or if the two names contradict each other.
    """
    parts = _ABBREVIATED.fullmatch(name)
    long, short = map(_known_diagnosis, parts.groups()) if parts else (None, None)
    if not long or not short or not compatible(long, short):
        return None
    if short == _AMBIGUOUS_CODE:
        return short
    return short if is_open(long) and not is_open(short) else long


def _without_additions(normal: str) -> str:
    """Returns a name from `normal_name` without a number in front, and without words such as "images" at the end."""
    return re.sub(f"({_WORD_BEHIND.pattern})+$", "", _NUMBER_IN_FRONT.sub("", normal, count=1))


def _of_finer_name(name: str) -> str | None:
    key = _key(name)
    found = next((diagnosis for diagnosis, form in _FINER_PATTERNS.items() if form.fullmatch(key)), None)
    return None if found and lists_several(name) else found


def lists_several(name: str) -> bool:
    """Tells whether a label lists diagnoses that exclude each other, as "melanoma, nevus" does."""
    normal = normal_name(name)
    parts = _BETWEEN.split(normal)
    if not _LISTING.search(normal) or not all(map(is_known, parts)):
        return False
    diagnoses = [diagnosis for part in parts if (diagnosis := diagnosis_of(part))]
    return any(not compatible(diagnoses[0], other) for other in diagnoses[1:])


def names_no_diagnosis(name: str) -> bool:
    """Tells whether the name of a folder suggests that nobody has diagnosed the photos yet, as "unknown" does."""
    key = _key(_without_additions(normal_name(name)))
    return key in _UNSORTED or (key in _UNKNOWN and key != "none")


def likely_meant(name: str) -> str | None:
    """Returns the diagnosis that a misspelled name probably means; None if the name does not seem to be misspelled."""
    key = _key(name)
    if is_known(name) or len(key) <= len(_NEVUS):
        return None
    close = get_close_matches(key, _DIAGNOSES, 1, _LIKENESS)
    return _DIAGNOSES[close[0]] if close and abs(len(close[0]) - len(key)) <= _LETTERS_TOO_MANY else None


def own_name(original: str) -> str:
    """Returns the name of the class that is made from a label, if every label becomes a class of its own.

    A publisher's code is replaced by the diagnosis that the code means. Any other known name is converted to lower
    case. An unknown name is not changed.
    """
    normal = normal_name(original)
    return _CODES.get(normal, normal if is_known(normal) else original)


def is_open(diagnosis: str) -> bool:
    """Tells whether a diagnosis is an ambiguous name, such as akiec or "malignant", which can mean several classes."""
    return diagnosis in _OPEN


def is_known(name: str) -> bool:
    """Tells whether a name is a known diagnosis, or an ambiguous name such as "benign" or "malignant"."""
    return diagnosis_of(name) in LESION_DIAGNOSES


def class_of(diagnosis: str) -> str:
    """Returns the class of a diagnosis: squamous cell carcinoma for keratoacanthoma, else the diagnosis itself."""
    return _SQUAMOUS if diagnosis == _ACANTHOMA else diagnosis


def possible_diagnoses(diagnosis: str) -> frozenset[str]:
    """Returns the diagnoses that an ambiguous name can mean. Any other diagnosis only means itself."""
    return frozenset(_OPEN.get(diagnosis, (diagnosis,)))


def compatible(one: str, other: str) -> bool:
    """Tells whether two diagnoses can both be true for one lesion: at least one class is possible for both."""
    return not _possible_classes(one).isdisjoint(_possible_classes(other))


@lru_cache(maxsize=65536)
def _possible_classes(diagnosis: str) -> frozenset[str]:
    return frozenset(spelling_key(class_of(name)) for name in possible_diagnoses(diagnosis))

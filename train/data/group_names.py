"""Recognizes the names of columns and folders that stand for lesions, persons or other groups of photos."""

from __future__ import annotations

import re
import unicodedata

__all__ = [
    "compact_name",
    "is_group_folder",
    "is_group_name",
    "is_visit_folder",
    "matching_id",
    "names_lesion",
    "names_part_of_person",
    "names_person",
]

_WORDS = (
    r"(l(ae?|e)sion|mole|specimen|biopsy|patient|patienten|pat|subject|person|participant|individual|case|"
    r"proband|probanden|paciente|paziente|pseudonym)s?"
)
_ID = r"(id|no|nr|num|number|nummer|code|key|[gu]?uid|identifier|name|hash)"
# Matches the compact names of columns with ids of lesions, persons or other groups, such as PatientID, Lesion #, MRN,
# Patientennummer, and ID du patient. The names n_lesion and number of cases do not match, because they are counts.
_GROUP = re.compile(
    rf"(anon|anonymized|anonymised|hashed|unique)?({_WORDS}|groups?){_ID}{{0,2}}|"
    rf"(id|code|codigo|codice|identifiant|hash)(de|del|du|della)?{_WORDS}|"
    r"(n|no|num|numero)((de|del|du|della)?(patient|paciente|paziente)|(de|del|du|della)(lesion|subject|person|case))|"
    r"(naevus|nevus|tumou?r|record)id|pid|fall(id|nr|nummer)|mrn|medicalrecord(no|number)|accession(no|number)?"
)
# These patterns tell what a name that `_GROUP` matches stands for. The first pattern is found in names for lesions, and
# the second in names for persons. The third is found in names for things of which a person can have several, such as
# moles.
_LESION = re.compile("l(ae?|e)sion|nevus|naevus|tumou?r")
_PERSON = re.compile(
    "pat|subject|person|participant|individual|proband|paciente|paziente|pseudonym|^pid|mrn|medicalrecord"
)
_PART_OF_PERSON = re.compile(f"{_LESION.pattern}|mole|specimen|biopsy")
_VISIT = re.compile("(visit|session|day|week|exam)s?|study|series")
# If the name of a folder ends in an id, these patterns match what stands before the id: before a letter, or before a
# number. Neither matches "group", because group_1 may be a class. Only the second matches "study" and "s", because
# study_a may be a dataset, and s_n may be a class.
_BEFORE_LETTER = re.compile(rf"(?!groups?)({_GROUP.pattern})")
_BEFORE_NUMBER = re.compile(rf"{_BEFORE_LETTER.pattern}|{_VISIT.pattern}|subj|volunteer|les|id|p|s")
_NUMBER, _LETTER = r"\d.*", r"[\W_][a-z]"
# Matches the ids that the ISIC archive gives. Such an id has seven digits; ISIC_2019 and HAM_10000 name datasets.
_ARCHIVE_ID = re.compile(r"(il|ham|isic)[\W_]+\d{7}(?!\d)")


def compact_name(name: str) -> str:
    """Returns the form of a name that is used to compare names. It has lower case, and no accents, spaces or signs."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKD", name.lower()))


def is_group_name(column: str) -> bool:
    """Tells whether the name of a column stands for lesions, persons or other groups of photos."""
    return _GROUP.fullmatch(compact_name(column)) is not None


def names_lesion(column: str) -> bool:
    """Tells whether a column for which `is_group_name` is true names lesions."""
    return _LESION.search(compact_name(column)) is not None


def names_person(column: str) -> bool:
    """Tells whether a column for which `is_group_name` is true names persons."""
    return _PERSON.search(compact_name(column)) is not None


def names_part_of_person(column: str) -> bool:
    """Tells whether a column for which `is_group_name` is true names things of which a person can have several."""
    return _PART_OF_PERSON.search(compact_name(column)) is not None


def is_group_folder(name: str) -> bool:
    """Tells whether the name of a folder is the id of a lesion, a person or a visit.

    The id is a number, as in patient_07 and MRN 4711. The id of a lesion or person may also be a single letter after a
    space or sign, as in Patient A.
    """
    return (
        _ARCHIVE_ID.match(name.lower()) is not None
        or _BEFORE_NUMBER.fullmatch(_before(_NUMBER, name)) is not None
        or _BEFORE_LETTER.fullmatch(_before(_LETTER, name)) is not None
    )


def is_visit_folder(name: str) -> bool:
    """Tells whether the name of a folder is the id of a visit, as visit_1 is."""
    return _VISIT.fullmatch(_before(_NUMBER, name)) is not None


def _before(id_form: str, name: str) -> str:
    """Returns the `compact_name` of what stands in front of the id in the name of a folder; empty if there is no id."""
    found = re.fullmatch(f"(.*?){id_form}", name.lower(), re.DOTALL)
    return compact_name(found[1]) if found else ""


def matching_id(written: str) -> str:
    """Returns the text that all spellings of an id have in common, such as P07, p-7 and "P 7".

    Capitals, spaces, signs and zeros in front of a number make no difference. The vowel signs of a script such as Thai
    make a difference, although Unicode does not count them as letters.
    """
    plain = unicodedata.normalize("NFC", written).casefold()
    spaced = re.sub(r"[\W_]", lambda sign: sign[0] if unicodedata.category(sign[0])[0] == "M" else " ", plain)
    parts = re.findall(r"\d+|[^\d\s]+", spaced)
    return " ".join(part.lstrip("0") or "0" for part in parts) or plain

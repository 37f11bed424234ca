"""Every name of a diagnosis and the class it means, written out by hand from the publishers' own tables."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from dermedge.train.data.diagnoses import (
    LESION_DIAGNOSES,
    NAMED_CLASSES,
    class_of,
    compatible,
    diagnosis_of,
    is_known,
    is_open,
    likely_meant,
    lists_several,
    names_no_diagnosis,
    normal_name,
    own_name,
    possible_diagnoses,
)

_PAGE = Path(__file__).parents[3] / "docs/data.md"

# The table of the classes, as the issue of the nine classes and MILK10k's ground truth have them.
CLASSES = {
    "melanoma": [
        "mel",
        "MEL",
        "melanoma",
        "Melanoma",
        "Melanoma, NOS",
        "Melanoma Invasive",
        "Melanoma in situ",
        "Melanoma metastasis",
        "malignant_melanoma",
        "Malignant melanocytic proliferations (Melanoma)",
        "lentigo maligna",
        "melanoma (less than 0.76 mm)",
        "melanoma (in situ)",
        "superficial spreading melanoma (SSM)",
    ],
    "nevus": [
        "nv",
        "NV",
        "NEV",
        "nevus",
        "Nevus",
        "Blue nevus",
        "Nevus, Acral",
        "Nevus, BAP-1 deficient",
        "Nevus, Balloon cell",
        "Nevus, Combined",
        "Nevus, Congenital",
        "Nevus, NOS, Compound",
        "Nevus, NOS, Dermal",
        "Nevus, NOS, Junctional",
        "Nevus, Recurrent or persistent",
        "Nevus, Reed",
        "Nevus, Spilus",
        "Nevus, Spitz",
        "nevus pigmentosus",
        "halo nevus, NOS",
        "melanocytic_Nevi",
        "clark nevus",
        "combined nevus",
        "dermal nevus",
        "recurrent nevus",
        "reed or spitz nevus",
    ],
    "dermatofibroma": ["df", "DF", "dermatofibroma", "Dermatofibroma"],
    "squamous cell carcinoma": [
        "scc",
        "SCC",
        "squamous cell carcinoma",
        "Squamous cell carcinoma, NOS",
        "Squamous cell carcinoma, Invasive",
        "Squamous cell carcinoma in situ, Bowens disease",
        "Keratoacanthoma",
    ],
    "basal cell carcinoma": ["bcc", "BCC", "basal_cell_carcinoma", "Basal cell carcinoma"],
    "actinic keratosis": ["ak", "AK", "ACK", "actinic keratosis", "Solar or actinic keratosis"],
    "benign keratosis": [
        "bkl",
        "BKL",
        "SEK",
        "pigmented benign keratosis",
        "Pigmented benign keratosis",
        "Seborrheic keratosis",
        "seborrheic keratosis",
        "benign_keratosis-like_lesions",
        "Lichen planus like keratosis",
        "lichenoid keratosis",
        "Solar lentigo",
    ],
    "vascular lesion": [
        "vasc",
        "VASC",
        "vascular lesion",
        "Hemangioma",
        "Hemangioma, Hobnail",
        "Angiokeratoma",
        "Pyogenic granuloma",
        "Benign soft tissue proliferations - Vascular",
    ],
}
OTHER_LESIONS = [
    "Benign - Other",
    "Clear cell acanthoma",
    "Exogenous",
    "Inflammatory or infectious diseases",
    "Infundibular or epidermal cyst",
    "Ink-spot lentigo",
    "Juvenile xanthogranuloma",
    "Mastocytosis",
    "Molluscum",
    "Mucosal melanotic macule",
    "Porokeratosis",
    "Sebaceous hyperplasia",
    "Supernumerary nipple",
    "Trichoblastoma",
]


def test_the_named_classes_in_their_order() -> None:
    assert NAMED_CLASSES == (
        "melanoma",
        "dermatofibroma",
        "nevus",
        "squamous cell carcinoma",
        "basal cell carcinoma",
        "actinic keratosis",
        "benign keratosis",
        "vascular lesion",
    )


@pytest.mark.parametrize(("wanted", "name"), [(c, name) for c, names in CLASSES.items() for name in names])
def test_the_class_of_a_name(wanted: str, name: str) -> None:
    diagnosis = diagnosis_of(name)
    assert diagnosis is not None
    assert class_of(diagnosis) == wanted
    assert diagnosis in LESION_DIAGNOSES


def test_a_keratoacanthoma_keeps_its_own_diagnosis() -> None:
    assert diagnosis_of("Keratoacanthoma") == "keratoacanthoma"
    assert compatible("keratoacanthoma", "squamous cell carcinoma")


@pytest.mark.parametrize("name", OTHER_LESIONS)
def test_other_lesions_are_of_no_named_class(name: str) -> None:
    assert diagnosis_of(name) == name.lower()
    assert name.lower() in LESION_DIAGNOSES
    assert class_of(name.lower()) not in NAMED_CLASSES


@pytest.mark.parametrize(
    "name",
    ["", "unknown", "UNK", "nan", " N/A ", "Not_labelled", "unlabeled", "n.a.", "Unbekannt", "Inconnu"],
)
def test_unknown_is_no_diagnosis(name: str) -> None:
    assert diagnosis_of(name) is None


@pytest.mark.parametrize(
    "name", ["Unknown", "unlabelled", "UNK", "2. Unsorted images", "to_do", "undiagnosed (12)"]
)
def test_a_folder_of_photos_without_a_diagnosis_is_recognized(name: str) -> None:
    assert names_no_diagnosis(name)


@pytest.mark.parametrize(
    "name", ["none", "none of these", "miscellaneous", "other", "nevus", "hands", "known"]
)
def test_a_folder_that_may_be_a_class_is_not_one_without_diagnoses(name: str) -> None:
    assert not names_no_diagnosis(name)


@pytest.mark.parametrize("name", ["clothing", "May", "0", "melanoma negative", "not melanoma", "group_a"])
def test_other_names_are_themselves(name: str) -> None:
    assert diagnosis_of(f" {name} ") == name
    assert not is_known(name)


@pytest.mark.parametrize(
    ("open_name", "may_be", "is_not"),
    [
        ("akiec", ["actinic keratosis", "squamous cell carcinoma"], ["melanoma", "nevus"]),
        (
            "actinic keratoses and intraepithelial carcinoma / bowen's disease",
            ["actinic keratosis", "squamous cell carcinoma", "akiec"],
            ["melanoma"],
        ),
        (
            "benign",
            ["nevus", "dermatofibroma", "benign keratosis", "vascular lesion"],
            ["melanoma", "basal cell carcinoma"],
        ),
        (
            "malignant",
            ["melanoma", "squamous cell carcinoma", "basal cell carcinoma"],
            ["nevus", "dermatofibroma"],
        ),
        ("collision - at least one malignant proliferation", ["melanoma", "basal cell carcinoma"], ["nevus"]),
        ("benign melanocytic proliferations", ["nevus"], ["melanoma"]),
        ("atypical intraepithelial melanocytic proliferation", ["nevus", "melanoma"], ["dermatofibroma"]),
    ],
)
def test_open_names(open_name: str, may_be: list[str], is_not: list[str]) -> None:
    assert is_open(open_name)
    assert all(compatible(open_name, other) and compatible(other, open_name) for other in may_be)
    assert not any(compatible(open_name, other) for other in is_not)


def test_diagnoses_that_contradict() -> None:
    assert not compatible("melanoma", "nevus")
    assert not compatible("actinic keratosis", "squamous cell carcinoma")
    assert compatible("nevus", "nevus")


@pytest.mark.parametrize(
    ("original", "own"),
    [
        ("mel", "melanoma"),
        ("SEK", "seborrheic keratosis"),
        ("Pigmented benign keratosis", "pigmented benign keratosis"),
        ("akiec", "akiec"),
        ("Odd Mole", "Odd Mole"),
    ],
)
def test_own_names_are_kept_and_codes_written_out(original: str, own: str) -> None:
    assert own_name(original) == own


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (
            "melanoma",
            [
                "Superficial spreading melanoma",
                "nodular_melanoma",
                "in situ melanoma",
                "Mélanome",
                "1. Melanoma",
            ],
        ),
        (
            "melanoma",
            [
                "Acral lentiginous melanoma",
                "metastatic melanoma",
                "Melanom",
                "melanoma images",
                "02_melanoma",
            ],
        ),
        (
            "nevus",
            ["dysplastic naevus", "halo nevus", "Intradermal Nevi", "Nävus", "nævus", "lunar", "nevus (120)"],
        ),
        ("nevus", ["congenital melanocytic naevus", "benign nevus", "naevus, spitz"]),
        (
            "squamous cell carcinoma",
            ["Bowen", "Morbus Bowen", "carcinome épidermoïde", "Plattenepithelkarzinom"],
        ),
        ("basal cell carcinoma", ["Basaliom", "basal cell carcinomas", "nodular basal cell carcinoma"]),
        ("actinic keratosis", ["Queratosis actínica", "aktinische Keratose"]),
        (
            "benign keratosis",
            ["Seborrhoische Keratose", "Queratosis seborreica", "seborrheic keratosis photos"],
        ),
        ("vascular lesion", ["Hämangiom", "hémangiome"]),
        ("dermatofibroma", ["3) Dermatofibrom", "Dermatofibrome"]),
        ("melanoma", ["superficial spreading melanoma ssm", "lentigo maligna melanoma in situ"]),
        ("melanoma", ["Melanoma Invasive, Superficial spreading", "Melanoma in situ, lentigo maligna type"]),
        (
            "melanoma",
            ["Melanoma in situ (MIS)", "2. Melanoma 15.75k", "melanoma - 1113", "Melanoma (MEL) images"],
        ),
        ("nevus", ["5. Melanocytic Nevi (NV) - 7970", "Melanocytic nevi (nv)", "Nevi (nevus)"]),
        (
            "basal cell carcinoma",
            ["4. Basal Cell Carcinoma (BCC) 3323", "Basal cell carcinoma, Nodular, NOS"],
        ),
        (
            "squamous cell carcinoma",
            ["SCCKA", "Squamous Cell Carcinoma (SCC)", "Bowen\u2019s disease", "Bowen\u00b4s disease"],
        ),
        ("basal cell carcinoma", ["Basal cell carcinoma (malignant)", "3. BCC (malignant)", "Cancer (BCC)"]),
        ("nevus", ["Nevus (benign)", "2. Nevus (benign)", "Benign (nevus)"]),
        ("akiec", ["Actinic keratoses (akiec)"]),
        ("benign keratosis", ["Benign keratosis-like lesions (bkl)", "Seborrheic keratosis, irritated"]),
        ("vascular lesion", ["Vascular lesions (vasc)", "Hemangioma, cherry"]),
        ("dermatofibroma", ["Dermatofibroma (df)", "Dermatofibroma, cellular"]),
        ("basal cell carcinoma", ["basal cell carcinoma morpheiform", "solid cystic basal cell carcinoma"]),
        ("squamous cell carcinoma", ["well differentiated squamous cell carcinoma", "SCC in situ"]),
        ("benign keratosis", ["seborrheic keratosis irritated", "solar lentigines"]),
        ("vascular lesion", ["cherry angioma", "spider angioma"]),
    ],
)
def test_names_as_clinics_and_other_languages_write_them(wanted: str, names: list[str]) -> None:
    assert {diagnosis_of(name) for name in names} == {wanted}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (
            "nevus",
            ["Nävus", "Nävi", "blauer Nävus", "blauer Navus", "blauer Naevus", "nævus bleu", "nävus bleu"],
        ),
        (
            "nevus",
            ["melanocytic nävus", "halo nävus", "Nävus, Spitz", "3. blauer Nävus (12)", "blauer_Nävus"],
        ),
        ("vascular lesion", ["Hämangiom", "Haemangiom", "Hamangiom", "senile hämangioma", "hæmangioma"]),
        ("benign keratosis", ["seborrhoische Keratose", "seborrhöische Keratose", "seborrhoeische Keratose"]),
        ("benign keratosis", ["seborrhœic keratosis", "seborrhöic keratosis irritated"]),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_with_an_umlaut_and_with_two_letters(
    form: Literal["NFC", "NFD"], wanted: str, names: list[str]
) -> None:
    found = {name: diagnosis_of(unicodedata.normalize(form, name)) for name in names}
    assert found == dict.fromkeys(names, wanted)


@pytest.mark.parametrize(
    "name",
    [
        "non-melanoma",
        "no melanoma",
        "sebaceous nevus",
        "epidermal nevus",
        "nevus sebaceous",
        "1",
        "12 monkeys",
        "melanoma dataset",
        "angiofibromatosis",
        "nevus, sebaceous",
        "nevus (epidermal)",
        "nevus 2",
        "nevus 002",
        "nevus_120",
        "basal cell carcinoma (nv)",
        "basal cell carcinoma (left)",
    ],
)
def test_names_that_only_look_like_one_are_themselves(name: str) -> None:
    assert not is_known(name)
    assert likely_meant(name) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("melonoma", "melanoma"),
        ("navuss", "nevus"),
        ("Basal cell carcinma", "basal cell carcinoma"),
        ("dermatofibroms", "dermatofibroma"),
        ("melanoma", None),
        ("clothing", None),
        ("nevi2", None),
    ],
)
def test_misspelled_names(name: str, meant: str | None) -> None:
    assert likely_meant(name) == meant


def test_letters_with_accents_may_be_one_character_or_two() -> None:
    forms = [unicodedata.normalize(form, "Muttermäler_groß") for form in ("NFC", "NFD")]
    assert [*map(normal_name, forms)] == ["muttermäler groß"] * 2


def _names_of_the_page() -> dict[str, list[str]]:
    """Returns the names that docs/data.md lists for each class."""
    section = _PAGE.read_text(encoding="utf-8").partition("### Names of diagnoses")[2].partition("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[0] == ["class", "short names in tables", "other names"]
    # "and other nevi" is no name of its own
    return {row[0]: re.split("[,;] ", ", ".join(row).replace(" and other nevi", "")) for row in rows[2:]}


def test_the_page_lists_names_of_all_classes() -> None:
    listed = _names_of_the_page()
    assert sorted(listed) == sorted(NAMED_CLASSES)
    assert all(len(names) >= 4 for names in listed.values())


@pytest.mark.parametrize(
    ("wanted", "name"), [(c, one) for c, found in _names_of_the_page().items() for one in found]
)
def test_each_name_of_the_page_is_recognized_in_each_spelling(wanted: str, name: str) -> None:
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter)
    )
    umlauts = name.replace("ae", "ä").replace("oe", "ö")
    two_letters = name.replace("ä", "ae").replace("ö", "oe")
    written = [
        name,
        plain,
        umlauts,
        two_letters,
        name.upper(),
        name.replace(" ", "_"),
        name.replace(" ", "-"),
    ]
    written += [f"1. {name} (120)", *(unicodedata.normalize("NFD", one) for one in (name, umlauts))]
    found = {one: class_of(diagnosis_of(one) or "") for one in written}
    assert found == dict.fromkeys(written, wanted)


def test_the_ambiguous_names_of_the_page_are_ambiguous() -> None:
    passage = re.search(
        r"Some names can mean several diagnoses: (.*?)If one", _PAGE.read_text("utf-8"), re.DOTALL
    )
    assert passage
    listed = re.findall('"([^"]+)"', passage[1])
    assert listed == ["akiec", "lentigo", "malignant", "cancer", "benign", "no cancer"]
    assert all(is_open(name) for name in listed)
    assert set(possible_diagnoses("akiec")) == {"actinic keratosis", "squamous cell carcinoma"}
    assert set(possible_diagnoses("lentigo")) == {"benign keratosis", "nevus"}


@pytest.mark.parametrize(
    "name", ["melanoma, nevus", "Nevus, Melanoma", "MEL|NV", "bcc, nevus and mel", "melanoma or nevus"]
)
def test_a_label_that_lists_diagnoses_is_none_of_them(name: str) -> None:
    """Earlier, "melanoma, nevus" was a melanoma, as "melanoma, nodular" is."""
    assert lists_several(name)
    assert not is_known(name)


@pytest.mark.parametrize(
    "name", ["BCC/SCC", "Actinic keratosis / Bowen's disease", "SK & nevus", "AK and SCC"]
)
def test_a_class_of_several_diagnoses_is_a_class_of_the_users_own(name: str) -> None:
    """Earlier, a table could not state such a class. A folder could."""
    assert not lists_several(name)
    assert not is_known(name)


@pytest.mark.parametrize(
    "name",
    [
        "melanoma, nodular",
        "nevus, reed",
        "Melanoma, lentigo maligna",
        "squamous cell carcinoma, keratoacanthoma",
        "squamous cell carcinoma in situ, bowens disease",
        "solar or actinic keratosis",
        "reed or spitz nevus",
        "Nevus, Atypical, Dysplastic, or Clark",
        "malignant, melanoma",
        "MEL(melanoma)",
    ],
)
def test_a_label_with_a_finer_name_lists_no_diagnoses(name: str) -> None:
    assert not lists_several(name)
    assert is_known(name) or name.startswith("malignant")


def test_every_name_that_says_that_nobody_has_diagnosed_the_photos() -> None:
    told = ["unsorted", "unclassified", "undiagnosed", "unannotated", "uncategorized", "todo", "tbd"]
    assert all(names_no_diagnosis(name) for name in [*told, "to do", "to_do", "Unclassified"])
    assert not any(names_no_diagnosis(name) for name in ("none", "nevus", "classified"))

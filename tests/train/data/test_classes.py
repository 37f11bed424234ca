"""Which classes are learned, and what each photo counts as."""

from __future__ import annotations

import pytest

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import NONE_OF_THESE, Photo
from dermedge.train.data.classes import choose_classes, label_under, mapping_lines
from dermedge.train.data.diagnoses import diagnosis_of

FOUR = ("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma")


def photos(*labels: str) -> list[Photo]:
    return [
        Photo(f"{n}.jpg", str(n), "", str(n), diagnosis_of(label) or "", "", "s", original_label=label)
        for n, label in enumerate(labels)
    ]


def test_the_four_lesions_are_the_classes_where_all_four_are_there() -> None:
    chosen = choose_classes(photos("mel", "df", "nv", "Keratoacanthoma", "bcc", "shirt"), None)
    assert chosen.names == (*FOUR, NONE_OF_THESE)
    assert chosen.labels == (
        "melanoma",
        "dermatofibroma",
        "nevus",
        "squamous cell carcinoma",
        NONE_OF_THESE,
        NONE_OF_THESE,
    )


def test_where_one_of_the_four_is_missing_every_diagnosis_is_a_class() -> None:
    chosen = choose_classes(photos("nv", "mel", "bcc", "nv"), None)
    assert chosen.names == ("basal cell carcinoma", "melanoma", "nevus")
    assert chosen.labels == ("nevus", "melanoma", "basal cell carcinoma", "nevus")


def test_all_keeps_every_label_and_writes_codes_out() -> None:
    chosen = choose_classes(photos("nv", "Reed nevus", "SEK", "Odd Mole"), ["all"])
    assert chosen.names == ("Odd Mole", "nevus", "reed nevus", "seborrheic keratosis")
    assert chosen.labels == ("nevus", "reed nevus", "seborrheic keratosis", "Odd Mole")


def test_asked_classes_keep_their_order_and_all_else_is_none_of_these() -> None:
    chosen = choose_classes(photos("nv", "mel", "bcc"), ["nevus", "melanoma", "nevus"])
    assert chosen.names == ("nevus", "melanoma", NONE_OF_THESE)
    assert chosen.labels == ("nevus", "melanoma", NONE_OF_THESE)
    assert choose_classes(photos("nv", "mel"), ["nevus", NONE_OF_THESE]).names == ("nevus", NONE_OF_THESE)


def test_a_label_that_leaves_the_class_open_has_none() -> None:
    # akiec may be a squamous cell carcinoma, but not a nevus.
    asked = photos("nv", "scc", "akiec")
    assert choose_classes(asked, ["nevus", "squamous cell carcinoma"]).labels[2] is None
    assert choose_classes(photos("nv", "mel", "akiec"), ["nevus", "melanoma"]).labels[2] == NONE_OF_THESE


def test_the_finest_name_that_is_a_class_counts() -> None:
    [reed] = photos("Reed nevus")
    assert label_under(reed, ["nevus"]) == "nevus"
    assert label_under(reed, ["nevus", "Reed_Nevus"]) == "Reed_Nevus"
    [horn] = photos("Keratoacanthoma")
    assert label_under(horn, ["squamous cell carcinoma", "keratoacanthoma"]) == "keratoacanthoma"
    assert label_under(horn, ["squamous cell carcinoma"]) == "squamous cell carcinoma"


def test_one_class_and_none_are_refused() -> None:
    with pytest.raises(DataError, match="two classes or more; found: nevus; add photos of another class"):
        choose_classes(photos("nv", "nv"), None)
    with pytest.raises(DataError, match="two classes or more; found: none"):
        choose_classes([], None)
    with pytest.raises(OptionError, match=r"no photo shows the class 'melanoma'\. There are: .*nevus"):
        choose_classes(photos("nv", "bcc"), ["nevus", "melanoma"])


def test_what_became_which_class_is_counted() -> None:
    some = [
        *(Photo("", "", "", "", "", "nevus", "", original_label=one) for one in ("nv", "Reed nevus", "nv")),
        Photo("", "", "", "", "", "melanoma", "", original_label="mel"),
    ]
    assert mapping_lines(some, ["nevus", "melanoma"]) == [
        "class 'nevus', 3 photos with the labels: nv 2, Reed nevus 1",
        "class 'melanoma', 1 photo with the labels: mel 1",
    ]
    plain = [Photo("", "", "", "", "", one, "", original_label=one) for one in ("cat", "dog", "cat")]
    assert mapping_lines(plain, ["cat", "dog"]) == ["classes: cat 2, dog 1"]

"""The borders of each check of an audit, on photos made up without files, and the layout of the report."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from dermedge.train.data.audit.balance_checks import (
    check_imbalance,
    check_many_photos_of_a_lesion,
    check_one_source,
    check_set_of_one_class,
    check_small_set,
)
from dermedge.train.data.audit.checks import CHECKS
from dermedge.train.data.audit.file_checks import (
    check_one_id_two_photos,
    check_plain,
    check_tiny,
    check_unreadable,
)
from dermedge.train.data.audit.findings import AuditFinding, FindingExample
from dermedge.train.data.audit.label_checks import (
    check_against_the_table,
    check_lesion_of_two_diagnoses,
    check_two_labels,
    check_unlabelled,
)
from dermedge.train.data.audit.leak_checks import (
    check_across_sources,
    check_duplicates_in_one_place,
    check_lesion_across_sources,
    check_lesion_across_splits,
    check_person_across_splits,
    check_photo_across_splits,
)
from dermedge.train.data.audit.material import AuditedPhoto, AuditMaterial, contradict
from dermedge.train.data.audit.report import to_html, to_json, to_text
from dermedge.train.data.audit.run import Audit
from dermedge.train.data.audit.shape_checks import check_all_square, check_cut, check_squashed
from dermedge.train.data.duplicates import Match

PHOTO = AuditedPhoto(Path("a.jpg"), "set/a.jpg", "a", "", "", "set", "", "", "", 400, 300, "")


def photo(number: int, **facts: Any) -> AuditedPhoto:
    named = {"path": Path(f"{number}.jpg"), "name": f"set/{number}.jpg", "image_id": f"id{number}"}
    return replace(PHOTO, **{**named, **facts})


def many(count: int, start: int = 0, **facts: Any) -> list[AuditedPhoto]:
    return [photo(number, **facts) for number in range(start, start + count)]


def material(
    photos: Sequence[AuditedPhoto],
    matches: Sequence[Match] = (),
    same: Sequence[tuple[int, ...]] = (),
    digests: str = "",
    features: Sequence[int] = (),
) -> AuditMaterial:
    """The material of an audit of these photos.

    Each tuple of ``same`` holds the numbers of the files of one photo. Equal letters of ``digests`` mean
    equal files. Without ``digests``, no two files are equal.
    """
    count = len(photos)
    prints = SimpleNamespace(
        digests=list(digests) or [f"digest {number}" for number in range(count)],
        records={"count": np.array(features or [9] * count)},
    )
    first_of = list(range(count))
    for members in same:
        for member in members:
            first_of[member] = min(members)
    by_pair = {(match.first, match.second): match for match in matches}
    return AuditMaterial(tuple(photos), cast(Any, prints), by_pair, tuple(same), tuple(first_of))


def told(finding: AuditFinding | None) -> tuple[str, str, str, tuple[tuple[str, int], ...]] | None:
    return finding and (finding.kind, finding.severity, finding.title, finding.breakdown)


def test_a_class_is_of_one_set_above_nine_tenths() -> None:
    nevi = [*many(9, source="a", reference="nevus"), *many(1, 9, source="b", reference="nevus")]
    assert check_one_source(material(nevi)) is None
    nevi = [*many(10, source="a", reference="nevus"), *many(1, 10, source="b", reference="nevus")]
    assert told(check_one_source(material(nevi))) == (
        "class from one set",
        "warning",
        "1 class mostly from one of 2 datasets (more than 90% of the files)",
        (("nevus: 10 of 11 files from a", 1),),
    )
    # With one dataset, the check has no meaning. Photos without a label belong to no class.
    assert check_one_source(material(many(10, source="a", reference="nevus"))) is None
    assert check_one_source(material([*many(10, source="a"), *many(1, 10, source="b")])) is None


def test_a_set_is_of_one_class_above_nine_tenths() -> None:
    others = many(9, 20, source="b", reference="melanoma") + many(1, 29, source="b", reference="nevus")
    known = [*many(9, source="a", reference="nevus"), *many(1, 9, source="a", reference="melanoma"), *others]
    assert check_set_of_one_class(material(known)) is None
    known = [
        *many(10, source="a", reference="nevus"),
        *many(1, 10, source="a", reference="melanoma"),
        *others,
    ]
    assert told(check_set_of_one_class(material(known))) == (
        "set of one class",
        "warning",
        "1 dataset mostly of one class (more than 90% of the files)",
        (("a: 10 of 11 files are nevus", 1),),
    )
    assert check_set_of_one_class(material(many(5, source="a", reference="nevus"))) is None
    one_class = [*many(5, source="a", reference="nevus"), *many(5, 5, source="b", reference="nevus")]
    assert check_set_of_one_class(material(one_class)) is None
    # With one dataset, the check has no meaning.
    assert check_set_of_one_class(material(known[:11])) is None


def test_a_set_is_small_by_the_shorter_side_of_what_can_be_decoded() -> None:
    usual = [*many(1, source="a", width=300, height=200), *many(1, 1, source="b", width=200, height=260)]
    for height, is_small in ((99, True), (100, False)):
        tested = material([*usual, *many(1, 2, source="c", width=400, height=height)])
        expected = (
            "small set",
            "warning",
            "1 dataset of small photos (side length below 50% of the median of all datasets)",
            (("c: 99 pixels; the median of all datasets is 200", 1),),
        )
        assert told(check_small_set(tested)) == (expected if is_small else None)
    broken = many(1, 2, source="c", width=0, height=0, problem="not a photo")
    assert check_small_set(material([*usual, *broken])) is None
    assert check_small_set(material(broken)) is None


def test_a_lesion_has_many_photos_above_five_different_ones() -> None:
    photos = many(6, lesion_id="L", reference="nevus")
    finding = check_many_photos_of_a_lesion(material(photos))
    assert told(finding) == (
        "many photos of a lesion",
        "note",
        "1 lesion with more than 5 different photos",
        (("nevus", 1),),
    )
    assert finding is not None
    assert finding.examples == (FindingExample((0, 1), "6 photos of L"),)
    assert check_many_photos_of_a_lesion(material(photos[:5])) is None
    # two files of one photo count once
    assert check_many_photos_of_a_lesion(material(photos, same=[(1, 4)])) is None
    unlabelled = check_many_photos_of_a_lesion(material(many(6, lesion_id="L")))
    assert told(unlabelled) == ("many photos of a lesion", "note", told(finding)[2], (("no label", 1),))  # type: ignore[index]
    assert check_many_photos_of_a_lesion(material(many(6))) is None


def test_a_class_is_rare_below_a_tenth_of_the_largest() -> None:
    rare = many(1, 50, reference="melanoma")
    assert check_imbalance(material([*many(10, reference="nevus"), *rare])) is None
    assert told(check_imbalance(material([*many(11, reference="nevus"), *rare]))) == (
        "imbalance",
        "note",
        "1 class with less than 1/10 as many files as 'nevus'",
        (("melanoma: 1 file, against 11", 1),),
    )
    assert check_imbalance(material(many(3))) is None


def test_files_that_are_broken_tiny_or_plain() -> None:
    photos = [
        photo(0, width=0, height=0, problem="not a photo (no header)"),
        photo(1, width=200, height=63),
        photo(2, width=64, height=64, reference="nevus"),
        photo(3),
    ]
    tested = material(photos, features=[0, 5, 0, 1])
    assert told(check_unreadable(tested)) == (
        "unreadable",
        "error",
        "1 file that cannot be decoded",
        (("not a photo", 1),),
    )
    assert told(check_tiny(tested)) == (
        "tiny",
        "warning",
        "1 photo with a side below 64 pixels",
        (("200x63 in set", 1),),
    )
    assert told(check_plain(tested)) == (
        "plain",
        "warning",
        "1 photo without any structure: black, or of one colour",
        (("nevus in set", 1),),
    )
    assert told(check_plain(material([photo(0)], features=[0])))[3] == (("no label in set", 1),)  # type: ignore[index]


def test_one_id_of_two_photos() -> None:
    photos = [photo(0, image_id="one"), photo(1, image_id="one", source="b"), photo(2, image_id="one")]
    tested = material(photos, same=[(0, 1, 2)], digests="aba")
    finding = check_one_id_two_photos(tested)
    assert told(finding) == (
        "one id, two photos",
        "warning",
        "1 id given to files that do not look alike",
        (("b and set", 1),),
    )
    assert [one.detail for one in finding.examples] == ["one: the pixels differ"]  # type: ignore[union-attr]
    alike = [Match(0, 1, 0.9, 50, 0, False, False), Match(1, 2, 0.9, 50, 0, False, False)]
    assert check_one_id_two_photos(material(photos, alike, [(0, 1, 2)], "aba")) is None
    broken = [photos[0], replace(photos[1], problem="not a photo")]
    assert check_one_id_two_photos(material(broken, same=[(0, 1)], digests="ab")) is None


def test_labels_that_contradict_one_another_or_a_table() -> None:
    photos = [
        photo(0, folder="nevus", lesion_id="L"),
        photo(1, folder="melanoma", lesion_id="L"),
        photo(2, folder="nevus", reference="melanoma"),
        photo(3),
    ]
    tested = material(photos, same=[(0, 1)], digests="aabc")
    assert told(check_two_labels(tested)) == (
        "one photo, two labels",
        "error",
        "1 photo filed under two labels",
        (("'melanoma' and 'nevus' (1 with equal bytes), 1 of the 1 files labelled 'melanoma'", 1),),
    )
    assert told(check_against_the_table(tested)) == (
        "label against the table",
        "error",
        "1 file in a folder that the publisher's table contradicts",
        (("in 'nevus', but the table says melanoma", 1),),
    )
    assert told(check_lesion_of_two_diagnoses(material(photos))) == (
        "one lesion, two diagnoses",
        "error",
        "1 lesion with photos under two diagnoses",
        (("melanoma and nevus", 1),),
    )
    assert told(check_unlabelled(tested)) == (
        "no label",
        "note",
        "1 file without a class folder and without a diagnosis in a table",
        (("set", 1),),
    )


def test_a_name_that_is_no_diagnosis_contradicts_none() -> None:
    assert contradict("melanoma", "nevus")
    assert contradict("cat", "dog")
    assert not contradict("group_a", "nevus")
    assert not contradict("nevus", "group_a")
    # a malignant lesion may be a melanoma
    assert not contradict("malignant", "melanoma")


def test_a_person_in_two_splits() -> None:
    photos = [
        photo(0, part="train", patient_id="P", lesion_id="L"),
        photo(1, part="test", patient_id="P", lesion_id="M"),
        photo(2, part="val", patient_id="P"),
        photo(3, part="train", patient_id="Q"),
        photo(4, part="train", patient_id="Q"),
        photo(5, part="train"),
        photo(6, part="test"),
        photo(7, part="test", source="b", patient_id="Q"),
    ]
    assert told(check_person_across_splits(material(photos))) == (
        "one person, two splits",
        "error",
        "1 person with different photos in two splits of one dataset",
        (("test and train of set", 1),),
    )
    assert check_lesion_across_splits(material(photos)) is None
    assert check_person_across_splits(material(photos[3:])) is None
    # a photo in two splits is another finding
    assert check_person_across_splits(material(photos[:2], same=[(0, 1)])) is None


def test_photos_and_lesions_in_two_places() -> None:
    photos = [
        photo(0, part="train", lesion_id="L", folder="nevus"),
        photo(1, part="test", lesion_id="L", folder="nevus"),
        photo(2, source="b", lesion_id="L", image_id="id1", folder="nevus"),
        photo(3, part="train", lesion_id="", folder="nevus"),
        photo(4, part="train", lesion_id="", folder="nevus"),
    ]
    tested = material(photos, same=[(1, 2), (3, 4)])
    assert told(check_lesion_across_splits(tested)) == (
        "one lesion, two splits",
        "error",
        "1 lesion with different photos in two splits of one dataset",
        (("test and train of set", 1),),
    )
    assert told(check_across_sources(tested)) == (
        "one photo, two sets",
        "warning",
        "1 photo in two datasets",
        (("b and set (1 under the same id)", 1),),
    )
    assert told(check_lesion_across_sources(tested)) == (
        "one lesion, two sets",
        "warning",
        "1 lesion with different photos in two datasets",
        (("b and set", 1),),
    )
    assert told(check_duplicates_in_one_place(tested)) == (
        "copies",
        "warning",
        "1 file showing the same photo as another file of the same dataset and class",
        (("nevus in set", 1),),
    )
    assert check_photo_across_splits(tested) is None
    assert told(check_photo_across_splits(material(photos, same=[(0, 1)], digests="aabcd"))) == (
        "one photo, two splits",
        "error",
        "1 photo in two splits of one dataset",
        (("test and train of set (1 with equal bytes)", 1),),
    )


def test_copies_are_of_one_dataset_split_and_class() -> None:
    def copies(**facts: str) -> bool:
        photos = [
            photo(0, part="train", folder="nevus"),
            photo(1, **{"part": "train", "folder": "nevus"} | facts),
        ]
        return check_duplicates_in_one_place(material(photos, same=[(0, 1)])) is not None

    assert copies()
    # a class may have two names
    assert copies(folder="nv")
    assert not copies(source="b")
    assert not copies(part="test")
    assert not copies(folder="melanoma")


def test_one_photo_of_three_files_in_two_sets_is_under_the_same_id_if_any_two_are() -> None:
    photos = [photo(0), photo(1, source="b"), photo(2, source="b", image_id="id0")]
    found = told(check_across_sources(material(photos, same=[(0, 1, 2)])))
    assert found is not None
    assert found[2:] == ("1 photo in two datasets", (("b and set (1 under the same id)", 1),))


def test_a_photo_in_three_sets_is_one_photo_with_three_pairs_of_sets() -> None:
    photos = [photo(0, source="a"), photo(1, source="b"), photo(2, source="c")]
    found = check_across_sources(material(photos, same=[(0, 1, 2)]))
    assert found is not None
    assert (found.title, found.count, found.files) == ("1 photo in two datasets", 1, 3)
    assert [where.partition(" (")[0] for where, _ in found.breakdown] == ["a and b", "a and c", "b and c"]


def test_two_files_of_one_photo_are_not_two_photos_of_a_lesion() -> None:
    photos = [
        photo(0, lesion_id="L", part="train", reference="nevus"),
        photo(1, lesion_id="L", part="test", reference="melanoma"),
        photo(2, lesion_id="L", source="b", part="train"),
    ]
    checks = (check_lesion_across_sources, check_lesion_across_splits, check_lesion_of_two_diagnoses)
    assert all(check(material(photos)) is not None for check in checks)
    assert all(check(material(photos, same=[(0, 1, 2)])) is None for check in checks)


def test_of_several_files_in_two_splits_those_with_equal_bytes_are_the_example() -> None:
    photos = [photo(0, part="train"), photo(1, part="test"), photo(2, part="test")]
    found = check_photo_across_splits(material(photos, same=[(0, 1, 2)], digests="aba"))
    assert found is not None
    assert [(example.files, example.detail) for example in found.examples] == [((0, 2), "equal bytes")]
    assert found.breakdown == (("test and train of set (1 with equal bytes)", 1),)


def test_splits_of_two_datasets_are_not_compared_and_pairs_are_in_the_order_of_the_datasets() -> None:
    photos = [photo(0, source="b", part="train"), photo(1, source="a", part="test")]
    tested = material(photos, same=[(0, 1)])
    assert check_photo_across_splits(tested) is None
    found = check_across_sources(tested)
    assert found is not None
    assert [example.files for example in found.examples] == [(1, 0)]
    lesions = [replace(one, lesion_id="L") for one in photos]
    assert check_lesion_across_splits(material(lesions)) is None


def test_the_largest_group_of_cases_comes_first_and_equal_ones_by_name() -> None:
    photos = [
        *many(2, problem="no photo (1 byte)"),
        *many(3, 2, problem="empty"),
        *many(2, 5, problem="a folder"),
    ]
    found = told(check_unreadable(material(photos)))
    assert found is not None
    assert found[3] == (("empty", 3), ("a folder", 2), ("no photo", 2))


def test_all_checks_are_made_in_the_order_of_their_weight() -> None:
    assert [check.__name__.removeprefix("check_") for check in CHECKS] == [
        *("two_labels", "against_the_table", "lesion_of_two_diagnoses"),
        *("photo_across_splits", "lesion_across_splits", "person_across_splits", "unreadable"),
        *("one_id_two_photos",),
        *("across_sources", "lesion_across_sources", "squashed", "duplicates_in_one_place", "tiny", "plain"),
        *("one_source", "set_of_one_class", "small_set", "imbalance", "many_photos_of_a_lesion"),
        *("cut", "all_square", "unlabelled"),
    ]


def test_the_example_of_a_folder_of_squares_is_its_first_photo() -> None:
    squares = [photo(3, width=300, height=400), *many(10, 4, width=200, height=200)]
    squares[0] = replace(squares[0], name="other/3.jpg")
    found = check_all_square(material(squares))
    assert found is not None
    assert [example.files for example in found.examples] == [(1,)]


def test_shapes_that_differ() -> None:
    photos = [
        photo(0, width=400, height=300),
        photo(1, width=300, height=300),
        photo(2, width=309, height=300),
    ]
    squashed = Match(0, 1, 0.9, 50, 0, False, True)
    tested = material(photos, [squashed])
    assert told(check_squashed(tested)) == (
        "squashed",
        "warning",
        "1 photo whose files have two aspect ratios, because one file is squashed",
        (("300x300 in set and 400x300 in set", 1),),
    )
    assert check_cut(tested) is None
    assert told(check_cut(material(photos, [replace(squashed, squashed=False)]))) == (
        "cut",
        "note",
        "1 photo stored whole in one file and cropped in another",
        (("300x300 in set and 400x300 in set", 1),),
    )
    # A photo that was turned upright does not count as cropped.
    turned = [photos[0], replace(photos[0], name="set/turned.jpg", width=300, height=400)]
    assert check_cut(material(turned, [replace(squashed, squashed=False, degrees=90)])) is None
    # Sides that differ by rounding do not make a crop.
    barely = Match(1, 2, 0.9, 50, 0, False, False)
    assert check_cut(material(photos, [barely])) is None
    wider = [photos[0], photos[1], replace(photos[2], width=310)]
    assert check_cut(material(wider, [barely])) is not None


def test_a_folder_of_ten_squares_is_noted() -> None:
    squares = many(10, width=200, height=200)
    assert told(check_all_square(material(squares))) == (
        "all square",
        "note",
        "1 folder with square photos only",
        (("set: 10 files", 1),),
    )
    assert check_all_square(material(squares[:9])) is None
    assert check_all_square(material([*squares, photo(10)])) is None
    broken = photo(10, width=0, height=1, problem="not a photo")
    assert check_all_square(material([*squares, broken])) is not None


def test_how_two_files_are_known_to_be_one_photo() -> None:
    photos = [photo(0), photo(1), photo(2, image_id="id1", width=200)]
    turned = Match(0, 1, 0.876, 50, 90, False, True)
    tested = material(photos, [turned], digests="aba")
    assert tested.likeness(0, 2) == "equal bytes"
    assert tested.likeness(1, 0) == "similarity 0.88, squashed, rotated or mirrored"
    assert tested.likeness(1, 2) == "the same id, 400x300 and 200x300"
    assert material(photos).likeness(0, 1) == "both duplicate a third file"
    # The empty digests of files that cannot be read do not make these files equal.
    assert material(photos[:2], digests="aa").equal(0, 1)
    assert not replace(material(photos[:2]), prints=cast(Any, SimpleNamespace(digests=["", ""]))).equal(0, 1)


@pytest.fixture
def long_audit(tmp_path: Path) -> Audit:
    """An audit with one finding in 32 places and with 11 examples; each photo is 300 by 450 pixels."""
    photos = []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        assert cv2.imwrite(str(path), np.full((450, 300, 3), 90, np.uint8))
        photos.append(
            photo(
                number, path=path, width=300 + (number + 2) // 3, height=450, reference="nevus", folder="mole"
            )
        )
    photos.append(photo(11, source="b", problem="not a photo"))
    finding = AuditFinding(
        "kind",
        "error",
        "11 photos wrong",
        11,
        12,
        tuple((f"place {number}", 32 - number) for number in range(32)),
        "Look.",
        tuple(FindingExample((number,), f"detail {number}") for number in range(11)),
    )
    return Audit(tuple(photos), (), (finding,), ("a line",), {"a mask": 1234})


def test_the_text_of_an_audit(long_audit: Audit) -> None:
    assert to_text(long_audit).splitlines()[:-1] == [
        "            b  set",
        "nevus       -   11",
        "(no label)  1    -",
        "b: 1 file, none can be decoded",
        "set: 11 files, 301x450 (3), 302x450 (3), 303x450 (3), 2 other sizes",
        "tables: none",
        "not looked at: 1,234 (a mask)",
        "",
        "ERRORS: correct these first; until then, do not trust labels and scores of these data",
        "",
        " 1. 11 photos wrong",
        *(f"          {32 - number}  place {number}" for number in range(6)),
        "      and 26 more",
        "    e.g. set/0.jpg   (detail 0)",
        "    e.g. set/1.jpg   (detail 1)",
        "    do:  Look.",
        "",
    ]


def test_the_page_of_an_audit_shows_thirty_places_and_nine_examples(long_audit: Audit) -> None:
    page = to_html(long_audit, "command")
    assert "place 29" in page
    assert "place 30" not in page
    assert "detail 8" in page
    assert "detail 9" not in page
    thumbnails = re.findall(r"data:image/jpeg;base64,([^\"']+)", page)
    assert len(thumbnails) == 9
    image = cv2.imdecode(np.frombuffer(base64.b64decode(thumbnails[0]), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (150, 100, 3)
    # The page leaves out two of the 32 places, and two of the 11 examples.
    assert len(re.findall(r"\b2 more\b", page)) == 2


def test_the_json_of_an_audit(long_audit: Audit) -> None:
    told = json.loads(to_json(long_audit, "command"))
    assert told["sources"] == {"b": 1, "set": 11}
    assert told["classes"] == {"nevus": {"set": 11}, "(no label)": {"b": 1}}
    assert (told["files"], told["tables"], told["understood"]) == (12, [], ["a line"])
    assert told["not_looked_at"] == {"a mask": 1234}
    [finding] = told["findings"]
    assert finding.pop("breakdown")[:2] == [
        {"where": "place 0", "count": 32},
        {"where": "place 1", "count": 31},
    ]
    assert finding.pop("cases")[1] == {"files": [str(long_audit.photos[1].path)], "detail": "detail 1"}
    assert finding == {
        "kind": "kind",
        "severity": "error",
        "title": "11 photos wrong",
        "count": 11,
        "files": 12,
        "advice": "Look.",
    }


@pytest.mark.parametrize(("height", "width", "shown"), [(1, 600, (10, 6000)), (1200, 2, (150, 1))])
def test_the_page_of_an_audit_shows_a_strip(
    tmp_path: Path, long_audit: Audit, height: int, width: int, shown: tuple[int, int]
) -> None:
    path = tmp_path / "strip.png"
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    photos = tuple(replace(photo, path=path) for photo in long_audit.photos)
    page = to_html(replace(long_audit, photos=photos), "command")
    thumbnail = re.findall(r"data:image/jpeg;base64,([^\"']+)", page)[0]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(thumbnail), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == shown

"""Which photos may score a model, and a few of many photos."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import (
    NONE_OF_THESE,
    Catalogue,
    Photo,
    check_photos,
    content_digest,
    is_catalogue,
)
from dermedge.train.data.labelling import class_folders
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto, check_unlearned, labelled_photos
from dermedge.train.data.splits import with_validation_learned

SPLITS = ("train", "val", "test")


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """Two photos of each split, on the disk."""
    made = []
    for number in range(6):
        path = tmp_path / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((8, 8, 3), number, np.uint8))
        label = ("nevus", "melanoma")[number % 2]
        made.append(Photo(str(path), f"id{number}", "", f"g{number}", label, label, "s", SPLITS[number // 2]))
    return made


def of_digest(path: str, digest: str | None) -> Any:
    return SimpleNamespace(path=path, manifest=SimpleNamespace(data_digest=digest))


def test_a_model_that_has_learned_the_validation_photos_is_not_scored_on_them(
    photos: list[Photo], tmp_path: Path
) -> None:
    table = tmp_path / "catalogue.csv"
    Catalogue(tuple(photos), ("melanoma", "nevus"), {}).save(table)
    before = Catalogue(tuple(photos), (), {}).digest
    learned = Catalogue(with_validation_learned(photos), (), {}).digest
    assert before != learned
    models = [SimpleNamespace(path="a", manifest=None), of_digest("b", None), of_digest("c", before)]
    check_unlearned(table, "val", models)
    refitted = of_digest("refitted.tflite", learned)
    with pytest.raises(DataError, match=r"'refitted\.tflite' was trained on the validation photos of"):
        check_unlearned(table, "val", [*models, refitted])
    check_unlearned(table, "test", [refitted])
    check_unlearned(tmp_path / "photos", "val", [refitted])


def test_validation_photos_join_training_and_the_test_split_stays(photos: list[Photo]) -> None:
    assert [one.split for one in with_validation_learned(photos)] == ["train"] * 4 + ["test"] * 2


def test_a_split_without_photos_is_named(photos: list[Photo], tmp_path: Path) -> None:
    table = tmp_path / "catalogue.csv"
    Catalogue(tuple(photos[:4]), ("melanoma", "nevus"), {}).save(table)
    with pytest.raises(DataError, match=r"no labelled photos in '.*catalogue\.csv', split test$"):
        labelled_photos(table, ["melanoma", "nevus"], "test")


def test_a_photo_that_was_replaced_since_it_was_catalogued_is_not_scored(
    photos: list[Photo], tmp_path: Path
) -> None:
    table, scored = tmp_path / "catalogue.csv", Path(photos[4].path)
    known = tuple(replace(one, digest=content_digest(Path(one.path))) for one in photos)
    Catalogue(known, ("melanoma", "nevus"), {}).save(table)
    assert len(labelled_photos(table, ["melanoma", "nevus"], "test")) == 2
    assert cv2.imwrite(str(scored), np.full((8, 8, 3), 200, np.uint8))
    with pytest.raises(DataError, match=r"changed since the catalogue was made: 1 photo, such as '.*4\.png'"):
        labelled_photos(table, ["melanoma", "nevus"], "test")
    assert len(labelled_photos(table, ["melanoma", "nevus"], "val")) == 2
    scored.unlink()  # a missing photo is counted as unreadable
    assert len(labelled_photos(table, ["melanoma", "nevus"], "test")) == 2


def test_only_a_table_with_the_columns_of_a_catalogue_is_one(photos: list[Photo], tmp_path: Path) -> None:
    table = tmp_path / "catalogue.csv"
    Catalogue(tuple(photos), ("melanoma", "nevus"), {}).save(table)
    assert is_catalogue(table)
    for content in (b"path,label\na.jpg,nevus\n", b"", b"\xff\xfe\x00", b"\x00" * 100):
        table.write_bytes(content)
        assert not is_catalogue(table), content
    assert not is_catalogue(tmp_path / "nowhere.csv")


def test_photos_are_looked_for_with_and_without_digests(photos: list[Photo]) -> None:
    check_photos(photos)
    with pytest.raises(DataError, match="changed since the catalogue was made: 1 photo"):
        check_photos([*photos[:5], replace(photos[5], digest="0" * 16)])
    for digest in ("", "0" * 16):
        gone = replace(photos[0], path="/nowhere/a.jpg", digest=digest)
        with pytest.raises(
            DataError, match=r"not found: 1 photo of the catalogue, such as '/nowhere/a\.jpg'"
        ):
            check_photos([gone, *photos[1:]])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_photo_that_a_named_pipe_has_replaced_is_missing(photos: list[Photo]) -> None:
    path = Path(photos[0].path)
    photo = replace(photos[0], digest=content_digest(path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="not found: 1 photo of the catalogue"):
        check_photos([photo])


def test_class_folders_are_in_the_order_of_keras(tmp_path: Path) -> None:
    for name in ("b", "a", "C"):
        (tmp_path / "set" / name).mkdir(parents=True)
        assert cv2.imwrite(str(tmp_path / "set" / name / "1.png"), np.zeros((8, 8, 3), np.uint8))
    assert class_folders(tmp_path / "set") == ["C", "a", "b"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="no photos in"):
        class_folders(tmp_path / "nothing")


def test_a_sample_takes_a_photo_of_each_class_in_turn_and_is_always_the_same(photos: list[Photo]) -> None:
    labelled = [
        LabelledPhoto(Path(f"{number}.jpg"), 0 if number < 8 else 1, photos[0]) for number in range(10)
    ]
    sampled = sample_evenly(labelled, 6)
    assert [one.label_index for one in sampled] == [0, 1, 0, 1, 0, 0]
    assert sampled == sample_evenly(labelled, 6)
    assert [one.path.stem for one in sampled if one.label_index == 0] != ["0", "1", "2", "3"]
    assert Counter(one.path for one in sample_evenly(labelled, 99)) == Counter(one.path for one in labelled)
    assert sample_evenly([], 3) == []


def test_photos_of_one_person_lesion_or_folder_of_a_patient_are_one_group(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    rows = ["image,label,lesion_id,patient_id"]
    for number in range(8):
        path = folder / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), np.full((8, 8, 3), 20 * number, np.uint8))
        # Photos 0 and 1 show one lesion. Photos 1 to 3 show one person, and photos 4 and 5 another one.
        # Photos 6 and 7 have nothing in common.
        lesion = ("l0", "l0", "l2", "l3", "", "", "", "")[number]
        person = ("", "p1", "p1", "p1", "p4", "p4", "", "")[number]
        rows.append(f"{number}.png,{('nevus', 'melanoma')[number % 2]},{lesion},{person}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    scored = labelled_photos(folder, ("melanoma", "nevus"))
    group_of = {photo.path.stem: photo.entry.group for photo in scored}
    groups = [{stem for stem in group_of if group_of[stem] == name} for name in set(group_of.values())]
    assert sorted(map(sorted, groups)) == [["0", "1", "2", "3"], ["4", "5"], ["6"], ["7"]]
    by_folder = tmp_path / "folders"
    for label in ("nevus", "melanoma"):
        for person in range(2):
            for number in range(3):
                path = by_folder / label / f"patient_{label[0]}{person}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), np.full((8, 8, 3), 20 * number, np.uint8))
    counts = Counter(photo.entry.group for photo in labelled_photos(by_folder, ("melanoma", "nevus")))
    assert sorted(counts.values()) == [3, 3, 3, 3]


def test_a_refitted_model_is_refused_on_the_photos_that_were_validated_alone(tmp_path: Path) -> None:
    photos = tuple(
        Photo(f"/p/{split}.jpg", split, "", split, "nevus", "nevus", "s", split)
        for split in ("train", "val", "test")
    )
    table = tmp_path / "catalogue.csv"
    Catalogue(photos, ("nevus",), {}).save(table)
    refitted = Catalogue(with_validation_learned(photos), (), {}).digest
    for digest, refused in ((refitted, True), (Catalogue(photos, (), {}).digest, False), ("", False)):
        model: Any = SimpleNamespace(path="m.tflite", manifest=SimpleNamespace(data_digest=digest))
        for split in ("train", "test", None):
            check_unlearned(table, split, [model])
        if refused:
            with pytest.raises(DataError, match=r"'m\.tflite' was trained on the validation photos"):
                check_unlearned(table, "val", [model])
        else:
            check_unlearned(table, "val", [model])
    foreign: Any = SimpleNamespace(path="f.tflite", manifest=None)
    check_unlearned(table, "val", [foreign])


def test_a_catalogue_of_other_classes_is_scored_by_its_diagnoses(photos: list[Photo], tmp_path: Path) -> None:
    stated = [
        # The columns are the original label, the diagnosis, the label in the catalogue, and the label for the model.
        ("mel", "melanoma", "mel", "melanoma"),
        ("bcc", "basal cell carcinoma", NONE_OF_THESE, "basal cell carcinoma"),
        ("shirt", "shirt", NONE_OF_THESE, NONE_OF_THESE),
        ("malignant", "malignant", NONE_OF_THESE, None),  # may be a melanoma or a basal cell carcinoma
        # the user has corrected these two labels in the catalogue
        ("bcc", "basal cell carcinoma", "melanoma", "melanoma"),
        ("mel", "melanoma", NONE_OF_THESE, NONE_OF_THESE),
    ]
    made = [
        replace(photo, original_label=original, diagnosis=diagnosis, label=label, split="test")
        for photo, (original, diagnosis, label, _) in zip(photos, stated, strict=True)
    ]
    table = tmp_path / "catalogue.csv"
    Catalogue(tuple(made), ("mel", "nv", NONE_OF_THESE), {}).save(table)
    told: list[str] = []
    labels = ("melanoma", "basal cell carcinoma", NONE_OF_THESE)
    scored = labelled_photos(table, labels, "test", say=told.append)
    assert [one.entry.label for one in scored] == [label for *_, label in stated if label]
    assert "not scored: 1 photo whose label can mean more than one class: malignant" in told


def test_a_catalogue_of_the_classes_of_the_model_keeps_its_labels(
    photos: list[Photo], tmp_path: Path
) -> None:
    made = [replace(photo, split="test") for photo in photos]
    made[0] = replace(made[0], label=NONE_OF_THESE)  # the user has corrected this label in the catalogue
    table = tmp_path / "catalogue.csv"
    Catalogue(tuple(made), ("melanoma", "nevus", NONE_OF_THESE), {}).save(table)
    told: list[str] = []
    scored = labelled_photos(table, ("melanoma", "nevus", NONE_OF_THESE), "test", say=told.append)
    assert [one.entry.label for one in scored] == [photo.label for photo in made]
    assert told == []


def test_numbers_as_labels_are_scored_only_for_a_model_with_such_classes(tmp_path: Path) -> None:
    """Earlier, all photos counted as "none of these", and the figures of the model were wrong."""
    for number in range(4):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    rows = [f"{number}.png,{number % 2}" for number in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows]))
    with pytest.raises(DataError, match="labels 0, 1 are numbers, and the model has no such classes"):
        labelled_photos(tmp_path, ["melanoma", "nevus", NONE_OF_THESE])
    found = labelled_photos(tmp_path, ["1", NONE_OF_THESE])
    assert [photo.label_index for photo in found] == [1, 0, 1, 0]


def test_files_that_are_not_photos_are_not_scored_and_the_user_is_told(tmp_path: Path) -> None:
    for name in ("melanoma/1.png", "nevus/2.png", "nevus/2.png.explained.png", "nevus/notes.txt"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    told: list[str] = []
    scored = labelled_photos(tmp_path / "set", ("melanoma", "nevus"), say=told.append)
    assert [one.path.name for one in scored] == ["1.png", "2.png"]
    assert "not scored: 1 (a copy with a heat map, which predict --explain wrote)" in told
    assert "not scored: 1 (not a photo that can be read: '.txt')" in told

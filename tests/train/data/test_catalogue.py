"""Finding, labelling, grouping and splitting photos."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data import build
from dermedge.train.data.build import build_catalogue
from dermedge.train.data.catalogue import NONE_OF_THESE, Catalogue, Photo, check_photos, read_catalogue
from dermedge.train.data.folders import find_files
from dermedge.train.data.scoring import labelled_photos
from dermedge.train.data.splits import find_leaks, split_by_group, with_fold, with_source_tested

HAM = "lesion_id,image_id,dx\nL1,ISIC_0000001,mel\nL1,ISIC_0000002,mel\nL2,ISIC_0000003,akiec\nL3,ISIC_0000004,akiec\n"
ISIC_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nISIC_0000003_downsampled,0,0,0,0,0,0,0,1,0\n"


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def put_picture(path: Path, seed: str, size: int = 48) -> Path:
    """An image that resembles only images with the same seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(seed.encode())).integers(0, 256, (12, 12, 3), np.uint8)
    picture = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return path


def folders(root: Path, classes: dict[str, int]) -> Path:
    """Files that are different from each other, a folder per class."""
    for name, count in classes.items():
        for number in range(count):
            put_picture(root / name / f"{name}{number}.jpg", f"{name} {number}")
    return root


def test_folder_names_are_the_classes(tmp_path: Path) -> None:
    catalogue = build_catalogue([folders(tmp_path / "set", {"cat": 10, "dog": 10})])
    assert catalogue.classes == ("cat", "dog")
    assert Counter(photo.label for photo in catalogue.photos) == {"cat": 10, "dog": 10}
    assert {photo.split for photo in catalogue.photos} == {"train", "val", "test"}


def test_the_four_lesions_are_learned_and_all_else_is_none_of_these(tmp_path: Path) -> None:
    names = ("melanoma", "nevus", "dermatofibroma", "squamous cell carcinoma", "vascular lesion", "shirts")
    catalogue = build_catalogue([folders(tmp_path / "set", dict.fromkeys(names, 6))])
    expected = ("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma", NONE_OF_THESE)
    assert catalogue.classes == expected
    assert catalogue.none_label == NONE_OF_THESE
    others = {photo.diagnosis for photo in catalogue.photos if photo.label == NONE_OF_THESE}
    assert others == {"vascular lesion", "shirts"}


def test_a_table_goes_before_the_folder_and_the_newer_table_before_the_older(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"melanoma": 6, "squamous cell carcinoma": 6})
    for number in (1, 2, 3, 4):
        put_picture(root / "nevus" / f"ISIC_{number:07}.jpg", f"photo {number}")
    put(root / "ham.csv", HAM)
    put(root / "isic2019.csv", ISIC_2019)
    catalogue = build_catalogue([root], ["melanoma", "squamous cell carcinoma"])
    found = {photo.image_id: photo for photo in catalogue.photos}
    assert found["ISIC_0000001"].label == "melanoma"
    assert found["ISIC_0000001"].group == found["ISIC_0000002"].group
    assert found["ISIC_0000003"].label == "squamous cell carcinoma"
    assert "ISIC_0000004" not in found
    assert catalogue.left_out == {"the label 'akiec' can mean more than one class": 1}


def groups_by_name(root: Path) -> dict[str, str]:
    return {Path(p.path).relative_to(root).as_posix(): p.group for p in build_catalogue([root]).photos}


def test_copies_of_one_picture_are_one_group(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 8, "dog": 8})
    shutil.copy(root / "cat" / "cat0.jpg", root / "cat" / "renamed.jpg")
    put_picture(root / "more" / "cat" / "larger.jpg", "cat 0", 96)
    groups = groups_by_name(root)
    assert groups["cat/cat0.jpg"] == groups["cat/renamed.jpg"] == groups["more/cat/larger.jpg"]
    assert len(set(groups.values())) == 16


def test_an_id_of_the_archive_is_one_picture_and_a_cameras_name_is_not(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 8, "dog": 8})
    for folder in ("one", "two"):
        put_picture(root / folder / "cat" / "ISIC_0000007.jpg", f"archive, {folder}")
        put_picture(root / folder / "cat" / "IMG_0007.jpg", f"camera, {folder}")
    groups = groups_by_name(root)
    assert groups["one/cat/ISIC_0000007.jpg"] == groups["two/cat/ISIC_0000007.jpg"]
    assert groups["one/cat/IMG_0007.jpg"] != groups["two/cat/IMG_0007.jpg"]


@pytest.mark.parametrize("size", [48, 96])
def test_one_picture_under_two_labels_is_left_out(tmp_path: Path, size: int) -> None:
    root = folders(tmp_path / "set", {"cat": 8, "dog": 8})
    put_picture(root / "dog" / "copy.jpg", "cat 0", size)
    catalogue = build_catalogue([root])
    assert len(catalogue.photos) == 15
    assert catalogue.left_out == {"the label contradicts that of a duplicate of the photo": 2}


def test_one_picture_under_two_diagnoses_of_one_class_is_left_out_and_an_open_name_is_not(
    tmp_path: Path,
) -> None:
    root = folders(
        tmp_path / "set", {"cat": 8, "dog": 8, "bcc": 6, "vasc": 1, "akiec": 1, "actinic keratosis": 1}
    )
    # All lesions become "none of these". Still, the labels of one photo contradict each other, because a
    # lesion is not both a carcinoma and an angioma.
    put_picture(root / "vasc" / "copy.jpg", "bcc 0")
    # The labels akiec and actinic keratosis do not contradict each other, because akiec includes actinic keratosis.
    put_picture(root / "akiec" / "copy.jpg", "actinic keratosis 0")
    catalogue = build_catalogue([root], ["cat", "dog"])
    assert catalogue.left_out == {"the label contradicts that of a duplicate of the photo": 2}
    kept = {Path(photo.path).parent.name + Path(photo.path).stem for photo in catalogue.photos}
    assert kept.isdisjoint({"vasccopy", "bccbcc0"})
    assert {"akieccopy", "actinic keratosisactinic keratosis0", "bccbcc1"} <= kept


def test_one_picture_in_two_classes_is_left_out_even_if_one_name_includes_the_other(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"malignant": 8, "melanoma": 8})
    put_picture(root / "melanoma" / "copy.jpg", "malignant 0")
    # With every label as a class, a network would learn two classes for the same photo.
    catalogue = build_catalogue([root], ["all"])
    assert catalogue.left_out == {"the label contradicts that of a duplicate of the photo": 2}


def test_a_contradicting_copy_costs_two_photos_and_not_two_lesions(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"mel": 12, "nv": 12})
    rows = [f"L{name},{name}{number},{name}" for name in ("mel", "nv") for number in range(5)]
    put(root / "ham.csv", "\n".join(["lesion_id,image_id,dx", *rows]))
    put_picture(root / "nv" / "nv0.jpg", "mel 0")
    catalogue = build_catalogue([root])
    assert catalogue.left_out == {"the label contradicts that of a duplicate of the photo": 2}
    # The two lesions may be one after all. So their photos stay together.
    lesions = [p for p in catalogue.photos if Path(p.path).stem in ("mel1", "mel4", "nv1", "nv4")]
    assert len(lesions) == 4
    assert len({(photo.group, photo.split) for photo in lesions}) == 1


@pytest.mark.parametrize(
    ("train", "val", "test", "told"),
    [
        (4, 4, 4, ""),
        (
            3,
            1,
            4,
            "the class 'a' has only 3 photos in train, but 4 in test. Its largest group has 5 of 8 photos.",
        ),
        (
            1,
            4,
            3,
            "the class 'a' has only 1 photo in train, but 4 in val. Its largest group has 5 of 8 photos.",
        ),
    ],
)
def test_a_class_with_fewer_photos_in_train_than_in_another_split_is_told(
    train: int, val: int, test: int, told: str
) -> None:
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    photos = [
        Photo(f"{at}", f"{at}", "", "large" if at < 5 else f"{at}", "a", "a", "s", split)
        for at, split in enumerate(splits)
    ]
    lines = build._lopsided_lines([*photos, replace(photos[0], label="b")], ("a", "b"))
    assert [line.partition(" Another")[0] for line in lines] == [told] * bool(told)


def test_an_earlier_catalogue_and_stated_parts_cannot_both_decide_on_the_splits(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"train/cat": 8, "train/dog": 8})
    build_catalogue([root]).save(tmp_path / "earlier.csv")
    with pytest.raises(OptionError, match="--keep-parts"):
        build_catalogue([root, tmp_path / "earlier.csv"], keep_parts=True)


def test_catalogues_that_put_one_photo_into_two_splits_stop_and_the_cure_works(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 12, "dog": 12})
    shutil.copytree(root, tmp_path / "copies")
    for name, folder, seed in (("one", root, 0), ("two", root, 1), ("copied", tmp_path / "copies", 1)):
        build_catalogue([folder], seed=seed).save(tmp_path / f"{name}.csv")
    for other in ("two", "copied"):
        with pytest.raises(
            DataError, match=r"into several splits.*dermedge data catalogue PHOTOS EARLIER\.csv"
        ):
            build_catalogue([tmp_path / "one.csv", tmp_path / f"{other}.csv"])
    cured = build_catalogue([root, tmp_path / "copies", tmp_path / "one.csv"])
    assert find_leaks(cured.photos) == []
    # a photo that is in both catalogues is one photo
    assert build_catalogue([tmp_path / "one.csv", tmp_path / "one.csv"]).photos == read_catalogue(
        tmp_path / "one.csv"
    )


def test_catalogues_that_were_made_for_different_classes_stop_and_the_cure_works(tmp_path: Path) -> None:
    """Earlier, rabbits were learned as 'none of these' from one catalogue, and as rabbits from the other one."""
    for name, classes in (("one", ["cat", "dog"]), ("two", None)):
        root = tmp_path / name
        for kind in ("cat", "dog", "rabbit"):
            for number in range(8):
                put_picture(root / kind / f"{number}.jpg", f"{name} {kind} {number}")
        build_catalogue([root], classes).save(tmp_path / f"{name}.csv")
    tables = [tmp_path / "one.csv", tmp_path / "two.csv"]
    with pytest.raises(
        DataError, match=r"made for different classes.*'none of these'.*'rabbit' \(8 photos would change"
    ):
        build_catalogue(tables)
    for classes, others in ((["cat", "dog"], "none of these"), (["cat", "dog", "rabbit"], "rabbit")):
        counts = Counter(photo.label for photo in build_catalogue(tables, classes).photos)
        assert counts == {"cat": 16, "dog": 16, others: 16}


def with_label(table: Path, place: str, label: str) -> Path:
    """A copy of a catalogue in which the user has corrected the label of one photo."""
    photos = [
        replace(photo, label=label) if photo.path.endswith(place) else photo
        for photo in read_catalogue(table)
    ]
    corrected = table.with_name("corrected.csv")
    Catalogue(tuple(photos), (), {}).save(corrected)
    return corrected


def test_catalogues_that_give_one_photo_two_classes_stop(tmp_path: Path) -> None:
    """Earlier, the class in the last catalogue decided."""
    build_catalogue([folders(tmp_path / "set", {"cat": 8, "dog": 8})]).save(tmp_path / "one.csv")
    corrected = with_label(tmp_path / "one.csv", "cat/cat0.jpg", "dog")
    for tables in ([tmp_path / "one.csv", corrected], [corrected, tmp_path / "one.csv"]):
        with pytest.raises(DataError, match=r"give 1 photo different classes.*cat0\.jpg': 'cat' and 'dog'"):
            build_catalogue(tables)


def test_a_label_that_was_corrected_in_a_catalogue_is_kept_when_other_classes_are_chosen(
    tmp_path: Path,
) -> None:
    root = folders(tmp_path / "set", {"nevus": 8, "melanoma": 8, "bcc": 8})
    build_catalogue([root]).save(tmp_path / "one.csv")
    corrected = with_label(tmp_path / "one.csv", "nevus/nevus0.jpg", "melanoma")
    found = build_catalogue([corrected], ["melanoma", "nevus"]).photos
    assert Counter(photo.label for photo in found) == {"melanoma": 9, "nevus": 7, "none of these": 8}


def test_one_published_id_under_two_labels_is_left_out_even_if_the_pixels_differ(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 8, "dog": 8})
    for label in ("cat", "dog"):
        put_picture(root / label / "ISIC_0000007.jpg", f"archive, {label}")
    assert build_catalogue([root]).left_out == {"the label contradicts that of a duplicate of the photo": 2}


def test_the_seed_of_a_catalogue_is_that_of_its_split(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 20, "dog": 20})
    first, second = (build_catalogue([root], seed=seed) for seed in (0, 3))
    assert (first.seed, second.seed) == (0, 3)
    for made in (first, second):
        assert json.loads(made.to_json())["seed"] == made.seed
        assert made.photos == split_by_group(made.photos, made.seed)
    assert first.photos != second.photos


def test_a_wrong_copy_within_a_lesion_does_not_cost_the_other_photos_of_it(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"mel": 8, "nv": 8})
    put(root / "ham.csv", "lesion_id,image_id,dx\nL1,mel0,mel\nL1,mel1,mel\nL1,copy,nv\n")
    put_picture(root / "nv" / "copy.jpg", "mel 0")
    catalogue = build_catalogue([root])
    assert catalogue.left_out == {"the label contradicts that of a duplicate of the photo": 2}
    assert "mel1" in {Path(photo.path).stem for photo in catalogue.photos}


def test_a_lesion_of_two_diagnoses_is_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"mel": 8, "nv": 8})
    put(root / "ham.csv", "lesion_id,image_id,dx\nL1,mel0,mel\nL1,nv0,nv\nL2,mel1,mel\n")
    assert build_catalogue([root]).left_out == {
        "the label contradicts that of another photo of the lesion": 2
    }


def test_a_file_that_is_no_picture_is_left_out(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 8, "dog": 8})
    put(root / "cat" / "broken.jpg", "no picture")
    put(root / "dog" / "broken.jpg", "no picture either")
    catalogue = build_catalogue([root])
    assert len(catalogue.photos) == 16
    ((why, count),) = catalogue.left_out.items()
    assert (why.partition(": ")[0], count) == ("cannot be decoded", 2)


def test_the_same_photos_give_the_same_catalogue_wherever_they_lie(tmp_path: Path) -> None:
    first = build_catalogue([folders(tmp_path / "one" / "set", {"cat": 9, "dog": 9})])
    second = build_catalogue([folders(tmp_path / "two" / "set", {"cat": 9, "dog": 9})])
    assert first.digest == second.digest
    assert Catalogue(first.photos[::-1], first.classes, {}).digest == first.digest
    other_seed = build_catalogue([tmp_path / "one" / "set"], seed=1)
    assert other_seed.digest != first.digest


def test_a_catalogue_is_read_as_it_was_saved(tmp_path: Path) -> None:
    catalogue = build_catalogue([folders(tmp_path / "set", {"cat": 9, "dog": 9})])
    catalogue.save(tmp_path / "catalogue.csv")
    assert read_catalogue(tmp_path / "catalogue.csv") == catalogue.photos


groups = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.sampled_from(["s1", "s2"])),
    min_size=1,
    max_size=120,
)


@given(groups, st.integers(0, 5))
def test_no_lesion_is_ever_in_two_splits(rows: list[tuple[int, str, str]], seed: int) -> None:
    photos = [
        Photo(f"{index}.jpg", str(index), "", f"g{group}", label, label, source)
        for index, (group, label, source) in enumerate(rows)
    ]
    split = split_by_group(photos, seed)
    assert find_leaks(split) == []
    assert len(split) == len(photos)
    assert split == split_by_group(reversed(photos), seed)


def test_a_leak_is_found() -> None:
    photo = Photo("a.jpg", "a", "", "g1", "x", "x", "s", "train")
    other = Photo("b.jpg", "b", "", "g2", "x", "x", "s", "test")
    assert find_leaks([photo, other]) == []
    assert find_leaks([photo, replace(other, group="g1")]) == ["g1"]
    assert find_leaks([photo, replace(other, image_id="a")]) == ["a"]
    assert find_leaks([photo, replace(other, path="a.jpg")]) == ["a.jpg"]
    assert find_leaks([replace(one, lesion_id="lesion 1") for one in (photo, other)]) == ["lesion 1"]
    assert find_leaks([replace(one, patient_id="P7") for one in (photo, other)]) == ["person P7"]


@pytest.mark.parametrize("name", ["a\rb.jpg", "a\nb.jpg", 'a,"b".jpg'])
def test_any_name_of_a_file_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    photo = Photo(str(tmp_path / name), "a", "", "g", "x", "x", "s", "train", root=str(tmp_path))
    Catalogue((photo,), ("x",), {}).save(tmp_path / "catalogue.csv")
    assert read_catalogue(tmp_path / "catalogue.csv") == (photo,)


@given(groups, groups, st.integers(0, 5))
def test_photos_that_had_a_split_keep_it_when_more_come(
    rows: list[tuple[int, str, str]], more: list[tuple[int, str, str]], seed: int
) -> None:
    photos = [
        Photo(f"{index}.jpg", str(index), "", f"g{group}", label, label, source)
        for index, (group, label, source) in enumerate([*rows, *more])
    ]
    earlier = {photo.path: photo.split for photo in split_by_group(photos[: len(rows)], seed)}
    later = split_by_group(photos, seed, split_by_group(photos[: len(rows)], seed))
    assert find_leaks(later) == []
    assert all(photo.split == earlier.get(photo.path, photo.split) for photo in later)


@pytest.mark.parametrize("count", [1, 4, 5, 20, 137])
def test_every_stratum_is_cut_at_its_shares(count: int) -> None:
    photos = [Photo(f"{i}.jpg", str(i), "", str(i), "x", "x", "s") for i in range(count)]
    cut = Counter(photo.split for photo in split_by_group(photos, 0))
    expected = {"val": round(0.15 * count), "test": round(0.2 * count)}
    if count >= 5:
        expected = {name: max(1, share) for name, share in expected.items()}
    assert cut == Counter({"train": count - sum(expected.values())} | expected)


def test_new_photos_fill_up_the_splits_that_lack_most() -> None:
    photos = [Photo(f"{i}.jpg", str(i), "", str(i), "x", "x", "s") for i in range(100)]
    # All earlier photos were in train.
    later = split_by_group(photos, 0, [replace(photo, split="train") for photo in photos[:50]])
    assert all(photo.split == "train" for photo in later if int(photo.image_id) < 50)
    assert Counter(photo.split for photo in later) == {"train": 65, "val": 15, "test": 20}


def test_a_photo_that_joins_two_groups_takes_both_into_the_most_held_out_split() -> None:
    photos = [Photo(f"{name}.jpg", name, "", "joined", "x", "x", "s") for name in "abc"]
    earlier = [replace(photos[0], group="a", split="train"), replace(photos[1], group="b", split="test")]
    assert {photo.split for photo in split_by_group(photos, 0, earlier)} == {"test"}


def test_a_new_photo_of_a_known_lesion_goes_where_the_lesion_was() -> None:
    known = [Photo(f"{i}.jpg", str(i), f"L{i}", f"L{i}", "x", "x", "s") for i in range(40)]
    earlier = split_by_group(known, 0)
    later = split_by_group(
        [replace(photo, path=f"n{photo.path}", image_id=f"n{photo.image_id}") for photo in known], 1, earlier
    )
    assert {p.lesion_id: p.split for p in later} == {p.lesion_id: p.split for p in earlier}


@given(groups, st.integers(2, 5), st.integers(0, 5))
def test_folds_share_no_group_and_are_together_all_but_the_test_split(
    rows: list[tuple[int, str, str]], folds: int, seed: int
) -> None:
    photos = split_by_group(
        [
            Photo(f"{index}.jpg", str(index), "", f"g{group}", label, label, source)
            for index, (group, label, source) in enumerate(rows)
        ],
        seed,
    )
    held_out: list[str] = []
    for fold in range(folds):
        cut = with_fold(photos, fold, folds, seed)
        assert find_leaks(cut) == []
        assert [p.path for p in cut] == [p.path for p in photos]
        assert all(
            (one.split == "test") == (two.split == "test") for one, two in zip(cut, photos, strict=True)
        )
        held_out += sorted({photo.group for photo in cut if photo.split == "val"})
    assert sorted(held_out) == sorted({photo.group for photo in photos if photo.split != "test"})


def test_every_fold_has_its_share_of_every_class_and_source() -> None:
    photos = [
        Photo(
            f"{label}{source}{i}.jpg",
            f"{label}{source}{i}",
            "",
            f"{label}{source}{i}",
            label,
            label,
            source,
            "train",
        )
        for label, source, count in (("x", "s", 33), ("x", "t", 12), ("y", "s", 9))
        for i in range(count)
    ]
    for fold in range(5):
        val = Counter((p.label, p.source) for p in with_fold(photos, fold, 5, 0) if p.split == "val")
        assert val["x", "s"] in (6, 7)
        assert val["x", "t"] in (2, 3)
        assert val["y", "s"] in (1, 2)
    with pytest.raises(OptionError, match="no fold 5 if the number of folds is 5"):
        with_fold(photos, 5, 5, 0)


def test_an_earlier_catalogue_among_the_paths_keeps_its_splits(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 20, "dog": 20})
    first = build_catalogue([root])
    first.save(tmp_path / "earlier.csv")
    folders(root, {"cat": 26, "dog": 33})
    second = build_catalogue([root, tmp_path / "earlier.csv"], seed=3)
    splits = {photo.path: photo.split for photo in second.photos}
    assert len(splits) == 59
    assert {photo.path: splits[photo.path] for photo in first.photos} == {
        photo.path: photo.split for photo in first.photos
    }
    about = json.loads(second.to_json())
    assert about["digest"] == second.digest
    assert about["seed"] == 3
    assert about["counts"]["cat"] == {"train": 17, "val": 4, "test": 5}


def test_a_catalogue_alone_is_taken_as_it_is(tmp_path: Path) -> None:
    first = build_catalogue([folders(tmp_path / "set", {"cat": 9, "dog": 9, "owl": 9})], ["cat", "dog"])
    first.save(tmp_path / "earlier.csv")
    again = build_catalogue([tmp_path / "earlier.csv"], seed=3)
    assert (again.photos, again.classes) == (first.photos, ("cat", "dog", "none of these"))
    renamed = build_catalogue([tmp_path / "earlier.csv"], ["owl", "cat"])
    assert renamed.classes == ("owl", "cat", "none of these")
    assert [photo.split for photo in renamed.photos] == [photo.split for photo in first.photos]


def test_a_catalogue_alone_keeps_its_labels_under_its_own_classes_in_any_order(tmp_path: Path) -> None:
    first = build_catalogue([folders(tmp_path / "set", {"cat": 9, "dog": 9, "owl": 9})], ["owl", "cat"])
    assert first.classes == ("owl", "cat", NONE_OF_THESE)
    corrected = tuple(
        replace(p, label="cat" if p.label == "owl" and p.split == "val" else p.label) for p in first.photos
    )
    replace(first, photos=corrected).save(tmp_path / "earlier.csv")
    again = build_catalogue([tmp_path / "earlier.csv"], [NONE_OF_THESE, "owl", "cat"])
    assert again.classes == (NONE_OF_THESE, "owl", "cat")
    assert again.photos == corrected


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["nevus", "melanoma", "basal cell carcinoma"], ["basal cell carcinoma", "melanoma", "nevus"]),
        (["vascular lesion", "melanoma", "none of these"], ["melanoma", "vascular lesion", NONE_OF_THESE]),
        (
            ["nevus", "melanoma", "dermatofibroma", "squamous cell carcinoma", "cat"],
            ["melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma", NONE_OF_THESE],
        ),
    ],
)
def test_a_catalogue_gives_the_classes_the_order_that_its_folder_gives(
    names: list[str], order: list[str], tmp_path: Path
) -> None:
    first = build_catalogue([folders(tmp_path / "set", dict.fromkeys(names, 6))])
    first.save(tmp_path / "earlier.csv")
    assert list(first.classes) == order
    assert build_catalogue([tmp_path / "earlier.csv"]).classes == first.classes


def test_a_catalogue_with_an_unknown_split_is_refused(tmp_path: Path) -> None:
    catalogue = build_catalogue([folders(tmp_path / "set", {"cat": 9, "dog": 9})])
    table = put(tmp_path / "catalogue.csv", catalogue.to_csv().replace(",val", ",validation"))
    with pytest.raises(DataError, match=r"split 'validation'.*Known: train, val, test"):
        read_catalogue(table)


def test_a_catalogue_that_a_spreadsheet_saved_keeps_its_splits(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 9, "dog": 9})
    catalogue = build_catalogue([root])
    table = tmp_path / "catalogue.csv"
    table.write_text(catalogue.to_csv(), encoding="utf-8-sig")
    assert build_catalogue([root, table], seed=5).photos == catalogue.photos


def test_a_catalogue_without_photos_is_refused(tmp_path: Path) -> None:
    table = put(tmp_path / "catalogue.csv", "path,image_id,lesion_id,group,diagnosis,label,source,split\n")
    with pytest.raises(DataError, match="has no photos"):
        build_catalogue([table])


def test_a_catalogue_of_the_first_version_is_read(tmp_path: Path) -> None:
    table = put(
        tmp_path / "catalogue.csv",
        "path,image_id,group,diagnosis,label,source,split\na.jpg,a,g,nevus,nevus,s,val\n",
    )
    assert read_catalogue(table) == (Photo("a.jpg", "a", "", "g", "nevus", "nevus", "s", "val"),)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"cat": 9, "dog": 2}, "class 'dog' has 2 photos"),
        ({"cat": 9}, "two classes or more"),
        ({}, "no photos in"),
    ],
)
def test_a_set_that_cannot_be_learned_is_refused(
    tmp_path: Path, classes: dict[str, int], message: str
) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=message):
        build_catalogue([folders(tmp_path / "set", classes)])


def test_the_cure_for_a_class_of_few_photos_works(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 9, "dog": 9, "cow": 2})
    with pytest.raises(DataError, match=r"class 'cow' has 2 photos.*remove all photos of the class"):
        build_catalogue([root])
    # As "none of these", the two cows are still too few.
    with pytest.raises(DataError, match="class 'none of these' has 2 photos"):
        build_catalogue([root], ["cat", "dog"])
    shutil.rmtree(root / "cow")
    assert build_catalogue([root]).classes == ("cat", "dog")


def test_photos_in_no_class_folder_are_counted_and_refused(tmp_path: Path) -> None:
    put_picture(tmp_path / "set" / "images" / "a.jpg", "a")
    with pytest.raises(DataError, match=r"none of 1 photo has a label.*--labels-from"):
        build_catalogue([tmp_path / "set"])


def test_unknown_names_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 9, "dog": 9})
    with pytest.raises(OptionError, match=r"class 'cow'\. There are: cat, dog"):
        build_catalogue([root], ["cat", "cow"])
    many = folders(tmp_path / "many", dict.fromkeys(("owl", "ant", "yak", "elk", "cat", "fox"), 2))
    with pytest.raises(OptionError, match="There are: ant, cat, elk, fox, owl, yak"):
        build_catalogue([many], ["cow"])
    with pytest.raises(DataError, match="there is no"):
        build_catalogue([tmp_path / "nowhere"])


def test_photos_to_score_have_the_models_labels(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 3, "dog": 2, "cow": 1})
    photos = labelled_photos(root, ["dog", "cat", NONE_OF_THESE])
    assert Counter(photo.label_index for photo in photos) == {1: 3, 0: 2, 2: 1}
    with pytest.raises(DataError, match="no class 'cow'"):
        labelled_photos(root, ["dog", "cat"])
    with pytest.raises(OptionError, match="--split"):
        labelled_photos(root, ["dog", "cat"], "val")


def test_the_photos_of_a_split_are_scored_alone(tmp_path: Path) -> None:
    catalogue = build_catalogue([folders(tmp_path / "set", {"cat": 20, "dog": 20})])
    table = tmp_path / "catalogue.csv"
    catalogue.save(table)
    photos = labelled_photos(table, catalogue.classes, "test")
    assert {str(photo.path) for photo in photos} == {photo.path for photo in catalogue.of("test")}
    with pytest.raises(OptionError, match="has no split 'tset'; give --split with one of: train, val, test"):
        labelled_photos(table, catalogue.classes, "tset")
    with pytest.raises(OptionError, match="has several splits; give --split with one of: train, val, test"):
        labelled_photos(table, catalogue.classes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lesion_id,image_id,dx\nL1,ISIC_0000001,plague\n", "line 2: unknown diagnosis 'plague'"),
        (b"lesion_id,image_id,dx\nL1,ISIC_0000001,nv\nL1,ISIC_0000002\n", "line 3: the diagnosis is missing"),
        (
            b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_0000001,1,0,0,0,0,0\n",
            "line 2: the column 'vasc' is empty",
        ),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    root = folders(tmp_path / "set", {"cat": 9, "dog": 9})
    for number in (1, 2):
        put_picture(root / "images" / f"ISIC_{number:07}.png", f"photo {number}")
    (root / "ham.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"ham\.csv.*{message}"):
        build_catalogue([root])


def test_a_source_can_be_the_test_and_nothing_of_its_lesions_is_learned() -> None:
    rows = [
        ("a", "shared", "s1", "train"),
        ("b", "shared", "s2", "train"),
        ("c", "c", "s1", "val"),
        ("d", "d", "s2", "train"),
        ("e", "e", "s2", "test"),
        ("f", "f", "s1", "test"),
        ("g", "g", "s4", "test"),
    ]
    photos = [
        Photo(f"{name}.jpg", name, "", group, "x", "x", source, split) for name, group, source, split in rows
    ]
    cut = with_source_tested(photos, "s1")
    assert {(one.image_id, one.split) for one in cut} == {("a", "test"), ("c", "test"), ("d", "train")}
    assert find_leaks(cut) == []
    with pytest.raises(OptionError, match="There are: s1, s2, s4"):
        with_source_tested(photos, "s3")
    with pytest.raises(DataError, match="all photos of the source 's4' are in the original test split"):
        with_source_tested(photos, "s4")
    with pytest.raises(DataError, match="without the source 's2', no photo of the class 'x' is left"):
        with_source_tested([photos[2], photos[3]], "s2")


def test_a_catalogue_is_read_where_its_photos_have_moved(tmp_path: Path) -> None:
    first = folders(tmp_path / "here" / "set", {"cat": 9, "dog": 9})
    folders(tmp_path / "here" / "more", {"cat": 3, "dog": 3})
    table = tmp_path / "catalogue.csv"
    catalogue = build_catalogue([first, tmp_path / "here" / "more"])
    catalogue.save(table)
    assert "here" not in {line.split(",")[0].split("/")[0] for line in table.read_text().splitlines()}
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(DataError, match=r"not found: 24 photos of the catalogue, .*--data FOLDER"):
        check_photos(read_catalogue(table))
    # --data may name the folders themselves or the one above them.
    for data in ([tmp_path / "there" / "more", tmp_path / "there" / "set"], [tmp_path / "there"]):
        photos = read_catalogue(table, data)
        check_photos(photos)
        assert {Path(photo.path).parts[-3] for photo in photos} == {"set", "more"}
        assert Catalogue(photos, catalogue.classes, {}).digest == catalogue.digest
    with pytest.raises(DataError, match=r"holds none of the \d+ photos that were in '"):
        read_catalogue(table, [tmp_path / "nowhere"])


def test_photos_that_were_replaced_are_noticed(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"cat": 9, "dog": 9})
    catalogue = build_catalogue([root])
    check_photos(catalogue.photos)
    put_picture(root / "dog" / "dog3.jpg", "another photo")
    with pytest.raises(DataError, match=r"changed since the catalogue was made: 1 photo, .*dog3\.jpg"):
        check_photos(catalogue.photos)


def test_an_earlier_catalogue_keeps_a_lesion_that_has_another_name_now(tmp_path: Path) -> None:
    # Two tables give names to one lesion. The earlier catalogue knows one of the names, but none of the files.
    root = tmp_path / "set"
    for number in range(40):
        put_picture(root / f"ISIC_{number:07}.png", f"photo {number}")
    rows = [f"HAM_{n:07},ISIC_{n:07},{('mel', 'nv')[n % 2]}" for n in range(40)]
    put(root / "ham.csv", "\n".join(["lesion_id,image_id,dx", *rows]))
    put(
        root / "archive.csv",
        "\n".join(["isic_id,diagnosis_1,lesion_id", *(f"ISIC_{n:07},,IL_{n:07}" for n in range(40))]),
    )
    earlier = [
        Photo(f"gone{n}.png", f"gone{n}", f"HAM_{n:07}", f"HAM_{n:07}", "nevus", "nevus", "old", "test")
        for n in range(40)
    ]
    Catalogue(tuple(earlier), ("nevus",), {}).save(tmp_path / "earlier.csv")
    assert {photo.split for photo in build_catalogue([root, tmp_path / "earlier.csv"]).photos} == {"test"}


def test_a_table_that_is_no_catalogue_is_called_so(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.jpg,nevus\n")
    with pytest.raises(
        DataError,
        match="is not a catalogue of dermedge, which has the columns diagnosis, group, image_id, label, path, source",
    ):
        read_catalogue(table)


def test_a_catalogue_that_is_not_there_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"cannot read the catalogue '.*gone\.csv': No such file or directory; check the path and",
    ):
        read_catalogue(tmp_path / "gone.csv")


def test_an_own_table_with_most_columns_of_a_catalogue_is_read_as_a_table(tmp_path: Path) -> None:
    root = folders(tmp_path / "set", {"images": 12})
    rows = [
        f"images/{path.name},{path.stem},person {number},{('cat', 'dog')[number % 2]},train"
        for number, path in enumerate(sorted(root.rglob("*.jpg")))
    ]
    put(root / "own.csv", "\n".join(["path,image_id,group,label,split", *rows]) + "\n")
    for paths in ([root], [root / "own.csv"], [root, root / "own.csv"]):
        catalogue = build_catalogue(paths)
        assert Counter(photo.label for photo in catalogue.photos) == {"cat": 6, "dog": 6}


def test_photos_are_found_in_the_order_of_their_paths_whatever_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b/2.png", "b/1.png", "a/3.png", "c.png"):
        put_picture(tmp_path / "set" / name, name)
    real = os.scandir
    found = [path.path.relative_to(tmp_path / "set").as_posix() for path in find_files([tmp_path]).photos]
    for is_reversed in (False, True):
        order = partial(sorted, key=attrgetter("name"), reverse=is_reversed)
        monkeypatch.setattr(os, "scandir", lambda folder, order=order: iter(order(real(folder))))
        again = [path.path.relative_to(tmp_path / "set").as_posix() for path in find_files([tmp_path]).photos]
        assert again == found == ["a/3.png", "b/1.png", "b/2.png", "c.png"]

"""The real photos of nine sets, in one command: labels, groups and facts about people against their README."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dermedge.train.data.classes import choose_classes
from dermedge.train.data.groups import lowest_linked, sets_of_equal
from dermedge.train.data.labelled_file import LabelledFile
from dermedge.train.data.labelling import label_files

DERMOSCOPIC_SETS = ("ham10000", "milk10k", "isic2019")


@pytest.fixture(scope="module")
def files(real_data: Path) -> tuple[LabelledFile, ...]:
    return label_files([real_data]).files


def test_every_photo_has_a_label_and_its_set(files: tuple[LabelledFile, ...]) -> None:
    assert Counter(photo.source for photo in (file.photo for file in files)) == {
        "ham10000": 6234,
        "milk10k": 4167,
        "milk10k_close_up": 4167,
        "isic2019": 857,
        "isic2019_84px": 5166,
        "pad_ufes": 655,
        "isic2017": 1474,
        "kaggle9": 1885,
        "not_a_lesion": 640,
    }
    assert all(photo.diagnosis for photo in (file.photo for file in files))


def test_the_counts_of_the_readme(files: tuple[LabelledFile, ...]) -> None:
    large = Counter(
        photo.diagnosis for photo in (file.photo for file in files) if photo.source in DERMOSCOPIC_SETS
    )
    assert large["melanoma"] == 2174
    assert large["squamous cell carcinoma"] == 593
    assert large["keratoacanthoma"] == 120
    assert large["dermatofibroma"] == 161
    assert large["nevus"] == 3670
    small = Counter(
        photo.diagnosis for photo in (file.photo for file in files) if photo.source == "isic2019_84px"
    )
    assert (small["squamous cell carcinoma"], small["dermatofibroma"]) == (187, 61)
    seventeen = Counter(
        photo.diagnosis for photo in (file.photo for file in files) if photo.source == "isic2017"
    )
    assert (seventeen["melanoma"], seventeen["nevus"]) == (390, 781)


def test_what_the_folders_of_the_nine_class_set_say_yields_to_the_tables(
    files: tuple[LabelledFile, ...],
) -> None:
    wrong = Counter(
        (folder, photo.diagnosis)
        for folder, photo, table in ((file.folder, file.photo, file.reference) for file in files)
        if table
        and folder in ("nevus", "seborrheic keratosis")
        and photo.diagnosis not in ("nevus", "benign keratosis")
    )
    assert wrong == {("nevus", "actinic keratosis"): 63, ("seborrheic keratosis", "melanoma"): 21}


def test_views_and_people(files: tuple[LabelledFile, ...]) -> None:
    views = Counter((photo.source, photo.view) for photo in (file.photo for file in files))
    assert views["milk10k", "dermoscopic"] == views["milk10k_close_up", "close-up"] == 4167
    assert views["pad_ufes", "close-up"] == 655
    tones = Counter(photo.source for photo in (file.photo for file in files) if photo.skin_tone)
    assert tones == {"milk10k": 4167, "milk10k_close_up": 4167}
    assert {photo.source for photo in (file.photo for file in files) if photo.fitzpatrick} == {"pad_ufes"}
    known = [
        photo for photo in (file.photo for file in files) if photo.source not in ("not_a_lesion", "kaggle9")
    ]
    assert sum(bool(photo.age) for photo in known) > 0.97 * len(known)
    assert sum(bool(photo.site) for photo in known) > 0.93 * len(known)


def test_one_lesion_under_several_names_is_one_group(files: tuple[LabelledFile, ...]) -> None:
    pairs = [
        (one, other) for one, *others in sets_of_equal([file.links for file in files]) for other in others
    ]
    group_of = lowest_linked(len(files), pairs)
    photos = [file.photo for file in files]
    sources: dict[int, set[str]] = {}
    for photo, group in zip(photos, group_of, strict=True):
        sources.setdefault(group, set()).add(photo.source)
    # a close-up is in the group of its dermoscopic photo
    lesions = [sets for sets in sources.values() if "milk10k" in sets]
    assert sum("milk10k_close_up" in sets for sets in lesions) > 0.85 * len(lesions)
    # HAM10000 and MILK10k have lesions in common, as the archive's ids show.
    assert sum({"ham10000", "milk10k"} <= sets for sets in sources.values()) > 500
    ids: dict[str, set[int]] = {}
    for photo, group in zip(photos, group_of, strict=True):
        ids.setdefault(photo.image_id, set()).add(group)
    assert all(len(groups) == 1 for groups in ids.values())


def test_the_nine_classes_take_all_but_a_few_open_labels(files: tuple[LabelledFile, ...]) -> None:
    names = (
        *("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma", "basal cell carcinoma"),
        *("actinic keratosis", "benign keratosis", "vascular lesion", "none of these"),
    )
    chosen = choose_classes([file.photo for file in files], names)
    assert chosen.names == names
    counts = Counter(chosen.labels)
    assert counts[None] == 18
    assert counts["squamous cell carcinoma"] == 194 + 3 + 187 + 165 + 2 * (396 + 120) + 21
    assert counts["vascular lesion"] == 143 + 1 + 54 + 114 + 33 + 33

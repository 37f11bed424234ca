"""The meaning of folder names."""

from __future__ import annotations

import pytest

from dermedge.train.data.folder_names import FolderKind, folder_kind, part_of, says_mask, without_part


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            FolderKind.PART,
            "train|Test|VALID|validation|train_images|Test Data|ISIC_2019_Training_Input|train2017",
        ),
        (FolderKind.PLAIN, "images|Photos|data|part_1|imgs_part_3|HAM10000_images_part_1|batch2"),
        (
            FolderKind.GROUP,
            "patient_07|PAT_46|case 12|lesion-3|p01|IL_7252831|HAM_0000118|visit2|Patient Nr. 7|patient_id_7|MRN4711|"
            "PatientNo7|Proband_3|paciente 3|L\u00e4sion 3|Patient A|subject-B|lesion 3 left",
        ),
        (
            FolderKind.DATE,
            "may|June|2021|2021-05|2021_05_31|31.12.2020|Dec 2020|march|20261129T223602Z|20261129T223602Z-2",
        ),
        (
            FolderKind.DIAGNOSIS,
            "nevus|Benign|MEL|akiec|basal_cell_carcinoma|Nevus, Reed|seborrheic-keratosis",
        ),
        (
            FolderKind.NAME,
            "cat|0|1|grade_1|level2|not_a_lesion|kaggle9|ham10000|isic2019_84px|skin|acne|ISIC_2019|HAM_10000|group_1|"
            "group A|patients|type A|fall 3|anna|0012|study A|series_b|visit A|s_n|P-x|id_a",
        ),
    ],
)
def test_the_kind_of_a_folder(kind: FolderKind, names: str) -> None:
    each = names.split("|")
    assert {name: folder_kind(name) for name in each} == dict.fromkeys(each, kind)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Train", "train"),
        ("training_set", "train"),
        ("val", "val"),
        ("eval", "val"),
        ("Testing", "test"),
        ("testicle", None),
    ],
)
def test_the_part_of_a_folder(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_a_name_of_two_parts_is_none() -> None:
    assert part_of("train_val") is None
    assert part_of("train_melanoma") is None


def test_a_name_without_its_part() -> None:
    names = (
        "train",
        "Test",
        "hold-out",
        "test_images",
        "HAM10000_train",
        "clinic",
        "train_melanoma",
        "val2017",
    )
    assert [*map(without_part, names)] == ["", "", "", "images", "ham10000", "clinic", "train_melanoma", ""]


def test_names_of_masks() -> None:
    assert all(
        map(says_mask, ("masks", "lesion_mask", "HAM10000_segmentations_lesion_tschandl", "superpixels"))
    )
    assert not any(map(says_mask, ("unmasked", "damask", "images")))

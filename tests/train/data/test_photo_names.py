"""The meaning of the names of photo files."""

from __future__ import annotations

import pytest

from dermedge.train.data.photo_names import bare_id, base_stem, is_photo_name, published_id


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("ISIC_0024306", "ISIC_0024306"),
        (" ISIC_0024306.jpg ", "ISIC_0024306"),
        ("train/ISIC_0024306_downsampled.PNG", "ISIC_0024306"),
        ("C:\\photos\\IMG 1.HEIC", "IMG 1"),
        ("PAT_46_881_939.png", "PAT_46_881_939"),
        ("v1.2 photo", "v1.2 photo"),
    ],
)
def test_the_bare_id(cell: str, expected: str) -> None:
    assert bare_id(cell) == expected


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("ISIC_0024306", "ISIC_0024306"),
        ("aug_ISIC_0024306.jpg_2", "ISIC_0024306"),
        ("ISIC_0024306 (1)", "ISIC_0024306"),
        ("isic_0024306", "ISIC_0024306"),
        ("pat_1_2_3", None),
        ("PAT_46_881_939", "PAT_46_881_939"),
        ("ISIC_00243067", None),
        ("IMG_0024306", None),
    ],
)
def test_the_published_id(stem: str, expected: str | None) -> None:
    assert published_id(stem) == expected


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("IMG_1_jpg.rf.0a1b2c", "IMG_1"),
        ("IMG_1.rf.0a1b2c", "IMG_1"),
        ("mel_original_IMG_1.jpg_6f3c2f0e-0000-4000-8000-1234567890ab", "IMG_1"),
        ("IMG_1_rot90", "IMG_1"),
        ("IMG_1-flipped", "IMG_1"),
        ("IMG_1_hflip", "IMG_1"),
        ("IMG_1_aug_3", "IMG_1"),
        ("IMG_1_augmented_3_12", "IMG_1"),
        ("IMG_1 bright 2", "IMG_1"),
        ("IMG_1", "IMG_1"),
        ("lesion (12)", "lesion (12)"),
        ("rotunda", "rotunda"),
    ],
)
def test_the_photo_that_a_file_was_made_from(stem: str, expected: str) -> None:
    assert base_stem(stem) == expected


def test_names_of_photos() -> None:
    assert all(map(is_photo_name, ("a.jpg", "x/b.HEIC", " c.webp ", "ISIC_0000001", "PAT_1_2_3")))
    assert not any(map(is_photo_name, ("filename", "path", "a.csv", "ISIC_1", "my ISIC_0000001 notes")))

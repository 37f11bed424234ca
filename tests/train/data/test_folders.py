"""Which files below a folder are photos, tables, masks and thumbnails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import is_catalogue
from dermedge.train.data.folders import find_files


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_photos_and_tables_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    root = touch(
        *(tmp_path / "set", "b/2.JPG", "b/10.jpg", "a/1.png", "LABELS.CSV", "b/more.tsv", "c.xlsx", "c.XLS"),
        ".git/config",
    )
    found = find_files([root])
    assert [photo.name for photo in found.photos] == ["set/a/1.png", "set/b/10.jpg", "set/b/2.JPG"]
    assert [photo.folders for photo in found.photos] == [("a",), ("b",), ("b",)]
    assert [path.name for path in found.tables] == ["LABELS.CSV", "more.tsv", "c.XLS", "c.xlsx"]
    assert not found.skipped


def test_a_photo_that_is_given_twice_belongs_to_the_first_folder(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "a/1.png", "b/2.png")
    found = find_files([root / "a", root])
    assert [(photo.path.name, photo.root) for photo in found.photos] == [
        ("1.png", root / "a"),
        ("2.png", root),
    ]


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "set",
        *("mole.jpg", "mole_mask.png", "mole_SEGMENTATION.png"),
        *("thumbs/mole.jpg", "Thumbs/other.jpg", "masks/mole.png", "masks/alone.png"),
        *("ISIC_0000001_segmentation.png", "scar_mask.png", "ISIC_0000002_segmentation_of.png"),
        *(".hidden.jpg", ".git/x.jpg", "notes.txt", "noend", "Thumbs.db", ".DS_Store"),
    )
    found = find_files([root])
    # A mask or thumbnail counts as one if its photo is there, too. A mask of the archive is known by its name alone.
    kept = [photo.name for photo in found.photos]
    assert kept == [
        "set/ISIC_0000002_segmentation_of.png",
        "set/Thumbs/other.jpg",
        "set/masks/alone.png",
        "set/mole.jpg",
        "set/scar_mask.png",
    ]
    reasons = {why.split(",")[0]: count for why, count in found.skipped.items()}
    assert reasons == {
        "in a hidden or system folder": 2,
        "a segmentation mask of another photo": 4,
        "a thumbnail of another photo": 1,
        "not a photo that can be read: '.txt'": 1,
        "not a photo that can be read: 'no suffix'": 1,
    }


def test_masks_that_are_called_ground_truth_are_no_photos(tmp_path: Path) -> None:
    """Earlier, the folder of these masks was a class."""
    names = (
        "images/mole.jpg",
        "GT/mole.png",
        "ground_truth/mole.png",
        "Part1_GroundTruth/mole.png",
        "gt/other.jpg",
    )
    for name in (*names, "images/mole_gt.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_files([tmp_path])
    assert [photo.path.name for photo in found.photos] == ["other.jpg", "mole.jpg"]
    assert found.skipped == {"a segmentation mask of another photo": 4}


def test_capitals_do_not_hide_a_mask_or_a_thumbnail(tmp_path: Path) -> None:
    """Cameras and Windows may write names in capitals. Earlier, such masks became photos of the class."""
    root = touch(tmp_path / "set", "mole.jpg", "MOLE_SEGMENTATION.PNG", "Masks/MOLE.png", "thumbs/Mole.JPG")
    touch(root, "mole_roi/mole_R1_Label3.bmp")
    found = find_files([root])
    assert [photo.name for photo in found.photos] == ["set/mole.jpg"]
    assert found.skipped == {"a segmentation mask of another photo": 3, "a thumbnail of another photo": 1}


def test_copies_that_predict_explain_wrote_beside_the_photos_are_left_out_and_counted(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "nevus/1.jpg", "nevus/1.jpg.explained.png", "why/2.png.explained.png")
    found = find_files([root])
    assert [photo.name for photo in found.photos] == ["set/nevus/1.jpg"]
    assert found.skipped == {"a copy with a heat map, which predict --explain wrote": 2}
    with pytest.raises(DataError, match=r"no photos in .*Skipped: 1 \(a copy with a heat map.*give a folder"):
        find_files([root / "why"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_or_device_is_left_out_and_never_waited_for(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "nevus/1.jpg")
    os.mkfifo(root / "nevus/2.jpg")
    os.mkfifo(root / "labels.csv")
    (root / "nevus/3.jpg").symlink_to(os.devnull)
    found = find_files([root])
    assert [photo.name for photo in found.photos] == ["set/nevus/1.jpg"]
    assert found.tables == ()
    assert found.skipped == {"neither a file nor a folder, such as a named pipe": 3}
    assert not is_catalogue(root / "labels.csv")
    for pipe in ("nevus/2.jpg", "labels.csv"):
        with pytest.raises(
            DataError, match=r"is neither a file nor a folder; give a folder of photos, or a table"
        ):
            find_files([root / pipe])


def test_a_link_to_a_folder_above_ends_and_other_links_are_followed(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "nevus/1.jpg")
    touch(tmp_path / "elsewhere", "2.jpg")
    (root / "nevus" / "up").symlink_to(root)
    (root / "more").symlink_to(tmp_path / "elsewhere")
    assert [photo.name for photo in find_files([root]).photos] == ["set/more/2.jpg", "set/nevus/1.jpg"]
    (root / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"the link '.*broken' leads nowhere"):
        find_files([root])


def test_a_name_that_no_table_can_hold_is_left_out(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "1.jpg")
    try:
        (root / os.fsdecode(b"m\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system holds only names in UTF-8")
    found = find_files([root])
    assert [photo.path.name for photo in found.photos] == ["1.jpg"]
    assert sum(found.skipped.values()) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos.ZIP", "is an archive; unpack it"),
        ("photos.tar.gz", "is an archive; unpack it"),
        ("mole.jpg", "is one photo; give the folder"),
        ("", "no photos in .*; give a folder that holds one folder of photos for each class"),
        (
            "set/notes.txt",
            r"no photos in .*Skipped: 1 \(not a photo.*'.txt'\); give a folder that contains photos",
        ),
        ("set/photos.zip", r"no photos in .*Skipped: 1 \(not a photo.*'.zip'\); unpack the archive"),
    ],
)
def test_what_is_no_folder_of_photos_is_refused_with_a_cure(tmp_path: Path, name: str, message: str) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    if name:
        touch(folder, name)
    with pytest.raises(DataError, match=message):
        find_files([folder / name if name and "/" not in name else folder])

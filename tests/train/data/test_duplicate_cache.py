"""The duplicates of a set are kept, and searched again when a file has changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.errors import StorageError
from dermedge.train.data import photo_prints
from dermedge.train.data.duplicate_cache import find_duplicates

Draw = Callable[[int], NDArray[np.uint8]]


@pytest.fixture
def photos(tmp_path: Path, lesion: Draw) -> list[Path]:
    """Four photos and a file without an image.

    The third photo is mirrored from the first, and the fourth equals it.
    """
    paths = [tmp_path / f"{name}.png" for name in "abcde"]
    for path, picture in zip(paths, (lesion(1), lesion(2), lesion(1)[:, ::-1]), strict=False):
        cv2.imwrite(str(path), picture)
    paths[3].write_bytes(paths[0].read_bytes())
    paths[4].write_text("no picture")
    return paths


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read to look for copies."""
    seen: list[Path] = []
    read_one = photo_prints._read

    def note(path: Path) -> object:
        seen.append(path)
        return read_one(path)

    monkeypatch.setattr(photo_prints, "_read", note)
    return seen


def test_copies_are_looked_for_once(tmp_path: Path, photos: list[Path], read: list[Path]) -> None:
    first = find_duplicates(photos, tmp_path / "cache")
    assert sorted(read) == photos
    assert first.equal == [[0, 3]]
    assert [(match.first, match.second) for match in first.near] == [(0, 2), (0, 3), (2, 3)]
    assert list(first.unreadable) == [4]
    assert first.unreadable[4].startswith("not a photo that can be decoded (10 bytes)")
    steps: list[tuple[int, int]] = []
    assert find_duplicates(photos, tmp_path / "cache", lambda *step: steps.append(step)) == first
    # Only the file that could not be decoded is read again.
    assert read[5:] == [photos[4]]
    assert steps == [(10, 10)]
    assert find_duplicates(photos) == first
    assert len(read) == 11
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".json"]


def test_equal_files_without_any_structure_are_one_photo(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path, level in zip(paths, (90, 120, 90), strict=True):
        cv2.imwrite(str(path), np.full((40, 60, 3), level, np.uint8))
    steps: list[tuple[int, int]] = []
    found = find_duplicates(paths, progress=lambda *step: steps.append(step))
    # The first three steps read the files. The other steps belong to the search.
    assert steps == sorted(steps)
    assert steps[:3] == [(1, 6), (2, 6), (3, 6)]
    assert steps[-1] == (6, 6)
    # The photos have no features to compare, but their bytes can be compared.
    assert found.near == []
    assert found.of_one_photo == found.equal == [[0, 2]]


def test_a_file_that_changed_or_came_is_looked_at(
    tmp_path: Path, photos: list[Path], read: list[Path], lesion: Draw
) -> None:
    find_duplicates(photos[:3], tmp_path / "cache")
    cv2.imwrite(str(photos[1]), lesion(1))
    assert find_duplicates(photos[:3], tmp_path / "cache").equal == [[0, 1]]
    assert find_duplicates(photos[:4], tmp_path / "cache").equal == [[0, 1, 3]]
    assert len(read) == 3 + 3 + 4


def test_another_way_to_look_looks_again(
    tmp_path: Path, photos: list[Path], read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_duplicates(photos[:2], tmp_path / "cache")
    monkeypatch.setattr(cv2, "__version__", "another")
    find_duplicates(photos[:2], tmp_path / "cache")
    assert len(read) == 4


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"equal": [], "near": [{}], "unreadable": {}}'])
def test_a_damaged_cache_is_looked_past(tmp_path: Path, photos: list[Path], content: str) -> None:
    first = find_duplicates(photos, tmp_path / "cache")
    [kept] = (tmp_path / "cache").iterdir()
    kept.write_text(content)
    assert find_duplicates(photos, tmp_path / "cache") == first


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, photos: list[Path]) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*a\.png"):
        find_duplicates(photos, photos[0])


def test_a_photo_is_searched_once_it_can_be_decoded(
    tmp_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos[4].write_bytes((Path(__file__).parents[2] / "edge" / "photo.heic").read_bytes())
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pi_heif", None)
        found = find_duplicates(photos, tmp_path / "cache")
        assert "needs the package pi-heif" in found.unreadable[4]
    assert find_duplicates(photos, tmp_path / "cache").unreadable == {}

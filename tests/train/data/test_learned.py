"""The record of the photos that a model was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.errors import DataError
from dermedge.edge.model.associated import read_associated
from dermedge.edge.model.shipped import DEFAULT_MODEL
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.learned import LEARNED_NAME, count_learned, learned_photos, merge_learned


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def photo(path: Path, digest: str = "") -> Photo:
    return Photo(str(path), path.stem, "", "g", "x", "x", "s", "train", digest=digest)


def test_learned_photos_are_known_by_their_id_or_their_bytes(tmp_path: Path) -> None:
    published = put(tmp_path / "a" / "ISIC_0024306.jpg", b"large")
    mine = put(tmp_path / "a" / "IMG_1.jpg", b"mine")
    learned = learned_photos([photo(published), photo(mine)])
    assert len(learned) == 8
    again = [
        put(tmp_path / "b" / "ISIC_0024306_downsampled.png", b"small"),
        put(tmp_path / "b" / "renamed.jpg", b"mine"),
        put(tmp_path / "b" / "IMG_1.jpg", b"another"),
        put(tmp_path / "b" / "ISIC_0024307.jpg", b"large"),
    ]
    assert count_learned(learned, again) == 2
    # two files of one photo are two photos to score
    assert count_learned(learned, [*again, published]) == 3
    assert count_learned(b"", again) == 0


def test_the_bytes_are_the_same_for_a_digest_that_is_known(tmp_path: Path) -> None:
    mine = put(tmp_path / "IMG_1.jpg", b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()[:16]
    expected = hashlib.sha256(digest.encode()).digest()[:4]
    assert learned_photos([photo(mine)]) == learned_photos([photo(tmp_path / "gone.jpg", digest)]) == expected


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the photo '.*gone\.jpg'"):
        learned_photos([photo(tmp_path / "gone.jpg")])
    with pytest.raises(DataError, match="damaged: its size of 3 bytes"):
        count_learned(b"abc", [])
    with pytest.raises(DataError, match="damaged: its size of 5 bytes"):
        merge_learned([b"abcd", b"abcde"])


def test_lists_are_merged_in_order_and_each_photo_stays_once(tmp_path: Path) -> None:
    first, second, third = (
        learned_photos([photo(tmp_path / name, digest)])
        for name, digest in (("a", "1"), ("b", "2"), ("c", "3"))
    )
    both, last = b"".join(sorted([first, second])), third
    merged = merge_learned([both, b"", last, first])
    assert merged == b"".join(sorted([first, second, third]))
    assert merge_learned([]) == merge_learned([b""]) == b""


def test_the_record_has_the_name_that_shipped_models_hold_it_by() -> None:
    nine = DEFAULT_MODEL
    learned = read_associated(nine, "learned-photos.bin")
    assert LEARNED_NAME == "learned-photos.bin"
    assert learned is not None
    # sorted numbers of four bytes, each once
    keys = np.frombuffer(learned, ">u4").astype(np.int64)
    assert len(keys) > 1000
    assert (np.diff(keys) > 0).all()

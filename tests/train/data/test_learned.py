"""The record of the photos that a model was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.errors import DataError
from dermedge.edge.model.associated import read_associated
from dermedge.edge.model.shipped import DEFAULT_MODEL
from dermedge.train.data import learned as learned_module
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.learned import LEARNED_NAME, find_learned, learned_photos, merge_learned


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
        photo(put(tmp_path / "b" / "ISIC_0024306_downsampled.png", b"small")),
        photo(put(tmp_path / "b" / "renamed.jpg", b"mine")),
        photo(put(tmp_path / "b" / "IMG_1.jpg", b"another")),
        photo(put(tmp_path / "b" / "ISIC_0024307.jpg", b"large")),
    ]
    assert find_learned(learned, again) == again[:2]
    # two files of one photo are two photos to score
    assert find_learned(learned, [*again, photo(published)]) == [*again[:2], photo(published)]
    assert find_learned(b"", again) == []


def test_a_photo_whose_digest_is_known_is_looked_up_without_its_file(tmp_path: Path) -> None:
    mine = photo(put(tmp_path / "IMG_1.jpg", b"mine"))
    digest = hashlib.sha256(b"mine").hexdigest()[:16]
    gone = photo(tmp_path / "gone.jpg", digest)
    assert find_learned(learned_photos([mine]), [gone]) == [gone]
    with pytest.raises(DataError, match=r"cannot read the photo '.*gone\.jpg'"):
        find_learned(learned_photos([mine]), [photo(tmp_path / "gone.jpg")])


@pytest.mark.parametrize(
    ("known", "held_out", "shared", "found"),
    [
        (20_000, 10_000, 1, 0),
        (20_000, 10_000, 2, 2),
        (20_000, 1_000, 1, 1),
        (5_000, 300, 1, 1),
        (60_000, 300_000, 8, 0),
        (60_000, 300_000, 15, 15),
    ],
)
def test_as_many_matches_as_chance_gives_are_no_learned_photos(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, known: int, held_out: int, shared: int, found: int
) -> None:
    # The key of a photo is its number. So only shared numbers match.
    monkeypatch.setattr(learned_module, "_key", lambda path, digest: int(digest))
    photos = [photo(tmp_path / "x.jpg", str(number)) for number in range(held_out)]
    record = np.concatenate([np.arange(shared), 2**31 + np.arange(known - shared)]).astype(">u4").tobytes()
    assert find_learned(record, photos) == photos[:found]


def test_the_bytes_are_the_same_for_a_digest_that_is_known(tmp_path: Path) -> None:
    mine = put(tmp_path / "IMG_1.jpg", b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()[:16]
    expected = hashlib.sha256(digest.encode()).digest()[:4]
    assert learned_photos([photo(mine)]) == learned_photos([photo(tmp_path / "gone.jpg", digest)]) == expected


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the photo '.*gone\.jpg'"):
        learned_photos([photo(tmp_path / "gone.jpg")])
    with pytest.raises(DataError, match="damaged: its size of 3 bytes"):
        find_learned(b"abc", [])
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
    # The numbers have four bytes each, are sorted, and occur only once.
    keys = np.frombuffer(learned, ">u4").astype(np.int64)
    assert len(keys) > 1000
    assert (np.diff(keys) > 0).all()

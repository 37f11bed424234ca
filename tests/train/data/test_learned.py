"""The list of learned photos survives packing, knows its photos and no others, and is small."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from dermedge.edge.errors import ModelError
from dermedge.train.data.learned import count_learned, pack, unpack


def digest_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_what_was_packed_is_found_again_and_nothing_else(count: int) -> None:
    learned = unpack(pack(digest_of(number) for number in range(count)), "model.tflite")
    assert learned.tolist() == sorted(int(digest_of(number)[:8], 16) for number in range(count))
    assert count_learned((digest_of(number) for number in range(count)), learned) == count
    assert count_learned((digest_of(number) for number in range(count, count + 3000)), learned) == 0


def test_a_photo_that_is_scored_twice_counts_twice_and_one_without_digest_not() -> None:
    learned = unpack(pack([digest_of(1), digest_of(1), ""]), "model.tflite")
    assert len(learned) == 1
    assert count_learned([digest_of(1)[:16], digest_of(1), "", digest_of(2)], learned) == 2


def test_twenty_thousand_photos_take_less_than_three_bytes_each() -> None:
    assert len(pack(digest_of(number) for number in range(20_000))) < 60_000


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b"\x00" + b[1:], lambda b: zlib.compress(b"123")]
)
def test_a_damaged_list_is_one_clear_error(damage: object) -> None:
    packed = pack([digest_of(number) for number in range(100)])
    with pytest.raises(ModelError, match=r"learned photos in 'model\.tflite' is (damaged|cut off)"):
        unpack(damage(packed), "model.tflite")  # type: ignore[operator]

"""What the network sees of a frame."""

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermedge.edge.preprocess import MAX_TRIM, Preprocessor, crop_region, normalize, to_input

# The values were measured on x86-64 with OpenCV 4.11 and 5.0, and on emulated arm64 (cortex-a72) with OpenCV 5.0.
VECTORS = {
    (480, 640, 160): "97d04692e9fde0ca",
    (480, 640, 224): "4f34a8c84573addd",
    (450, 600, 160): "e649d0fd73ed184e",
    (180, 240, 160): "1e44c8cf57528032",
    (333, 500, 96): "7c5aa91c24d28178",
}

PHONE_VECTORS = json.loads((Path(__file__).parent / "preprocess_vectors.json").read_text())


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "size"), VECTORS)
def test_the_result_is_the_same_on_every_processor(height: int, width: int, size: int) -> None:
    digest = hashlib.sha256(to_input(noise(height, width), size).tobytes()).hexdigest()
    assert digest[:16] == VECTORS[height, width, size]


def pattern(height: int, width: int, seed: int) -> np.ndarray:
    """Returns an image whose values are the xorshift of their numbers. tests/edge/phone/laws.test.mjs draws it too."""
    bits = np.arange(height * width * 3, dtype=np.uint32) + np.uint32(1 + seed * 7919)
    bits ^= bits << np.uint32(13)
    bits ^= bits >> np.uint32(17)
    bits ^= bits << np.uint32(5)
    return (bits & np.uint32(255)).astype(np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("vector", PHONE_VECTORS, ids=lambda one: "{height}x{width}-{size}".format(**one))
def test_the_vectors_that_the_phone_app_shares(vector: dict[str, Any]) -> None:
    height, width, size = vector["height"], vector["width"], vector["size"]
    top, left, side, _ = crop_region(height, width, size, size)
    assert [top, left, side] == vector["seen"]
    seen = to_input(pattern(height, width, vector["seed"])[..., ::-1], size)
    assert hashlib.sha256(seen.tobytes()).hexdigest() == vector["sha256"]


def test_a_picture_of_the_input_size_is_only_turned_to_rgb() -> None:
    frame = noise(96, 96)
    assert np.array_equal(to_input(frame, 96), frame[..., ::-1])


def test_twice_the_size_is_the_rounded_mean_of_2x2_blocks() -> None:
    frame = noise(64, 64)
    blocks = frame.reshape(32, 2, 32, 2, 3).astype(int).sum(axis=(1, 3))
    assert np.array_equal(to_input(frame, 32), ((blocks + 2) // 4)[..., ::-1])


def test_sides_are_cut_and_the_centre_is_kept() -> None:
    frame = np.zeros((60, 100, 3), np.uint8)
    frame[:, 20:80] = (10, 20, 30)
    assert (to_input(frame, 48) == (30, 20, 10)).all()


def test_the_output_is_written_in_place() -> None:
    out = np.zeros((32, 32, 3), np.uint8)
    result = Preprocessor(32)(noise(70, 90), out=out)
    assert np.shares_memory(result, out)
    assert np.array_equal(out, to_input(noise(70, 90), 32))


def test_kept_buffers_do_not_leak_into_the_next_frame() -> None:
    preprocess = Preprocessor(32)
    first = preprocess(noise(130, 170)).copy()
    preprocess(255 - noise(130, 170))
    assert np.array_equal(preprocess(noise(130, 170)), first)


def test_buffers_for_earlier_sizes_of_photos_are_freed() -> None:
    preprocess = Preprocessor(32)
    tracemalloc.start()
    try:
        for side in range(800, 840):  # an image of half this width and height takes 0.5 MB
            preprocess(noise(side, side))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


@settings(max_examples=200)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 512))
def test_the_crop_is_centred_inside_the_frame_and_nearly_all_of_it(
    height: int, width: int, size: int
) -> None:
    top, left, side, wide = crop_region(height, width, size, size)
    assert wide == side
    assert top >= 0
    assert top + side <= height
    assert abs(2 * top + side - height) <= 1
    assert abs(2 * left + side - width) <= 1
    assert side >= min(height, width) * (1 - MAX_TRIM) - 1e-9


def test_normalized_pixels_are_what_the_quantized_input_means() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert np.allclose(normalize(levels), (levels.astype(float) - 128) / 127.5)
    assert normalize(levels)[128] == 0


@pytest.mark.parametrize(("rows", "columns"), [(32, 64), (64, 32), (30, 50), (7, 96)])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (37, 1000), (9, 9), (1, 1)])
def test_a_crop_has_the_inputs_aspect_ratio_and_lies_in_the_middle(
    rows: int, columns: int, height: int, width: int
) -> None:
    top, left, high, wide = crop_region(height, width, rows, columns)
    assert 0 <= top <= top + high <= height
    assert 0 <= left <= left + wide <= width
    assert (top, left) == ((height - high) // 2, (width - wide) // 2)
    assert abs(high * columns - wide * rows) <= max(rows, columns), "to the pixel"
    assert high >= (1 - MAX_TRIM) * height - 1 or wide >= (1 - MAX_TRIM) * width - 1, "the largest"
    assert Preprocessor(rows, columns)(noise(height, width)).shape == (rows, columns, 3)


def test_an_input_that_is_not_square_is_the_mean_of_whole_blocks() -> None:
    frame = noise(64, 128)
    blocks = frame.reshape(32, 2, 64, 2, 3).astype(int).sum(axis=(1, 3))
    rounded = (blocks + 2) // 4
    assert np.array_equal(Preprocessor(32, 64)(frame), rounded[..., ::-1])

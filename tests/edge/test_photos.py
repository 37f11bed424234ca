"""How images are encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.photos import encode_image, read_picture

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".jpg", b"\xff\xd8")])
def test_an_image_is_encoded_as_its_suffix_says(suffix: str, magic: bytes) -> None:
    assert encode_image(IMAGE, suffix).startswith(magic)


def test_png_keeps_each_pixel(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(encode_image(IMAGE, path.suffix))
    assert np.array_equal(read_picture(path), IMAGE)


def test_jpeg_of_a_lower_quality_is_smaller() -> None:
    assert len(encode_image(IMAGE, ".jpg", 20)) < len(encode_image(IMAGE, ".jpg", 90))

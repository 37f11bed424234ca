"""The recording of the demo that README.md shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from dermedge.benchmarks.lab.recording import RECORDING, animation

_MOST_KB = 500


def test_each_image_is_a_frame_of_an_endless_animation() -> None:
    shades = (40, 120, 200)
    content = animation([np.full((480, 640, 3), shade, np.uint8) for shade in shades])
    with Image.open(io.BytesIO(content)) as written:
        assert (written.format, written.size) == ("WEBP", (480, 360))
        assert written.n_frames == len(shades)  # type: ignore[attr-defined]
        assert written.info["loop"] == 0
        for number, shade in enumerate(shades):
            written.seek(number)
            pixel = np.asarray(written.convert("RGB"))[180, 240]
            assert np.abs(pixel.astype(int) - shade).max() <= 3


def test_the_recording_that_ships_is_small_and_moves() -> None:
    assert RECORDING.stat().st_size < _MOST_KB * 1000
    with Image.open(RECORDING) as written:
        assert written.n_frames >= 40  # type: ignore[attr-defined]

"""The page computes what Python computes: on the shared vectors, and on images."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.model.golden import IMAGE_COUNT, golden_image
from dermedge.edge.preprocess import to_input
from dermedge.edge.quality import GRID, HINTS, QualityGate, judge

HERE = Path(__file__).resolve().parent
REAL_PHOTOS = 60

Image = NDArray[np.uint8]
Stamped = tuple[Image, float | None]


def measure(node: str, pictures: Sequence[Stamped], size: int = GRID) -> dict[str, Any]:
    """Returns the page's measures of BGR images with their times, for a network with this input size."""
    heads = [{"height": one.shape[0], "width": one.shape[1], "at_s": at_s} for one, at_s in pictures]
    pixels = b"".join(cv2.cvtColor(one, cv2.COLOR_BGR2RGBA).tobytes() for one, _ in pictures)
    done = subprocess.run(
        [node, str(HERE / "measure.mjs"), str(size)],
        input=json.dumps(heads).encode() + b"\n" + pixels,
        capture_output=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measured_by_python(pictures: Sequence[Stamped], size: int) -> list[dict[str, Any]]:
    """Returns the expected result of `measure`. Its numbers are approximate."""
    gate = QualityGate()
    results = []
    for image, at_s in pictures:
        measures = gate.measure(to_input(image, size), at_s)
        numbers = {name: pytest.approx(value, abs=1e-9) for name, value in measures.__dict__.items()}
        results.append({**numbers, "defect": judge(measures)})
    return results


def test_the_vectors_that_python_shares(node: str) -> None:
    done = subprocess.run(
        [node, "--test", str(HERE / "laws.test.mjs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("size", [GRID, 128, 192, 224])
def test_the_quality_gate_measures_and_hints_what_python_s_does(
    node: str, make_lesion: Callable[..., Image], size: int
) -> None:
    rng = np.random.default_rng(3)
    pictures: list[Stamped] = [(golden_image(number), None) for number in range(IMAGE_COUNT)]
    pictures += [(make_lesion(number, (320 + 9 * number, 240)), number / 20) for number in range(12)]
    pictures += [(make_lesion(number, (200 + 90 * number, 240)), 9 + number / 30) for number in range(3)]
    pictures += [(make_lesion(centre=(x, 240), radius=30), None) for x in (150, 490)]
    pictures += [(make_lesion(radius=radius), None) for radius in (5, 30, 200, 330)]
    pictures += [(cv2.GaussianBlur(make_lesion(), (0, 0), 9), None)]
    pictures += [(cv2.convertScaleAbs(make_lesion(), alpha=alpha), None) for alpha in (0.05, 0.3, 1.4, 3)]
    pictures += [(rng.integers(0, 256, (333, 500, 3), dtype=np.uint8), None)]
    expected = measured_by_python(pictures, size)
    assert len({one["defect"] for one in expected}) >= 8
    found = measure(node, pictures, size)
    assert found["pictures"] == expected
    assert found["hints"] == dict(HINTS)


def test_the_quality_gate_measures_real_photos_as_python_s_does(
    node: str, photos: Callable[[int], list[Image]]
) -> None:
    pictures: list[Stamped] = [(photo, None) for photo in photos(REAL_PHOTOS)]
    assert measure(node, pictures, 192)["pictures"] == measured_by_python(pictures, 192)

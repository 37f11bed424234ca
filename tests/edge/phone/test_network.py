"""On LiteRT.js, the network computes the same levels as in Python, and so the page gives the same answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import IMAGE_COUNT, golden_image
from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.model.shipped import DEFAULT_MODEL
from dermedge.edge.phone import build
from dermedge.edge.quality import HINTS, QualityGate

HERE = Path(__file__).resolve().parent
PHOTOS, FEW_PHOTOS = 200, 30
# One process of Node classifies at most this number of images, so that it does not need too much memory.
AT_ONCE = 50

# Options of `make_network`.
UINT8 = {"dtype": "uint8", "quantization": (1 / 16, 128)}

Image = NDArray[np.uint8]


def classify(node: str, app: Path, pictures: Sequence[Image]) -> Iterator[dict[str, Any]]:
    """The page's results of BGR images."""
    for start in range(0, len(pictures), AT_ONCE):
        some = pictures[start : start + AT_ONCE]
        heads = [{"height": one.shape[0], "width": one.shape[1]} for one in some]
        pixels = b"".join(cv2.cvtColor(one, cv2.COLOR_BGR2RGBA).tobytes() for one in some)
        done = subprocess.run(
            [node, str(HERE / "classify.mjs"), str(app)],
            input=json.dumps(heads).encode() + b"\n" + pixels,
            capture_output=True,
            check=True,
        )
        yield from json.loads(done.stdout)


def classified_by_python(app: Path, pictures: Sequence[Image]) -> Iterator[dict[str, Any]]:
    """Returns the expected result of `classify`. Its probabilities and heat maps are approximate."""
    gate = QualityGate()
    with Classifier(app / "model.tflite") as classifier:
        for picture in pictures:
            defect = gate.check(classifier.crop(picture).image_rgb, None)
            prediction = classifier.predict(picture)
            heat = heat_map(prediction)
            assert heat is not None
            yield {
                "levels": {
                    name: tensor.values.ravel().tolist()
                    for name, tensor in classifier.raw_outputs(picture).items()
                },
                "probabilities": pytest.approx(prediction.probabilities, abs=1e-12),
                "label": prediction.label,
                "alert": prediction.alert,
                "view": prediction.view,
                "hint": HINTS[defect] if defect else "",
                "heat": pytest.approx(heat.ravel().tolist(), abs=1e-5),
            }


def test_drawn_pictures_give_the_same_levels(node: str, app: Path) -> None:
    drawn = [golden_image(number) for number in range(IMAGE_COUNT)]
    for result, expected in zip(classify(node, app, drawn), classified_by_python(app, drawn), strict=True):
        assert result == expected


def test_200_real_photos_give_the_same_levels(
    node: str, app: Path, real_data: Path, photos: Callable[[int], list[Image]]
) -> None:
    chosen = photos(PHOTOS)
    assert len(chosen) == PHOTOS
    for result, expected in zip(classify(node, app, chosen), classified_by_python(app, chosen), strict=True):
        assert result == expected


def test_a_model_that_tells_the_view_says_what_python_says(
    node: str,
    app: Path,
    make_view_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "_fetch_litert", lambda folder: shutil.copytree(app / "litert", folder))
    alert = {"alert": {"label": "melanoma", "threshold": 0.3}}
    model = make_view_model(4.0, alert, {"none": 0.0}, {**UINT8, "shape": (1, 96, 96, 3)})
    of_view = build.build_app(model, tmp_path / "app").folder
    pictures = [np.full((96, 128, 3), level, np.uint8) for level in (90, 127, 128, 180)]
    expected = list(classified_by_python(of_view, pictures))
    assert [one["view"] for one in expected] == ["dermoscopic", "dermoscopic", "close-up", "close-up"]
    assert list(classify(node, of_view, pictures)) == expected


def test_the_shipped_model_of_nine_classes_answers_as_in_python(
    node: str,
    app: Path,
    photos: Callable[[int], list[Image]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "_fetch_litert", lambda folder: shutil.copytree(app / "litert", folder))
    nine = build.build_app(DEFAULT_MODEL, tmp_path / "app").folder
    few = photos(FEW_PHOTOS)
    for result, expected in zip(classify(node, nine, few), classified_by_python(nine, few), strict=True):
        assert result == expected


def test_a_changed_model_is_refused(node: str, app: Path, tmp_path: Path) -> None:
    copy = tmp_path / "app"
    shutil.copytree(app, copy)
    model = bytearray((copy / "model.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (copy / "model.tflite").write_bytes(model)
    command = [node, str(HERE / "classify.mjs"), str(copy)]
    done = subprocess.run(command, input=b"[]\n", capture_output=True, check=False)
    assert done.returncode == 1
    assert b"model.tflite is not the file that this page was built with" in done.stderr

"""The page answers the frames of a camera as the device does: crop, gate, view, smoothing, states and words."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.phone import build
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.preprocess import to_input
from dermedge.edge.quality import GRID, HINTS, QualityGate
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.sources.frame import Frame, FrameSource

HERE = Path(__file__).resolve().parent
ALERT = {"alert": {"label": "melanoma", "threshold": 0.3}}

Image = NDArray[np.uint8]
Stamped = tuple[Image, float | None]


class Frames(FrameSource):
    """Frames with the times that they were given."""

    is_live = False

    def __init__(self, frames: Sequence[Stamped]) -> None:
        self._frames = iter(frames)

    def read(self) -> Frame | None:
        found = next(self._frames, None)
        return found and Frame(found[0], 0, time.monotonic(), "frames", at_s=found[1])

    def close(self) -> None:
        pass


def tinted(image: Image, *gains: float) -> Image:
    """Returns the image with its blue, green and red multiplied by these factors."""
    return np.clip(image * np.array(gains), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def frames(make_lesion: Callable[..., Image]) -> list[Stamped]:
    """Ten seconds of a camera. Close-ups come first, then dermoscopic frames. Some frames between have defects."""
    lesions = iter(make_lesion(number) for number in range(400))
    light = iter(np.linspace(0.6, 1, 30))
    scenes: list[tuple[float, Callable[[], Image]]] = [
        (1.2, lambda: next(lesions)),
        # another class comes: first for a shorter time, and then for a longer time than an answer stays
        (0.3, lambda: tinted(next(lesions), 0.9, 1.12, 0.82)),
        (0.5, lambda: next(lesions)),
        (1.0, lambda: tinted(next(lesions), 0.9, 1.12, 0.82)),
        # one defect is shorter than the grace time, and another one is longer
        (0.2, lambda: cv2.GaussianBlur(next(lesions), (0, 0), 9)),
        (0.3, lambda: tinted(next(lesions), 0.9, 1.12, 0.82)),
        (0.6, lambda: np.full((480, 640, 3), 150, np.uint8)),
        (0.9, lambda: tinted(next(lesions), 0.6, 0.62, 0.53)),
        (0.6, lambda: tinted(next(lesions), 0.95, 0.72, 0.60)),
        (0.9, lambda: tinted(next(lesions), 0.6, 0.62, 0.53)),
        # the images become brighter; the view of a single frame changes before the smoothed view does
        (3.0, lambda: tinted(next(lesions), *[next(light)] * 3)),
        (0.7, lambda: make_lesion(7)[:, 70:571]),
    ]
    made, at_s = [], 20.0
    for secs, paint in scenes:
        for _ in range(round(secs / 0.1)):
            made.append((paint(), at_s))
            at_s += 0.1
    return made


def model_of(kind: str, make_view_model: Callable[..., Path]) -> Path:
    """Returns a tiny network of a kind.

    "view" tells the view. "no view" has probabilities alone. Any other kind has an input smaller than the gate's.
    """
    quantized = {"dtype": "uint8", "quantization": (1 / 16, 128)}
    thresholds = {**ALERT, "none": 0.8, "uncertain": 0.4}
    if kind == "no view":
        options = {**quantized, "shape": (1, GRID, GRID, 3), "tells_view": False}
        return make_view_model(1.0, {}, {**thresholds, "none": 0.9}, options)
    side = GRID if kind == "view" else GRID // 2
    return make_view_model(
        3.0, thresholds, {"none": 0.5, "uncertain": 0.99}, {**quantized, "shape": (1, side, side, 3)}
    )


def answer_of(found: Classification) -> dict[str, Any]:
    heat = heat_map(found.prediction)
    prediction = found.prediction
    return {
        "label": prediction.label,
        "alert": prediction.alert,
        "view": prediction.view,
        "probabilities": pytest.approx(prediction.probabilities, abs=1e-9),
        "index": prediction.index,
        "headline": [found.headline.title, found.headline.nearest],
        "heat": None if heat is None else pytest.approx(heat.ravel().tolist(), abs=1e-5),
    }


def live_by_python(results: Sequence[FrameResult]) -> Iterator[dict[str, Any]]:
    for result in results:
        found = result.classification
        assert result.frame is not None
        assert result.crop is not None
        height, width = result.frame.image_bgr.shape[:2]
        yield {
            "state": result.state,
            "hint": result.hint,
            "agrees": found is not None and result.answer is found,
            "crop": [result.crop.top, result.crop.left, result.crop.height, width, height],
            "answer": found and answer_of(found),
        }


def still_by_python(model: Path, frames: Sequence[Stamped]) -> Iterator[dict[str, Any]]:
    """A photo is answered even if the gate rejects it; the gate's hint stands beside the answer."""
    photos = Frames([(image, None) for image, _ in frames])
    with Classifier(model) as classifier, Pipeline(photos, classifier, gated=False) as results:
        for result in results:
            assert result.classification is not None
            assert result.frame is not None
            seen = to_input(result.frame.image_bgr, max(GRID, classifier.input_size))
            defect = QualityGate().check(seen, None)
            [of_live] = live_by_python([result])
            yield {**of_live, "hint": HINTS[defect] if defect else ""}


def by_the_page(
    node: str, app: dict[str, Any], outputs: dict[str, Any], frames: Sequence[Stamped]
) -> dict[str, Any]:
    """Returns the output of live.mjs for the frames, then a lost camera, and then the last frame again."""
    heads: list[dict[str, Any]] = [
        {"height": image.shape[0], "width": image.shape[1], "at_s": at_s, "still": number % 10 == 0}
        for number, (image, at_s) in enumerate(frames)
    ]
    heads += [{"lost": "unplugged"}, {**heads[-1], "still": False}]
    pixels = b"".join(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).tobytes() for image, _ in (*frames, frames[-1]))
    done = subprocess.run(
        [node, str(HERE / "live.mjs")],
        input=json.dumps({"app": app, "outputs": outputs, "frames": heads}).encode() + b"\n" + pixels,
        capture_output=True,
        check=True,
        timeout=120,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("kind", ["view", "small", "no view"])
def test_frames_are_answered_as_by_the_device(
    kind: str,
    node: str,
    frames: list[Stamped],
    make_view_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "_fetch_litert", write_no_litert)
    model = model_of(kind, make_view_model)
    app = json.loads((build.build_app(model, tmp_path / "app").folder / "app.json").read_text())
    outputs = {}
    with Classifier(model) as classifier:
        for image, _ in frames:
            raw = classifier.raw_outputs(image)
            key = hashlib.sha256(classifier.crop(image).image_rgb.tobytes()).hexdigest()
            outputs[key] = {name: mirrored(app, name, tensor.values) for name, tensor in raw.items()}
        with Pipeline(Frames(frames), classifier) as results:
            expected = list(live_by_python(list(results)))
    told = by_the_page(node, app, outputs, frames)
    *live, lost, anew = told["live"]
    assert live == expected
    assert lost == {
        "state": "camera lost",
        "hint": "unplugged",
        "agrees": False,
        "crop": None,
        "answer": None,
    }
    assert (anew["state"], anew["hint"]) == ("reading", "hold still")
    assert told["still"] == list(still_by_python(model, frames[::10]))
    if kind == "view":
        # The frames have both views and several classes, with and without the alert. Otherwise, a mistake could be
        # overlooked.
        answers = [one["answer"] for one in expected if one["answer"]]
        assert {one["view"] for one in answers} == {"close-up", "dermoscopic"}
        assert len({one["label"] for one in answers}) >= 2
        assert {(one["alert"], one["label"]) for one in answers} >= {
            ("melanoma", "melanoma"),
            ("melanoma", "nevus"),
            (None, "melanoma"),
        }
        assert {"searching", "reading", "answer"} <= {one["state"] for one in expected}


def mirrored(app: dict[str, Any], name: str, levels: NDArray[np.uint8]) -> list[int]:
    """Returns the levels of close_up, counted down from 255, so that its scale is not that of the other outputs."""
    if name != "close_up":
        return levels.ravel().tolist()
    app[name] |= {"scale": -1 / 256, "zero_point": 255}
    return (255 - levels.ravel()).tolist()


def write_no_litert(folder: Path) -> None:
    """Writes empty files instead of downloading LiteRT.js, because these tests do not need it."""
    folder.mkdir()
    for name in build._LITERT.values():
        (folder / name).write_bytes(b"")

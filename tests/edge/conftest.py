"""Pictures, videos, a scripted camera and a classifier without a model, for the tests of the device part."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.decision import Decision, Headline, headline
from dermedge.edge.model.golden import DRAWING, IMAGE_COUNT, answers, golden_image
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import attach, read_manifest
from dermedge.edge.model.prediction import Crop, Outputs, Prediction, Tensor, Timing
from dermedge.edge.model.shipped import FIVE_CLASSES_MODEL
from dermedge.edge.preprocess import Region, crop_region, to_input
from dermedge.edge.quality import Defect
from dermedge.edge.results import Classification, FrameCounts, FrameResult
from dermedge.edge.sources.frame import Frame
from dermedge.edge.sources.latest import Arrival, LatestFrame
from dermedge.edge.states import ANSWERED, State

# hypothesis would fail a test that takes too long. On a busy machine, this is no sign of a fault.
settings.register_profile("dermedge", deadline=None)
settings.load_profile("dermedge")

LABELS = ("melanoma", "nevus", "none of these")


def numbered_image(number: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Returns a gray image. Its level is 10 times its number, so that a test can read the number."""
    return np.full((height, width, 3), 10 * number, np.uint8)


def lesion_image(
    number: int = 0, centre: tuple[int, int] = (320, 240), radius: int = 120
) -> NDArray[np.uint8]:
    """Returns a drawn lesion, 640 x 480, which passes the quality gate. Each number gives other noise."""
    image = np.full((480, 640, 3), (158, 180, 222), np.uint8)
    cv2.circle(image, centre, radius, (60, 80, 120), -1, cv2.LINE_AA)
    structure = cv2.resize(
        np.random.default_rng(0).normal(0, 9, (160, 213)), (640, 480), interpolation=cv2.INTER_CUBIC
    )
    grain = np.random.default_rng(number).integers(-2, 3, (480, 640))
    return np.clip(image + (structure + grain)[..., None], 0, 255).astype(np.uint8)


class ScriptedCamera:
    """A live source that delivers ``count`` frames when told to, and then ends or raises.

    Args:
        gates: one event for each frame; `read` waits for it before it delivers the frame. Without events, `read` never
            waits.
    """

    is_live = True

    def __init__(
        self, count: int, error: Exception | None = None, gates: Sequence[threading.Event] = ()
    ) -> None:
        self.count, self.error, self.gates = count, error, gates
        self.delivered = 0
        self.ended = threading.Event()
        self.readers: set[threading.Thread] = set()

    def read(self) -> Frame | None:
        self.readers.add(threading.current_thread())
        number = self.delivered
        if number == self.count:
            self.ended.set()
            if self.error:
                raise self.error
            return None
        if number < len(self.gates):
            self.gates[number].wait(5)
        self.delivered += 1
        return Frame(numbered_image(number), number, time.monotonic(), "scripted")

    def close(self) -> None:
        pass


class StubClassifier:
    """Answers "nevus" to every frame. The evidence map is hot in its upper left cell."""

    labels = LABELS
    input_size = 32
    layout = Layout(32, 32, 3, channels_first=False)

    def __init__(self, before: Callable[[], Any] = lambda: None) -> None:
        self._before = before

    def crop(self, frame_bgr: NDArray[np.uint8]) -> Crop:
        region = crop_region(*frame_bgr.shape[:2], self.input_size, self.input_size)
        return Crop(to_input(frame_bgr, self.input_size), region, 1.5)

    def infer(self, crop: Crop) -> Outputs:
        self._before()
        prediction = a_prediction()
        return Outputs(
            prediction.probabilities, prediction.logits, prediction.evidence_levels, prediction.timing
        )

    def decide(self, outputs: Outputs, probabilities: tuple[float, ...]) -> Prediction:
        return replace(a_prediction(), probabilities=probabilities)

    def headline(self, prediction: Prediction, confidence: float) -> Headline:
        return headline(prediction.probabilities, prediction.decision, self.labels, True, confidence)


def a_prediction() -> Prediction:
    """Returns the answer nevus with 70 %. Its evidence lies in the upper left of 2 x 2 cells."""
    evidence = np.zeros((2, 2, 3), np.float32)
    evidence[0, 0, 1] = 8
    return Prediction(
        label="nevus",
        decision=Decision(index=1, declined=False, uncertain=False, alert=False),
        alert=None,
        probabilities=(0.2, 0.7, 0.1),
        logits=(0.0, 2.0, 0.0),
        timing=Timing(1.5, 2.5, 0.5),
        evidence_levels=Tensor(evidence, 0.0, 0),
    )


@pytest.fixture
def make_classification() -> Callable[..., Classification]:
    """A function that makes classifications. Its keywords replace values of an ordinary classification."""

    def make(height: int = 480, width: int = 640, number: int = 7, **changes: Any) -> Classification:
        side = min(height, width)
        values: dict[str, Any] = {
            "frame": Frame(np.full((height, width, 3), 120, np.uint8), number, time.monotonic(), "a camera"),
            "prediction": a_prediction(),
            "labels": LABELS,
            "label": "nevus",
            "headline": Headline(changes.get("label", "nevus")),
            "prediction_set": None,
            "crop": Region((height - side) // 2, (width - side) // 2, side, side),
            "dropped": 3,
            "capture_ms": 12.5,
            "frame_age_ms": 6.25,
            "fps": 29.5,
        }
        return Classification(**{**values, **changes})

    return make


@pytest.fixture
def make_result(make_classification: Callable[..., Classification]) -> Callable[..., FrameResult]:
    """A function that makes results. A result is an answer unless ``classification=None``; keywords set its fields."""

    def make(**changes: Any) -> FrameResult:
        classification = changes.pop("classification", make_classification())
        values: dict[str, Any] = {
            "state": State.ANSWER,
            "hint": "",
            "frame": classification.frame if classification else make_classification().frame,
            "crop": Region(0, 80, 480, 480),
            "classification": classification,
            "answer": classification if changes.get("state", State.ANSWER) in ANSWERED else None,
            "defect": None,
            "counts": FrameCounts(classified=5, rejected={Defect.MOVING: 2}, dropped=3),
            "fps": 29.5,
            "temperature_c": None,
        }
        return FrameResult(**{**values, **changes})

    return make


@pytest.fixture
def make_lost(make_result: Callable[..., FrameResult]) -> Callable[..., FrameResult]:
    """A function (why) that makes the result of a camera that was lost before its first frame."""

    def make(reason: str = "'0' stopped") -> FrameResult:
        return make_result(classification=None, state=State.CAMERA_LOST, hint=reason, frame=None, crop=None)

    return make


@pytest.fixture
def noted_classification(make_classification: Callable[..., Classification]) -> Classification:
    """A classification that is uncertain, with the melanoma alert."""
    prediction = a_prediction()
    decision = replace(prediction.decision, uncertain=True, alert=True)
    return make_classification(
        prediction=replace(prediction, decision=decision, alert="melanoma"),
        headline=Headline("uncertain", "nevus"),
    )


@pytest.fixture
def make_deciding_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the shipped network of five classes with other thresholds.

    Thresholds that are not given are removed.

    With ``has_none=False`` no class stands for "none of these".
    """

    def make(has_none: bool = True, **thresholds: Any) -> Path:
        manifest = read_manifest(FIVE_CLASSES_MODEL)
        assert manifest is not None
        path = tmp_path / "deciding.tflite"
        none_label = manifest.none_label if has_none else None
        decided = replace(manifest, thresholds=thresholds, none_label=none_label)
        path.write_bytes(attach(FIVE_CLASSES_MODEL.read_bytes(), decided))
        return path

    return make


@pytest.fixture(scope="session")
def golden_answers(model_path: Path) -> dict[str, NDArray[Any]]:
    """The answers of the shipped network to the golden images on this machine."""
    with Classifier(model_path) as classifier:
        return answers(classifier)


@pytest.fixture
def make_golden(
    model_path: Path, golden_answers: dict[str, NDArray[Any]], tmp_path: Path
) -> Callable[..., Path]:
    """A function that gives the shipped network a golden test with the answers of this machine.

    Its keywords replace keys of the golden test. ``shift`` is added to the first level of the evidence of each image.
    """

    def make(shift: int = 0, **changes: Any) -> Path:
        outputs = {name: values.copy() for name, values in golden_answers.items()}
        outputs["evidence"][:, 0, 0, 0] += np.uint8(shift)
        manifest = read_manifest(model_path)
        assert manifest is not None
        pixels = b"".join(
            to_input(golden_image(n), manifest.input_size).tobytes() for n in range(IMAGE_COUNT)
        )
        golden = {
            "drawing": DRAWING,
            "pixels": hashlib.sha256(pixels).hexdigest(),
            "outputs": {name: base64.b64encode(one.tobytes()).decode() for name, one in outputs.items()},
        }
        path = tmp_path / "golden.tflite"
        path.write_bytes(attach(model_path.read_bytes(), replace(manifest, golden={**golden, **changes})))
        return path

    return make


@pytest.fixture
def camera() -> type[ScriptedCamera]:
    return ScriptedCamera


@pytest.fixture
def classifier() -> type[StubClassifier]:
    return StubClassifier


def write_video(path: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    """Writes a real video of these images, ten a second."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (width, height))
    for image in images:
        writer.write(image)
    writer.release()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A real video of five frames whose grey levels are 0, 40, 80, 120 and 160."""
    return write_video(tmp_path / "video.avi", [numbered_image(4 * number) for number in range(5)])


@pytest.fixture(scope="session")
def make_lesion() -> Callable[..., NDArray[np.uint8]]:
    return lesion_image


@pytest.fixture
def lesion_video(tmp_path: Path) -> Path:
    """A real video of five frames of a drawn lesion, ten a second."""
    return write_video(tmp_path / "lesion.avi", [lesion_image(number) for number in range(5)])


@pytest.fixture
def next_of() -> Callable[..., object]:
    """A function that reads from a `LatestFrame` until a condition is met, and returns what it read.

    Without a condition, it waits for a frame.
    """

    def wait(
        latest: LatestFrame, wanted: Callable[[object], bool] = lambda found: isinstance(found, Arrival)
    ) -> object:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = latest.read()
            if wanted(found):
                return found
        raise AssertionError("it did not come")

    return wait


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with b.png, with a file that is not an image, and with a folder that holds c.jpg."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    cv2.imwrite(str(folder / "b.png"), numbered_image(1))
    cv2.imwrite(str(folder / "deeper" / "c.jpg"), numbered_image(2))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def usual_hangup() -> Iterator[None]:
    """SIGHUP ends this process and its children. Otherwise, they would ignore it if `nohup` started pytest."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no Node.js; `make test-phone` installs it where it can")
    return path


@pytest.fixture(scope="session")
def run_page_script(node: str) -> Callable[..., Any]:
    """A function (harness, script, what the harness gets as JSON) that runs a page's script in Node.

    It returns what the harness wrote as JSON.
    """

    def run(harness: Path, script: Path, given: object = None) -> Any:
        done = subprocess.run(
            [node, str(harness), str(script)],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "TZ": "UTC", "LC_ALL": "en_US.UTF-8"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], list[float]]:
    """A function that replaces the clock of a module.

    It returns a list. Its only item is the time in seconds, which is 50 at first, and changes only if the test sets it.
    """

    def stop(module: ModuleType) -> list[float]:
        now = [50.0]
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        return now

    return stop

"""The page in headless Chromium, as a person uses it: camera, photo, history, and without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.classifier import Classifier
from edge.manifest import digest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PHOTOS = 20
TIMEOUT_S = 240
# What browser.mjs ends with where Chromium was silent for too long; seen once, on a busy machine.
HUNG, ATTEMPTS = 75, 2
# From frame to answer by the network's time alone; the tests may share the machine with others.
MAX_OVERHEAD = 1.8

Image = NDArray[np.uint8]


def write_y4m(path: Path, image: Image) -> None:
    """A video of one picture, as Chromium's fake camera takes it."""
    height, width = image.shape[:2]
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).tobytes()
    head = f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420\n"
    path.write_bytes(head.encode() + (b"FRAME\n" + yuv) * 2)


@pytest.fixture(scope="session")
def chromium(node_modules: Path) -> str:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium; `make test-phone` installs it where it can")
    return path


@pytest.fixture(scope="session")
def pictures(photos: Callable[[int], list[Image]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real photos, or else the golden drawings, as PNG files, which every decoder reads alike."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number, photo in enumerate(photos(PHOTOS)):
        paths.append(folder / f"{number:03d}.png")
        cv2.imwrite(str(paths[-1]), photo)
    return paths


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots go: DERMEDGE_SHOTS, or a folder of the tests."""
    path = Path(os.environ.get("DERMEDGE_SHOTS", tmp_path_factory.mktemp("shots")))
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def visit(
    node: str,
    chromium: str,
    app: Path,
    pictures: list[Path],
    shots: Path,
    camera_picture: Image,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What browser.mjs saw."""
    video = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_y4m(video, camera_picture)
    server = [sys.executable, "-u", str(ROOT / "dermedge.py"), "phone", "serve", str(app), "--port", "0"]
    config = {
        "server": server,
        "chromium": chromium,
        "video": str(video),
        "pictures": [str(path) for path in pictures],
        "shots": str(shots),
    }
    for _ in range(ATTEMPTS):
        done = subprocess.run(
            [node, str(HERE / "browser.mjs"), json.dumps(config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != HUNG:
            break
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_the_page_names_what_the_camera_shows(
    visit: dict[str, Any], app: Path, camera_picture: Image
) -> None:
    with Classifier(app / "model.tflite") as classifier:
        expected = classifier.predict(camera_picture)
    label, share, _ = visit["camera"].rsplit(" ", 2)
    assert label == expected.label
    # the camera's YUV moves a pixel by a level or two
    assert int(share) == pytest.approx(100 * expected.probability, abs=5)


def test_the_levels_in_the_browser_are_those_of_python(
    visit: dict[str, Any], app: Path, pictures: list[Path]
) -> None:
    with Classifier(app / "model.tflite") as classifier:
        for path, moment in zip(pictures, visit["classified"], strict=True):
            image = cv2.imread(str(path))
            assert image is not None
            assert moment["label"] == classifier.predict(np.asarray(image, np.uint8)).label
            for name, tensor in classifier.raw_outputs().items():
                assert moment["levels"][name] == tensor.values.ravel().tolist()


def test_what_is_done_beside_the_network_takes_little(visit: dict[str, Any]) -> None:
    ratios = [one["totalMs"] / one["invokeMs"] for one in visit["classified"][5:]]
    print(f"frame to answer / run: median {median(ratios):.2f} of {len(ratios)}")
    assert median(ratios) < MAX_OVERHEAD


def test_freeze_keeps_the_answer_on_the_screen(visit: dict[str, Any]) -> None:
    button, title = visit["frozen"]
    assert button == "Go on"
    assert title.split()[0] == visit["camera"].split()[0]


def test_history_keeps_exports_and_erases(visit: dict[str, Any], app: Path) -> None:
    assert visit["kept"].startswith(visit["camera"].rsplit(" ", 2)[0])
    exported = visit["exported"]
    assert exported["format"] == "dermedge-phone-history/1"
    assert "not a medical device" in exported["disclaimer"]
    [answer] = exported["answers"]
    assert answer["model"] == digest(app / "model.tflite")
    assert answer["picture"].startswith("data:image/jpeg;base64,")
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_it_works_when_the_server_is_gone(visit: dict[str, Any], app: Path, pictures: list[Path]) -> None:
    image = cv2.imread(str(pictures[0]))
    assert image is not None
    with Classifier(app / "model.tflite") as classifier:
        prediction = classifier.predict(np.asarray(image, np.uint8))
    label, share, _ = visit["offline"].rsplit(" ", 2)
    assert label == prediction.label
    assert int(share) == pytest.approx(100 * prediction.probability, abs=0.51)
    assert "without a networkworks" in visit["network"]


def test_nothing_is_asked_of_anyone_else_and_the_policy_is_not_breached(visit: dict[str, Any]) -> None:
    assert visit["foreign"] == []
    assert visit["breaches"] == visit["csp"] == []
    assert visit["errors"] == []


def test_it_can_be_installed(visit: dict[str, Any]) -> None:
    assert visit["installability"] == visit["manifest"] == []


def test_axe_finds_nothing(visit: dict[str, Any]) -> None:
    assert visit["axe"] == {"start": [], "live": [], "dark": [], "history": []}


def test_nothing_is_wider_than_the_screen(visit: dict[str, Any], shots: Path) -> None:
    assert visit["overflow"]
    assert set(visit["overflow"].values()) == {0}
    assert all((shots / f"{name}.png").is_file() for name in visit["overflow"])

"""The page in headless Chromium, as a person uses it: camera, photo, history, and without a network."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import digest

# Each image of the camera shows its number in bits. A bit is a mark near a corner of the centre square, outside the
# reticle. A dark mark is 0, and a light one is 1. These are the middles of the marks in pixels, for a square of the
# given side.
MARKS = {"across": [16, 44, 72, 408, 436, 464], "down": 16, "side": 480}
MARK_HALF, DARK, LIGHT = 12, 60, 220

Image = NDArray[np.uint8]
Browse = Callable[..., dict[str, Any]]


def numbered(image: Image, number: int) -> Image:
    """Returns a copy of the image, 640 x 480, with the marks of this number."""
    copy = image.copy()
    for bit, x in enumerate(MARKS["across"]):
        middle = (image.shape[1] - MARKS["side"]) // 2 + x
        rows = slice(MARKS["down"] - MARK_HALF, MARKS["down"] + MARK_HALF)
        copy[rows, middle - MARK_HALF : middle + MARK_HALF] = LIGHT if number >> bit & 1 else DARK
    return copy


def number_of(square: Image) -> int:
    """Returns the number that the marks of a centre square show. The square may have any size."""
    scale = square.shape[0] / MARKS["side"]
    row = round(MARKS["down"] * scale)
    lights = [square[row, round(x * scale)].mean() > (DARK + LIGHT) / 2 for x in MARKS["across"]]
    return sum(int(light) << bit for bit, light in enumerate(lights))


@pytest.fixture(scope="session")
def camera_video(camera_picture: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the camera's image for the fake camera of Chromium. Each frame shows its number."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    height, width = camera_picture.shape[:2]
    with path.open("wb") as video:
        video.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420\n".encode())
        for number in range(2 ** len(MARKS["across"])):
            picture = cv2.cvtColor(numbered(camera_picture, number), cv2.COLOR_BGR2YUV_I420)
            video.write(b"FRAME\n" + picture.tobytes())
    return path


@pytest.fixture(scope="session")
def visit(browse: Browse, chromium: str, camera_video: Path) -> dict[str, Any]:
    """What browser.mjs saw."""
    return browse("browser.mjs", program=chromium, video=str(camera_video), marks=MARKS)


def test_the_page_names_what_the_camera_shows(
    visit: dict[str, Any], app: Path, camera_picture: Image
) -> None:
    # the camera delivers YUV images, whose colours have half the resolution
    yuv = cv2.cvtColor(numbered(camera_picture, 0), cv2.COLOR_BGR2YUV_I420)
    with Classifier(app / "model.tflite") as classifier:
        expected = classifier.predict(cv2.cvtColor(yuv, cv2.COLOR_YUV2BGR_I420))
        said = classifier.headline(expected)
        named = classifier.labels.index(said.nearest or expected.label)
    words, share, _ = visit["camera"].rsplit(" ", 2)
    assert words == said.text
    # the percentages may differ a little, because the browser rounds the colours in another way
    assert int(share) == pytest.approx(100 * expected.probabilities[named], abs=5)


def test_the_levels_in_the_browser_are_those_of_python(
    visit: dict[str, Any], classified: list[dict[str, Any]]
) -> None:
    assert visit["classified"] == classified


def test_what_is_frozen_and_kept_is_the_picture_that_was_answered(visit: dict[str, Any]) -> None:
    numbers = visit["numbers"]
    assert numbers["answered"] == numbers["still"]
    assert numbers["video"] != numbers["answered"]
    [kept] = visit["exported"]["answers"]
    jpeg = base64.b64decode(kept["picture"].partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert number_of(picture) == numbers["answered"]


def test_freeze_keeps_the_answer_on_the_screen(visit: dict[str, Any]) -> None:
    button, title = visit["frozen"]
    assert button == "Continue"
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


def test_it_works_when_the_server_is_gone(visit: dict[str, Any], first_title: str) -> None:
    assert visit["offline"] == first_title
    assert "without a networkworks" in visit["network"]


def test_nothing_is_asked_of_anyone_else_and_the_policy_is_not_breached(visit: dict[str, Any]) -> None:
    assert visit["foreign"] == []
    assert visit["reports"] == visit["breaches"] == visit["csp"] == []
    assert visit["errors"] == []


def test_it_can_be_installed(visit: dict[str, Any]) -> None:
    assert visit["installability"] == visit["manifest"] == []


def test_axe_finds_nothing(visit: dict[str, Any]) -> None:
    assert visit["axe"] == {"start": [], "live": [], "dark": [], "history": []}


def test_nothing_is_wider_than_the_screen(visit: dict[str, Any], shots: Path) -> None:
    assert visit["overflow"]
    assert set(visit["overflow"].values()) == {0}
    assert all((shots / f"{name}.png").is_file() for name in visit["overflow"])

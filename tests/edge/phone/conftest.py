"""What the tests of the phone app need beside Python, a built app, and images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import IMAGE_COUNT, golden_image
from dermedge.edge.phone.build import build_app
from dermedge.edge.photos import find_photo_files, read_picture

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PHOTOS = 20
VISIT_TIMEOUT_S = 240
# visit.mjs ends with the status HUNG if a browser is silent for too long. This happened once, on a busy machine, so the
# visit is tried again.
HUNG, ATTEMPTS = 75, 2


@pytest.fixture(scope="session")
def node_modules(node: str) -> Path:
    """The npm packages of the tests. If they are installed, the tests may also ask a registry of npm packages."""
    path = HERE / "node_modules"
    if not path.is_dir():
        pytest.skip("no npm packages for the tests: `make test-phone` installs them")
    return path


@pytest.fixture(scope="session")
def app(node_modules: Path, model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an app with the model that ships."""
    return build_app(model_path, tmp_path_factory.mktemp("built") / "app").folder


@pytest.fixture(scope="session")
def photos(request: pytest.FixtureRequest) -> Callable[[int], list[NDArray[np.uint8]]]:
    """A function (count) that gives real photos from all parts of the folder, or else the golden images."""

    def give(count: int) -> list[NDArray[np.uint8]]:
        try:
            folder = request.getfixturevalue("real_data")
        except pytest.skip.Exception:
            return [golden_image(number) for number in range(IMAGE_COUNT)]
        paths = find_photo_files(folder)
        return [read_picture(path) for path in paths[:: max(1, len(paths) // count)][:count]]

    return give


@pytest.fixture(scope="session")
def camera_picture(make_lesion: Callable[..., NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The image that the camera shows: a drawn lesion, 640 x 480."""
    return make_lesion()


@pytest.fixture(scope="session")
def chromium(node_modules: Path) -> str:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium; `make test-phone` installs it where it can")
    return path


@pytest.fixture(scope="session")
def pictures(
    photos: Callable[[int], list[NDArray[np.uint8]]], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Real photos, or else the golden images. They are PNG files, which every decoder reads in the same way."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number, photo in enumerate(photos(PHOTOS)):
        paths.append(folder / f"{number:03d}.png")
        cv2.imwrite(str(paths[-1]), photo)
    return paths


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the screenshots: DERMEDGE_SHOTS, or a temporary folder if the variable is not set."""
    path = Path(os.environ.get("DERMEDGE_SHOTS", tmp_path_factory.mktemp("shots")))
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def browse(node: str, app: Path, pictures: list[Path], shots: Path) -> Callable[..., dict[str, Any]]:
    """A function that runs a script beside this file, and returns what it saw. The script visits the served app.

    ``options`` go to the script, ``serving`` to `dermedge phone serve`, and ``around`` before the command.
    """

    def visit(
        script: str, serving: tuple[str, ...] = (), around: tuple[str, ...] = (), **options: Any
    ) -> dict[str, Any]:
        serve = [sys.executable, "-u", str(HERE / "served.py"), "phone", "serve", str(app), "--port", "0"]
        config = {
            "server": [*serve, *serving],
            "pictures": [str(path) for path in pictures],
            "shots": str(shots),
            **options,
        }
        for _ in range(ATTEMPTS):
            done = subprocess.run(
                [*around, node, str(HERE / script), json.dumps(config)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                timeout=VISIT_TIMEOUT_S,
                check=False,
            )
            if done.returncode != HUNG:
                break
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen

    return visit


@pytest.fixture(scope="session")
def classified(app: Path, pictures: list[Path]) -> list[dict[str, Any]]:
    """Python's label and levels for each image, in the form that the scripts of the browsers print."""
    results = []
    with Classifier(app / "model.tflite") as classifier:
        for image in map(read_picture, pictures):
            levels = {
                name: tensor.values.ravel().tolist() for name, tensor in classifier.raw_outputs(image).items()
            }
            results.append({"label": classifier.predict(image).label, "levels": levels})
    return results


@pytest.fixture(scope="session")
def first_title(app: Path, pictures: list[Path]) -> str:
    """The title that the page must show for the first image, according to Python's prediction."""
    with Classifier(app / "model.tflite") as classifier:
        prediction = classifier.predict(read_picture(pictures[0]))
        said = classifier.headline(prediction)
        named = classifier.labels.index(said.nearest or prediction.label)
    return f"{said.text} {round(100 * prediction.probabilities[named])} %"

"""What the tests of the phone app need beside Python, a built app, and pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.golden import PICTURES, draw
from edge.phone.build import build_app
from edge.pictures import find_pictures, read_picture

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no Node.js; `make test-phone` installs it where it can")
    return path


@pytest.fixture(scope="session")
def node_modules(node: str) -> Path:
    """The tests' own packages, whose presence also says that a registry of npm packages may be asked."""
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
    """A function that gives so many real photos, evenly drawn, or else the golden drawings."""

    def give(count: int) -> list[NDArray[np.uint8]]:
        try:
            folder = request.getfixturevalue("real_data")
        except pytest.skip.Exception:
            return [draw(number) for number in range(PICTURES)]
        paths = find_pictures(folder)
        return [read_picture(path) for path in paths[:: max(1, len(paths) // count)][:count]]

    return give


@pytest.fixture(scope="session")
def camera_picture(make_lesion: Callable[..., NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """What the camera shows: a drawn lesion, 640 x 480."""
    return make_lesion()

"""The Python examples of README.md run as they stand, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import dermedge
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.states import State

ROOT = Path(dermedge.__file__).resolve().parents[1]
HEADING = "From Python"


def examples() -> list[str]:
    """The indented blocks of code below the heading."""
    sections = re.split(r"^## ", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    [section] = [one for one in sections if one.startswith(f"{HEADING}\n")]
    blocks = re.findall(r"(?:^ {4}.*\n(?:^\n(?= {4}))*)+", section, flags=re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def run(code: str, folder: Path) -> list[str]:
    """Runs code as a user's script in a folder; the lines that it printed."""
    (folder / "example.py").write_text(code, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_loop_prints_a_state_for_each_frame(tmp_path: Path) -> None:
    loop, _ = examples()
    printed = run(loop, tmp_path)
    assert len(printed) == 60
    assert all(line.startswith(tuple(State)) for line in printed)
    assert any(line.startswith("answer") for line in printed)


def test_one_photo_is_classified(tmp_path: Path, make_lesion: Callable[[], NDArray[np.uint8]]) -> None:
    _, one_photo = examples()
    cv2.imwrite(str(tmp_path / "photo.jpg"), make_lesion())
    [line] = run(one_photo, tmp_path)
    with dermedge.Classifier(SHIPPED["dermedge-128"]) as classifier:
        prediction = classifier.predict(dermedge.read_picture(tmp_path / "photo.jpg"))
    assert line == f"{prediction.label} {prediction.probability:.0%}"


def test_everything_that_the_package_offers_is_there() -> None:
    assert [name for name in dermedge.__all__ if not hasattr(dermedge, name)] == []

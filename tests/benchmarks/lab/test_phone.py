"""Input that `python -m dermedge.benchmarks.lab phone` refuses; tests/edge/phone runs real measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from dermedge.benchmarks.lab.phone import main
from dermedge.edge.errors import DermedgeError


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with what every app has."""
    for name in ("index.html", "files.js"):
        (tmp_path / name).write_text("")
    # This file stands for a browser. It is never started.
    (tmp_path / "chromium").touch(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{empty}", "--source", "demo", "--browser", "{built}/chromium"], "holds no built app"),
        (
            ["{built}", "--browser", "{built}/chromium"],
            "name a photo, a folder of photos, a video or a camera with --source",
        ),
        (
            ["{built}", "--source", "demo", "--browser", "netscape"],
            "'netscape' is not an installed Chromium",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments: list[str], line: str, built: Path) -> None:
    given = [one.format(built=built, empty=built / "none") for one in arguments]
    with pytest.raises(DermedgeError, match=line):
        main(given)

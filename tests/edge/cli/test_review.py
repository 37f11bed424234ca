"""`dermedge review`, and the way of a photo from a recording into training."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

import dermedge
from dermedge import cli
from dermedge.edge.review.review import Review
from dermedge.edge.sources.demo import generate

ROOT = Path(dermedge.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions of scenes of the demo, three photos each."""
    folder = tmp_path_factory.mktemp("kept") / "my photos"
    for session in range(2):
        scenes = tmp_path_factory.mktemp("scenes")
        for number in range(3):
            cv2.imwrite(str(scenes / f"{number}_a.png"), generate(60 + 2 * number + 6 * session))
            cv2.imwrite(str(scenes / f"{number}_b.png"), np.zeros((480, 640, 3), np.uint8))
        assert (
            cli.main(
                ["run", "--source", str(scenes), "--record", str(folder), "--json", "--num-threads", "1"]
            )
            == 0
        )
    return folder


def test_the_page_is_served_until_sigterm_and_the_summary_names_the_next_command(recorded: Path) -> None:
    review = Review(recorded)
    photo = review.status().photo
    assert photo is not None
    review.decide(photo.path, photo.label)
    process = subprocess.Popen(
        [sys.executable, "-m", "dermedge", "review", str(recorded), "--serve", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found[0]}status", timeout=20) as response:
            assert json.loads(response.read())["decided"] == 1
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert f"1 of {review.status().total} photos reviewed: 1 confirmed, 0 corrected, 0 discarded." in text
        assert "The labelled photos form 1 group. All photos of a group go into the same split." in text
        assert f"dermedge train --data '{recorded / 'review.csv'}'" in text
    finally:
        process.kill()
        process.wait(30)
        review.undo()


def test_what_was_reviewed_is_read_by_the_commands_that_train(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelling = pytest.importorskip(
        "dermedge.train.data.labelling", reason="the extra train is not installed"
    )
    review = Review(recorded)
    labels = {}
    while photo := review.status().photo:
        labels[photo.path] = ["melanoma", "nevus", "none of these", ""][len(labels) % 4]
        review.decide(photo.path, labels[photo.path])
    assert len(labels) == 6
    found = labelling.label_files([recorded / "review.csv"])
    read = {str(Path(file.photo.path).relative_to(recorded)): file.photo.diagnosis for file in found.files}
    assert read == labels, "a photo that was discarded has no label"
    links = {(Path(file.photo.path).parent.name, file.links) for file in found.files}
    assert len({session for session, _ in links}) == 2
    assert len({names for _, names in links}) == 2, "each session is one group"
    assert cli.main(["data", "audit", str(recorded / "review.csv")]) == 0
    assert "labels from 'review.csv' (your own table)" in capsys.readouterr().out


def test_a_folder_that_holds_no_recording_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["review", str(tmp_path)]) == 2
    assert "record photos with: dermedge run --record" in capsys.readouterr().err

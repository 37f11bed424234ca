"""The whole loop on real images, and what its parts add up to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge import Classifier
from dermedge.benchmarks.whole_loop import EndlessSource, measure_loop, source_opener, summarize
from dermedge.edge.quality import Defect
from dermedge.edge.results import FrameResult


@pytest.fixture
def lesion(tmp_path: Path) -> Path:
    """A drawn lesion that the quality gate lets pass."""
    image = np.full((480, 640, 3), (158, 180, 222), np.uint8)
    cv2.circle(image, (320, 240), 120, (60, 80, 120), -1, cv2.LINE_AA)
    image = np.clip(image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    path = tmp_path / "lesion.png"
    cv2.imwrite(str(path), image)
    return path


def test_the_parts_of_the_loop_make_the_whole(lesion: Path, model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        found = measure_loop(source_opener(str(lesion), []), classifier, 0.05)
    assert found is not None
    parts = (found.capture, found.preprocess, found.invoke, found.postprocess, found.rest)
    assert all(part.median > 0 for part in parts)
    assert sum(part.median for part in parts) == pytest.approx(found.end_to_end.median, rel=0.3)
    assert found.frames >= 2
    assert found.rejected == 0
    assert found.dropped == 0


def test_the_rate_is_that_of_all_frames_and_the_times_of_those_that_reached_the_network(
    make_result: Callable[[], FrameResult],
) -> None:
    rejected = replace(make_result(), classification=None, defect=Defect.MOVING)
    found = summarize([make_result(), rejected, make_result()], [1.0, 1.1, 1.2])
    assert found is not None
    assert found.fps == pytest.approx(10)
    assert found.rejected == pytest.approx(1 / 3)
    assert (found.capture.median, found.end_to_end.median, found.rest.median) == (3, 8, 1)
    assert found.end_to_end.n == 2


def test_results_of_one_moment_have_no_rate(make_result: Callable[[], FrameResult]) -> None:
    found = summarize([make_result(), make_result()], [1.0, 1.0])
    assert found is not None
    assert found.fps == 0


def test_without_a_frame_that_is_worth_an_answer_there_are_no_times(
    make_result: Callable[[], FrameResult],
) -> None:
    rejected = replace(make_result(), classification=None, defect=Defect.MOVING)
    assert summarize([rejected, rejected], [0.0, 1.0]) is None


def test_a_source_that_ends_begins_again(lesion: Path) -> None:
    source = EndlessSource(source_opener(None, [lesion]))
    assert [source.read() is not None for _ in range(3)] == [True] * 3
    source.close()

"""The whole loop on real images, and what its parts add up to."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge import Classifier
from dermedge.benchmarks import whole_loop
from dermedge.benchmarks.whole_loop import EndlessSource, frame_times, measure_loop, source_opener, summarize
from dermedge.edge.errors import PictureError, SourceError
from dermedge.edge.quality import Defect
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.frame import Frame, FrameSource


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
    with (
        Classifier(model_path) as classifier,
        closing(whole_loop.results(source_opener(str(lesion), []), classifier)) as running,
    ):
        for result, _ in islice(running, 5):
            times = frame_times(result)
            assert times.timing is not None
            parts = (times.capture_ms, *astuple(times.timing), times.rest_ms)
            assert all(part > 0 for part in parts)
            assert sum(parts) == pytest.approx(times.end_to_end_ms)


def test_the_loop_is_measured_on_real_frames(lesion: Path, model_path: Path) -> None:
    with Classifier(model_path) as classifier:
        found = measure_loop(source_opener(str(lesion), []), classifier, 0.05)
    assert found is not None
    assert found.frames >= 2
    assert found.rejected == 0
    assert found.dropped == 0


def test_the_rate_is_that_of_all_frames_and_the_times_of_those_that_reached_the_network(
    make_result: Callable[[], FrameResult],
) -> None:
    rejected = replace(make_result(), classification=None, defect=Defect.MOVING)
    found = summarize([frame_times(one) for one in (make_result(), rejected, make_result())], [1.0, 1.1, 1.2])
    assert found is not None
    assert found.fps == pytest.approx(10)
    assert found.rejected == pytest.approx(1 / 3)
    assert (found.capture.median, found.end_to_end.median, found.rest.median) == (3, 8, 1)
    assert found.end_to_end.n == 2


def test_results_of_one_moment_have_no_rate(make_result: Callable[[], FrameResult]) -> None:
    found = summarize([frame_times(make_result())] * 2, [1.0, 1.0])
    assert found is not None
    assert found.fps == 0


def test_without_a_frame_that_is_worth_an_answer_there_are_no_times(
    make_result: Callable[[], FrameResult],
) -> None:
    rejected = replace(make_result(), classification=None, defect=Defect.MOVING)
    assert summarize([frame_times(rejected)] * 2, [0.0, 1.0]) is None


def test_a_source_that_ends_begins_again(lesion: Path) -> None:
    source = EndlessSource(source_opener(None, [lesion]))
    assert [source.read() is not None for _ in range(3)] == [True] * 3
    source.close()


def test_the_first_eight_results_do_not_count_and_the_loop_ends_after_its_time(
    make_result: Callable[[], FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def results(open_again: object, classifier: object) -> Iterator[tuple[FrameResult, float]]:
        try:
            for number in range(1000):
                counts = replace(make_result().counts, dropped=2 * number)
                yield replace(make_result(), counts=counts), 20.0 + number
        finally:
            ended.append(True)

    said: list[str] = []
    monkeypatch.setattr(whole_loop, "results", results)
    found = measure_loop(lambda: None, None, 9.0, said.append)  # type: ignore[arg-type,return-value]
    assert found is not None
    # Only results 8 to 17 are used. Result 17 comes nine seconds after result 8.
    assert (found.frames, found.fps, found.dropped) == (10, 1, 18)
    assert said == ["the whole loop: frame 1", "the whole loop: frame 9"]
    assert ended == [True]
    # at least two frames are measured, because one frame has no rate
    found = measure_loop(lambda: None, None, 0.0)  # type: ignore[arg-type,return-value]
    assert found is not None
    assert found.frames == 2


def test_the_images_of_the_loop_are_not_kept(
    make_result: Callable[[], FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Frame]] = []
    most = 0

    def results(open_again: object, classifier: object) -> Iterator[tuple[FrameResult, float]]:
        nonlocal most
        for number in range(100):
            result = make_result()
            assert result.frame
            alive.append(weakref.ref(result.frame))
            yield result, float(number)
            del result
            most = max(most, sum(one() is not None for one in alive))

    monkeypatch.setattr(whole_loop, "results", results)
    found = measure_loop(lambda: None, None, 50.0)  # type: ignore[arg-type,return-value]
    assert found is not None
    assert found.frames == 51
    # the loop still holds the last frame, and no other
    assert most == 1


class Once(FrameSource):
    """A source of two frames. The first one cannot be decoded."""

    is_live = True

    def __init__(self, closed: list[int]) -> None:
        self._left = [PictureError("broken"), Frame(np.zeros((2, 2, 3), np.uint8), 0, 0.0, "a source"), None]
        self._closed = closed

    def read(self) -> Frame | None:
        found = self._left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self._closed.append(1)


def test_a_source_that_begins_again_is_closed_before_and_stays_live() -> None:
    closed: list[int] = []
    source = EndlessSource(lambda: Once(closed))
    assert source.is_live
    assert [source.read() is not None for _ in range(3)] == [True] * 3
    assert len(closed) == 2
    source.close()
    assert len(closed) == 3


def test_a_source_without_a_frame_is_one_line(model_path: Path) -> None:
    with Classifier(model_path) as classifier, pytest.raises(SourceError, match="the source has no frame"):
        measure_loop(source_opener(None, []), classifier, 1.0)

"""From frames to readings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.errors import SourceError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.pipeline import UNCERTAIN, Pipeline, Reading, classify_frames, rate
from dermedge.edge.sources.frame import Frame
from dermedge.edge.sources.open import open_source
from dermedge.edge.states import Smoother


def test_each_frame_of_a_video_becomes_a_reading(video: Path, classifier: type) -> None:
    readings = list(classify_frames(open_source(str(video)), classifier()))
    assert [reading.frame.number for reading in readings] == [0, 1, 2, 3, 4]
    assert {reading.label for reading in readings} == {"nevus"}


def test_below_the_asked_confidence_the_label_is_uncertain(video: Path, classifier: type) -> None:
    reading = next(classify_frames(open_source(str(video)), classifier(), confidence=0.71))
    assert reading.label == UNCERTAIN
    assert reading.prediction.label == "nevus", "the prediction itself stays"
    assert reading.is_uncertain


def test_an_answer_that_its_model_calls_uncertain_keeps_its_label(noted_reading: Reading) -> None:
    assert noted_reading.is_uncertain
    assert noted_reading.label == "nevus"


def test_a_reading_is_uncertain_by_the_model_or_by_the_asked_confidence(
    make_reading: Callable[..., Reading],
) -> None:
    reading = make_reading()
    assert not reading.is_uncertain
    assert replace(reading, label=UNCERTAIN).is_uncertain


def test_end_to_end_is_the_capture_and_all_that_came_after(video: Path, classifier: type) -> None:
    reading = next(classify_frames(open_source(str(video)), classifier()))
    assert reading.end_to_end_ms == reading.capture_ms + reading.frame_age_ms
    assert reading.capture_ms > 0
    assert reading.frame_age_ms > 0


def test_frames_that_come_while_the_classifier_works_are_counted_as_dropped(
    camera: type, classifier: type
) -> None:
    source = camera(20)
    readings = list(classify_frames(source, classifier(before=lambda: source.ended.wait(5))))
    assert readings[-1].frame.number == 19
    assert readings[-1].dropped == 20 - len(readings)


def test_a_lost_camera_stops_with_its_name_after_the_readings_before(camera: type, classifier: type) -> None:
    readings = classify_frames(camera(1, error=SourceError("'front door' stopped")), classifier())
    assert next(readings).frame.number == 0
    with pytest.raises(SourceError, match="'front door' stopped"):
        next(readings)


def test_closing_the_readings_ends_the_capture_thread(camera: type, classifier: type) -> None:
    source = camera(10**9)
    with closing(classify_frames(source, classifier())) as readings:
        next(readings)
    assert not any(reader.is_alive() for reader in source.readers)


def test_the_square_that_the_network_sees_is_told(video: Path, classifier: type) -> None:
    top, left, side = next(classify_frames(open_source(str(video)), classifier())).seen
    assert 0 < side <= 48
    assert (top, left) == ((48 - side) // 2, (64 - side) // 2)


def test_n_stamps_have_n_minus_1_intervals() -> None:
    assert rate([10.0, 10.5, 11.0]) == 2.0
    assert rate([10.0]) is None
    assert rate([]) is None


def test_max_fps_keeps_its_distance(lesion_video: Path, classifier: type) -> None:
    started = time.monotonic()
    with Pipeline(open_source(str(lesion_video)), classifier(), max_fps=20) as moments:
        assert len(list(moments)) == 5
    assert time.monotonic() - started >= 4 / 20


def test_the_frame_after_a_wait_is_the_newest_one(camera: type, classifier: type) -> None:
    at_once, later = threading.Event(), threading.Event()
    at_once.set()
    source = camera(20, gates=[at_once, later])
    with Pipeline(source, classifier(), max_fps=5, gated=False) as moments:
        next(moments)
        later.set()
        assert source.ended.wait(5)
        moment = next(moments)
    assert moment.reading is not None
    assert moment.reading.frame.number == 19


def test_a_frame_that_comes_while_another_is_made_ready_takes_its_place(
    camera: type, classifier: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, later = threading.Event(), threading.Event()
    first.set()
    source, stub = camera(2, gates=[first, later]), classifier()
    make_ready = stub.preprocess

    def preprocess(frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        later.set()
        assert source.ended.wait(5)
        return make_ready(frame_bgr)

    monkeypatch.setattr(stub, "preprocess", preprocess)
    with Pipeline(source, stub, gated=False) as moments:
        readings = [moment.reading for moment in moments]
    assert [(reading.frame.number, reading.dropped) for reading in readings if reading] == [(1, 1)]


def test_without_a_gate_every_frame_is_classified_and_with_one_those_that_are_worth_it(
    video: Path, lesion_video: Path, classifier: type
) -> None:
    def classified(path: Path, gated: bool) -> int:
        with Pipeline(open_source(str(path)), classifier(), gated=gated) as moments:
            return sum(moment.reading is not None for moment in moments)

    assert (classified(video, False), classified(video, True)) == (5, 0)
    assert (classified(lesion_video, False), classified(lesion_video, True)) == (5, 5)


def test_a_reading_has_the_smoothed_probabilities_and_their_decision(
    lesion_video: Path, model_path: Path
) -> None:
    with Classifier(model_path) as model:
        alone = [reading.prediction for reading in classify_frames(Stills(lesion_video), model)]
        with Pipeline(open_source(str(lesion_video)), model, gated=False) as moments:
            smoothed = [moment.reading.prediction for moment in moments if moment.reading]
    expected = Smoother()
    for number, (one, other) in enumerate(zip(alone, smoothed, strict=True)):
        assert other.probabilities == expected.add(one.probabilities, number / 10)
        assert other.label == model.labels[other.decision.index]
        assert other.logits == one.logits


class Stills:
    """The frames of a video as pictures that stand alone."""

    is_live = False

    def __init__(self, path: Path) -> None:
        self._video = open_source(str(path))

    def read(self) -> Frame | None:
        frame = self._video.read()
        return frame and replace(frame, at_s=None)

    def close(self) -> None: ...

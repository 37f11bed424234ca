"""From frames to readings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import SourceError
from edge.loop import UNCERTAIN, Reading, classify_frames, rate
from edge.sources import open_source


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

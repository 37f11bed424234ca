"""From frames to classifications."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError, SourceError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.decision import softmax
from dermedge.edge.model.photo_view import view_by_probability
from dermedge.edge.model.prediction import Crop, Outputs, Prediction
from dermedge.edge.model.shipped import DEFAULT_MODEL
from dermedge.edge.pipeline import Pipeline, classify_frames, rate
from dermedge.edge.quality import Defect
from dermedge.edge.results import UNCERTAIN, Classification
from dermedge.edge.sources.frame import Frame
from dermedge.edge.sources.latest import Arrival, Outage
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.video import VideoFile
from dermedge.edge.states import Smoother, State
from dermedge.edge.views.text import title_of


def test_each_frame_of_a_video_becomes_a_reading(video: Path, classifier: type) -> None:
    classifications = list(classify_frames(open_source(str(video)), classifier()))
    assert [classification.frame.number for classification in classifications] == [0, 1, 2, 3, 4]
    assert {classification.label for classification in classifications} == {"nevus"}


def test_below_the_asked_confidence_the_label_is_uncertain(video: Path, classifier: type) -> None:
    classification = next(classify_frames(open_source(str(video)), classifier(), confidence=0.71))
    assert classification.label == UNCERTAIN
    assert classification.prediction.label == "nevus", "the prediction itself stays"
    assert classification.is_uncertain


@pytest.mark.parametrize("confidence", [70, -0.1, float("nan")])
def test_a_confidence_that_is_no_probability_is_an_error(confidence: float, classifier: type) -> None:
    with pytest.raises(OptionError, match=f"confidence is {confidence}; .* from 0 to 1"):
        Pipeline("demo", classifier(), confidence)


def test_answers_can_be_compared_and_kept_in_a_set(model_path: Path) -> None:
    with Classifier(model_path) as model, open_source("demo") as source:
        first, second = itertools.islice(classify_frames(source, model), 2)
        crops = [model.crop(one.frame.image_bgr) for one in (first, second)]
    assert first != second
    assert len({first, second, first}) == 2
    assert first.prediction != second.prediction
    assert crops[0] != crops[1]


@pytest.mark.parametrize("is_live", [False, True])
def test_a_second_block_is_an_error_and_no_empty_result(
    is_live: bool, pictures: Path, classifier: type
) -> None:
    pipeline = Pipeline("demo" if is_live else pictures, classifier())
    with pipeline as results:
        next(results)
    with pytest.raises(SourceError, match="make a new Pipeline for each block"), pipeline:
        pass


def test_the_number_of_a_camera_is_a_source(classifier: type) -> None:
    with pytest.raises(SourceError, match="cannot open '63'"):
        Pipeline(63, classifier())


def test_an_answer_that_its_model_calls_uncertain_keeps_its_label(
    noted_classification: Classification,
) -> None:
    assert noted_classification.is_uncertain
    assert noted_classification.label == "nevus"


def test_a_reading_is_uncertain_by_the_model_or_by_the_asked_confidence(
    make_classification: Callable[..., Classification],
) -> None:
    classification = make_classification()
    assert not classification.is_uncertain
    assert replace(classification, label=UNCERTAIN).is_uncertain


def test_end_to_end_is_the_capture_and_all_that_came_after(video: Path, classifier: type) -> None:
    classification = next(classify_frames(open_source(str(video)), classifier()))
    assert classification.end_to_end_ms == classification.capture_ms + classification.frame_age_ms
    assert classification.capture_ms > 0
    assert classification.frame_age_ms > 0


def test_frames_that_come_while_the_classifier_works_are_counted_as_dropped(
    camera: type, classifier: type
) -> None:
    source = camera(20)
    classifications = list(classify_frames(source, classifier(before=lambda: source.ended.wait(5))))
    assert classifications[-1].frame.number == 19
    assert classifications[-1].dropped == 20 - len(classifications)


def test_a_lost_camera_stops_with_its_name_after_the_readings_before(camera: type, classifier: type) -> None:
    classifications = classify_frames(camera(1, error=SourceError("'front door' stopped")), classifier())
    assert next(classifications).frame.number == 0
    with pytest.raises(SourceError, match="'front door' stopped"):
        next(classifications)


def test_closing_the_readings_ends_the_capture_thread(camera: type, classifier: type) -> None:
    source = camera(10**9)
    with closing(classify_frames(source, classifier())) as classifications:
        next(classifications)
    assert not any(reader.is_alive() for reader in source.readers)


def test_the_square_that_the_network_sees_is_told(video: Path, classifier: type) -> None:
    top, left, side, _ = next(classify_frames(open_source(str(video)), classifier())).crop
    assert 0 < side <= 48
    assert (top, left) == ((48 - side) // 2, (64 - side) // 2)


def test_n_stamps_have_n_minus_1_intervals() -> None:
    assert rate([10.0, 10.5, 11.0]) == 2.0
    assert rate([10.0]) is None
    assert rate([]) is None


def test_max_fps_keeps_its_distance(lesion_video: Path, classifier: type) -> None:
    started = time.monotonic()
    with Pipeline(open_source(str(lesion_video)), classifier(), max_fps=20) as results:
        assert len(list(results)) == 5
    assert time.monotonic() - started >= 4 / 20


def test_the_frame_after_a_wait_is_the_newest_one(camera: type, classifier: type) -> None:
    at_once, later = threading.Event(), threading.Event()
    at_once.set()
    source = camera(20, gates=[at_once, later])
    with Pipeline(source, classifier(), max_fps=5, gated=False) as results:
        next(results)
        later.set()
        assert source.ended.wait(5)
        result = next(results)
    assert result.classification is not None
    assert result.classification.frame.number == 19


def test_a_frame_that_comes_while_another_is_made_ready_takes_its_place(
    camera: type, classifier: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, later = threading.Event(), threading.Event()
    first.set()
    source, stub = camera(2, gates=[first, later]), classifier()
    make_ready = stub.crop

    def crop(frame_bgr: NDArray[np.uint8]) -> Crop:
        later.set()
        assert source.ended.wait(5)
        return make_ready(frame_bgr)

    monkeypatch.setattr(stub, "crop", crop)
    with Pipeline(source, stub, gated=False) as results:
        classifications = [result.classification for result in results]
    assert [
        (classification.frame.number, classification.dropped)
        for classification in classifications
        if classification
    ] == [(1, 1)]


def test_without_a_gate_every_frame_is_classified_and_with_one_those_that_are_worth_it(
    video: Path, lesion_video: Path, classifier: type
) -> None:
    def classified(path: Path, gated: bool) -> int:
        with Pipeline(open_source(str(path)), classifier(), gated=gated) as results:
            return sum(result.classification is not None for result in results)

    assert (classified(video, False), classified(video, True)) == (5, 0)
    assert (classified(lesion_video, False), classified(lesion_video, True)) == (5, 5)


def test_a_reading_has_the_smoothed_probabilities_and_their_decision(
    lesion_video: Path, model_path: Path
) -> None:
    with Classifier(model_path) as model:
        alone = [classification.prediction for classification in classify_frames(Stills(lesion_video), model)]
        with Pipeline(open_source(str(lesion_video)), model, gated=False) as results:
            smoothed = [result.classification.prediction for result in results if result.classification]
    expected = Smoother()
    for number, (one, other) in enumerate(zip(alone, smoothed, strict=True)):
        # the results may differ a little, because the times in a video file are rounded
        assert other.probabilities == pytest.approx(expected.add(one.probabilities, number / 10), rel=1e-12)
        assert other.label == model.labels[other.decision.index]
        assert other.logits == one.logits


class Stills:
    """Delivers the frames of a video as single photos."""

    is_live = False

    def __init__(self, path: Path) -> None:
        self._video = open_source(str(path))

    def read(self) -> Frame | None:
        frame = self._video.read()
        return frame and replace(frame, at_s=None)

    def close(self) -> None: ...


def test_a_pipeline_opens_what_it_is_given_by_name_and_closes_it(
    lesion_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(VideoFile, "close", lambda video: closed.append("source"))
    monkeypatch.setattr(Classifier, "close", lambda model: closed.append(model.path.stem))
    with Pipeline(lesion_video, "dermedge-128") as results:
        assert next(results).frame is not None
        assert closed == []
    assert closed == ["source", "dermedge-128"]


def test_a_pipeline_leaves_open_what_was_open(lesion_video: Path, model_path: Path) -> None:
    with Classifier(model_path) as model, open_source(str(lesion_video)) as source:
        with Pipeline(source, model) as results:
            next(results)
        following = source.read()
        assert following is not None
        assert following.number == 1
        assert model.predict(following.image_bgr).label in model.labels


def test_a_source_that_cannot_be_opened_closes_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Path] = []
    monkeypatch.setattr(Classifier, "close", lambda model: closed.append(model.path))
    with pytest.raises(SourceError, match="nothing"):
        Pipeline("nothing")
    assert closed == [DEFAULT_MODEL]


class Stamped:
    """Delivers gray frames for some seconds. The times of the frames state 20 frames a second."""

    is_live = False
    fps = 20

    def __init__(self, seconds: float) -> None:
        self.count, self.number = round(seconds * self.fps), 0

    def read(self) -> Frame | None:
        if self.number == self.count:
            return None
        self.number += 1
        image = np.full((48, 64, 3), 120, np.uint8)
        return Frame(image, self.number - 1, 0.0, "stamped", at_s=(self.number - 1) / self.fps)

    def close(self) -> None: ...


def shown_of(source: Stamped, model: object, **options: bool) -> list[tuple[str, str | None]]:
    """Returns the title and the state of each result."""
    with Pipeline(source, model, **options) as results:  # type: ignore[arg-type]
        return [
            (title_of(result), result.shown.headline.text if result.shown else None) for result in results
        ]


def test_a_tremor_that_spoils_every_other_frame_changes_neither_title_nor_bars(
    classifier: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trembling:
        def check(self, image: NDArray[np.uint8], at_s: float) -> Defect | None:
            return Defect.MOVING if round(at_s * Stamped.fps) % 2 else None

    monkeypatch.setattr("dermedge.edge.pipeline.QualityGate", Trembling)
    shown = shown_of(Stamped(3), classifier())
    settled = shown[next(index for index, one in enumerate(shown) if one[0] != State.READING) :]
    assert len(settled) > 40
    assert set(settled) == {("nevus  70%", "nevus")}


class Wavering:
    """A classifier at the border of two classes. The class with the highest probability changes at every frame."""

    def __init__(self, stub: Any, change_s: float = 1e9) -> None:
        self._stub, self._frames, self._change = stub, 0, change_s * Stamped.fps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    def decide(self, outputs: Outputs, probabilities: tuple[float, ...]) -> Prediction:
        self._frames += 1
        is_first = self._frames % 2 == 0 or self._frames > self._change
        values = (0.5, 0.4, 0.1) if is_first else (0.4, 0.5, 0.1)
        prediction = self._stub.decide(outputs, values)
        index = int(values[1] > values[0])
        return replace(
            prediction, label=self._stub.labels[index], decision=replace(prediction.decision, index=index)
        )


def titles(model: Any, seconds: float) -> list[str]:
    """Returns the titles in the order in which they appear, without repetitions."""
    titles = [title for title, _ in shown_of(Stamped(seconds), model, gated=False)]
    return [title for index, title in enumerate(titles) if index == 0 or title != titles[index - 1]]


def test_an_answer_at_the_border_of_two_classes_does_not_flicker(classifier: type) -> None:
    assert len(titles(Wavering(classifier()), 3)) == 2, "reading, and one of the classes"


def test_another_answer_is_shown_when_it_stays(classifier: type) -> None:
    shown = titles(Wavering(classifier(), change_s=1.5), 3)
    assert shown[-1] == "melanoma  50%"
    assert len(shown) <= 3


class Doubtful:
    """A classifier at the border of the two views. By itself, each frame has another view than the frame before."""

    def __init__(self, stub: Any) -> None:
        self._stub, self._frames = stub, 0
        self.views: list[str | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    def infer(self, crop: Crop) -> Outputs:
        self._frames += 1
        close_up = 0.45 if self._frames % 2 else 0.55
        return replace(self._stub.infer(crop), close_up=close_up, view=view_by_probability(close_up))

    def in_view(self, outputs: Outputs, view: str | None) -> Outputs:
        return replace(outputs, view=view)

    def decide(self, outputs: Outputs, probabilities: tuple[float, ...]) -> Prediction:
        self.views.append(outputs.view)
        return replace(self._stub.decide(outputs, probabilities), view=outputs.view)


def test_frames_at_the_border_of_two_views_keep_the_first_one(classifier: type) -> None:
    model = Doubtful(classifier())
    assert len(titles(model, 3)) == 2, "reading, and the answer"
    assert len(model.views) > 40
    assert set(model.views) == {"dermoscopic"}


class Brightening(Stamped):
    """The same frames, but frame 10 is bright, and all frames from the middle on are bright."""

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is not None and (frame.number == 10 or frame.number >= self.count // 2):
            frame = replace(frame, image_bgr=np.full_like(frame.image_bgr, 180))
        return frame


def test_the_view_of_a_stream_follows_its_frames_and_sets_the_temperature(
    make_view_model: Callable[..., Path],
) -> None:
    with Pipeline(Brightening(4), make_view_model(temperature=4.0), gated=False) as results:  # type: ignore[arg-type]
        shown = [result.classification for result in results if result.classification]
    views = [one.prediction.view for one in shown]
    changes = [(one, other) for one, other in itertools.pairwise(views) if one != other]
    assert changes == [("dermoscopic", "close-up")], "the single bright frame changes nothing"
    for one, temperature in ((shown[39], 1.0), (shown[-1], 4.0)):
        wanted = softmax(one.prediction.logits, temperature)
        assert one.prediction.probabilities == pytest.approx(wanted, abs=1e-3)
    assert [one.view_note for one in (shown[0], shown[-1])] == ["", "close-up: less certain"]
    assert len({one.meaning for one in shown}) == 2


def test_the_headline_and_the_bars_that_are_shown_are_of_one_frame(classifier: type) -> None:
    with Pipeline(Stamped(3), Wavering(classifier()), gated=False) as results:  # type: ignore[arg-type]
        for result in results:
            if result.answer:
                values = result.answer.prediction.probabilities
                assert result.answer.labels[values.index(max(values))] == result.answer.headline.title


def test_none_more_probable_than_the_answer_is_no_plain_answer(
    make_classification: Callable[..., Classification],
) -> None:
    prediction = replace(make_classification().prediction, probabilities=(0.2, 0.29, 0.51))
    classification = make_classification(prediction=prediction)
    assert classification.is_uncertain
    assert classification.answer is State.UNCERTAIN
    assert classification.label == "nevus", "the label is still the decision's"


class ScriptedLatest:
    """Takes the place of LatestFrame, and delivers the items of ``script`` in order."""

    script: ClassVar[list[Arrival | Outage]] = []

    def __init__(self, source: object) -> None:
        self._left = iter(self.script)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def read(self) -> Arrival | Outage | None:
        return next(self._left, None)

    def newer(self) -> None:
        return None


def test_one_stall_is_one_outage_whatever_is_said_of_it(
    classifier: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrivals(at_s: float) -> list[Arrival | Outage]:
        image = np.full((48, 64, 3), 120, np.uint8)
        return [Arrival(Frame(image, 0, at_s, "a", at_s=at_s + 0.1 * step), 1.0, 0) for step in range(9)]

    silent, gone = Outage("the source has sent no frame for 2.0 s"), Outage("'0' stopped; attempt 1")
    ScriptedLatest.script = [*arrivals(0), silent, silent, gone, gone, *arrivals(9), gone, *arrivals(12)]
    monkeypatch.setattr("dermedge.edge.pipeline.LatestFrame", ScriptedLatest)
    with Pipeline(Stamped(0), classifier(), gated=False) as results:  # type: ignore[arg-type]
        seen = list(results)
    assert [result.counts.outages for result in seen] == [0] * 9 + [1] * 13 + [2] * 10
    assert all(result.state is State.CAMERA_LOST for result in seen[9:13])
    assert seen[13].state is State.READING, "nothing of the answer before is left"
    assert seen[8].fps is not None
    assert [result.fps for result in seen[9:14]] == [None] * 5, "the time of the stall is no frame's"


class TwoPhotos(Stamped):
    """One photo for a second, and then another one."""

    def read(self) -> Frame | None:
        frame = super().read()
        return frame and replace(frame, name="a.png" if frame.number < self.fps else "b.png")


def test_nothing_of_one_photo_of_a_folder_is_in_the_answer_to_the_next(classifier: type) -> None:
    class Second(classifier):  # type: ignore[misc]
        def infer(self, crop: Crop) -> Outputs:
            outputs = super().infer(crop)
            is_second = source.number > source.fps
            return replace(outputs, probabilities=(0.9, 0.1, 0.0) if is_second else outputs.probabilities)

    source = TwoPhotos(2)
    with Pipeline(source, Second(), gated=False) as results:  # type: ignore[arg-type]
        seen = list(results)
    told = [result.classification.prediction.probabilities for result in seen if result.classification]
    assert np.allclose(told, [(0.2, 0.7, 0.1)] * 20 + [(0.9, 0.1, 0.0)] * 20)
    states = [result.state for result in seen]
    assert states[0] is states[20] is State.READING
    assert State.READING not in (states[19], states[39])

"""The state machine: its laws, and its states for sequences of real images and of faults."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dermedge.edge.errors import SourceError, SourceLost
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.photo_view import DERMOSCOPIC
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.preprocess import to_input
from dermedge.edge.quality import HINTS, Defect, QualityGate
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.frame import Frame
from dermedge.edge.states import (
    ANSWERED,
    GRACE_S,
    OF_A_LESION,
    READING_HINT,
    SETTLE_S,
    TIME_CONSTANT_S,
    Smoother,
    State,
    StateMachine,
    ViewTracker,
)

VECTORS, VIEWS = (
    json.loads((Path(__file__).parent / f"{name}_vectors.json").read_text()) for name in ("states", "view")
)

probabilities = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda values: tuple(value / sum(values) for value in values)
)
gaps = st.lists(st.floats(0, 2), min_size=1, max_size=20)
events = st.one_of(
    st.sampled_from(sorted(Defect)),
    st.sampled_from(sorted(ANSWERED)),
    st.just("lost"),
)


def drive(machine: StateMachine, steps: Iterable[tuple[str, float]]) -> list[State]:
    """Returns the state of a state machine after each of these events, which occur at these times."""
    states = []
    for event, at_s in steps:
        if event == "lost":
            states.append(machine.lost("'0' stopped").state)
        elif event in set(Defect):
            states.append(machine.defective(Defect(event), at_s).state)
        else:
            machine.smoother.add((1.0, 0.0), at_s)
            states.append(machine.good(State(event), at_s).state)
    return states


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors_that_the_phone_app_shares(vector: dict[str, Any]) -> None:
    machine = StateMachine()
    for result in vector["moments"]:
        if "lost" in result:
            said = machine.lost(result["lost"])
        elif "defect" in result:
            said = machine.defective(Defect(result["defect"]), result["at_s"])
        else:
            smoothed = machine.smoother.add(result["probabilities"], result["at_s"])
            assert smoothed == pytest.approx(result["smoothed"], abs=1e-12)
            said = machine.good(State(result["answer"]), result["at_s"], result.get("meaning", ""))
        assert (said.state, said.hint) == (result["state"], result["hint"])
        assert said.agrees == result.get("agrees", said.agrees)


@pytest.mark.parametrize("vector", VIEWS, ids=lambda vector: vector["name"])
def test_the_vectors_of_the_view_that_the_phone_app_shares(vector: dict[str, Any]) -> None:
    machine = StateMachine()
    for moment in vector["moments"]:
        if "lost" in moment:
            machine.lost(moment["lost"])
        elif "defect" in moment:
            machine.defective(Defect(moment["defect"]), moment["at_s"])
        else:
            found = machine.view_tracker.add(moment["close_up"], moment["at_s"])
            machine.good(State.ANSWER, moment["at_s"])
            assert found == moment["view"], moment


def test_the_view_changes_at_0_6_and_at_0_4_and_stays_between() -> None:
    tracker = ViewTracker()
    # the frames are so far apart in time that they are not smoothed
    views = [tracker.add(close_up, 100.0 * n) for n, close_up in enumerate((0.5, 0.6, 0.41, 0.4, 0.59, 0.6))]
    assert views == [CLOSE_UP, CLOSE_UP, CLOSE_UP, DERMOSCOPIC, DERMOSCOPIC, CLOSE_UP]


def test_good_pictures_are_read_and_answered_when_they_have_settled() -> None:
    times = np.arange(0, 1, 0.1)
    states = drive(StateMachine(), [("answer", float(at_s)) for at_s in times])
    settled = [bool(at_s >= SETTLE_S - 1e-9) for at_s in times]
    assert states == [State.ANSWER if one else State.READING for one in settled]


@pytest.mark.parametrize("answer", sorted(ANSWERED))
def test_a_picture_that_stands_alone_is_answered_at_once(answer: State) -> None:
    machine = StateMachine()
    machine.smoother.add((1.0, 0.0), None)
    assert machine.good(answer, None).state is answer


@pytest.mark.parametrize("defect", Defect)
def test_a_bad_picture_alone_is_held_still_for_or_searched_from_with_its_hint(defect: Defect) -> None:
    saying = StateMachine().defective(defect, 0.0)
    assert saying.state is (State.HOLD_STILL if defect in OF_A_LESION else State.SEARCHING)
    assert saying.hint == HINTS[defect]


def answering(until_s: float = 1.0) -> StateMachine:
    """Returns a state machine that answers, because it has had good images since 0 s."""
    machine = StateMachine()
    drive(machine, [("answer", at_s) for at_s in np.linspace(0, until_s, 11).tolist()])
    return machine


def test_a_blink_does_not_end_an_answer_but_its_hint_is_shown() -> None:
    saying = answering().defective(Defect.MOVING, 1.0 + GRACE_S / 2)
    assert (saying.state, saying.hint) == (State.ANSWER, "hold still")


def test_bad_pictures_for_longer_end_it_and_the_next_answer_has_to_settle_anew() -> None:
    machine = answering()
    late = 1.01 + GRACE_S
    assert drive(machine, [("moving", late), ("answer", late + 0.1), ("answer", late + 0.11 + SETTLE_S)]) == [
        State.HOLD_STILL,
        State.READING,
        State.ANSWER,
    ]


def test_a_lost_camera_ends_an_answer_at_once_and_says_why() -> None:
    machine = answering()
    saying = machine.lost("'0' stopped; attempt 1")
    assert (saying.state, saying.hint) == (State.CAMERA_LOST, "'0' stopped; attempt 1")
    assert drive(machine, [("answer", 1.1)]) == [State.READING]


def test_reading_asks_to_hold_still() -> None:
    machine = StateMachine()
    machine.smoother.add((1.0, 0.0), 0.0)
    assert machine.good(State.ANSWER, 0.0).hint == READING_HINT


@given(st.lists(st.tuples(events, st.floats(0, 1)), max_size=60))
def test_no_answer_without_good_pictures_over_the_settle_time(steps: list[tuple[str, float]]) -> None:
    """After any events, an answer needs two good images.

    One is within the grace time, and the other is at least SETTLE_S seconds older.
    """
    at_s, timed = 0.0, []
    for event, gap_s in steps:
        at_s += gap_s
        timed.append((event, at_s))
    states = drive(StateMachine(), timed)
    for index, state in enumerate(states):
        if state not in ANSWERED:
            continue
        now_s = timed[index][1]
        since = max((n for n in range(index) if timed[n][0] == "lost"), default=-1)
        good = [at for event, at in timed[since + 1 : index + 1] if event in ANSWERED]
        assert now_s - good[-1] < GRACE_S
        assert good[-1] - good[0] >= SETTLE_S


@given(st.lists(st.tuples(events, st.floats(-1, 1)), max_size=60))
def test_every_event_in_every_state_has_a_state_also_where_the_clock_jumps(
    steps: list[tuple[str, float]],
) -> None:
    states = drive(StateMachine(), steps)
    for (event, _), state in zip(steps, states, strict=True):
        assert state in set(State)
        assert (state is State.CAMERA_LOST) == (event == "lost")


@given(probabilities, gaps)
def test_what_does_not_change_stays(values: tuple[float, ...], steps_s: list[float]) -> None:
    smoother, at_s = Smoother(), 0.0
    for step_s in steps_s:
        at_s += step_s
        assert smoother.add(values, at_s) == pytest.approx(values)


@given(st.lists(st.tuples(probabilities, st.floats(-1, 2)), min_size=1, max_size=20))
def test_smoothed_probabilities_are_between_those_that_came_and_sum_to_1(
    frames: list[tuple[tuple[float, ...], float]],
) -> None:
    smoother, at_s = Smoother(), 0.0
    for count, (values, step_s) in enumerate(frames, 1):
        at_s += step_s
        smoothed = smoother.add(values, at_s)
        assert math.isclose(sum(smoothed), 1, abs_tol=1e-9)
        for index, one in enumerate(smoothed):
            came = [frame[0][index] for frame in frames[:count]]
            assert min(came) - 1e-9 <= one <= max(came) + 1e-9


@given(probabilities, probabilities, st.integers(1, 200))
def test_a_step_comes_through_by_the_same_law_at_any_frame_rate(
    before: tuple[float, ...], after: tuple[float, ...], frames: int
) -> None:
    smoother = Smoother()
    smoother.add(before, 0.0)
    for number in range(1, frames + 1):
        smoothed = smoother.add(after, number / frames)
    left = math.exp(-1 / TIME_CONSTANT_S)
    expected = [new + left * (old - new) for old, new in zip(before, after, strict=True)]
    assert smoothed == pytest.approx(expected)


class Script:
    """A source that delivers images, ten in each second of its own clock. Between them, it raises errors."""

    is_live = False  # a live source would be read by a thread, which may drop images
    fps = 10

    def __init__(self, steps: Sequence[NDArray[np.uint8] | SourceError]) -> None:
        self.steps = list(steps)
        self.number = 0

    def read(self) -> Frame | None:
        if self.number == len(self.steps):
            return None
        step = self.steps[self.number]
        self.number += 1
        if isinstance(step, SourceError):
            raise step
        return Frame(step, self.number - 1, 0.0, "script", at_s=(self.number - 1) / self.fps)

    def close(self) -> None: ...


def told(model: Classifier, steps: Sequence[NDArray[np.uint8]]) -> list[FrameResult]:
    with Pipeline(Script(steps), model) as results:
        return list(results)


def runs(results: Sequence[FrameResult]) -> list[State]:
    """The states without repetitions."""
    states = [result.state for result in results]
    return [state for index, state in enumerate(states) if index == 0 or state != states[index - 1]]


def with_noise(image: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def model(model_path: Path) -> Classifier:
    return Classifier(model_path)


def is_worth_an_answer(model: Classifier, photo: NDArray[np.uint8]) -> bool:
    return QualityGate().check(to_input(photo, model.input_size), None) is None


@pytest.fixture(scope="module")
def photo(model: Classifier, real_data: Path) -> NDArray[np.uint8]:
    """A real photo that passes the quality gate."""
    photos = map(read_picture, find_photo_files(real_data / "ham10000"))
    return next(photo for photo in photos if is_worth_an_answer(model, photo))


SPOILT: dict[str, tuple[Callable[[NDArray[np.uint8]], NDArray[np.uint8]], State]] = {
    "dark": (lambda photo: photo // 5, State.SEARCHING),
    "black": (np.zeros_like, State.SEARCHING),
    "white": (lambda photo: np.full_like(photo, 255), State.HOLD_STILL),
    "blurred": (lambda photo: cv2.GaussianBlur(photo, (0, 0), 8), State.HOLD_STILL),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_real_photo_is_read_answered_lost_when_it_is_spoilt_and_read_again(
    name: str, model: Classifier, photo: NDArray[np.uint8]
) -> None:
    spoil, state = SPOILT[name]
    good, bad = with_noise(photo, 12), with_noise(spoil(photo), 12)
    results = told(model, [*good, *bad, *good])
    answer = results[11].state
    assert answer in ANSWERED
    assert results[24].defect in (Defect.MOVING, None), "a picture that comes at a stroke has moved"
    assert runs(results[:24] + results[25:]) == [State.READING, answer, state, State.READING, answer]
    assert all(result.classification is None for result in results[12:24]), (
        "a spoilt picture is not classified"
    )
    counts = results[-1].counts
    assert counts.classified + sum(counts.rejected.values()) == 36
    assert counts.classified == 24 - (results[24].defect is not None)


def test_a_photo_of_no_lesion_is_none_of_these(model: Classifier, real_data: Path) -> None:
    photos = map(read_picture, find_photo_files(real_data / "not_a_lesion" / "clothing"))
    worth = [photo for photo in photos if is_worth_an_answer(model, photo)][:5]
    ends = [told(model, with_noise(photo, 12))[-1].state for photo in worth]
    assert ends.count(State.NONE) >= 4


def test_another_picture_of_a_folder_is_answered_for_itself(
    model: Classifier, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    from dermedge.edge.sources.open import open_source

    for number, image in enumerate((photo, photo // 5, photo)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    with Pipeline(open_source(str(tmp_path)), model) as results:
        states = [result.state for result in results]
    assert states[0] in ANSWERED
    assert states == [states[0], State.SEARCHING, states[0]]


class Lossy(Script):
    """A live source of noisy images. Between some of them, the camera is lost."""

    is_live = True

    def read(self) -> Frame | None:
        frame = super().read()
        return frame and replace(frame, captured_at=frame.at_s or 0.0)


def test_outages_are_states_are_counted_once_each_and_end_what_was_answered(
    classifier: type, camera: type
) -> None:
    images = with_noise(np.full((48, 64, 3), 120, np.uint8), 3)
    gone = [SourceLost("'0' stopped"), SourceLost("'0' stopped")]
    seen = []
    with Pipeline(Lossy([*gone, images[0]]), classifier(), gated=False) as results:
        for result in results:
            seen.append(result.state)
            last = result
    assert seen[-1] is State.READING
    assert State.CAMERA_LOST in seen
    assert last.counts.outages == 1

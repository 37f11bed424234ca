"""How fast a run goes and how old its frames are, on a simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from dermedge.edge import pipeline
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.quality import Defect
from dermedge.edge.sources.frame import Frame, FrameSource


class Forty(FrameSource):
    """Delivers forty frames, each 40 ms after its capture. The first ``slow`` frames take ``frame_s`` seconds each."""

    is_live = False

    def __init__(self, clock: list[float], slow: int = 5, frame_s: float = 1) -> None:
        self.clock, self.number = clock, 0
        self.slow, self.frame_s = slow, frame_s

    def read(self) -> Frame | None:
        if self.number == 40:
            return None
        self.clock[0] += self.frame_s if self.number < self.slow else 0
        self.number += 1
        return Frame(np.zeros((8, 8, 3), np.uint8), self.number - 1, self.clock[0] - 0.04, "made up")

    def close(self) -> None:
        pass


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """The simulated clock, and the durations of all calls of `sleep`."""
    clock, slept = [50.0], list[float]()

    def sleep(secs: float) -> None:
        slept.append(secs)
        clock[0] += secs

    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    return clock, slept


def test_at_most_four_frames_a_second_are_classified_and_a_late_one_is_not_made_up_for(
    slept: tuple[list[float], list[float]], classifier: Callable[[], object]
) -> None:
    clock, pauses = slept
    with Pipeline(Forty(clock), classifier(), max_fps=4, gated=False) as results:  # type: ignore[arg-type]
        found = list(results)
    assert len(found) == 40
    # Five frames come at 51 to 55 s, and the sixth comes at 55 s too. Each later frame comes a quarter of a second
    # after the one before, and the end comes a quarter of a second after the last frame.
    assert pauses == [0.25] * 35
    assert clock[0] == 55 + 35 * 0.25
    ages = {round(one.classification.frame_age_ms, 6) for one in found if one.classification}
    assert ages == {40.0}
    rates = [one.fps for one in found]
    assert rates[0] is None
    assert rates[4] == 1
    # The rate is that of the last 31 frames, which have 30 intervals. They go from 51 to 61.25 s, from 55 to 62.25 s,
    # and from 55 to 62.5 s.
    assert [rates[at] for at in (30, 34, 35)] == pytest.approx([30 / 10.25, 30 / 7.25, 4])
    assert rates[-1] == 4


def test_without_a_limit_nothing_is_slept(
    slept: tuple[list[float], list[float]], classifier: Callable[[], object]
) -> None:
    clock, pauses = slept
    with Pipeline(Forty(clock), classifier(), gated=False) as results:  # type: ignore[arg-type]
        assert len(list(results)) == 40
    assert pauses == []


@pytest.mark.parametrize(("confidence", "label"), [(0.7, "nevus"), (0.701, "uncertain")])
def test_an_answer_at_the_confidence_itself_is_certain(
    confidence: float, label: str, classifier: Callable[[], object]
) -> None:
    with Pipeline(Forty([50.0]), classifier(), confidence, gated=False) as results:  # type: ignore[arg-type]
        found = next(results).classification
    assert found is not None
    assert found.label == label
    assert found.headline.title == label


def test_the_changes_of_a_run_are_of_its_answers_and_of_its_rejected_frames(
    slept: tuple[list[float], list[float]], classifier: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one frame in 4 s, so the past two minutes have 30 frames. Every third frame is too dark."""

    class Third:
        count = 0

        def check(self, image: object, at_s: float) -> Defect | None:
            self.count += 1
            return None if self.count % 3 else Defect.DARK

    monkeypatch.setattr(pipeline, "QualityGate", Third)
    clock, _ = slept
    with Pipeline(Forty(clock, slow=40, frame_s=4), classifier()) as results:  # type: ignore[arg-type]
        drift = list(results)[-1].drift
    assert drift.latest is None
    assert drift.first is not None
    assert (drift.first.frames, drift.first.rejected) == (30, pytest.approx({Defect.DARK: 1 / 3}))
    assert drift.first.answers == {"nevus": 1.0}
    assert drift.first.probability == pytest.approx(0.7)

"""How fast a run goes and how old its frames are, on a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from dermedge.edge import pipeline
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.sources.frame import Frame, FrameSource

SLOW = 5


class Forty(FrameSource):
    """Forty frames, each of which is 40 ms old when it comes; the first five take a second each."""

    is_live = False

    def __init__(self, clock: list[float]) -> None:
        self.clock, self.number = clock, 0

    def read(self) -> Frame | None:
        if self.number == 40:
            return None
        self.clock[0] += self.number < SLOW
        self.number += 1
        return Frame(np.zeros((8, 8, 3), np.uint8), self.number - 1, self.clock[0] - 0.04, "made up")

    def close(self) -> None:
        pass


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """The clock, and the times that were slept."""
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
    # five frames come at 51 to 55 s, the sixth at once, each later one a quarter of a second on, and so the end
    assert pauses == [0.25] * 35
    assert clock[0] == 55 + 35 * 0.25
    ages = {round(one.classification.frame_age_ms, 6) for one in found if one.classification}
    assert ages == {40.0}
    rates = [one.fps for one in found]
    assert rates[0] is None
    assert rates[4] == 1
    # over the last 31 frames: from 51 to 61.25 s, from 55 to 62.25 s, and from 55 to 62.5 s
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

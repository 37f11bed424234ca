"""The state machine: what the device shows after each frame, each rejected frame and each outage.

    searching      there is nothing in the reticle to answer: no frame, no lesion, too far away, off centre
    hold still     there is a lesion, and the frame is not good enough: it moves, is blurred, or the light is wrong
    reading        good frames arrive, and the answer has not settled yet
    answer         the answer has settled: a class
    uncertain      the answer has settled on a class, with too little probability to stand alone
    none of these  the answer has settled on none of the classes that the model knows
    camera lost    no frame arrives, or the same one again and again

The probabilities p of good frames are smoothed over time, independently of the frame rate: after dt seconds

    s <- s + (1 - exp(-dt / TIME_CONSTANT_S)) (p - s),

and s = p at the first frame. After 3 time constants, 0.9 s, s has followed a step by 95 %. The answer settles
SETTLE_S after the first good frame, whose weight is 14 % by then. A photo, which follows no other frame, settles at
once.

The probability of a close-up is smoothed in the same way, and tells the view by two thresholds: the first frame is a
close-up from 0.5; after that, the view becomes a close-up from 0.6 and dermoscopic from 0.4 down, so that it does not
flicker at the border.

A rejected frame ends an answer only if no frame was good for GRACE_S, so that a blink does not end it; its hint is
shown at once. After that, and after an outage, smoothing starts again. In the same way, a frame that would be answered
otherwise changes an answer only if no frame has agreed with it for GRACE_S, so that an answer at the border between two
does not flicker. While an answer stays, its figures are those of the last frame that agreed with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp

from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.photo_view import DERMOSCOPIC, view_by_probability
from dermedge.edge.quality import HINTS, Defect

__all__ = [
    "ANSWERED",
    "GRACE_S",
    "OF_A_LESION",
    "READING_HINT",
    "SETTLE_S",
    "TIME_CONSTANT_S",
    "Smoother",
    "State",
    "StateMachine",
    "StateUpdate",
    "ViewTracker",
]

TIME_CONSTANT_S = 0.3
SETTLE_S = 0.6
GRACE_S = 0.4
READING_HINT = "hold still"
# The smoothed probabilities of a close-up at which the view changes.
_TO_CLOSE_UP, _TO_DERMOSCOPIC = 0.6, 0.4


class State(StrEnum):
    """The states, which the module's docstring describes."""

    SEARCHING = "searching"
    HOLD_STILL = "hold still"
    READING = "reading"
    ANSWER = "answer"
    UNCERTAIN = "uncertain"
    NONE = "none of these"
    CAMERA_LOST = "camera lost"


ANSWERED = frozenset({State.ANSWER, State.UNCERTAIN, State.NONE})
# Defects of frames that show a lesion in the right place. With any other defect, the device searches for a lesion.
OF_A_LESION = frozenset({Defect.MOVING, Defect.BLURRED, Defect.GLARE, Defect.BRIGHT})


@dataclass(frozen=True)
class StateUpdate:
    """The state after one frame.

    Attributes:
        hint: what the user can do, in plain words; empty if there is nothing to do.
        agrees: whether this frame has the same answer as the one that is shown; False without an answer.
    """

    state: State
    hint: str = ""
    agrees: bool = False


class Smoother:
    """Smooths the probabilities of all frames since it was last cleared, by the formula in the module's docstring."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all frames."""
        self._values: tuple[float, ...] = ()
        self._first_s = 0.0
        self._last_s = 0.0

    def add(self, probabilities: Sequence[float], at_s: float | None) -> tuple[float, ...]:
        """Adds the probabilities of one more frame; returns the smoothed probabilities.

        Args:
            probabilities: probabilities of the frame, one for each class.
            at_s: time of the frame in seconds; None for a photo, whose probabilities are not smoothed. If time does
                not advance, the frame changes nothing.
        """
        if at_s is None:
            return tuple(probabilities)
        if not self._values:
            self._values, self._first_s, self._last_s = tuple(probabilities), at_s, at_s
            return self._values
        share = 1 - exp(-max(at_s - self._last_s, 0.0) / TIME_CONSTANT_S)
        self._values = tuple(
            old + share * (new - old) for old, new in zip(self._values, probabilities, strict=True)
        )
        self._last_s = max(at_s, self._last_s)
        return self._values

    @property
    def has_settled(self) -> bool:
        """Whether the frames so far cover at least SETTLE_S."""
        return self._last_s - self._first_s >= SETTLE_S


class ViewTracker:
    """Tells the view of all frames since it was last cleared, by the rule in the module's docstring."""

    def __init__(self) -> None:
        self._smoother = Smoother()
        self._view: str | None = None

    def clear(self) -> None:
        """Forgets all frames."""
        self._smoother.clear()
        self._view = None

    def add(self, close_up: float | None, at_s: float | None) -> str | None:
        """Adds one more frame; returns the view.

        Args:
            close_up: the probability that the frame is a close-up. None if the model does not tell it; then the view
                is None too.
            at_s: time of the frame in seconds; None for a photo, whose view depends on its own probability only.
        """
        if close_up is None or at_s is None:
            return view_by_probability(close_up)
        [smoothed] = self._smoother.add((close_up,), at_s)
        if self._view is None:
            self._view = view_by_probability(smoothed)
        elif smoothed >= _TO_CLOSE_UP:
            self._view = CLOSE_UP
        elif smoothed <= _TO_DERMOSCOPIC:
            self._view = DERMOSCOPIC
        return self._view


class StateMachine:
    """The state machine that the module's docstring describes. Each method reports one event to it.

    Attributes:
        smoother: smooths the probabilities; the machine clears it when an answer is lost.
        view_tracker: tells the view; the machine clears it with the smoother.
    """

    def __init__(self) -> None:
        self.smoother = Smoother()
        self.view_tracker = ViewTracker()
        self._state = State.SEARCHING
        self._good_s: float | None = None
        # the answer that is shown, and the time when a frame last agreed with it
        self._answer: tuple[State, str] | None = None
        self._agreed_s = 0.0

    def lost(self, reason: str) -> StateUpdate:
        """Reports that no frame arrives; ``reason`` becomes the hint."""
        self._forget()
        self._state = State.CAMERA_LOST
        return StateUpdate(self._state, reason)

    def defective(self, defect: Defect, at_s: float | None) -> StateUpdate:
        """Reports that the quality gate rejected a frame. ``at_s`` is its time in seconds, or None for a photo."""
        if at_s is None or self._good_s is None or not 0 <= at_s - self._good_s < GRACE_S:
            self._forget()
            self._state = State.HOLD_STILL if defect in OF_A_LESION else State.SEARCHING
        return StateUpdate(self._state, HINTS[defect])

    def good(self, answer: State, at_s: float | None, meaning: str = "") -> StateUpdate:
        """Reports that a frame was classified.

        Args:
            answer: the state of `ANSWERED` that follows from its smoothed probabilities.
            at_s: time of the frame in seconds; None for a photo.
            meaning: the words that are shown for the answer; they tell answers of one state apart.
        """
        self._good_s = at_s
        if at_s is not None and not self.smoother.has_settled:
            self._state = State.READING
            return StateUpdate(self._state, READING_HINT)
        if self._answer == (answer, meaning) or not self._stands(at_s):
            self._answer, self._agreed_s = (answer, meaning), at_s or 0.0
            self._state = answer
            return StateUpdate(self._state, agrees=True)
        return StateUpdate(self._state)

    def _stands(self, at_s: float | None) -> bool:
        """Tells whether the shown answer stays although a frame has another answer."""
        return self._answer is not None and at_s is not None and 0 <= at_s - self._agreed_s < GRACE_S

    def _forget(self) -> None:
        self.smoother.clear()
        self.view_tracker.clear()
        self._good_s = None
        self._answer = None

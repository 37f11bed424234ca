"""The state machine: what the device shows after each frame, each rejected frame and each outage.

    searching      no lesion can be judged: there is no frame, it is too dark, or no whole lesion is in the middle
    hold still     there is a lesion, but the frame moves, is out of focus, is too bright, or shows glare
    reading        good frames arrive, but the answer has not settled yet
    answer         the answer has settled on a class
    uncertain      the answer has settled on a class, but the class is too uncertain to be shown without a warning
    none of these  the answer has settled: the image shows none of the classes that the model knows
    camera lost    no frame arrives, or the same frame arrives again and again

A frame is good if the quality gate accepts it. The class probabilities of good frames are smoothed over time. Let p be
the probability of a class in the newest good frame, and s the smoothed probability of this class. At the first good
frame, s = p. A good frame that arrives dt seconds after the previous good frame adds
(1 - exp(-dt / TIME_CONSTANT_S)) (p - s) to s. So the smoothing does not depend on the frame rate.

If the probability of a class changes suddenly, the smoothed probability has made 95 % of the change after three time
constants (0.9 s). The answer settles SETTLE_S (0.6 s) after the first good frame. At this time, the first good frame
still has a weight of 14 % in the smoothed probability. The answer for a photo settles immediately, because a photo
follows no other frame.

The probability of a close-up is smoothed in the same way, and decides the view. The first frame is a close-up if
this probability is at least 0.5. After that, the view changes to a close-up at 0.6 or more, and to dermoscopic at 0.4
or less. Between these two thresholds, the view does not change, so that it does not flicker.

The hint for a rejected frame is shown immediately. A rejected frame ends the answer only if there was no good frame for
GRACE_S, so that a short disturbance does not end an answer. When an answer has ended, and after an outage, smoothing
starts again.

A frame with a different answer changes the shown answer only if no frame has agreed with the shown answer for GRACE_S.
So the answer does not flicker while two answers are almost equally probable. While an answer stays, the views show the
numbers of the last frame that agreed with this answer.
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
# The view changes to a close-up if the smoothed probability of a close-up is at least _TO_CLOSE_UP. The view changes to
# dermoscopic if this probability is at most _TO_DERMOSCOPIC.
_TO_CLOSE_UP, _TO_DERMOSCOPIC = 0.6, 0.4


class State(StrEnum):
    """The states of the device. The module's docstring describes them."""

    SEARCHING = "searching"
    HOLD_STILL = "hold still"
    READING = "reading"
    ANSWER = "answer"
    UNCERTAIN = "uncertain"
    NONE = "none of these"
    CAMERA_LOST = "camera lost"


ANSWERED = frozenset({State.ANSWER, State.UNCERTAIN, State.NONE})
# A frame with one of these defects shows a lesion in the right place. Frames with any other defect lead to the state
# "searching".
OF_A_LESION = frozenset({Defect.MOVING, Defect.BLURRED, Defect.GLARE, Defect.BRIGHT})


@dataclass(frozen=True)
class StateUpdate:
    """The state after one frame.

    Attributes:
        state: the state that the device shows.
        hint: the advice for the user, in plain words. It is empty if there is nothing to do.
        agrees: whether the answer for this frame is the answer that is shown. It is False if no answer is shown.
    """

    state: State
    hint: str = ""
    agrees: bool = False


class Smoother:
    """Smooths the probabilities of all frames since the last `clear`, by the formula in the module's docstring."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all frames."""
        self._values: tuple[float, ...] = ()
        self._first_s = 0.0
        self._last_s = 0.0

    def add(self, probabilities: Sequence[float], at_s: float | None) -> tuple[float, ...]:
        """Adds the probabilities of one more frame, and returns the smoothed probabilities.

        Args:
            probabilities: the probabilities of the frame, one for each class.
            at_s: the time of the frame in seconds. It is None for a photo, because the probabilities of a photo are not
                smoothed. If the time is not later than the time of the previous frame, the smoothed probabilities stay
                the same.
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
        """Whether at least `SETTLE_S` seconds lie between the first and the last frame since `clear`."""
        return self._last_s - self._first_s >= SETTLE_S


class ViewTracker:
    """Decides the view from all frames since the last `clear`, by the rule in the module's docstring."""

    def __init__(self) -> None:
        self._smoother = Smoother()
        self._view: str | None = None

    def clear(self) -> None:
        """Forgets all frames."""
        self._smoother.clear()
        self._view = None

    def add(self, close_up: float | None, at_s: float | None) -> str | None:
        """Adds one more frame, and returns the view.

        Args:
            close_up: the probability that the frame is a close-up. If the model does not tell this probability, it is
                None, and the view is None too.
            at_s: the time of the frame in seconds. It is None for a photo, because the view of a photo depends only on
                ``close_up``.
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
    """The state machine that the module's docstring describes. Call a method for each event.

    Attributes:
        smoother: the smoother of the probabilities. The machine clears it when an answer ends.
        view_tracker: the tracker of the view. The machine clears it together with the smoother.
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
        """Reports that the quality gate rejected a frame.

        Args:
            defect: the defect of the frame.
            at_s: the time of the frame in seconds, or None for a photo.
        """
        if at_s is None or self._good_s is None or not 0 <= at_s - self._good_s < GRACE_S:
            self._forget()
            self._state = State.HOLD_STILL if defect in OF_A_LESION else State.SEARCHING
        return StateUpdate(self._state, HINTS[defect])

    def good(self, answer: State, at_s: float | None, meaning: str = "") -> StateUpdate:
        """Reports that a frame was classified.

        Args:
            answer: the state of `ANSWERED` that follows from the smoothed probabilities.
            at_s: the time of the frame in seconds, or None for a photo.
            meaning: the words that are shown for the answer. Answers with the same state but different words are
                different answers.
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
        """Tells whether the shown answer stays, although the frame at the time ``at_s`` has a different answer."""
        return self._answer is not None and at_s is not None and 0 <= at_s - self._agreed_s < GRACE_S

    def _forget(self) -> None:
        self.smoother.clear()
        self.view_tracker.clear()
        self._good_s = None
        self._answer = None

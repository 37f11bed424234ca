"""What the device says at each moment: one explicit machine over frames, defects, answers and outages.

    searching      nothing in the reticle that could be answered: no picture, no lesion, too far, not centred
    hold still     there is a lesion, and the picture of it is not good enough: moving, blurred, light
    reading        good pictures come, and have not settled yet
    answer         a class, of pictures that settled
    uncertain      the same, and the class is too weak to be named without this word
    none of these  the pictures settled on no class of lesion that the model knows
    camera lost    no picture comes, or the same one for ever

Probabilities p of good pictures are smoothed over time, whatever the frame rate: after dt seconds

    s <- s + (1 - exp(-dt / TIME_CONSTANT_S)) (p - s),

first s = p. A step has come through by 95 % after 3 time constants, 0.9 s. They have settled, and an answer
is given, SETTLE_S after the first of them: what that one said weighs 14 % then. A picture that stands alone
settles at once.

A bad picture ends an answer only when none was good for GRACE_S, so that a blink does not; its hint is
shown at once. After that, and after an outage, smoothing begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp

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
]

TIME_CONSTANT_S = 0.3
SETTLE_S = 0.6
GRACE_S = 0.4
READING_HINT = "hold still"


class State(StrEnum):
    """As the head of this module tells them."""

    SEARCHING = "searching"
    HOLD_STILL = "hold still"
    READING = "reading"
    ANSWER = "answer"
    UNCERTAIN = "uncertain"
    NONE = "none of these"
    CAMERA_LOST = "camera lost"


ANSWERED = frozenset({State.ANSWER, State.UNCERTAIN, State.NONE})
# Defects of a picture that shows a lesion where it should be; the others leave it to be searched for.
OF_A_LESION = frozenset({Defect.MOVING, Defect.BLURRED, Defect.GLARE, Defect.BRIGHT})


@dataclass(frozen=True)
class StateUpdate:
    """What is said of one moment.

    Attributes:
        hint: what a person can do, in plain words; empty where nothing is to be done.
    """

    state: State
    hint: str = ""


class Smoother:
    """The smoothed probabilities of the pictures since it was last cleared, by the law above."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets all pictures."""
        self._values: tuple[float, ...] = ()
        self._first_s = 0.0
        self._last_s = 0.0

    def add(self, probabilities: Sequence[float], at_s: float | None) -> tuple[float, ...]:
        """The smoothed probabilities with those of a picture at a time.

        A picture that stands alone keeps its own. Time that stands still or runs backwards adds nothing.
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
        """Whether the pictures cover the settle time."""
        return self._last_s - self._first_s >= SETTLE_S


class StateMachine:
    """The machine of the head of this module. Each method tells it of one moment, and gives what to say.

    Attributes:
        smoother: of the probabilities; it is cleared when an answer has been lost.
    """

    def __init__(self) -> None:
        self.smoother = Smoother()
        self._state = State.SEARCHING
        self._good_s: float | None = None

    def lost(self, reason: str) -> StateUpdate:
        """No picture comes."""
        self._forget()
        self._state = State.CAMERA_LOST
        return StateUpdate(self._state, reason)

    def defective(self, defect: Defect, at_s: float | None) -> StateUpdate:
        """A picture came that is not worth an answer, at a time of its source."""
        if at_s is None or self._good_s is None or not 0 <= at_s - self._good_s < GRACE_S:
            self._forget()
            self._state = State.HOLD_STILL if defect in OF_A_LESION else State.SEARCHING
        return StateUpdate(self._state, HINTS[defect])

    def good(self, answer: State, at_s: float | None) -> StateUpdate:
        """A picture was classified; ``answer`` is what the smoothed probabilities say, one of `ANSWERED`."""
        self._good_s = at_s
        if at_s is not None and not self.smoother.has_settled:
            self._state = State.READING
            return StateUpdate(self._state, READING_HINT)
        self._state = answer
        return StateUpdate(self._state)

    def _forget(self) -> None:
        self.smoother.clear()
        self._good_s = None

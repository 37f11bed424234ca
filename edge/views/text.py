"""The words and figures of results as lines of text, shared by the terminal, the window and the web page."""

from __future__ import annotations

from collections.abc import Sequence

from dermedge.edge.printable import printable
from dermedge.edge.results import UNCERTAIN, Classification, FrameResult
from dermedge.edge.states import ANSWERED

__all__ = [
    "DISCLAIMER",
    "answer_line",
    "hint_line",
    "latency_line",
    "name_line",
    "notes_line",
    "rate_line",
    "rows_that_fit",
    "set_line",
    "title_of",
    "with_legend",
]

DISCLAIMER = "not a medical device"
# The mark before the names of the classes in a prediction set.
_NOT_RULED_OUT = "* "


def answer_line(classification: Classification) -> str:
    """The label with its probability, as in "nevus  84%"."""
    return f"{printable(classification.label)}  {classification.prediction.probability:.0%}"


def title_of(result: FrameResult) -> str:
    """The answer, or the state of a device that has none."""
    answered = result.classification if result.state in ANSWERED else None
    return answer_line(answered) if answered else result.state


def rate_line(fps: float | None, temperature_c: float | None) -> str:
    """The frame rate, and the processor's temperature if it is known."""
    parts = ["" if fps is None else f"{fps:.1f} fps"]
    if temperature_c is not None:
        parts.insert(0, f"{temperature_c:.0f} C")  # OpenCV's letters have no degree sign
    return "  ".join(parts).strip()


def hint_line(result: FrameResult) -> str:
    """The notes on an answer and the hint for the user; often empty."""
    notes = notes_line(result.classification) if result.classification and result.state in ANSWERED else ""
    return ", ".join(filter(None, (notes, printable(result.hint))))


def notes_line(classification: Classification) -> str:
    """The notes on an answer: that it is uncertain, and the alert of a class; often empty."""
    notes = []
    if classification.is_uncertain and classification.label != UNCERTAIN:
        notes.append(UNCERTAIN)
    if classification.prediction.alert:
        notes.append(f"{printable(classification.prediction.alert)} alert")
    return ", ".join(notes)


def set_line(chosen: Sequence[str]) -> str:
    """A prediction set in braces: ``{melanoma, nevus}``."""
    return f"{{{', '.join(map(printable, chosen))}}}"


def with_legend(text: str, classification: Classification | None) -> str:
    """The text, followed by what the mark of the prediction set means if sets were asked for."""
    legend = (
        f"{_NOT_RULED_OUT}not ruled out"
        if classification and classification.prediction_set is not None
        else ""
    )
    return ", ".join(filter(None, (text, legend)))


def name_line(classification: Classification, index: int) -> str:
    """The name of a class beside its bar, marked if the class is in the prediction set."""
    label = classification.labels[index]
    mark = _NOT_RULED_OUT if label in (classification.prediction_set or ()) else ""
    return f"{mark}{printable(label)}"


def latency_line(classification: Classification, with_capture: bool = True) -> str:
    """How long the steps took, in milliseconds, in one line."""
    timing = classification.prediction.timing
    capture = f"capture {classification.capture_ms:.1f}  " if with_capture else ""
    return (
        f"ms: {capture}pre {timing.preprocess_ms:.1f}  "
        f"invoke {timing.invoke_ms:.1f}  post {timing.postprocess_ms:.1f}"
    )


def rows_that_fit(probabilities: Sequence[float], count: int) -> list[int]:
    """Indices of the ``count`` most probable classes, in the model's order, so that bars do not jump."""
    return sorted(sorted(range(len(probabilities)), key=lambda index: -probabilities[index])[:count])

"""Formats results as lines of text for the views, so that all views use the same words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from dermedge.edge.printable import printable
from dermedge.edge.results import Classification, FrameResult

__all__ = [
    "DISCLAIMER",
    "answer_line",
    "answer_title",
    "hint_line",
    "latency_line",
    "name_line",
    "nearest_line",
    "notes_line",
    "rate_line",
    "rows_that_fit",
    "set_line",
    "title_of",
    "with_legend",
]

DISCLAIMER = "not a medical device"
# The mark before the name of a class that is in the prediction set.
_NOT_RULED_OUT = "* "


def answer_line(classification: Classification) -> str:
    """Returns the headline, and the probability of the class that the headline names.

    Examples: "nevus  84%", "uncertain; nearest: nevus  45%".
    """
    return f"{printable(classification.headline.text)}  {classification.named_probability:.0%}"


def answer_title(classification: Classification) -> str:
    """Returns the first part of the headline. If this part is a class, the probability of the class follows.

    Examples: "nevus  84%", "uncertain".
    """
    title = printable(classification.headline.title)
    return title if classification.headline.nearest else f"{title}  {classification.named_probability:.0%}"


def nearest_line(classification: Classification) -> str:
    """Returns the nearest class with its probability, or an empty text if the title already names a class."""
    nearest = classification.headline.nearest
    return f"nearest: {printable(nearest)}  {classification.named_probability:.0%}" if nearest else ""


def title_of(result: FrameResult) -> str:
    """Returns the title of the answer, or the name of the state if there is no answer."""
    return answer_title(result.answer) if result.answer else result.state


def rate_line(fps: float | None, temperature_c: float | None) -> str:
    """Returns the temperature of the processor and the frame rate. An unknown value is left out."""
    parts = ["" if fps is None else f"{fps:.1f} fps"]
    if temperature_c is not None:
        parts.insert(0, f"{temperature_c:.0f} C")  # OpenCV's fonts have no degree sign
    return "  ".join(parts).strip()


def hint_line(result: FrameResult) -> str:
    """Returns the line below the title: the nearest class, the notes, and the hint for the user.

    The line is empty if there is nothing to show.
    """
    notes = (nearest_line(result.answer), notes_line(result.answer)) if result.answer else ()
    return ", ".join(filter(None, (*notes, printable(result.hint))))


def notes_line(classification: Classification) -> str:
    """Returns the notes on an answer: the alert if it is on, and a note if the photo is a close-up.

    The text is empty if there are no notes.
    """
    alert = classification.prediction.alert
    return ", ".join(filter(None, (f"{printable(alert)} alert" if alert else "", classification.view_note)))


def set_line(prediction_set: Sequence[str]) -> str:
    """Returns a prediction set in braces: ``{melanoma, nevus}``."""
    return f"{{{', '.join(map(printable, prediction_set))}}}"


def with_legend(text: str, classification: Classification | None) -> str:
    """Appends an explanation of the mark `_NOT_RULED_OUT`. Without a prediction set, returns the text unchanged."""
    legend = (
        f"{_NOT_RULED_OUT}not ruled out"
        if classification and classification.prediction_set is not None
        else ""
    )
    return ", ".join(filter(None, (text, legend)))


def name_line(classification: Classification, index: int) -> str:
    """Returns the name to show beside the bar of a class. The name of a class in the prediction set gets a mark."""
    label = classification.labels[index]
    mark = _NOT_RULED_OUT if label in (classification.prediction_set or ()) else ""
    return f"{mark}{printable(label)}"


def latency_line(classification: Classification, with_capture: bool = True) -> str:
    """Returns one line with the duration of each step in milliseconds."""
    timing = classification.prediction.timing
    capture = f"capture {classification.capture_ms:.1f}  " if with_capture else ""
    return (
        f"ms: {capture}pre {timing.preprocess_ms:.1f}  "
        f"invoke {timing.invoke_ms:.1f}  post {timing.postprocess_ms:.1f}"
    )


def rows_that_fit(probabilities: Sequence[float], count: int) -> list[int]:
    """Returns the indices of the ``count`` most probable classes.

    The indices are in ascending order, so that the bars do not change places when the probabilities change.
    """
    return sorted(sorted(range(len(probabilities)), key=lambda index: -probabilities[index])[:count])

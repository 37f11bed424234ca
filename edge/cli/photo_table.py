"""Prints the answers of `dermedge predict` as a table: a brief one, or one with the probabilities of all classes."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.printable import printable
from dermedge.edge.results import Classification
from dermedge.edge.text_table import shorten_middle
from dermedge.edge.views.text import set_line

__all__ = ["brief_table", "full_table"]

_HEAD = ("photo", "answer", "probability", "alert")
_GAP = "  "
_LEAST_WIDTH, _LEAST_PHOTO_WIDTH = 60, 12
# The column of answers is at least _ANSWER_WIDTH and at most _MOST_ANSWER_WIDTH characters wide. The longest headline
# that names no class, "not clearly one of the 4 classes", has _ANSWER_WIDTH characters.
_ANSWER_WIDTH, _MOST_ANSWER_WIDTH = 32, 66
# The full table shows the probabilities of up to `_MOST_COLUMNS` classes. If there are more classes, it shows only the
# probabilities of the `_MOST_PROBABLE` most probable ones.
_MOST_COLUMNS, _MOST_PROBABLE = 12, 5


def brief_table(
    classifications: Iterable[Classification], classifier: Classifier, paths: Sequence[Path]
) -> Iterator[str]:
    """Yields the lines of a table that fits the width of the terminal.

    The columns are the photo, the answer, the probability of the class that the answer names, and the alert. Each row
    is yielded as soon as the photo is classified. A long answer continues on the line below. For a close-up, a further
    line shows the note that the photo is a close-up. If prediction sets were requested, a further line shows the set.

    Args:
        classifications: classifications of the photos.
        classifier: the classifier that made the classifications.
        paths: paths of all photos.
    """
    widths = _widths(classifier, paths)
    yield from _lines([[name] for name in _HEAD], widths)
    for one in classifications:
        photo = shorten_middle(printable(one.frame.name), widths[0])
        probability = f"{one.named_probability:.1%}".rjust(widths[2])
        alert = printable(one.prediction.alert or "-")
        yield from _lines([[photo], _answer(one, widths[1]), [probability], [alert]], widths)


def _widths(classifier: Classifier, paths: Sequence[Path]) -> tuple[int, int, int, int]:
    alert = max(len(_HEAD[3]), len(printable(classifier.alert_label or "")))
    probability = len(_HEAD[2])
    free = max(_LEAST_WIDTH, shutil.get_terminal_size().columns) - probability - alert - 3 * len(_GAP)
    longest = max(len(_HEAD[0]), *(len(printable(str(path))) for path in paths))
    photo = min(longest, max(_LEAST_PHOTO_WIDTH, free - _ANSWER_WIDTH))
    return photo, min(free - photo, _MOST_ANSWER_WIDTH), probability, alert


def _answer(classification: Classification, width: int) -> list[str]:
    """Returns the lines of an answer, wrapped to ``width``: the headline, the note on a close-up, and the prediction
    set.
    """
    headline = classification.headline
    parts = [headline.text]
    if len(headline.text) > width and headline.nearest is not None:
        parts = [headline.title, f"nearest: {headline.nearest}"]
    if classification.view_note:
        parts.append(classification.view_note)
    if classification.prediction_set is not None:
        parts.append(set_line(classification.prediction_set))
    return [line for part in parts for line in textwrap.wrap(printable(part), width)]


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """Yields the lines of one row. A cell may have several lines."""
    for number in range(max(map(len, cells))):
        texts = [cell[number] if number < len(cell) else "" for cell in cells]
        yield _GAP.join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def full_table(
    classifications: Iterable[Classification], classifier: Classifier, paths: Sequence[Path]
) -> Iterator[str]:
    """Yields a header, and one line for each photo with all values of its answer.

    The lines may be wider than the terminal. The arguments are those of `brief_table`.
    """
    labels = classifier.labels
    first = max(len("photo"), *(len(str(path)) for path in paths))
    second = max(len("label"), *(len(label) for label in labels))
    start = f"{'photo':<{first}}  {'label':<{second}}  probability  uncertain  {'alert':<{second}}"
    yield printable(f"{start}  {_class_columns(labels)}  headline and set")
    for classification in classifications:
        values = _class_cells(labels, classification.prediction.probabilities)
        prediction = classification.prediction
        uncertain = "yes" if classification.is_uncertain else "-"
        answer = ", ".join(filter(None, (classification.headline.text, classification.view_note)))
        chosen = (
            "" if classification.prediction_set is None else f"  {set_line(classification.prediction_set)}"
        )
        yield printable(
            f"{classification.frame.name:<{first}}  {prediction.label:<{second}}  {prediction.probability:>11.4f}  "
            f"{uncertain:<9}  {prediction.alert or '-':<{second}}  {values}  {answer}{chosen}"
        )


def _class_columns(labels: Sequence[str]) -> str:
    """Returns one column title for each class. For more than `_MOST_COLUMNS` classes, returns a single title."""
    if len(labels) > _MOST_COLUMNS:
        return f"the {_MOST_PROBABLE} most probable"
    return "  ".join(f"{label:>{max(len(label), 6)}}" for label in labels)


def _class_cells(labels: Sequence[str], probabilities: Sequence[float]) -> str:
    """Returns the probabilities of one photo as text. `_class_columns` returns the column titles above this text."""
    pairs = list(zip(labels, probabilities, strict=True))
    if len(labels) > _MOST_COLUMNS:
        most = sorted(pairs, key=lambda pair: -pair[1])[:_MOST_PROBABLE]
        return ", ".join(f"{label} {value:.4f}" for label, value in most)
    return "  ".join(f"{value:>{max(len(label), 6)}.4f}" for label, value in pairs)

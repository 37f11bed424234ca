"""Finds out which normalization a .tflite from another program expects, by trying all of them on labelled photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import DataError, PictureError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.normalization import FOREIGN
from dermedge.edge.photos import read_picture
from dermedge.edge.text_table import TextTable
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation.class_order import check_other_orders
from dermedge.train.evaluation.intervals import balanced_score
from dermedge.train.evaluation.metrics import Score

__all__ = ["NormalizationTrial", "find_normalization"]

# This many photos are enough to tell which normalization is right. A device needs a few seconds for these photos.
_PHOTOS = 120


@dataclass(frozen=True)
class NormalizationTrial:
    """The scores of a network on labelled photos with one normalization.

    Attributes:
        name: name of the normalization.
        answers: the most probable class of each photo, as an index into the labels, int [n].
        balanced_accuracy: mean of the recalls of the classes that have photos.
        probability: mean probability of the true class, 0 to 1.
    """

    name: str
    answers: NDArray[np.int64]
    balanced_accuracy: Score
    probability: float


def find_normalization(
    path: Path,
    photos_of: Callable[[Sequence[str]], list[LabelledPhoto]],
    open_with: Callable[[str], Classifier],
    say: Callable[[str], object],
) -> str:
    """Returns the name of the normalization with which a network predicts labelled photos best.

    The best normalization has the highest balanced accuracy. If several normalizations have the same balanced accuracy,
    the best one has the highest mean probability of the true class.

    Args:
        path: path of the .tflite.
        photos_of: function from the classes of the network to the labelled photos, such as `labelled_photos`.
        open_with: function that opens the file with the normalization of the given name.
        say: function that is called with a table of all normalizations and their scores.

    Raises:
        DataError: no normalization is better than chance on these photos, or none of the photos can be decoded.
        ModelError: the file cannot be run.
        OptionError: the file cannot be opened with the options of the user, such as the labels. Or the labels seem to
            be in a wrong order (`check_other_orders`).
    """
    with open_with(FOREIGN[0]) as classifier:
        labels = classifier.labels
    photos = _decoded(sample_evenly(photos_of(labels), _PHOTOS))
    if not photos:
        raise DataError(
            f"none of the labelled photos for '{path}' can be decoded; give other photos with --data"
        )
    truth, groups = (
        np.array([photo.label_index for photo, _ in photos]),
        [photo.entry.group for photo, _ in photos],
    )
    trials = []
    for name in FOREIGN:
        with open_with(name) as classifier:
            trials.append(_try(name, classifier, [pixels for _, pixels in photos], truth, groups))
    best = max(trials, key=lambda one: (one.balanced_accuracy.value, one.probability))
    check_other_orders(path, truth, {one.name: one.answers for one in trials}, best.name, labels, groups)
    title = (
        f"normalizations of '{path}', tried on {len(photos)} photos; the best is --normalization {best.name}"
    )
    say(f"{_table(title, trials).to_text()}{_note_of_ties(trials, best)}")
    if not best.balanced_accuracy.low > 1 / len(set(truth)):
        raise DataError(
            f"'{path}' is no better than chance on these {len(photos)} photos with any normalization; give "
            f"--labels with the classes in the order of the outputs, or more photos with --data"
        )
    return best.name


def _decoded(photos: Sequence[LabelledPhoto]) -> list[tuple[LabelledPhoto, NDArray[np.uint8]]]:
    """Returns the photos that can be decoded, each with its pixels as uint8 [h, w, 3] BGR."""
    decoded = []
    for photo in photos:
        try:
            decoded.append((photo, read_picture(photo.path)))
        except PictureError:
            continue  # the evaluation that follows reports this photo
    return decoded


def _try(
    name: str,
    classifier: Classifier,
    images: Sequence[NDArray[np.uint8]],
    truth: NDArray[np.int64],
    groups: Sequence[str],
) -> NormalizationTrial:
    """Returns the scores on all photos with one normalization."""
    probabilities = np.array([classifier.predict(image).probabilities for image in images])
    answers = probabilities.argmax(axis=1)
    of_truth = probabilities[np.arange(len(truth)), truth]
    return NormalizationTrial(name, answers, balanced_score(truth, answers, groups), float(of_truth.mean()))


def _note_of_ties(trials: Sequence[NormalizationTrial], best: NormalizationTrial) -> str:
    """Returns a line that names the best normalizations if there are several of them, or an empty text."""
    equal = [one.name for one in trials if one.balanced_accuracy.value == best.balanced_accuracy.value]
    if len(equal) == 1:
        return ""
    return (
        f"\n{', '.join(equal)} have the same balanced accuracy; if you know the normalization of the training, give it "
        "with --normalization"
    )


def _table(title: str, trials: Sequence[NormalizationTrial]) -> TextTable:
    rows = []
    for one in trials:
        score = one.balanced_accuracy
        interval = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        rows.append((one.name, interval, f"{one.probability:.3f}"))
    head = ("normalization", "balanced accuracy", "probability of the true class")
    return TextTable(title, head, tuple(rows))

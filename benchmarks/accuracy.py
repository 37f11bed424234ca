"""Scores models on the same decoded photos, with the code that runs on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.status_line import ShowStatus
from dermedge.edge.errors import DataError, PictureError
from dermedge.edge.model.classifier import Classifier, common_labels
from dermedge.edge.model.prediction import Prediction
from dermedge.edge.photos import read_picture

if TYPE_CHECKING:
    from dermedge.train.data.scoring import LabelledPhoto
    from dermedge.train.evaluation.metrics import Score

__all__ = ["REPORT_EVERY_PHOTOS", "Accuracy", "ScoredPhotos", "accuracy_of", "find_photos", "score"]

REPORT_EVERY_PHOTOS = 20


@dataclass(frozen=True)
class Accuracy:
    """The scores of one model.

    Attributes:
        accuracy: share of the photos whose predicted class is right.
        balanced_accuracy: mean recall of the classes that have photos.
        melanoma_sensitivity: sensitivity for melanoma. The threshold is chosen on the scored photos, so that the
            specificity for all other photos is 90 %. None if no photo shows a melanoma.
        recall: for each class, the share of the photos of this class whose predicted class is right; None for a class
            without photos.
        photos: number of photos that were scored.
        lesions: number of lesions that the scored photos show. The confidence intervals count lesions, not photos.
    """

    accuracy: Score
    balanced_accuracy: Score
    melanoma_sensitivity: Score | None
    recall: dict[str, float | None]
    photos: int
    lesions: int


@dataclass(frozen=True)
class ScoredPhotos:
    """The scores of several models on the photos that could be decoded.

    Attributes:
        models: the scores of each model.
        readable: the photos that were scored.
        unreadable: error messages of the photos that could not be decoded.
    """

    models: tuple[Accuracy, ...]
    readable: tuple[LabelledPhoto, ...]
    unreadable: tuple[str, ...]


def find_photos(
    data: Path,
    labels: Sequence[str],
    split: str | None = None,
    max_photos: int | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> list[LabelledPhoto]:
    """Returns the photos that the models are scored on.

    Args:
        data: a folder of labelled photos, a table of labels, or the catalogue.csv of a run.
        labels: the classes of the models.
        split: the split of the catalogue.csv: ``val`` or ``test``. None if ``data`` is not a catalogue.csv of a run.
        max_photos: largest number of photos to return. The photos are sampled as evenly over the classes as possible,
            and each call returns the same photos. None returns all photos.
        say: a function that is called with each line of text on how folders and tables were read.

    Raises:
        DataError: there are no photos to score, or the class of a photo is not a class of the models.
        OptionError: ``data`` is a catalogue.csv, but ``split`` is missing or unknown; or ``data`` is not a
            catalogue.csv, but ``split`` is given.
    """
    from dermedge.train.data.sampling import sample_evenly
    from dermedge.train.data.scoring import labelled_photos

    photos = labelled_photos(data, labels, split, say=say)
    return photos if max_photos is None else sample_evenly(photos, max_photos)


def score(
    classifiers: Sequence[Classifier], photos: Sequence[LabelledPhoto], progress: ShowStatus | None = None
) -> ScoredPhotos:
    """Scores several classifiers on the same photos. All classifiers must have the same labels.

    Each photo is decoded once, and all classifiers predict its class.

    Raises:
        DataError: no photo can be decoded.
    """
    labels = common_labels(classifiers)
    predictions: list[list[Prediction]] = []
    readable: list[LabelledPhoto] = []
    unreadable: list[str] = []
    for number, photo in enumerate(photos, 1):
        try:
            frame_bgr = read_picture(photo.path)
        except PictureError as error:
            unreadable.append(str(error))
            continue
        readable.append(photo)
        predictions.append([classifier.predict(frame_bgr) for classifier in classifiers])
        if progress and number % REPORT_EVERY_PHOTOS == 0:
            progress(f"accuracy: photo {number} of {len(photos)}")
    if not readable:
        raise DataError(
            f"none of the {len(photos)} photos can be decoded; the error of the first photo: {unreadable[0]}"
        )
    truth = np.array([photo.label_index for photo in readable])
    groups = [photo.entry.group for photo in readable]
    scores = [
        accuracy_of(
            truth,
            np.array([prediction.index for prediction in of_model]),
            np.array([prediction.probabilities for prediction in of_model], np.float64),
            groups,
            labels,
        )
        for of_model in zip(*predictions, strict=True)
    ]
    return ScoredPhotos(tuple(scores), tuple(readable), tuple(unreadable))


def accuracy_of(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    groups: Sequence[str],
    labels: Sequence[str],
) -> Accuracy:
    """Returns the scores of the predictions for N photos and K classes.

    Args:
        truth: int64 [N], the true class of each photo.
        predicted: int64 [N], the predicted class of each photo.
        probabilities: float64 [N, K], 0 to 1.
        groups: the lesion of each photo.
        labels: the names of the K classes.
    """
    from dermedge.train.evaluation.intervals import mean_score, share_score

    lesions = np.unique(np.asarray(groups), return_inverse=True)[1]
    recall = {
        label: share_score(predicted == index, truth == index, lesions) for index, label in enumerate(labels)
    }
    return Accuracy(
        accuracy=share_score(predicted == truth, np.ones(len(truth), bool), lesions),
        balanced_accuracy=mean_score(list(recall.values())),
        melanoma_sensitivity=_melanoma_sensitivity(truth, probabilities, labels, groups),
        recall={label: one.value if one.measured else None for label, one in recall.items()},
        photos=len(truth),
        lesions=len(set(groups)),
    )


def _melanoma_sensitivity(
    truth: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    labels: Sequence[str],
    groups: Sequence[str],
) -> Score | None:
    from dermedge.train.evaluation.intervals import sensitivity_score
    from dermedge.train.evaluation.metrics import lesion_draws
    from dermedge.train.evaluation.scorecard import MELANOMA, SPECIFICITY

    if MELANOMA not in labels:
        return None
    index = list(labels).index(MELANOMA)
    lesions = np.unique(np.asarray(groups), return_inverse=True)[1]
    evidence, draws = probabilities[:, index], lesion_draws(groups)
    found = sensitivity_score(SPECIFICITY, truth == index, evidence, lesions, draws)
    return found if found.measured else None

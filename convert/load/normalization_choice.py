"""Find the normalization that a foreign classifier expects, by trying each normalization on labelled photos."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.accept.network_checks import compare_with_chance, order_check
from dermedge.convert.calibrate.temperature import calibrated
from dermedge.convert.load.conversion_input import ForeignClassifier
from dermedge.edge.cli.arguments import AUTO_NORMALIZATION
from dermedge.edge.errors import DataError, ModelError, ModelWarning, OptionError
from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS, Normalization
from dermedge.train.evaluation.class_order import check_other_orders
from dermedge.train.evaluation.metrics import balanced_accuracy, confusion_matrix, lesion_draws

__all__ = ["choose_normalization"]

# Two normalizations count as one if, on average over the photos, no probability of a photo changes by more than this.
_SAME_PROBABILITIES = 0.02


def choose_normalization(
    file: ForeignClassifier,
    asked: str,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    groups: Sequence[str],
    labels: tuple[str, ...],
) -> Normalization:
    """Choose the normalization that a network expects.

    Args:
        file: the classifier.
        asked: a name in `NORMALIZATIONS`, or ``auto``. With ``auto``, the normalization that the file states is used.
            If the file states none, the normalization with the highest balanced accuracy on the photos is used. If
            several have the highest, the first of them is used, and a `ModelWarning` names the others.
        pixels: RGB images of photos that are not in the proof set, uint8 [n, h, w, 3].
        truth: the classes of the photos, int [n].
        groups: the lesion of each photo.
        labels: the labels of the classes, in the given order.

    Raises:
        OptionError: the name is unknown, or stands for a normalization of colours although the network is gray. Or
            another order of the labels, together with another normalization, fits the photos clearly better.
        ModelError: the answers of the network are not finite.
        DataError: the network is no better than chance (`compare_with_chance`), so no converted file could be better.
    """
    tried = {one.name: one for one in _candidates(file, asked)}
    logits = {name: file.network(labels, one).logits(pixels) for name, one in tried.items()}
    answers = {name: rows.argmax(axis=1) for name, rows in logits.items() if np.isfinite(rows).all()}
    if not answers:
        raise ModelError(
            f"'{file.path}' answers photos with numbers that are not finite; its weights are damaged. Train the "
            "network again"
        )
    figures = {
        name: balanced_accuracy(confusion_matrix(truth, of_name, file.classes))
        for name, of_name in answers.items()
    }
    best = max(figures, key=figures.__getitem__)
    check_other_orders(file.path, truth, answers, best, labels, groups)
    _check_better_than_chance(file, truth, answers[best], groups, labels, figures)
    _warn_of_ties(file, {name: logits[name] for name, value in figures.items() if value == figures[best]})
    return tried[best]


def _check_better_than_chance(
    file: ForeignClassifier,
    truth: NDArray[np.int64],
    answers: NDArray[np.int64],
    groups: Sequence[str],
    labels: tuple[str, ...],
    figures: Mapping[str, float],
) -> None:
    """Raise DataError if the answers with the best normalization are no better than chance.

    If only the order of the labels is wrong, no error is raised, because the acceptance test reports the order.
    ``figures`` has the balanced accuracy with each normalization.
    """
    passed, comparison = compare_with_chance(truth, answers, groups)
    if passed or not order_check(truth, answers, labels, lesion_draws(groups)).passed:
        return
    found = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
    raise DataError(
        f"'{file.path}' is hardly better than chance on {len(truth)} calibration photos ({comparison}); "
        f"the balanced accuracy of each normalization is: {found}; give the right --normalization, the classes in "
        "the right order with --labels, or more photos"
    )


def _warn_of_ties(file: ForeignClassifier, logits: Mapping[str, NDArray[np.floating]]) -> None:
    """Issue a `ModelWarning` if normalizations that fit the photos equally well lead to different probabilities.

    For example, a network with small biases gives the same classes for pixels from 0 to 255 as for pixels from 0 to 1.
    Its logits, however, are 255 times as large.
    """
    first, *others = (calibrated(rows, 1.0) for rows in logits.values())
    if any(np.abs(rows - first).max(axis=1).mean() > _SAME_PROBABILITIES for rows in others):
        chosen, *equal = logits
        warnings.warn(
            f"the calibration photos do not tell which normalization '{file.path}' expects: {chosen} is used, but with "
            f"{', '.join(equal)}, the balanced accuracy is the same, and the probabilities differ; if {chosen} is not "
            "the normalization of the training, repeat the command with the right --normalization",
            ModelWarning,
            stacklevel=2,
        )


def _candidates(file: ForeignClassifier, asked: str) -> list[Normalization]:
    is_gray = file.layout.channels == 1
    known = [name for name in NORMALIZATIONS if NORMALIZATIONS[name].is_affine or not is_gray]
    if asked not in (AUTO_NORMALIZATION, *NORMALIZATIONS):
        raise OptionError(
            f"--normalization is '{asked}', which is unknown. Known: {AUTO_NORMALIZATION}, {', '.join(known)}"
        )
    if asked != AUTO_NORMALIZATION and asked not in known:
        raise OptionError(
            f"--normalization {asked} is for colour, and the input of '{file.path}' is gray. "
            f"Known for gray: {AUTO_NORMALIZATION}, {', '.join(known)}"
        )
    if asked != AUTO_NORMALIZATION:
        return [NORMALIZATIONS[asked]]
    if file.known_normalization:
        return [file.known_normalization]
    return [NORMALIZATIONS[name] for name in FOREIGN if name in known]

"""Find the normalization that a foreign classifier expects, by trying each normalization on labelled photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.accept.network_checks import compare_with_chance, order_check
from dermedge.convert.load.conversion_input import ForeignClassifier
from dermedge.edge.cli.arguments import AUTO_NORMALIZATION
from dermedge.edge.errors import DataError, ModelError, OptionError
from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS, Normalization
from dermedge.train.evaluation.class_order import check_other_orders
from dermedge.train.evaluation.metrics import balanced_accuracy, confusion_matrix, lesion_draws

__all__ = ["choose_normalization"]


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
            If the file states none, the normalization with the highest balanced accuracy on the photos is used.
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
    passed, comparison = compare_with_chance(truth, answers[best], groups)
    in_order = order_check(truth, answers[best], labels, lesion_draws(groups)).passed
    # If only the order of the labels is wrong, no error is raised here, because the acceptance test reports the order.
    if in_order and not passed:
        found = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        raise DataError(
            f"'{file.path}' is hardly better than chance on {len(truth)} calibration photos ({comparison}); "
            f"the balanced accuracy of each normalization is: {found}; give the right --normalization, the classes in "
            "the right order with --labels, or more photos"
        )
    return tried[best]


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

"""Fit the temperature and the thresholds of a converted file to the outputs of the file on the proof set.

The view of a photo is dermoscopic or close-up. A file that tells the view gets a temperature and thresholds for each
view. On the device, the file itself chooses the view of each photo. So the temperature and the thresholds of a view are
fitted on the photos that the file assigns to this view.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.calibrate.temperature import calibrated, calibration_scores, expected_error
from dermedge.convert.calibrate.thresholds import decision_scores, fit_thresholds, scores_of_each
from dermedge.convert.calibrate.usefulness import threshold_warnings, useful_temperature, useful_thresholds
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.photo_view import DERMOSCOPIC, view_by_probability

__all__ = ["Calibration", "calibrate"]

# The views get separate temperatures and thresholds only if the file assigns at least this many photos to each view.
# With fewer photos, the temperature and the thresholds for a view would depend on chance.
_LEAST_PHOTOS_OF_A_VIEW = 20
# The user is warned if the file recognizes the view of less than this fraction of the photos. Then too many dermoscopic
# photos are mistaken for close-ups.
_LEAST_VIEW_ACCURACY = 0.9

_Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Calibration:
    """The part of a manifest that is fitted on validation photos.

    If the file tells the view of a photo, ``temperature`` and ``thresholds`` are those for dermoscopic photos, and
    ``views`` holds those for close-ups.

    Attributes:
        temperature: the temperature of the softmax.
        thresholds: the thresholds of the decision, as `fit_thresholds` returns them.
        metrics: the metrics of the temperature and the thresholds on the validation photos, as `calibration_scores`
            and `decision_scores` return them. If the file tells the view of a photo, there are two more metrics.
            ``val_view_accuracy`` is the fraction of the photos for which the file tells the right view. ``val_views``
            maps each view to the metrics on the photos of this view; it is absent if ``views`` is empty.
        warnings: one line for each temperature or threshold that was left out because it does harm, one line for each
            threshold that was kept although it is useless, and lines about the views.
        views: the temperature and the thresholds for close-ups, as in `Manifest.views`. The dict is empty if the same
            temperature and thresholds are used for all photos.
    """

    temperature: float
    thresholds: dict[str, Any]
    metrics: dict[str, Any]
    warnings: tuple[str, ...]
    views: dict[str, Any] = field(default_factory=dict)


def calibrate(proof: ProofSet, logits: _Floats, close_up: _Floats | None = None) -> Calibration:
    """Fit the temperature, then the thresholds. Leave out a temperature or a threshold that does harm on the photos.

    Args:
        proof: the proof set.
        logits: the logits of the converted file for the photos of the proof set, float [n, K].
        close_up: the probability that a photo is a close-up, float [n]; None if the file does not tell views.
    """
    if close_up is None:
        return _fit(proof, logits, proof.truth)
    told = np.array([view_by_probability(float(one)) for one in close_up])
    accuracy = _view_accuracy(proof, told)
    among = {view: told == view for view in (DERMOSCOPIC, CLOSE_UP)}
    rare = next((view for view in among if among[view].sum() < _LEAST_PHOTOS_OF_A_VIEW), None)
    if rare:
        return _without_views(_fit(proof, logits, proof.truth), accuracy, int(among[rare].sum()), rare)
    of_all = _fit(proof, logits, proof.truth).thresholds.get("uncertain")
    parts = {view: _fit(proof, logits[mask], proof.truth[mask], of_all) for view, mask in among.items()}
    scores = {"val_photos": len(proof.truth), **_scores_of_all(proof, logits, [parts[view] for view in told])}
    of_views = {"val_views": {view: part.metrics for view, part in parts.items()}}
    close_ups = parts[CLOSE_UP]
    return Calibration(
        parts[DERMOSCOPIC].temperature,
        parts[DERMOSCOPIC].thresholds,
        scores | accuracy | of_views,
        (*_view_warnings(accuracy), *(f"{view}: {one}" for view in parts for one in parts[view].warnings)),
        {CLOSE_UP: {"temperature": close_ups.temperature, "thresholds": close_ups.thresholds}},
    )


def _fit(
    proof: ProofSet, logits: _Floats, truth: NDArray[np.integer], uncertain_of_all: float | None = None
) -> Calibration:
    """Fit the temperature and the thresholds on m photos of a proof set.

    Args:
        proof: the held-out photos (the proof set). Only the names of the classes are used here.
        logits: the logits for the m photos, float [m, K].
        truth: the classes of the m photos, int [m].
        uncertain_of_all: the threshold ``uncertain`` that was fitted on all photos, or None. This threshold is used if
            the m photos are too few to fit a useful one. Without any threshold, an answer with a low probability would
            look certain.
    """
    temperature, of_temperature = useful_temperature(logits, truth)
    probabilities = calibrated(logits, temperature)
    photos = (probabilities, truth, proof.labels, proof.none_label)
    thresholds, of_thresholds = useful_thresholds(*photos, fit_thresholds(*photos, proof.critical))
    if "uncertain" not in thresholds and uncertain_of_all is not None:
        thresholds = thresholds | {"uncertain": uncertain_of_all}
        of_thresholds = [
            *of_thresholds,
            f"answers are uncertain below {uncertain_of_all:.4f}, the threshold that was fitted on all photos",
        ]
    metrics = {
        "val_photos": len(truth),
        **calibration_scores(logits, truth, temperature),
        **decision_scores(*photos, thresholds),
    }
    warnings = (*of_temperature, *of_thresholds, *threshold_warnings(probabilities, proof.labels, thresholds))
    return Calibration(temperature, thresholds, metrics, warnings)


def _scores_of_all(proof: ProofSet, logits: _Floats, fitted: list[Calibration]) -> dict[str, float]:
    """Return the metrics on all photos. ``fitted`` holds the temperature and the thresholds for each photo."""
    temperatures = np.array([one.temperature for one in fitted])
    probabilities = calibrated(logits / temperatures[:, np.newaxis], 1.0)
    each = [one.thresholds for one in fitted]
    return {
        "val_ece_unscaled": expected_error(calibrated(logits, 1.0), proof.truth),
        "val_ece": expected_error(probabilities, proof.truth),
        **scores_of_each(probabilities, proof.truth, proof.labels, proof.none_label, each),
    }


def _view_accuracy(proof: ProofSet, told: NDArray[np.str_]) -> dict[str, float]:
    """Return ``val_view_accuracy``, which counts only photos whose true view is known."""
    views = np.array(proof.views)
    known = views != ""
    return {"val_view_accuracy": round(float((told == views)[known].mean()), 4)}


def _without_views(one: Calibration, accuracy: dict[str, float], photos: int, view: str) -> Calibration:
    """Return the calibration on all photos, with a warning that the file assigns too few photos to one view."""
    warning = (
        f"both views have the same temperature and thresholds, because the file classifies only {photos} of the "
        f"validation photos as {view}; at least {_LEAST_PHOTOS_OF_A_VIEW} are needed"
    )
    return replace(one, metrics=one.metrics | accuracy, warnings=(warning, *one.warnings))


def _view_warnings(accuracy: dict[str, float]) -> tuple[str, ...]:
    share = accuracy["val_view_accuracy"]
    if share >= _LEAST_VIEW_ACCURACY:
        return ()
    return (f"the view that the file tells is right for only {share:.1%} of the validation photos",)

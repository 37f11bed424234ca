"""Chooses the temperature and the thresholds by the view of a photo: dermoscopic, or a close-up.

A close-up is taken without a dermatoscope, and networks are less certain about close-ups. A model may have an output
``close_up``: the probability, 0 to 1, that the photo is a close-up. The manifest of such a model has a temperature and
thresholds for each view. The phone app implements the same rules, and tests/edge/calibration_vectors.json tests that
both implementations agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dermedge.edge.model.manifest import CLOSE_UP, Manifest

__all__ = ["DERMOSCOPIC", "ViewCalibration", "calibration_of", "view_by_probability"]

DERMOSCOPIC = "dermoscopic"
# A photo counts as a close-up from this probability on.
_LEAST_CLOSE_UP = 0.5


@dataclass(frozen=True)
class ViewCalibration:
    """The temperature and thresholds of a manifest for photos of one view.

    Attributes:
        temperature: the number that divides the logits before the softmax.
        thresholds: the thresholds of the decision, as `dermedge.edge.model.decision` describes them.
    """

    temperature: float
    thresholds: Mapping[str, Any]


def view_by_probability(close_up: float | None) -> str | None:
    """Returns `CLOSE_UP` if the probability is 0.5 or more, and `DERMOSCOPIC` otherwise.

    Returns None if ``close_up`` is None, because the model does not tell close-ups from dermoscopic photos.
    """
    if close_up is None:
        return None
    return CLOSE_UP if close_up >= _LEAST_CLOSE_UP else DERMOSCOPIC


def calibration_of(manifest: Manifest | None, view: str | None) -> ViewCalibration:
    """Returns the temperature and thresholds for photos of a view.

    If the manifest's ``views`` contains the view, the function takes the temperature and thresholds from ``views``.
    Otherwise, it takes the manifest's ``temperature`` and ``thresholds``. If the manifest is None, the temperature is 1
    and there are no thresholds.
    """
    if manifest is None:
        return ViewCalibration(1.0, {})
    of_view = manifest.views.get(view or "")
    if of_view is None:
        return ViewCalibration(manifest.temperature, manifest.thresholds)
    return ViewCalibration(of_view["temperature"], of_view["thresholds"])

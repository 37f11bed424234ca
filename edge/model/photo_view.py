"""The view of a photo: dermoscopic, or a close-up without a dermatoscope.

Networks are less sure of close-ups. A model may have an output `close_up`, the probability 0 to 1 that the photo is a
close-up. Its manifest then has a temperature and thresholds for each view. The phone app repeats these rules;
tests/edge/calibration_vectors.json holds the two equal.
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
        temperature: divides the logits before the softmax.
        thresholds: thresholds of the decision, as `dermedge.edge.model.decision` describes them.
    """

    temperature: float
    thresholds: Mapping[str, Any]


def view_by_probability(close_up: float | None) -> str | None:
    """Returns `CLOSE_UP` from a probability of 0.5 on, else `DERMOSCOPIC`; None if the model does not tell the view."""
    if close_up is None:
        return None
    return CLOSE_UP if close_up >= _LEAST_CLOSE_UP else DERMOSCOPIC


def calibration_of(manifest: Manifest | None, view: str | None) -> ViewCalibration:
    """Returns the temperature and thresholds for a view: those in the manifest's ``views``, or else those of the
    manifest.

    Without a manifest, the temperature is 1 and there are no thresholds.
    """
    if manifest is None:
        return ViewCalibration(1.0, {})
    of_view = manifest.views.get(view or "")
    if of_view is None:
        return ViewCalibration(manifest.temperature, manifest.thresholds)
    return ViewCalibration(of_view["temperature"], of_view["thresholds"])

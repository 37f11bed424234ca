"""Computes the heat map, which shows where in the crop the evidence for the answer lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.prediction import Prediction

__all__ = ["heat_map"]

# A cell can have the heat 1 only if its evidence for the answer exceeds the mean evidence for the other classes by at
# least this many logits. Without this limit, noise would look hot.
_FULL_HEAT = 2.0


def heat_map(prediction: Prediction) -> NDArray[np.float32] | None:
    """Returns where in the crop the evidence for the answer lies. Returns None if the prediction has no evidence.

    The heat of a cell comes from a difference: the evidence for the answered class minus the mean evidence for the
    other classes. The mean of this difference over all cells is the logit of the answered class minus the mean logit of
    the other classes. So the map shows the numbers from which the answer was computed.

    Returns:
        float32 [h, w], 0 to 1, the heat of each cell. A cell has the heat 0 if the evidence for the answered class is
        below the mean evidence for the other classes. In the other cells, the difference is divided by the greatest
        difference of all cells, or by two logits if the greatest difference is smaller than two logits.
    """
    evidence = prediction.evidence
    if evidence is None:
        return None
    winner = prediction.index
    others = np.delete(evidence, winner, axis=-1).mean(axis=-1)
    lead = np.maximum(evidence[..., winner] - others, 0)
    return (lead / max(float(lead.max()), _FULL_HEAT)).astype(np.float32)

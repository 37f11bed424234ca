"""Computes the heat map, which shows where in the crop the evidence for the answer lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.prediction import Prediction

__all__ = ["heat_map"]

# The heat is 1 at this much evidence, in logits, or more. A lower limit would show noise as hot.
_FULL_HEAT = 2.0


def heat_map(prediction: Prediction) -> NDArray[np.float32] | None:
    """Returns where in the crop the evidence for the predicted class lies, or None without evidence.

    The heat of a cell is the evidence for the class less the mean evidence for the other classes. Its mean over the
    cells is the lead of the class in logits, so that the map shows exactly what the decision rests on.

    Returns:
        float32 [h, w], one value for each cell. 0 means no evidence, or evidence against the class. 1 means the
        evidence of the hottest cell, or two logits if no cell has that much.
    """
    evidence = prediction.evidence
    if evidence is None:
        return None
    winner = prediction.index
    others = np.delete(evidence, winner, axis=-1).mean(axis=-1)
    lead = np.maximum(evidence[..., winner] - others, 0)
    return (lead / max(float(lead.max()), _FULL_HEAT)).astype(np.float32)

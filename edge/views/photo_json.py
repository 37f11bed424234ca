"""Converts the answer for one photo to JSON values. `dermedge predict` and the web server use the same format."""

from __future__ import annotations

from typing import Any

from dermedge.edge.results import Classification

__all__ = ["PHOTO_KEYS", "photo_to_json"]

# The keys of an answer, besides ``path`` and the optional ``set``.
PHOTO_KEYS = ("headline", "label", "probability", "uncertain", "alert", "view", "probabilities")


def photo_to_json(classification: Classification) -> dict[str, Any]:
    """Returns the answer for one photo as a JSON-serializable dict.

    The keys are ``path`` and `PHOTO_KEYS`. If prediction sets were requested, the dict also has the key ``set``.
    """
    prediction = classification.prediction
    values: dict[str, Any] = {
        "path": classification.frame.name,
        "headline": classification.headline.text,
        "label": prediction.label,
        "probability": round(prediction.probability, 6),
        "uncertain": classification.is_uncertain,
        "alert": prediction.alert,
        "view": prediction.view,
        "probabilities": {
            label: round(value, 6)
            for label, value in zip(classification.labels, prediction.probabilities, strict=True)
        },
    }
    if classification.prediction_set is not None:
        values["set"] = list(classification.prediction_set)
    return values

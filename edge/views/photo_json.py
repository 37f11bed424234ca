"""Converts the answer for one photo to JSON values. `dermedge predict` and the web server use the same format."""

from __future__ import annotations

from typing import Any

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.results import Classification

__all__ = ["PHOTO_KEYS", "model_to_json", "photo_to_json"]

# These keys, the key ``path`` and the keys of `model_to_json` are in each answer. If prediction sets were requested,
# the key ``set`` is in each answer too.
PHOTO_KEYS = ("headline", "label", "probability", "uncertain", "alert", "view", "probabilities")


def model_to_json(classifier: Classifier) -> dict[str, str]:
    """Returns the file name and the SHA-256 of the model, so that an answer tells which model gave it."""
    return {"model": classifier.path.name, "model_sha256": classifier.sha256}


def photo_to_json(classification: Classification, classifier: Classifier) -> dict[str, Any]:
    """Returns the answer for one photo as a JSON-serializable dict.

    The dict has the key ``path``, all keys in `PHOTO_KEYS`, and the keys that `model_to_json` returns. If prediction
    sets were requested, the dict also has the key ``set``.
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
    return values | model_to_json(classifier)

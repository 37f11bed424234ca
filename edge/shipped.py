"""The models that ship with dermedge, found beside this package."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "models"
DEFAULT_MODEL = MODELS / "dermedge-160.tflite"

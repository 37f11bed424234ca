"""Checks that a .tflite is an image classifier, and finds its tensors and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dermedge.edge.errors import ModelError, OptionError
from dermedge.edge.model.manifest import Manifest, read_associated_labels
from dermedge.edge.model.runtime import Interpreter
from dermedge.edge.preprocess import PREPROCESSING

__all__ = ["check_manifest", "find_input", "find_labels", "find_outputs"]


def find_input(interpreter: Interpreter, path: Path, is_ours: bool) -> dict[str, Any]:
    """The details of the one input, which must be [1, S, S, 3].

    Args:
        interpreter: of the model.
        path: names the model in errors.
        is_ours: whether a manifest says that a float32 input takes pixels of 0 to 255.

    Raises:
        ModelError: the input is another one.
    """
    inputs = interpreter.get_input_details()
    shape = [int(n) for n in inputs[0]["shape"]]
    if len(inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
        raise ModelError(f"'{path}' is not an image classifier: its input is {shape}, not [1, S, S, 3]")
    if inputs[0]["dtype"] not in ((np.uint8, np.int8, np.float32) if is_ours else (np.uint8, np.int8)):
        name = np.dtype(inputs[0]["dtype"]).name
        raise ModelError(
            f"the input of '{path}' is {name}, whose normalization nobody wrote down; "
            "convert it with `dermedge convert`, which takes real uint8 pixels"
        )
    return inputs[0]


def find_outputs(interpreter: Interpreter, path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The details of the outputs by their rank: [1, K] are the probabilities, [1, h, w, K] the evidence.

    Raises:
        ModelError: there are others.
    """
    outputs = interpreter.get_output_details()
    flat = [one for one in outputs if len(one["shape"]) == 2]
    maps = [one for one in outputs if len(one["shape"]) == 4]
    if len(flat) != 1 or len(maps) > 1 or len(flat) + len(maps) != len(outputs):
        shapes = [one["shape"].tolist() for one in outputs]
        raise ModelError(
            f"'{path}' is not a classifier: its outputs are {shapes}, not [1, K] (and [1, h, w, K])"
        )
    if maps and maps[0]["shape"][-1] != flat[0]["shape"][-1]:
        raise ModelError(f"'{path}' is damaged: its two outputs disagree on the number of classes")
    return flat[0], maps[0] if maps else None


def check_manifest(manifest: Manifest, path: Path, classes: int) -> None:
    """Raises ModelError if the manifest does not describe a network with so many classes that runs here."""
    if len(manifest.labels) != classes:
        raise ModelError(
            f"'{path}' has {classes} classes, and its manifest names {len(manifest.labels)}; convert it again"
        )
    if manifest.preprocessing != PREPROCESSING:
        raise ModelError(
            f"'{path}' wants the preprocessing '{manifest.preprocessing}', "
            f"and this dermedge does '{PREPROCESSING}'; install the dermedge that made it"
        )


def find_labels(
    path: Path, manifest: Manifest | None, given: Sequence[str] | None, classes: int
) -> tuple[str, ...]:
    """The given labels, or else the manifest's, those of the label file in the model, or numbers.

    Raises:
        OptionError: they are not as many as the classes.
    """
    labels: Sequence[str] | None = given
    if labels is None:
        labels = manifest.labels if manifest else read_associated_labels(path)
    if labels is None:
        labels = [f"class {index}" for index in range(classes)]
    if len(labels) != classes:
        raise OptionError(f"'{path}' has {classes} classes, but {len(labels)} labels were given")
    return tuple(labels)

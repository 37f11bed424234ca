"""Find out whether the outputs of a Keras classifier are logits or probabilities, and compute both for its classes.

Decisions need logits, because a uint8 probability has only 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from dermedge.convert.load.conversion_input import sigmoids_note
from dermedge.edge.errors import ModelError
from dermedge.edge.model.head import Head
from dermedge.edge.model.input_tensor import Layout

__all__ = ["KerasHead", "find_head"]

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {Head.SOFTMAX: tf.nn.softmax, Head.SIGMOID: tf.nn.sigmoid}
# The ranges of input values under the usual normalizations.
_NOISE_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_NOISE_IMAGES = 3
# The log odds of the probabilities 0 and 1 are infinite. So probabilities are clipped to this distance from 0 and 1.
_LEAST_PROBABILITY = 1e-7
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class KerasHead:
    """The outputs of a Keras classifier.

    Attributes:
        outputs: the number of outputs.
        classes: the number of classes. A single output stands for two classes.
        compute: a function from images to the probabilities [n, K]. If there are logits, the function also returns the
            evidence (the logits at each position) [n, 1, 1, K].
        note: one line about the outputs for the user; empty if there is nothing to say.
    """

    outputs: int
    classes: int
    compute: Callable[[tf.Tensor], list[tf.Tensor]]
    note: str


def find_head(
    path: Path, answer: Callable[[tf.Tensor], Any], layout: Layout, last_layer: Any = None
) -> KerasHead:
    """Find out whether the outputs of a network are logits or probabilities. `KerasHead` describes the result.

    Args:
        path: the path of the file, for error messages.
        answer: a function from float32 [n, h, w, C] images to the network's output.
        layout: the shape of the images.
        last_layer: the last layer of the network, whose softmax or sigmoid is removed; None if the layers are not
            accessible.

    Raises:
        ModelError: the network does not have a single output with one number per class.
    """
    images = _noise(layout)
    output = answer(images)
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) != 2:
        several = isinstance(output, list | tuple | dict)
        found = f"{len(output)} outputs" if several else f"an output of {list(shape)}"
        cure = "; export a model that only has the output for the classes" if several else ""
        raise ModelError(
            f"'{path}' is not a classifier: it has {found} instead of one number per class, [n, K]{cure}"
        )
    removed = _remove_activation(last_layer, np.asarray(output), lambda: answer(images))
    units, held = int(shape[1]), removed or _held(np.asarray(output))
    return KerasHead(units, max(units, 2), _compute(answer, units, removed, held), sigmoids_note(held, units))


def _compute(
    answer: Callable[[tf.Tensor], Any], units: int, removed: Head | None, held: Head
) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    def compute(images: tf.Tensor) -> list[tf.Tensor]:
        logits = answer(images)
        if held is Head.SOFTMAX and not removed:
            return [logits]
        if held is Head.SIGMOID and not removed:
            kept = tf.clip_by_value(logits, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
            logits = tf.math.log(kept) - tf.math.log(1 - kept)
        if units == 1:
            # The single output is the logit of the second class. The first class gets the logit 0.
            logits = tf.pad(logits, [[0, 0], [1, 0]])
        return [tf.nn.softmax(logits), tf.reshape(logits, (-1, 1, 1, max(units, 2)))]

    return compute


def _held(rows: NDArray[np.floating]) -> Head:
    """Return the kind of the outputs (softmax, sigmoids or logits), judged by their values."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not ((rows >= 0) & (rows <= 1)).all():
        return Head.LOGITS
    is_softmax = rows.shape[1] > 1 and np.allclose(rows.sum(axis=1), 1, atol=_TOLERANCE)
    return Head.SOFTMAX if is_softmax else Head.SIGMOID


def _remove_activation(
    last_layer: Any, before: NDArray[np.floating], answer: Callable[[], Any]
) -> Head | None:
    """Remove the softmax or sigmoid of the last layer, and return its kind. Return None if nothing was removed."""
    name = getattr(getattr(last_layer, "activation", None), "__name__", "")
    if name in _ACTIVATIONS:
        attribute, replacement = "activation", tf.identity
    elif type(last_layer).__name__ == "Softmax":
        name, attribute, replacement = Head.SOFTMAX, "call", lambda inputs, mask=None: inputs
    else:
        return None
    kept = getattr(last_layer, attribute)
    setattr(last_layer, attribute, replacement)
    if np.allclose(before, _ACTIVATIONS[name](answer()), atol=1e-5, equal_nan=True):
        return Head(name)
    setattr(last_layer, attribute, kept)
    return None


def _noise(layout: Layout) -> tf.Tensor:
    """Return noise images in several ranges of values, float32 [9, h, w, C], to inspect the outputs of a network."""
    rng, shape = np.random.default_rng(0), (_NOISE_IMAGES, layout.height, layout.width, layout.channels)
    noise = [rng.uniform(low, high, shape).astype(np.float32) for low, high in _NOISE_RANGES]
    return tf.constant(np.concatenate(noise))

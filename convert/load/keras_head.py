"""Find out whether the outputs of a Keras classifier are logits or probabilities, and compute both for its classes.

Decisions need logits, because a uint8 probability has only 256 levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

__all__ = ["KerasHead", "check_repeatable", "find_head", "without_activation"]

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {Head.SOFTMAX: tf.nn.softmax, Head.SIGMOID: tf.nn.sigmoid}
_OPERATORS = {"Softmax": Head.SOFTMAX, "Sigmoid": Head.SIGMOID}
# The ranges of input values under the usual normalizations.
_NOISE_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
# For input values in these ranges, logits leave the range from 0 to 1. Probabilities never do.
_WIDE_RANGES = ((-1e3, 1e3), (-1e4, 1e4), (0.0, 1e4), (-1e4, 0.0))
_NOISE_IMAGES = 3
# The log odds of the probabilities 0 and 1 are infinite. So probabilities are clipped to this distance from 0 and 1.
_LEAST_PROBABILITY = 1e-7
_TOLERANCE = 1e-3
# Rounding in float32 may lift a weighted mean of probabilities above 1 by at most this much.
_ROUNDING = 1e-5
# The largest accepted differences, relative to the largest output. _REPEATED: between two answers to the same images.
# _ALONE: between the answers to an image alone and together with other images. If only the order in which terms are
# added changes, the difference is smaller.
_REPEATED, _ALONE = 1e-5, 1e-2


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
    path: Path,
    answer: Callable[[tf.Tensor], Any],
    layout: Layout,
    last_layer: Any = None,
    removed: Head | None = None,
) -> KerasHead:
    """Find out whether the outputs of a network are logits or probabilities. `KerasHead` describes the result.

    Args:
        path: the path of the file, for error messages.
        answer: a function from float32 [n, h, w, C] images to the network's output.
        layout: the shape of the images.
        last_layer: the last layer of the network, whose softmax or sigmoid is removed; None if the layers are not
            accessible.
        removed: the kind of the last activation, if ``answer`` leaves it out; None if ``answer`` includes it.

    Raises:
        ModelError: the network does not have a single output with one number per class.
    """
    images = _noise(layout, _NOISE_RANGES)
    output = answer(images)
    shape = tuple(getattr(output, "shape", ()))
    if len(shape) != 2:
        several = isinstance(output, list | tuple | dict)
        sides = ", ".join(map(str, ("n", *shape[1:])))
        found = f"{len(output)} outputs" if several else f"an output of [{sides}]"
        raise ModelError(
            f"'{path}' is not a classifier: it has {found} instead of one number per class, [n, K]; export a model "
            "with a single output of this shape"
        )
    removed = removed or _remove_activation(last_layer, np.asarray(output), lambda: answer(images))
    units = int(shape[1])
    held = removed or _held(np.concatenate([output, answer(_noise(layout, _WIDE_RANGES))]))
    return KerasHead(units, max(units, 2), _compute(answer, units, removed, held), sigmoids_note(held, units))


def check_repeatable(path: Path, answer: Callable[[tf.Tensor], Any], layout: Layout) -> None:
    """Check that the answer to an image is the same in every call, alone and together with other images.

    Args:
        path: the path of the file, for the error message.
        answer: a function from float32 [n, h, w, C] images to the outputs of the network.
        layout: the shape of the images.

    Raises:
        ModelError: the answer is not the same.
    """
    images = _noise(layout, _NOISE_RANGES)

    def outputs(start: int, stop: int) -> list[NDArray[np.floating]]:
        found = tf.nest.flatten(answer(images[start:stop]))
        return [one.numpy() for one in found if one.dtype.is_floating and one.shape[:1] == [stop - start]]

    number = len(images)
    whole, first = outputs(0, number), outputs(0, 1)
    pairs = [
        *((one, again, _REPEATED) for one, again in zip(whole, outputs(0, number), strict=True)),
        *((one[:1], alone, _ALONE) for one, alone in zip(whole, first, strict=False)),
        *((one[-1:], alone, _ALONE) for one, alone in zip(whole, outputs(number - 1, number), strict=False)),
    ]
    if not all(_is_close(*pair) for pair in pairs):
        raise ModelError(
            f"the answer of '{path}' to a photo depends on chance or on the other photos of the batch, because a layer "
            "such as Dropout, RandomFlip or BatchNormalization runs in training mode; build the network without "
            "training=True, or, if this is a SavedModel, give the .keras file"
        )


def _is_close(one: NDArray[np.floating], other: NDArray[np.floating], most: float) -> bool:
    """Tell whether two outputs differ by at most ``most`` times the largest absolute value of ``one``."""
    largest = np.abs(one).max(initial=0.0, where=np.isfinite(one))
    return np.allclose(one, other, rtol=0, atol=most * largest, equal_nan=True)


def without_activation(function: Any) -> tuple[Any, Head | None]:
    """Return a function without the softmax or sigmoid that computes its only output, and the kind of this activation.

    ``function`` is a ConcreteFunction without variables. If no softmax or sigmoid computes the output, or if there are
    several outputs, the function is returned unchanged, and the kind is None.
    """
    writer = function.outputs[0].op
    while writer.type == "Identity":
        writer = writer.inputs[0].op
    kind = _OPERATORS.get(writer.type)
    if kind is None or len(function.outputs) > 1:
        return function, None
    return function.prune(function.inputs, [writer.inputs[0]]), kind


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
    if not ((rows >= 0) & (rows <= 1 + _ROUNDING)).all():
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


def _noise(layout: Layout, ranges: Sequence[tuple[float, float]]) -> tf.Tensor:
    """Return three noise images in each range of values, float32 [n, h, w, C], to inspect the outputs of a network."""
    rng, shape = np.random.default_rng(0), (_NOISE_IMAGES, layout.height, layout.width, layout.channels)
    noise = [rng.uniform(low, high, shape).astype(np.float32) for low, high in ranges]
    return tf.constant(np.concatenate(noise))

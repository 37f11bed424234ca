"""Fit the output that tells close-ups from dermoscopic photos: a linear probe on features of a trained network.

The features are the inputs of the network's last downsampling layer, averaged over all positions. The network itself is
not changed. The classes are computed from the features of the last layer. These features tell the view less well,
because they were trained to tell the classes. `dermedge convert` prints for how many validation photos the file
recognizes the view.

Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.preprocess import normalize
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.people import VIEWS
from dermedge.train.data.pixels import release_pages

__all__ = [
    "CloseUpProbe",
    "ViewSample",
    "close_up_probability",
    "feature_output",
    "fit_on_features",
    "fit_probe",
    "has_both_views",
    "sample_views",
]

# A probe is only fitted if there are at least this many photos of each view. With fewer photos, the probe and the
# thresholds for the view would not be reliable.
_LEAST_TRAINING_PHOTOS = 50
_LEAST_HELD_OUT_PHOTOS = 20
_MOST_PHOTOS_OF_A_VIEW = 2000
_BATCH = 64
# The inverse of the regularization strength, which scikit-learn calls C. All features are divided by the same
# number, so that their mean variance is 1. If each feature had a divisor of its own, features that hardly vary would
# get weights that do not fit into 8 bits.
_INVERSE_REGULARIZATION = 0.1
_MAX_ITERATIONS = 2000
# The weights and the bias are rounded to this many decimals, so that equal conversions give equal bytes on all
# machines. Without this rounding, float32 sums would differ between machines in the sixth decimal.
_DECIMALS = 4
# The smallest divisor of the features, so that features that never vary are not divided by 0.
_LEAST_DEVIATION = 1e-6
# The range of the weights ends at this value if all weights are smaller, for example if all are 0. A range that ends at
# 0 would give a scale of 0.
_LEAST_WEIGHT = 1e-6
# The range of the 8-bit logit. Outside this range, the probability is within 0.001 of 0 or 1.
_LOGIT_ENDS = (-7.0, 7.0)


@dataclass(frozen=True)
class ViewSample:
    """A sample of the training photos, with photos of both views.

    Attributes:
        pixels: RGB images of all training photos, uint8 [N, s, s, 3]. The array may be mapped from a file.
        indices: the indices of the photos in the sample, int [n], in ascending order.
        is_close_up: whether each photo in the sample is a close-up, bool [n].
    """

    pixels: NDArray[np.uint8]
    indices: NDArray[np.intp]
    is_close_up: NDArray[np.bool_]


@dataclass(frozen=True)
class CloseUpProbe:
    """A logistic regression on the pooled features of a network.

    Attributes:
        weights: one weight for each feature, float32 [C].
        bias: the bias of the logit.
    """

    weights: NDArray[np.float32]
    bias: float


def close_up_probability(probe: CloseUpProbe, features: tf.Tensor, rounds: bool) -> tf.Tensor:
    """Return the probability that a photo is a close-up, float32 [n, 1].

    Args:
        probe: the probe of the network.
        features: the values of `feature_output`, float32 [n, h, w, C].
        rounds: whether to simulate the rounding to 8-bit integers, as a quantization-aware network does.
    """
    pooled = tf.reduce_mean(features, (1, 2))
    weights = tf.constant(probe.weights[:, np.newaxis])
    if not rounds:
        return tf.sigmoid(tf.matmul(pooled, weights) + probe.bias, name="close_up")
    largest = max(float(np.abs(probe.weights).max()), _LEAST_WEIGHT)
    rounded = tf.quantization.fake_quant_with_min_max_args(weights, -largest, largest, narrow_range=True)
    # The rounding of the mean needs no simulation here. TensorFlow's converter always quantizes the mean with the range
    # of the features, which has been simulated already.
    logit = tf.matmul(pooled, rounded) + probe.bias
    return tf.sigmoid(tf.quantization.fake_quant_with_min_max_args(logit, *_LOGIT_ENDS), name="close_up")


def has_both_views(training: Sequence[Photo], held_out: Sequence[Photo]) -> bool:
    """Tell whether there are enough photos of each view to fit a probe, and to fit thresholds for each view."""
    parts = ((training, _LEAST_TRAINING_PHOTOS), (held_out, _LEAST_HELD_OUT_PHOTOS))
    return all(
        sum(photo.view == view for photo in photos) >= least for photos, least in parts for view in VIEWS
    )


def sample_views(training: Sequence[Photo], pixels: NDArray[np.uint8], seed: int) -> ViewSample:
    """Return at most 2,000 photos of each view, chosen at random.

    Args:
        training: the training photos.
        pixels: RGB images of these photos, uint8 [N, s, s, 3].
        seed: the seed of the random choice.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for view in VIEWS:
        positions = np.array([at for at, photo in enumerate(training) if photo.view == view], np.intp)
        chosen.append(rng.permutation(positions)[:_MOST_PHOTOS_OF_A_VIEW])
    indices = np.sort(np.concatenate(chosen))
    return ViewSample(pixels, indices, np.array([training[at].view == CLOSE_UP for at in indices]))


def fit_probe(
    network: keras.Model, sample: ViewSample, show: Callable[[int, int], None] = lambda done, total: None
) -> CloseUpProbe:
    """Fit a probe on the features of a network.

    The network is a Keras model of `dermedge.train.fit.networks`, or the quantization-aware copy of such a model.
    """
    features = keras.layers.GlobalAveragePooling2D()(feature_output(network))
    pooled, found = keras.Model(network.input, features), []
    for start in range(0, len(sample.indices), _BATCH):
        batch = sample.pixels[sample.indices[start : start + _BATCH]]
        found.append(pooled.predict_on_batch(normalize(batch)))
        release_pages(sample.pixels)
        show(min(start + _BATCH, len(sample.indices)), len(sample.indices))
    return fit_on_features(np.concatenate(found), sample.is_close_up)


def fit_on_features(features: NDArray[np.float32], is_close_up: NDArray[np.bool_]) -> CloseUpProbe:
    """Fit a logistic regression with L2 regularization. Both views have the same total weight.

    Args:
        features: the pooled features of the photos, float32 [n, C].
        is_close_up: whether each photo is a close-up, bool [n]. Both views must occur.
    """
    from sklearn.linear_model import LogisticRegression

    wide = features.astype(np.float64)
    mean, scale = wide.mean(axis=0), max(float(np.sqrt(wide.var(axis=0).mean())), _LEAST_DEVIATION)
    model = LogisticRegression(
        C=_INVERSE_REGULARIZATION, class_weight="balanced", max_iter=_MAX_ITERATIONS
    ).fit((wide - mean) / scale, is_close_up)
    weights = np.round(model.coef_[0] / scale, _DECIMALS)
    bias = round(float(model.intercept_[0] - weights @ mean), _DECIMALS)
    return CloseUpProbe(weights.astype(np.float32), bias)


def feature_output(network: keras.Model) -> keras.KerasTensor:
    """Return the input of a network's last downsampling layer, [n, h, w, C]."""
    layer = next(one for one in reversed(network.layers) if max(_strides(one)) > 1)
    while isinstance(_plain(layer.inbound_nodes[0].inbound_layers), keras.layers.ZeroPadding2D):
        layer = layer.inbound_nodes[0].inbound_layers
    return layer.input


def _strides(layer: keras.layers.Layer) -> tuple[int, ...]:
    return getattr(_plain(layer), "strides", (1, 1))


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer that a quantization-aware layer wraps. Return any other layer unchanged."""
    return getattr(layer, "layer", layer)

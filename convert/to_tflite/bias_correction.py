"""Bias correction: remove the mean shift that int8 rounding adds to each logit.

Rounding shifts the mean of each logit, which can change answers from one class to another. The mean shift on the
calibration images is subtracted in the last layer. This follows Nagel et al., "Data-Free Quantization through Weight
Equalization and Bias Correction", 2019, but corrects no other layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.device import device_logits, open_on_device
from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.converter import to_tflite
from dermedge.convert.to_tflite.form import PTQ_KINDS, Form
from dermedge.convert.to_tflite.metadata import with_metadata
from dermedge.edge.model.manifest import Manifest, attach

__all__ = ["mean_shift", "rounded_shift", "to_corrected_tflite"]

# Shifts are rounded to this many decimals. Between machines, float32 sums differ in the sixth decimal, but equal
# conversions must give equal bytes.
_DECIMALS = 4


def to_corrected_tflite(
    network: Network, form: Form, images: Sequence[NDArray[np.uint8]], manifest: Manifest
) -> bytes:
    """Convert a network to a .tflite, with bias correction for `PTQ_KINDS`.

    Such a kind is converted twice; the second time, the mean shift of the logits is removed. A network without an
    evidence output has no layer to correct, and is converted once.

    Args:
        network: the network. For ``int8-qat``, it is the quantization-aware copy.
        form: the form of the file.
        images: the calibration images, each RGB, uint8 [h, w, 3].
        manifest: a manifest. Its labels, architecture, size and licence are written as TFLite Metadata.

    Returns:
        The .tflite with its metadata, but without its manifest.

    Raises:
        ModelError: the converter or the device runtime refuses the network.
    """
    model = with_metadata(to_tflite(network, form, images), manifest)
    if form.kind not in PTQ_KINDS:
        return model
    shift = mean_shift(network, attach(model, manifest), np.stack(images))
    if shift is None:
        return model
    return with_metadata(to_tflite(network.with_logits_moved(-shift), form, images), manifest)


def mean_shift(network: Network, model: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return the mean difference between the logits of a .tflite and the logits of its network, float32 [K].

    The images are RGB, uint8 [n, h, w, 3]. The mean of the result over the classes is set to 0, because a constant that
    is added to all logits changes no probability. The result is None if the file has no evidence output.
    """
    with open_on_device(model) as classifier:
        if not classifier.has_heat_map:
            return None
        on_device, _ = device_logits(classifier, images)
    return rounded_shift(on_device - network.logits(images))


def rounded_shift(differences: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the mean over the images of differences of logits, float [n, K], as float32 [K].

    The mean over the classes is subtracted, and the result is rounded.
    """
    shift = differences.mean(axis=0)
    return np.round(shift - shift.mean(), _DECIMALS).astype(np.float32)

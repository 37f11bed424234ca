"""Bias correction: remove the mean shift that int8 rounding adds to each logit.

Rounding shifts the mean of each logit, which can change answers from one class to another. The mean shift is measured
on the calibration images and subtracted in the last layer.

Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019. The authors
correct all layers; this module only corrects the last one.
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

# Shifts are rounded to this many decimals, so that equal conversions give equal bytes on all machines. Without this
# rounding, float32 sums would differ between machines in the sixth decimal.
_DECIMALS = 4


def to_corrected_tflite(
    network: Network, form: Form, images: Sequence[NDArray[np.uint8]], manifest: Manifest
) -> bytes:
    """Convert a network to a .tflite, with bias correction for `PTQ_KINDS`.

    For a form whose kind is in `PTQ_KINDS`, the network is converted twice. The mean shift of the logits is measured on
    the first file. Before the second conversion, the shift is subtracted from the logits of the network. A network
    without an output for the logits (the evidence) is not corrected, and is converted once.

    Args:
        network: the network. For ``int8-qat``, it is the quantization-aware copy.
        form: the form of the file.
        images: the calibration images, each RGB, uint8 [h, w, 3].
        manifest: the manifest whose labels, architecture, size and licence are written as TFLite Metadata.

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
    """Return the mean shift of the logits, float32 [K]: the logits of a .tflite minus those of the float network.

    The images are RGB, uint8 [n, h, w, 3]. The mean of the result over the classes is set to 0, because a constant that
    is added to all logits changes no probability. The result is None if the file has no output for the logits (the
    evidence).
    """
    with open_on_device(model) as classifier:
        if not classifier.has_heat_map:
            return None
        on_device, _ = device_logits(classifier, images)
    return rounded_shift(on_device - network.logits(images))


def rounded_shift(differences: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the mean shift of each logit, float32 [K], from the differences of logits, float [n, K].

    ``differences`` is averaged over the n images. Then the mean over the classes is subtracted, and the result is
    rounded.
    """
    shift = differences.mean(axis=0)
    return np.round(shift - shift.mean(), _DECIMALS).astype(np.float32)

"""Run a converted .tflite on this machine, with the same runtime as on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError
from dermedge.edge.files import write_bytes
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import record

__all__ = ["DeviceRun", "check_input", "device_logits", "open_on_device", "run_on_device"]

_NUM_THREADS = 2
_HIGHEST_PIXEL = 255
_OTHER_FORMAT = "the converter made a wrong file, so convert to another format, for example with --float32"


@dataclass(frozen=True)
class DeviceRun:
    """The outputs of a converted file for several images.

    Attributes:
        logits: the logits, float64 [n, K].
        close_up: the probability that an image is a close-up, float64 [n]; None if the file has no output for it.
        invoke_ms: the median time of an inference on this machine, in ms.
        golden: the golden answers for the manifest, which are the outputs for generated test images. Empty if no golden
            answers were recorded.
    """

    logits: NDArray[np.float64]
    close_up: NDArray[np.float64] | None
    invoke_ms: float
    golden: dict[str, Any]


def run_on_device(
    model: bytes,
    images: NDArray[np.uint8],
    input_ends: tuple[float, float],
    show: Callable[[int, int], None] = lambda done, total: None,
) -> DeviceRun:
    """Check the input of a .tflite, and run the file on images.

    Args:
        model: the .tflite with its manifest.
        images: RGB images of the size of the network's input, uint8 [n, h, w, 3].
        input_ends: the real values that the pixel values 0 and 255 must stand for at a quantized input.
        show: a function that is called after each image with (number of finished images, number of all images).

    Raises:
        ModelError: the runtime refuses the file, or `check_input` finds a fault.
    """
    with _written(model) as path:
        with Classifier(path, num_threads=_NUM_THREADS) as classifier:
            check_input(classifier, (images.shape[1], images.shape[2]), input_ends)
            answers = _answers(classifier, images, show)
        return replace(answers, golden=record(path))


@contextmanager
def open_on_device(model: bytes) -> Iterator[Classifier]:
    """Open the bytes of a .tflite as a Classifier.

    Raises:
        ModelError: the runtime refuses the file.
    """
    with _written(model) as path, Classifier(path, num_threads=_NUM_THREADS) as classifier:
        yield classifier


def device_logits(
    classifier: Classifier,
    images: NDArray[np.uint8],
    show: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[np.float64], float]:
    """Run a classifier on RGB images of the size of its input, uint8 [n, h, w, 3].

    Returns:
        The logits, float64 [n, K], and the median time of an inference in ms.
    """
    answers = _answers(classifier, images, show)
    return answers.logits, answers.invoke_ms


def _answers(
    classifier: Classifier, images: NDArray[np.uint8], show: Callable[[int, int], None]
) -> DeviceRun:
    """Run a classifier on images, like `device_logits`, and return its outputs. No golden answers are recorded."""
    found = []
    for done, image in enumerate(images, 1):
        # The classifier expects BGR, the colour order of cameras.
        found.append(classifier.infer(classifier.crop(np.ascontiguousarray(image[..., ::-1]))))
        show(done, len(images))
    close_up = [one.close_up for one in found if one.close_up is not None]
    return DeviceRun(
        logits=np.array([one.logits for one in found]),
        close_up=np.array(close_up) if close_up else None,
        invoke_ms=float(np.median([one.timing.invoke_ms for one in found])),
        golden={},
    )


def check_input(classifier: Classifier, size: tuple[int, int], input_ends: tuple[float, float]) -> None:
    """Check that the input of a converted file accepts pixel values, and that it has the size of the network's input.

    Args:
        classifier: the converted file.
        size: height and width of the network's input in pixels.
        input_ends: the real values that the pixel values 0 and 255 must stand for at a quantized input.

    Raises:
        ModelError: the input has another size or another quantization than the network expects. The file would then
            misread every image.
    """
    found = classifier.layout.height, classifier.layout.width
    if found != size:
        raise ModelError(
            f"the input of the converted file has {found[0]} x {found[1]} pixels, but the input of the network has "
            f"{size[0]} x {size[1]}; {_OTHER_FORMAT}"
        )
    scale, zero_point = classifier.input_quantization
    if not scale:
        return
    # An int8 input expects the pixel value minus 128.
    black = -128 if classifier.input_dtype == np.int8 else 0
    low, high = ((black + pixel - zero_point) * scale for pixel in (0, _HIGHEST_PIXEL))
    # The zero point was rounded to a whole number. So ``low`` and ``high`` may differ from ``input_ends`` by half a
    # step, plus a small tolerance.
    if max(abs(low - input_ends[0]), abs(high - input_ends[1])) > 0.51 * scale:
        raise ModelError(
            f"the input of the converted file reads the pixels 0 and 255 as {low:.4f} and {high:.4f}, "
            f"not as {input_ends[0]:.4f} and {input_ends[1]:.4f}, so pixels would be misread; {_OTHER_FORMAT}"
        )


@contextmanager
def _written(model: bytes) -> Iterator[Path]:
    """Yield the path of a temporary file that contains the bytes ``model``.

    If the ``with`` block raises a ModelError, its message says "the converted file" in place of the path.
    """
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        path = Path(folder) / "converted.tflite"
        write_bytes(path, model)
        try:
            yield path
        except ModelError as error:
            raise ModelError(str(error).replace(f"'{path}'", "the converted file")) from error

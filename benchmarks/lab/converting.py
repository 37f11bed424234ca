"""Compares the time and the memory that dermedge and a bare TFLiteConverter script need for an int8 conversion.

    python -m dermedge.benchmarks.lab converting [--runs 3] [--calibration-photos 200] [--imgsz 224]

The two programs, dermedge and the script, quantize MobileNetV2 with the width multiplier 1.0, with random weights and
on the same random images. The programs run alternately, each time in a new process. The values of the weights and
images have no influence on the time and the memory. The acceptance test of dermedge, which follows a conversion, is not
measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.memory import BYTES_PER_MB, resident_peak_bytes
from dermedge.edge.cli.arguments import positive_int

__all__ = ["BARE", "OURS", "ConversionCost", "convert_once", "main"]

BARE, OURS = "bare TFLiteConverter", "dermedge"
_CLASSES = 5


@dataclass(frozen=True)
class ConversionCost:
    """The cost of one conversion.

    Attributes:
        seconds: time from a Keras model to the content of a .tflite file.
        peak_mb: highest memory of the process in 10^6 bytes; None if the system does not report it.
        bytes: size of the file in bytes.
    """

    seconds: float
    peak_mb: float | None
    bytes: int


def main(argv: Sequence[str]) -> int:
    """Prints medians and ratios; returns the exit status.

    Raises:
        ToolError: a conversion fails.
    """
    options = _parse(argv)
    runs: dict[str, list[ConversionCost]] = {BARE: [], OURS: []}
    for _ in range(options.runs):
        for who in runs:
            runs[who].append(call_in_child(convert_once, who, options.imgsz, options.calibration_photos))
    print(
        f"MobileNetV2 1.0 at {options.imgsz} pixels, {options.calibration_photos} calibration images. Medians of "
        f"{options.runs} runs of each program, which ran alternately."
    )
    for who, found in runs.items():
        print(
            f"{who:<21} {median(one.seconds for one in found):7.1f} s   "
            f"peak {max(one.peak_mb or 0 for one in found):6.0f} MB   {found[0].bytes / BYTES_PER_MB:.2f} MB written"
        )
    ratios = [ours.seconds / bare.seconds for bare, ours in zip(runs[BARE], runs[OURS], strict=True)]
    print(
        "time of dermedge divided by the time of the script, for each pair of runs: median "
        f"{median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
    )
    machine = describe_machine("litert")
    print(f"machine: {machine.cpu}, {machine.cores} cores, load {machine.load}, {machine.system}")
    return 0


def convert_once(who: str, size: int, count: int) -> ConversionCost:
    """Converts a Keras model once, and returns the cost.

    Args:
        who: `BARE` or `OURS`.
        size: width and height of the network input in pixels.
        count: number of calibration images.
    """
    import tensorflow as tf
    import tf_keras as keras

    import dermedge.train  # noqa: F401 - chooses Keras 2 before TensorFlow is imported

    model = keras.applications.MobileNetV2(input_shape=(size, size, 3), weights=None, classes=_CLASSES)
    images = list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))
    started = perf_counter()
    made = _bare(tf, model, images) if who == BARE else _ours(tf, model, images)
    taken_s, peak = perf_counter() - started, resident_peak_bytes()
    return ConversionCost(taken_s, None if peak is None else peak / BYTES_PER_MB, len(made))


def _bare(tf: Any, model: Any, images: list[NDArray[np.uint8]]) -> bytes:
    from dermedge.edge.preprocess import normalize

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([normalize(image)[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


def _ours(tf: Any, model: Any, images: list[NDArray[np.uint8]]) -> bytes:
    from dermedge.convert.load.tensorflow_network import TensorFlowNetwork
    from dermedge.convert.to_tflite.converter import to_tflite
    from dermedge.convert.to_tflite.form import INT8_PTQ, Form
    from dermedge.edge.model.input_tensor import Layout
    from dermedge.edge.model.normalization import NORMALIZATIONS

    def compute(pixels: Any) -> list[Any]:
        return [model(pixels, training=False)]

    weights = {variable.name: variable for variable in model.weights}
    labels = tuple(map(str, range(_CLASSES)))
    size = images[0].shape[0]
    layout, normalization = (
        Layout(size, size, 3, channels_first=False),
        NORMALIZATIONS["dermedge"],
    )
    network = TensorFlowNetwork("mobilenet_v2", layout, labels, normalization, compute, weights)
    return to_tflite(network, Form(INT8_PTQ), images)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser(
        "converting",
        "Compare the time and memory of int8 conversion with those of a bare TFLiteConverter script.",
    )
    parser.add_argument(
        "--runs", type=positive_int, default=3, help="convert this many times with each program"
    )
    parser.add_argument(
        "--calibration-photos", type=positive_int, default=200, help="calibrate on this many random images"
    )
    parser.add_argument(
        "--imgsz", type=positive_int, default=224, help="convert a network with this input size in pixels"
    )
    return parser.parse_args(argv)

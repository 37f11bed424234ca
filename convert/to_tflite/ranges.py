"""The range of every activation for int8, chosen from calibration photos by one of several methods.

The converter's own calibrator keeps the least and the greatest value that it saw. One outlier then costs all
other values their resolution. It also looks at the inputs of an op after the op has run: where an op writes
its result over its input, as a residual addition does, the input's range becomes that of both. The ranges
here are of what each tensor held when it was written.

Usage: convert with ``_experimental_calibrate_only``, choose ranges, write them into the file with
`with_ranges`, and quantize that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil, floor

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from dermedge.convert.to_tflite.graph import KeepingInterpreter, ops_of, read_model
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.edge.errors import DataError, ModelError, OptionError

Range = tuple[float, float]

# Bins on each side of 0. After a doubling of the width half of them are in use, and the narrowest range that
# is tried then still has a bin for each level at a sixteenth of the greatest value.
BINS = 8192
LEAST_WIDTH = 2.0**-60
LEVELS = 256
# Of the middle of the n-th bin beyond an end from that end, in squared widths of a bin.
SQUARED_DISTANCE = (np.arange(2 * BINS) + 0.5) ** 2
# Of values that are not 0, the share that may lie beyond each end of a range. One in ten thousand is the
# usual choice (Wu et al., "Integer Quantization for Deep Learning Inference", 2020, find 99.99 % and more
# safe and 99.9 % harmful).
PERCENTILE = 99.99
CANDIDATES = 128

# The quantizer gives the results of these a fixed scale, whatever was measured.
FIXED_RANGE = {"SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION"}
# These only move values. Behind the input they hold pixels, whose range is known and must not be clipped.
MOVES = {
    "PAD",
    "PADV2",
    "MIRROR_PAD",
    "RESHAPE",
    "TRANSPOSE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "SLICE",
    "STRIDED_SLICE",
}


class Histogram:
    """Counts of the values of one activation, made in one pass whatever their size.

    The width of a bin is a power of two that doubles when a greater value comes. Zeros are not counted:
    every range holds 0 exactly, and after a ReLU most values are 0.

    Attributes:
        counts: int64 [2 * BINS]; bin i holds the values from (i - BINS) * width up to the next.
        width: of a bin.
        low: the least value, at most 0.
        high: the greatest value, at least 0.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * BINS, np.int64)
        self.width = LEAST_WIDTH
        self.low = self.high = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Counts finite values of any shape."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        peak = max(-self.low, self.high)
        while peak >= BINS * self.width:
            self.width *= 2
            self.counts = np.pad(self.counts.reshape(-1, 2).sum(axis=1), BINS // 2)
        bins = np.floor(values.ravel() * np.float32(1 / self.width)).astype(np.int64) + BINS
        self.counts += np.bincount(bins, minlength=2 * BINS)
        self.counts[BINS] -= values.size - np.count_nonzero(values)


def min_max(histogram: Histogram) -> Range:
    """All that was seen."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    """All but the outermost `PERCENTILE` rest of the values other than 0, at each end."""
    beyond = histogram.counts.sum() * (1 - PERCENTILE / 100)
    below = np.searchsorted(np.cumsum(histogram.counts), beyond, side="right")
    above = np.searchsorted(np.cumsum(histogram.counts[::-1]), beyond, side="right")
    low, high = float(below - BINS) * histogram.width, float(BINS - above) * histogram.width
    return min(max(histogram.low, low), 0.0), max(min(histogram.high, high), 0.0)


def entropy(histogram: Histogram) -> Range:
    """The range whose `LEVELS` tell least less about the values than the histogram: the KL divergence.

    Migacz, "8-bit Inference with TensorRT", 2017, for a range of two sides of which either may be short.
    Only ranges with a bin for each level are tried.
    """
    return _least(histogram, _divergence)


def mse(histogram: Histogram) -> Range:
    """The range of the least squared error, of rounding inside of it and of clipping outside.

    Rounding to a step s has the error s^2 / 12 (Bennett, 1948).
    """
    return _least(histogram, _squared_error)


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def choose_ranges(
    calibrated: bytes, pictures: Iterable[NDArray[np.float32]], method: str
) -> dict[str, Range]:
    """The range of each activation by name, 0 always within.

    Left out, so that they stay as the converter recorded them: the input and what only moves its values,
    and the results of ops whose scale is fixed.

    Args:
        calibrated: a float .tflite whose tensors carry what the converter recorded of them.
        pictures: float32 [1, s, s, 3], normalized, of which one at a time is held.
        method: one of METHODS.

    Raises:
        OptionError: an unknown method.
        DataError: no pictures.
        ModelError: an activation is not finite.
    """
    if method not in METHODS:
        raise OptionError(f"unknown calibration method '{method}'. Known: {', '.join(METHODS)}")
    model = read_model(calibrated)
    tensors, (image,) = model.subgraphs[0].tensors, model.subgraphs[0].inputs
    histograms = {index: Histogram() for index in _free(model)}
    interpreter = KeepingInterpreter(calibrated)
    picture = None
    for picture in pictures:
        interpreter.run({int(image): picture})
        for index, histogram in histograms.items():
            values = interpreter.values(index)
            if not np.isfinite(values).all():
                raise ModelError(
                    f"the activation '{name_of(tensors[index])}' is not finite on a calibration photo; "
                    "train the network again"
                )
            histogram.add(values)
    if picture is None:
        raise DataError("there are no calibration photos; give at least one")
    return {name_of(tensors[index]): METHODS[method](one) for index, one in histograms.items()}


def with_ranges(calibrated: bytes, ranges: Mapping[str, Range]) -> bytes:
    """The same file, computing the same, whose named activations carry these ranges for the quantizer.

    Raises:
        KeyError: there is no activation of a name.
    """
    model = read_model(calibrated)
    by_name = {name_of(one): one for one in model.subgraphs[0].tensors if _is_recorded(one)}
    for name, (low, high) in ranges.items():
        quantization = by_name[name].quantization
        quantization.min = np.array([low], np.float32)
        quantization.max = np.array([high], np.float32)
    return pack(model)


def name_of(tensor: schema.TensorT) -> str:
    """The name of a tensor as text."""
    return tensor.name.decode()


def _is_recorded(tensor: schema.TensorT) -> bool:
    return tensor.quantization is not None and tensor.quantization.min is not None


def _free(model: schema.ModelT) -> list[int]:
    """The indices of the recorded tensors whose range is to choose."""
    pixels = {int(index) for index in model.subgraphs[0].inputs}
    chosen: list[int] = []
    for op in ops_of(model):
        if op.kind in MOVES and pixels.issuperset(op.inputs):
            pixels.update(op.outputs)
        elif op.kind not in FIXED_RANGE:
            chosen.extend(index for index in op.outputs if _is_recorded(model.subgraphs[0].tensors[index]))
    return chosen


def _least(histogram: Histogram, cost: Callable[[NDArray[np.float64], int, int], float]) -> Range:
    """The range of least cost (counts, first bin, end bin) among evenly spaced ones; of equals the widest."""
    counts = histogram.counts.astype(np.float64)
    first = BINS + floor(histogram.low / histogram.width)
    end = BINS + ceil(histogram.high / histogram.width)
    reach = max(BINS - first, end - BINS)
    candidates = [
        (max(first, BINS - reached), min(end, BINS + reached))
        for reached in np.linspace(reach, 0, CANDIDATES, endpoint=False).astype(int).tolist()
    ]
    enough = [one for one in candidates if one[1] - one[0] >= LEVELS]
    if not enough:  # all values are 0, or as good as that
        return histogram.low, histogram.high
    low, high = ((edge - BINS) * histogram.width for edge in min(enough, key=lambda one: cost(counts, *one)))
    return max(histogram.low, low), min(histogram.high, high)


def _divergence(counts: NDArray[np.float64], first: int, end: int) -> float:
    inside = counts[first:end]
    reference = inside.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[end:].sum()
    filled = reference > 0
    starts = np.ceil(np.arange(LEVELS) * len(inside) / LEVELS).astype(int)
    widths = np.diff([*starts, len(inside)])
    # a level's values could lie in any bin of it that is not empty
    per_bin = np.add.reduceat(inside, starts) / np.maximum(np.add.reduceat(filled.astype(int), starts), 1)
    # where nothing but clipped values lies, a level tells half a value: less than one, and not never. The
    # sum is left short of 1 by all that is clipped: made 1, a range that clips everything would fit best
    quantized = np.maximum(np.repeat(per_bin, widths)[filled], 0.5)
    return float(reference[filled] @ np.log(reference[filled] / quantized))


def _squared_error(counts: NDArray[np.float64], first: int, end: int) -> float:
    """In squared widths of a bin, summed over the values."""
    below, above = counts[:first][::-1], counts[end:]
    clipped = below @ SQUARED_DISTANCE[: len(below)] + above @ SQUARED_DISTANCE[: len(above)]
    step = (end - first) / (LEVELS - 1)
    return float(clipped + counts[first:end].sum() * step**2 / 12)

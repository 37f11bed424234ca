"""Choose the range of every activation for int8 from calibration images, by one of several methods.

If the range reaches from the smallest to the largest value, a single outlier lowers the resolution of all other
values. The other methods clip outliers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil, floor

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from dermedge.convert.to_tflite.graph import KeepingInterpreter, name_of, ops_of, read_model
from dermedge.edge.errors import DataError, ModelError, OptionError

__all__ = [
    "METHODS",
    "Histogram",
    "Range",
    "choose_ranges",
    "entropy",
    "min_max",
    "mse",
    "percentile",
]

Range = tuple[float, float]

# The number of bins of a histogram on each side of 0. The bin width doubles when a value lies outside all bins. So the
# value with the largest magnitude lies in bin 4,096 of its side or higher. A range is only tried if it has at least 256
# bins, one for each level. 256 is a sixteenth of 4,096. So every range that ends at a sixteenth of the largest
# magnitude, or above, has enough bins.
BINS = 8192
_LEAST_WIDTH = 2.0**-60
_LEVELS = 256
# The squared error of a value that is clipped to the end of a range, in squared bin widths. Element n is for a value in
# bin n outside the range, where bin 0 is next to the range. The value is assumed to lie in the middle of the bin.
_SQUARED_DISTANCE = (np.arange(2 * BINS) + 0.5) ** 2
# At each end of a range, this percentage of the nonzero values is not clipped. Wu et al., "Integer Quantization for
# Deep Learning Inference", 2020, find that 99.99 % and more are safe, and that 99.9 % does harm.
_PERCENTILE = 99.99
_CANDIDATES = 128

# The int8 results of these operators have a fixed scale, so no range is chosen for them.
_FIXED_RANGE = {"SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION"}
# These operators only move values. If such an operator reads the input of the network, the result consists of pixels.
# The range of pixels is known, and must not be clipped.
_MOVES = {
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
    """A histogram of the values of one activation.

    The values are read only once, and their range need not be known beforehand. The width of a bin is a power of two,
    and doubles when a value lies outside all bins. Zeros are not counted, because every range holds 0 exactly, and
    because most values are 0 after a ReLU.

    Attributes:
        counts: the counts, int64 [2 * BINS]. Bin i counts the values from (i - BINS) * width to (i + 1 - BINS) * width.
        width: the width of a bin.
        low: the smallest value, or 0 if all values are positive.
        high: the largest value, or 0 if all values are negative.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2 * BINS, np.int64)
        self.width = _LEAST_WIDTH
        self.low = self.high = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Add the values of an array of any shape to the histogram. All values must be finite."""
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
    """Return the whole range of the values."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    """Return the range that leaves out 0.01 % of the nonzero values at each end."""
    beyond = histogram.counts.sum() * (1 - _PERCENTILE / 100)
    below = np.searchsorted(np.cumsum(histogram.counts), beyond, side="right")
    above = np.searchsorted(np.cumsum(histogram.counts[::-1]), beyond, side="right")
    low, high = float(below - BINS) * histogram.width, float(BINS - above) * histogram.width
    return min(max(histogram.low, low), 0.0), max(min(histogram.high, high), 0.0)


def entropy(histogram: Histogram) -> Range:
    """Return the range whose 256 levels have the least Kullback-Leibler divergence from the histogram.

    The method of Migacz, "8-bit Inference with TensorRT", 2017, is extended to ranges that are not symmetric. Only
    ranges with at least one bin for each level are tried.
    """
    return _least(histogram, _divergence)


def mse(histogram: Histogram) -> Range:
    """Return the range with the least squared error. Values inside the range are rounded, and others are clipped.

    The mean squared error of rounding to a step s is s^2 / 12 (Bennett, 1948).
    """
    return _least(histogram, _squared_error)


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": min_max,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def choose_ranges(model: bytes, inputs: Iterable[NDArray[np.float32]], method: str) -> dict[str, Range]:
    """Choose the range of each activation. Every range holds 0.

    Three kinds of activations are left out: the input, the results of operators that only move values of the input,
    and results with a fixed scale.

    Args:
        model: a float .tflite.
        inputs: the calibration inputs, each [1, h, w, C]. Only one of them is held in memory at a time.
        method: a name in `METHODS`.

    Returns:
        The range of each activation, with the name of the activation as the key.

    Raises:
        OptionError: the method is unknown.
        DataError: there are no inputs.
        ModelError: an activation is not finite, or the runtime does not keep it.
    """
    if method not in METHODS:
        raise OptionError(f"unknown calibration method '{method}'. Known: {', '.join(METHODS)}")
    root = read_model(model)
    names = {index: name_of(root.subgraphs[0].tensors[index]) for index in _activations_to_choose(root)}
    histograms = {index: Histogram() for index in names}
    input_index = int(root.subgraphs[0].inputs[0])
    interpreter = KeepingInterpreter(model)
    runs = 0
    for runs, one in enumerate(inputs, 1):  # noqa: B007 - counted for the check below
        interpreter.run({input_index: one})
        for index, histogram in histograms.items():
            _add_finite(histogram, interpreter.values(index), names[index])
    if not runs:
        raise DataError("there are no calibration photos; give at least one")
    return {names[index]: METHODS[method](histogram) for index, histogram in histograms.items()}


def _add_finite(histogram: Histogram, values: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(values).all():
        raise ModelError(
            f"the activation '{name}' is not finite on a calibration photo; train the network again"
        )
    histogram.add(values)


def _activations_to_choose(model: schema.ModelT) -> list[int]:
    """Return the indices of the float activations whose range `choose_ranges` finds."""
    tensors, pixels = model.subgraphs[0].tensors, {int(index) for index in model.subgraphs[0].inputs}
    found: list[int] = []
    for op in ops_of(model):
        if op.kind in _MOVES and pixels.issuperset(op.inputs):
            pixels.update(op.outputs)
        elif op.kind not in _FIXED_RANGE:
            found.extend(index for index in op.outputs if tensors[index].type == schema.TensorType.FLOAT32)
    return found


def _least(histogram: Histogram, cost: Callable[[NDArray[np.float64], int, int], float]) -> Range:
    """Return the range with the least cost among evenly spaced candidates. Of equally good ranges, return the widest.

    ``cost`` is called with the counts of all bins, the first bin of a range, and the bin after the last bin of the
    range.
    """
    counts = histogram.counts.astype(np.float64)
    first = BINS + floor(histogram.low / histogram.width)
    end = BINS + ceil(histogram.high / histogram.width)
    reach = max(BINS - first, end - BINS)
    candidates = [
        (max(first, BINS - reached), min(end, BINS + reached))
        for reached in np.linspace(reach, 0, _CANDIDATES, endpoint=False).astype(int).tolist()
    ]
    enough = [one for one in candidates if one[1] - one[0] >= _LEVELS]
    if not enough:  # all values are 0 or nearly 0
        return histogram.low, histogram.high
    low, high = ((edge - BINS) * histogram.width for edge in min(enough, key=lambda one: cost(counts, *one)))
    return max(histogram.low, low), min(histogram.high, high)


def _divergence(counts: NDArray[np.float64], first: int, end: int) -> float:
    inside = counts[first:end]
    reference = inside.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[end:].sum()
    filled = reference > 0
    starts = np.ceil(np.arange(_LEVELS) * len(inside) / _LEVELS).astype(int)
    widths = np.diff([*starts, len(inside)])
    # The values of a level are spread over those bins of the level that are not empty.
    per_bin = np.add.reduceat(inside, starts) / np.maximum(np.add.reduceat(filled.astype(int), starts), 1)
    # ``reference`` counts the clipped values at the ends of the range, but ``quantized`` does not count them. So the
    # two arrays have different sums. The sums must not be made equal: otherwise, a range that clips everything would
    # have the smallest divergence. If a level holds only clipped values, the count of each of its bins in ``quantized``
    # is set to 0.5, because the divergence would be infinite for a count of 0.
    quantized = np.maximum(np.repeat(per_bin, widths)[filled], 0.5)
    return float(reference[filled] @ np.log(reference[filled] / quantized))


def _squared_error(counts: NDArray[np.float64], first: int, end: int) -> float:
    """Return the sum of the squared errors of all values, in squared bin widths."""
    below, above = counts[:first][::-1], counts[end:]
    clipped = below @ _SQUARED_DISTANCE[: len(below)] + above @ _SQUARED_DISTANCE[: len(above)]
    step = (end - first) / (_LEVELS - 1)
    return float(clipped + counts[first:end].sum() * step**2 / 12)

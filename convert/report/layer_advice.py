"""Describe the layers of a quantized file that cause the largest errors, and suggest cures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dermedge.convert.accept.layer_errors import LayerError

__all__ = ["Cures", "advice", "short_name"]

# Operators that lose much accuracy in int8: hard-swish, and the gates of squeeze-and-excite.
_INT8_WEAK = {"HARD_SWISH", "MUL", "LOGISTIC"}
# A layer is mentioned if more than the fraction `_MUCH_SATURATED` of its values is saturated, or if more than the
# fraction `_MANY_CHANNELS` of its channels is lost or dead. `LayerError` explains these terms.
_MUCH_SATURATED = 0.01
_MANY_CHANNELS = 0.05
# A layer is mentioned if its largest value is more than this many times its root mean square. For normally distributed
# values, the ratio is 4 to 5.
_STRETCHED = 25
_LAYERS_NAMED = 5


class Cures(NamedTuple):
    """The cures that are possible for a file. The advice names no other cures.

    Attributes:
        ranges: whether other calibration photos or another method (--ranges) can improve the ranges of the file.
        float_layers: whether some layers of the file can stay in float.
        qat: whether the network can be fine-tuned with quantization-aware training.
    """

    ranges: bool = True
    float_layers: bool = True
    qat: bool = True


_ALL_CURES = Cures()
_RANGES = "calibrate on photos like those that the network will see, with --ranges percentile or mse"
_MIN_MAX = "calibrate with --ranges min-max, or on more photos"
_FLOAT = "keep this layer in float with --method ptq --float-layers"
_QAT = "fine-tune the network with dermedge train --qat-epochs"


class _Fault(NamedTuple):
    """A fault that several layers share, described in words. ``cure`` is empty if the fault has no cure."""

    layers: list[LayerError]
    fault: str
    cure: str


def short_name(name: str) -> str:
    """Return a short name of a layer, made from the name of the tensor that the layer computes.

    The name of the model and the name of the operator are left out. The names of other operators that were fused with
    the operator are left out, too.
    """
    parts = name.split(";")[0].split("/")
    return "/".join(parts[1:-1] or parts)


def advice(layers: Sequence[LayerError], cures: Cures = _ALL_CURES) -> list[str]:
    """Return one line for each of the worst layers, followed by one line for each kind of fault.

    The worst layer comes first.

    Args:
        layers: the errors of the layers.
        cures: the cures that are possible for the file.
    """
    quantized = [layer for layer in layers if not layer.in_float]
    if not quantized:
        return ["every operator is in float, so int8 causes no loss"]
    total = sum(layer.contribution for layer in quantized)
    by_contribution = sorted(quantized, key=lambda layer: layer.contribution, reverse=True)
    worst = [layer for layer in by_contribution[:_LAYERS_NAMED] if layer.contribution > 0]
    faults = (*_range_faults(quantized, cures), *_other_faults(layers))
    return [
        *(_line_of_layer(layer, layer.contribution / total, cures) for layer in worst),
        *(_line_of_fault(one, len(layers)) for one in faults if one.layers),
    ]


def _line_of_layer(layer: LayerError, share: float, cures: Cures) -> str:
    return _with_end(
        f"{short_name(layer.name)} ({layer.kind}) causes {share:.0%} of the error at the output; after this "
        f"layer, the signal is {layer.sqnr_db:.0f} dB above the noise",
        ": ",
        _fault_and_cure(layer, cures),
    )


def _with_end(start: str, mark: str, end: str) -> str:
    """Join the start and the end of a sentence with a punctuation mark. If the end is empty, return only the start."""
    return f"{start}{mark}{end}" if end else start


def _line_of_fault(fault: _Fault, operators: int) -> str:
    named = ", ".join(short_name(layer.name) for layer in fault.layers[:_LAYERS_NAMED])
    more = len(fault.layers) - _LAYERS_NAMED
    named += f" and {more} more" if more > 0 else ""
    return _with_end(
        f"{len(fault.layers)} of {operators} operators {fault.fault} ({named})", ": ", fault.cure
    )


def _range_faults(quantized: Sequence[LayerError], cures: Cures) -> list[_Fault]:
    return [
        _Fault(
            [layer for layer in quantized if layer.collapsed],
            "have a scale that does not fit their values",
            _RANGES if cures.ranges else "",
        ),
        _Fault(
            [layer for layer in quantized if layer.saturated > _MUCH_SATURATED],
            "have values outside the range of the integers",
            _MIN_MAX if cures.ranges else "",
        ),
        _Fault(
            [layer for layer in quantized if layer.lost_channels > _MANY_CHANNELS * layer.channels],
            "have channels that became constant in int8",
            _QAT if cures.qat else "",
        ),
    ]


def _other_faults(layers: Sequence[LayerError]) -> list[_Fault]:
    return [
        _Fault(
            [layer for layer in layers if layer.dead_channels > _MANY_CHANNELS * layer.channels],
            "have channels that are already constant in float",
            "such channels cost time and add no accuracy, so a smaller network would do",
        ),
        _Fault(
            [layer for layer in layers if layer.in_float],
            "stay in float",
            "float operators run slower on a device and make the file larger",
        ),
        _Fault(
            # A softmax is not reported. XNNPACK never runs a softmax, and a softmax of a few classes takes little time.
            [layer for layer in layers if not layer.delegated and layer.kind != "SOFTMAX"],
            "do not run in XNNPACK",
            "such operators use slow kernels; if no operator runs in XNNPACK, XNNPACK refuses the file",
        ),
    ]


def _fault_and_cure(layer: LayerError, cures: Cures) -> str:
    """Return the most conspicuous fault of a layer, and a cure. If there is neither, the text is empty."""
    ranges, qat = _RANGES if cures.ranges else "", _QAT if cures.qat else ""
    in_float = _FLOAT if cures.float_layers else ""
    peak = max(-layer.low, layer.high)
    if layer.collapsed:
        return _with_end("the scale does not fit the values", "; ", ranges)
    if layer.saturated > _MUCH_SATURATED:
        fault = f"{layer.saturated:.1%} of the values lie outside the range of the integers"
        return _with_end(fault, "; ", _MIN_MAX if cures.ranges else "")
    if peak > _STRETCHED * layer.rms:
        fault = (
            f"the largest value is {peak / layer.rms:.0f} times the root mean square, which makes the quantization "
            f"steps coarse"
        )
        return _with_end(fault, "; ", ranges)
    if layer.lost_channels > _MANY_CHANNELS * layer.channels:
        lost = f"{layer.lost_channels} of the {layer.channels} channels became constant"
        return _with_end(f"{lost}, because they are too small for the common scale", "; ", qat)
    if layer.kind in _INT8_WEAK:
        return _with_end("hard-swish and squeeze-and-excite lose much in int8", "; ", in_float)
    return ", or ".join(cure for cure in (qat, in_float) if cure)

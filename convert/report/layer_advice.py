"""Describe the layers of a quantized file that lose most, and what to do about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dermedge.convert.accept.layer_errors import LayerError

__all__ = ["Cures", "advice", "short_name"]

# Operators that are hard on int8: hard-swish and the gates of squeeze-and-excite.
_INT8_WEAK = {"HARD_SWISH", "MUL", "LOGISTIC"}
# Share of saturated values, and of lost or dead channels, above which a layer is mentioned.
_MUCH_SATURATED = 0.01
_MANY_CHANNELS = 0.05
# Largest value over root mean square; it is 4 to 5 for a normal distribution.
_STRETCHED = 25
_LAYERS_NAMED = 5


class Cures(NamedTuple):
    """The cures that are possible for a file; the advice only names these.

    Attributes:
        ranges: whether its ranges come from calibration photos, by a method that --ranges chooses.
        float_layers: whether some of its layers can stay in float.
        qat: whether the network can be fine-tuned quantization-aware.
    """

    ranges: bool = True
    float_layers: bool = True
    qat: bool = True


_ALL_CURES = Cures()
_RANGES = "calibrate on photos like those that the network will see, with --ranges percentile or mse"
_MIN_MAX = "calibrate with --ranges min-max, or on more photos"
_FLOAT = "leave it in float with --method ptq --float-layers"
_QAT = "fine-tune quantization-aware with dermedge train --qat-epochs"


class _Fault(NamedTuple):
    """Layers that share a fault, with the fault and its cure in words; the cure may be empty."""

    layers: list[LayerError]
    fault: str
    cure: str


def short_name(name: str) -> str:
    """Return the name of the layer in the name of a tensor, without the model, the operator and the fused operators."""
    parts = name.split(";")[0].split("/")
    return "/".join(parts[1:-1] or parts)


def advice(layers: Sequence[LayerError], cures: Cures = _ALL_CURES) -> list[str]:
    """Return one or two sentences on each layer that loses most and on each fault, the most important first.

    Args:
        layers: the errors of the layers.
        cures: the cures that apply.
    """
    quantized = [layer for layer in layers if not layer.in_float]
    if not quantized:
        return ["every operator is in float: nothing is lost to int8"]
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
        f"{short_name(layer.name)} ({layer.kind}) causes {share:.0%} of the error at the output; after it the "
        f"signal is {layer.sqnr_db:.0f} dB above the noise",
        ": ",
        _fault_and_cure(layer, cures),
    )


def _with_end(start: str, mark: str, end: str) -> str:
    """Return the start of a sentence and, if there is one, its end after a colon or comma."""
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
            "have a collapsed scale, which rounds most of their values away",
            _RANGES if cures.ranges else "",
        ),
        _Fault(
            [layer for layer in quantized if layer.saturated > _MUCH_SATURATED],
            "have values beyond their range",
            _MIN_MAX if cures.ranges else "",
        ),
        _Fault(
            [layer for layer in quantized if layer.lost_channels > _MANY_CHANNELS * layer.channels],
            "have channels that int8 made constant",
            _QAT if cures.qat else "",
        ),
    ]


def _other_faults(layers: Sequence[LayerError]) -> list[_Fault]:
    return [
        _Fault(
            [layer for layer in layers if layer.dead_channels > _MANY_CHANNELS * layer.channels],
            "have channels that are already constant in float",
            "a smaller network would do; such channels cost time and no accuracy",
        ),
        _Fault(
            [layer for layer in layers if layer.in_float],
            "stay in float",
            "they run slower on a device and make the file larger",
        ),
        _Fault(
            # a softmax is not reported: XNNPACK never runs it, and for a few classes it costs nothing
            [layer for layer in layers if not layer.delegated and layer.kind != "SOFTMAX"],
            "do not run in XNNPACK",
            "they use the slow kernels; if these are all operators, XNNPACK refuses the file",
        ),
    ]


def _fault_and_cure(layer: LayerError, cures: Cures) -> str:
    """Return the most conspicuous fault of a layer, and its cure; empty without both."""
    ranges, qat = _RANGES if cures.ranges else "", _QAT if cures.qat else ""
    in_float = _FLOAT if cures.float_layers else ""
    peak = max(-layer.low, layer.high)
    if layer.collapsed:
        return _with_end("its scale does not fit its values", "; ", ranges)
    if layer.saturated > _MUCH_SATURATED:
        fault = f"{layer.saturated:.1%} of its values lie beyond its range"
        return _with_end(fault, "; ", _MIN_MAX if cures.ranges else "")
    if peak > _STRETCHED * layer.rms:
        fault = (
            f"its largest value is {peak / layer.rms:.0f} times the root mean square, which makes the steps "
            f"coarse"
        )
        return _with_end(fault, "; ", ranges)
    if layer.lost_channels > _MANY_CHANNELS * layer.channels:
        lost = f"{layer.lost_channels} of its {layer.channels} channels became constant"
        return _with_end(f"{lost}, too small for the common scale", "; ", qat)
    if layer.kind in _INT8_WEAK:
        return _with_end("hard-swish and squeeze-and-excite lose much in int8", "; ", in_float)
    return ", or ".join(cure for cure in (qat, in_float) if cure)

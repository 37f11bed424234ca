"""Why a quantized file differs from its float one: the error of every op, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import inf, log10
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dermedge.convert.to_tflite.graph import NUM_THREADS, KeepingInterpreter, Op, ops_of, read_model
from dermedge.convert.to_tflite.ranges import name_of
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.edge.errors import DataError
from dermedge.train.evaluation.plots import EMPHASIS, INK, LINE_COLOURS, SVG_STYLE, as_svg

# Their noise adds up in absolute terms; that of all others is taken to, relative to the signal.
ADDITIVE = {"ADD", "SUB", "CONCATENATION"}
# These give an output of the network its type, and its name.
CASTS = {"QUANTIZE", "DEQUANTIZE"}
GATES = {"HARD_SWISH", "MUL", "LOGISTIC"}

# A scale is collapsed that leaves fewer steps to all that is seen, or less of it within reach.
FEWEST_STEPS = 4
LEAST_REACH = 1 / 16
DTYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
}

# What is told of a layer from there on.
MUCH_SATURATED = 0.01
MANY_CHANNELS = 0.05
# Greatest value by root mean square; 4 to 5 for a normal distribution.
STRETCHED = 25
NAMED = 5
# What has no error at all is drawn there.
MOST_DB = 80


@dataclass(frozen=True)
class LayerError:
    """What quantization did to the result of one op, over all pictures.

    With y the float network's result, q the quantized network's, dequantized, and f(x) what the float op
    makes of the dequantized inputs that the quantized op got:

    Attributes:
        name: of the tensor, in both files.
        kind: of the op in the float file, as the schema calls it (``CONV_2D``).
        inputs: the names of the activations that it reads.
        sqnr_db: signal-to-quantization-noise ratio, 10 log10(sum y^2 / sum (q - y)^2).
        introduced: the op's own error, by weights, rounding and range: sum (q - f(x))^2 / sum y^2. An input
            that the quantized file does not have is the float one.
        contribution: the part of ``introduced`` that is estimated to reach the network's outputs, by how much
            of the noise of its inputs each op on the way was seen to pass on.
        low: the least y.
        high: the greatest y.
        rms: the root of the mean y^2.
        scale: of the quantization; 0 in float.
        zero_point: of the quantization.
        channels: size of the last axis.
        dead_channels: those constant over all pictures and places in float.
        lost_channels: those constant in the quantized network only.
        saturated: the share of y that lies beyond the range of the integers by more than half a step.
        in_float: whether the op was left in float.
        collapsed: whether the scale leaves almost nothing of the values: fewer than `FEWEST_STEPS` steps,
            or less than `LEAST_REACH` of their span.
        delegated: whether XNNPACK, which runs int8 fast on a device, takes the op.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    sqnr_db: float
    introduced: float
    contribution: float
    low: float
    high: float
    rms: float
    scale: float
    zero_point: int
    channels: int
    dead_channels: int
    lost_channels: int
    saturated: float
    in_float: bool
    collapsed: bool
    delegated: bool


@dataclass(frozen=True)
class Quantized:
    """A tensor of a quantized file.

    Attributes:
        index: where its values are.
        dtype: of its values.
        scale: 0 for floats.
        zero_point: 0 for floats.
    """

    index: int
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value that the integers stand for."""
        info = np.iinfo(self.dtype)
        return (info.min - self.zero_point) * self.scale, (info.max - self.zero_point) * self.scale

    def dequantize(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(q - zero point) * scale in float64; floats pass through."""
        wide = values.astype(np.float64)
        return (wide - self.zero_point) * self.scale if self.scale else wide

    def quantize(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Scaled, rounded, clipped and cast; without a scale, cast alone: floats, or whole pixels."""
        if not self.scale:
            return values.astype(self.dtype)
        info = np.iinfo(self.dtype)
        levels = np.round(values.astype(np.float64) / self.scale) + self.zero_point
        return levels.clip(info.min, info.max).astype(self.dtype)


class _Power:
    """Of y and of q - y, summed over the pictures; names as in `LayerError`."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, y: NDArray[Any], q: NDArray[np.float64]) -> None:
        self.signal += float(np.sum(y.astype(np.float64) ** 2))
        self.noise += float(np.sum((q - y) ** 2))


class _Sums(_Power):
    """Of one op's result over the pictures; names as in `LayerError`."""

    def __init__(self) -> None:
        super().__init__()
        self.own = self.passed = 0.0
        self.values = self.places = self.beyond = 0
        # [2, channels], the least and the greatest
        self.float_ends = np.array([[inf], [-inf]])
        self.quantized_ends = np.array([[inf], [-inf]])

    def add_result(self, y: NDArray[Any], q: NDArray[np.float64], f: NDArray[Any], tensor: Quantized) -> None:
        self.add(y, q)
        self.own += float(np.sum((q - f) ** 2))
        self.passed += float(np.sum((f.astype(np.float64) - y) ** 2))
        self.values += y.size
        self.places += y.size // y.shape[-1]
        if tensor.scale:
            low, high = tensor.ends
            half = tensor.scale / 2
            self.beyond += int(np.count_nonzero((y < low - half) | (y > high + half)))
        self.float_ends = _widened(self.float_ends, y)
        self.quantized_ends = _widened(self.quantized_ends, q)


def compare_layers(
    float_model: bytes, quantized_model: bytes, pictures: Sequence[NDArray[np.float32]]
) -> list[LayerError]:
    """The error of every op whose result is in both files by the same name, in the order in which they run.

    Args:
        float_model: a float .tflite, such as the calibrated one.
        quantized_model: what the converter made of it; its input may be uint8, int8 or float32.
        pictures: float32 [1, s, s, 3], normalized; for the quantized file they are quantized as its input is.

    Raises:
        DataError: no pictures.
        ModelError: the runtime refuses a file.
    """
    if not pictures:
        raise DataError("there are no pictures to compare the layers on; give at least one")
    model = read_model(float_model)
    ops, tensors = ops_of(model), model.subgraphs[0].tensors
    results = _results(read_model(quantized_model))
    matched = {
        index: results[key]
        for op in ops
        for index in op.outputs[:1]
        if (key := _key(tensors[index])) in results
    }
    sums, arriving = _run_side_by_side(float_model, quantized_model, matched, pictures)
    influence = _influence(ops, sums, arriving, [int(index) for index in model.subgraphs[0].outputs])
    taken = delegated_results(quantized_model)
    layers = []
    for op in ops:
        if (index := op.outputs[0]) in matched:
            inputs = tuple(name_of(tensors[at]) for at in op.inputs)
            tensor, one = matched[index], sums[index]
            layers.append(
                _layer_error(name_of(tensors[index]), op.kind, inputs, tensor, one, influence[index], taken)
            )
    return layers


def _run_side_by_side(
    float_model: bytes,
    quantized_model: bytes,
    matched: dict[int, Quantized],
    pictures: Sequence[NDArray[np.float32]],
) -> tuple[dict[int, _Sums], dict[int, _Power]]:
    """Sums of each op's result, and of each activation that ops read, by their index in the float file.

    Args:
        float_model: as `compare_layers` takes it.
        quantized_model: likewise.
        matched: index in the float file -> the same op's result in the quantized one.
        pictures: likewise.
    """
    model, small = read_model(float_model), read_model(quantized_model)
    image = int(model.subgraphs[0].inputs[0])
    pixels = _quantized(small, int(small.subgraphs[0].inputs[0]))
    taken_apart, copies = _take_apart(model)
    whole, parts = KeepingInterpreter(float_model), KeepingInterpreter(taken_apart)
    quantized = KeepingInterpreter(quantized_model)
    sums = {index: _Sums() for index in matched}
    arriving = {index: _Power() for index in copies}
    for picture in pictures:
        whole.run({image: picture})
        quantized.run({pixels.index: pixels.quantize(picture)})
        given = {}
        for index, copied in copies.items():
            y = whole.values(index)
            tensor = pixels if index == image else matched.get(index)
            x = y if tensor is None else tensor.dequantize(quantized.values(tensor.index))
            arriving[index].add(y, x)
            given[copied] = x.astype(y.dtype)
        parts.run(given)
        for index, tensor in matched.items():
            q = tensor.dequantize(quantized.values(tensor.index))
            sums[index].add_result(whole.values(index), q, parts.values(index), tensor)
    return sums, arriving


def worst_layers(layers: Sequence[LayerError], count: int) -> list[str]:
    """The names of the ops to leave in float first, the worst first, at most that many.

    By ``contribution``. An op in float still hands a rounded result to one in int8; so each is followed by
    the ops that read it.
    """
    readers: dict[str, list[str]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer.name)
    by_contribution = sorted(layers, key=lambda layer: layer.contribution, reverse=True)
    chosen: dict[str, None] = {}
    for layer in by_contribution:
        if layer.contribution > 0 and not layer.in_float:
            chosen.update(dict.fromkeys([layer.name, *readers.get(layer.name, [])]))
    return list(chosen)[:count]


def delegated_results(model: bytes) -> set[int]:
    """The indices of the tensors that XNNPACK computes; none where it refuses the file.

    The interpreter tells only what a delegate reads and writes: what it does lies between.
    """
    by_output = {output: op for op in ops_of(read_model(model)) for output in op.outputs}
    try:
        interpreter = Interpreter(model_content=model, num_threads=NUM_THREADS)
        interpreter.allocate_tensors()
    except RuntimeError:
        return set()
    taken: set[int] = set()
    for details in interpreter._get_ops_details():
        if details["op_name"] == "DELEGATE":
            given = {int(index) for index in details["inputs"]}
            waiting = [int(index) for index in details["outputs"]]
            while waiting:
                index = waiting.pop()
                if index not in given and index not in taken and index in by_output:
                    taken.add(index)
                    waiting.extend(by_output[index].inputs)
    return taken


def short_name(name: str) -> str:
    """The layer in the name of a tensor: without the model, the op, and the ops that were fused into it."""
    parts = name.split(";")[0].split("/")
    return "/".join(parts[1:-1] or parts)


def layers_svg(layers: Sequence[LayerError]) -> str:
    """The signal-to-noise ratio after each op and of its own error alone; the worst are named."""
    with rc_context(SVG_STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        axes = figure.subplots()
        places = range(len(layers))
        after = [_drawn(layer.sqnr_db) for layer in layers]
        own = [_drawn(_decibels(1, layer.introduced)) for layer in layers]
        axes.plot(places, own, "o", color=LINE_COLOURS[1], markersize=3, label="own error of the op alone")
        axes.plot(places, after, color=LINE_COLOURS[0], linewidth=1.4, label="after the op")
        in_float = [place for place in places if layers[place].in_float]
        axes.plot(
            in_float, [after[at] for at in in_float], "s", color=INK, fillstyle="none", label="left in float"
        )
        worst = sorted(places, key=lambda at: layers[at].contribution, reverse=True)[:NAMED]
        for number, at in enumerate((at for at in worst if layers[at].contribution > 0), 1):
            told = f"{number}  {layers[at].kind}  {short_name(layers[at].name)}"
            axes.plot([at], [own[at]], "o", color=EMPHASIS, markersize=6, label=told)
            axes.annotate(str(number), (at, own[at]), (5, -3), textcoords="offset points", color=EMPHASIS)
        axes.set(xlabel="op, in the order in which they run", ylabel="signal to quantization noise, dB")
        axes.grid(axis="y")
        figure.legend(loc="outside lower left", ncols=2)
        return as_svg(figure)


def advice(layers: Sequence[LayerError]) -> list[str]:
    """What loses most and what to do about it, a sentence or two each, the most important first."""
    rounded = [layer for layer in layers if not layer.in_float]
    if not rounded:
        return ["every op is in float: nothing is lost to int8"]
    total = sum(layer.contribution for layer in rounded)
    lines = [
        f"{short_name(layer.name)} ({layer.kind}) makes {layer.contribution / total:.0%} of the error at the "
        f"output, and after it the signal is {layer.sqnr_db:.0f} dB above the noise: {_cure(layer)}"
        for layer in sorted(rounded, key=lambda layer: layer.contribution, reverse=True)[:NAMED]
        if layer.contribution > 0
    ]
    for what, found, cure in (
        (
            "a collapsed scale, which leaves almost nothing of their values",
            [layer for layer in rounded if layer.collapsed],
            "calibrate on photos like those that the network will see, by percentile or mse",
        ),
        (
            "values beyond their range",
            [layer for layer in rounded if layer.saturated > MUCH_SATURATED],
            "calibrate by min-max, or on more photos",
        ),
        (
            "channels that int8 made constant",
            [layer for layer in rounded if layer.lost_channels > MANY_CHANNELS * layer.channels],
            "equalize the channels, or fine-tune quantization-aware",
        ),
        (
            "channels that are constant in float already",
            [layer for layer in layers if layer.dead_channels > MANY_CHANNELS * layer.channels],
            "a smaller network would say the same; they cost time and no accuracy",
        ),
        (
            "float arithmetic left",
            [layer for layer in layers if layer.in_float],
            "they are slower on a device, and the file is larger",
        ),
        (
            "no place in the XNNPACK delegate",
            # it never takes a softmax, which costs nothing for a few classes
            [layer for layer in layers if not layer.delegated and layer.kind != "SOFTMAX"],
            "they run on the slow kernels; where these are all ops, the delegate refuses the file",
        ),
    ):
        if found:
            named = ", ".join(short_name(layer.name) for layer in found[:NAMED])
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            lines.append(f"{len(found)} of {len(layers)} ops have {what} ({named}{more}): {cure}")
    return lines


def _cure(layer: LayerError) -> str:
    """What to do about a layer, by what is conspicuous about it."""
    peak = max(-layer.low, layer.high)
    if layer.collapsed:
        return "its scale fits other values than these; calibrate on photos like these, by percentile or mse"
    if layer.saturated > MUCH_SATURATED:
        beyond = f"{layer.saturated:.1%} of its values lie beyond its range"
        return f"{beyond}; calibrate by min-max, or on more photos"
    if peak > STRETCHED * layer.rms:
        return (
            f"its greatest value is {peak / layer.rms:.0f} times the usual one and takes the others' steps; "
            "calibrate by percentile or mse"
        )
    if layer.lost_channels > MANY_CHANNELS * layer.channels:
        return (
            f"{layer.lost_channels} of its {layer.channels} channels became constant, too small for the one "
            "scale of all; equalize them, or fine-tune quantization-aware"
        )
    if layer.kind in GATES:
        return "gates (hard-swish, squeeze-excite) are hard on int8; leave it in float, or train with ReLU6"
    return "fine-tune quantization-aware, or leave it in float"


def _layer_error(
    name: str,
    kind: str,
    inputs: tuple[str, ...],
    tensor: Quantized,
    sums: _Sums,
    influence: float,
    delegated: set[int],
) -> LayerError:
    low, high = float(sums.float_ends[0].min()), float(sums.float_ends[1].max())
    introduced = _ratio(sums.own, sums.signal)
    seen_often = sums.places > 1
    dead = (sums.float_ends[0] == sums.float_ends[1]) & seen_often
    constant = (sums.quantized_ends[0] == sums.quantized_ends[1]) & seen_often
    return LayerError(
        name=name,
        kind=kind,
        inputs=inputs,
        sqnr_db=_decibels(sums.signal, sums.noise),
        introduced=introduced,
        contribution=introduced * influence,
        low=low,
        high=high,
        rms=(sums.signal / sums.values) ** 0.5,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        channels=len(dead),
        dead_channels=int(dead.sum()),
        lost_channels=int((constant & ~dead).sum()),
        saturated=sums.beyond / sums.values,
        in_float=not tensor.scale,
        collapsed=bool(tensor.scale) and _is_collapsed(low, high, tensor),
        delegated=tensor.index in delegated,
    )


def _is_collapsed(low: float, high: float, tensor: Quantized) -> bool:
    within = min(high, tensor.ends[1]) - max(low, tensor.ends[0])
    return low < high and within < max(FEWEST_STEPS * tensor.scale, (high - low) * LEAST_REACH)


def _influence(
    ops: Sequence[Op], sums: dict[int, _Sums], arriving: dict[int, _Power], outputs: Sequence[int]
) -> dict[int, float]:
    """By tensor, the part of its noise, relative to its signal, that reaches the outputs; their sum."""
    influence = dict.fromkeys((index for op in ops for index in (*op.inputs, *op.outputs)), 0.0)
    influence.update(dict.fromkeys(outputs, 1.0))
    for op in reversed(ops):
        reaching = sum(influence[index] for index in op.outputs)
        result = sums.get(op.outputs[0])
        noise = sum(_ratio(arriving[index].noise, arriving[index].signal) for index in op.inputs)
        for index in op.inputs:
            if result is None or not noise:
                gain = 1.0
            elif op.kind in ADDITIVE:
                gain = _ratio(arriving[index].signal, result.signal)
            else:
                gain = _ratio(result.passed, result.signal) / noise
            influence[index] += gain * reaching
    return influence


def _take_apart(model: schema.ModelT) -> tuple[bytes, dict[int, int]]:
    """The network with every op cut from those before it, and where each activation is given to its readers.

    One run then computes f(x) of all ops, each from inputs of one's choice.
    """
    ops = ops_of(model)
    apart = copy(model)
    graph = copy(model.subgraphs[0])
    apart.subgraphs, apart.signatureDefs = [graph], []
    graph.tensors = list(graph.tensors)
    copies: dict[int, int] = {}
    for index in dict.fromkeys(index for op in ops for index in op.inputs):
        copies[index] = len(graph.tensors)
        graph.tensors.append(copy(graph.tensors[index]))
    graph.operators = [copy(operator) for operator in graph.operators]
    for operator in graph.operators:
        operator.inputs = np.array(
            [copies.get(int(index), int(index)) for index in operator.inputs], np.int32
        )
    graph.inputs = np.array(list(copies.values()), np.int32)
    graph.outputs = np.array([index for op in ops for index in op.outputs], np.int32)
    return pack(apart), copies


def _results(model: schema.ModelT) -> dict[tuple[str, tuple[int, ...]], Quantized]:
    """By name and shape, the result of each op; of a cast what it was before, as the op itself gave it."""
    tensors = model.subgraphs[0].tensors
    results = {}
    for op in ops_of(model):
        source = op.inputs if op.kind in CASTS else op.outputs
        if source and tensors[source[0]].type in DTYPES:
            results[_key(tensors[op.outputs[0]])] = _quantized(model, source[0])
    return results


def _key(tensor: schema.TensorT) -> tuple[str, tuple[int, ...]]:
    """What a tensor is recognized by in another file: names alone can be given anew."""
    return name_of(tensor), tuple(int(size) for size in tensor.shape)


def _quantized(model: schema.ModelT, index: int) -> Quantized:
    tensor = model.subgraphs[0].tensors[index]
    dtype = DTYPES[tensor.type]
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return Quantized(index, dtype, 0.0, 0)
    return Quantized(index, dtype, float(quantization.scale[0]), int(quantization.zeroPoint[0]))


def _widened(ends: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    by_channel = values.reshape(-1, values.shape[-1])
    return np.array(
        [np.minimum(ends[0], by_channel.min(axis=0)), np.maximum(ends[1], by_channel.max(axis=0))]
    )


def _ratio(part: float, whole: float) -> float:
    """Of powers; 0 where there is no signal that noise could be told relative to."""
    return part / whole if whole else 0.0


def _decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise), infinite without noise."""
    return 10 * log10(signal / noise) if signal and noise else (-inf if noise else inf)


def _drawn(decibels: float) -> float:
    return min(max(decibels, -MOST_DB), MOST_DB)

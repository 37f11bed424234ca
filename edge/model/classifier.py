"""One model file, opened once, that turns frames into predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError, OptionError
from dermedge.edge.model.decision import Decision, decide, logits_of_outputs, prediction_set, softmax
from dermedge.edge.model.manifest import Manifest, read_associated_labels, read_manifest
from dermedge.edge.model.runtime import Interpreter, choose_runtime, open_interpreter
from dermedge.edge.preprocess import PREPROCESSING, Preprocessor

NS_PER_MS = 1e6
Smooth = Callable[[tuple[float, ...]], tuple[float, ...]]
# Steps along rows and columns that make, of the network's picture, its mirror image and both turned by 180
# degrees.
TURNS = ((1, -1), (-1, -1), (-1, 1))


@dataclass(frozen=True)
class Timing:
    """Where the time of one prediction went, in milliseconds; ``invoke_ms`` is that of all its inferences."""

    preprocess_ms: float
    invoke_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        return self.preprocess_ms + self.invoke_ms + self.postprocess_ms


@dataclass(frozen=True)
class Tensor:
    """An output as the network left it.

    Attributes:
        values: uint8, int8 or float32, without the batch dimension.
        scale: of the quantization, 0 for floats.
        zero_point: of the quantization.
    """

    values: NDArray[Any]
    scale: float
    zero_point: int

    def dequantize(self) -> NDArray[np.float32]:
        """(q - zero point) * scale in float32; floats pass through."""
        values = self.values.astype(np.float32)
        return (values - np.float32(self.zero_point)) * np.float32(self.scale) if self.scale else values

    def mean_over_cells(self) -> tuple[float, ...]:
        """The dequantized mean of a [h, w, K] tensor over h and w, K numbers."""
        classes = self.values.shape[-1]
        if self.values.dtype != np.uint8:
            return tuple(self.dequantize().reshape(-1, classes).mean(axis=0).tolist())
        levels = self.values.tobytes()
        cells = len(levels) // classes
        return tuple(
            (sum(levels[index::classes]) / cells - self.zero_point) * self.scale for index in range(classes)
        )


@dataclass(frozen=True)
class Prediction:
    """What the model says of one frame.

    Attributes:
        label: the answered class.
        decision: how it was answered.
        alert: the class whose alert is on, whatever the label is, or None.
        probabilities: one a class, calibrated with the manifest's temperature, sum 1; or what was made of
            them to decide on.
        logits: one a class, before the temperature.
        timing: of this prediction.
        evidence_levels: the evidence as the network left it, or None where the model has none.
    """

    label: str
    decision: Decision
    alert: str | None
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    timing: Timing
    evidence_levels: Tensor | None

    @property
    def index(self) -> int:
        return self.decision.index

    @property
    def probability(self) -> float:
        """Of the answered class."""
        return self.probabilities[self.decision.index]

    @property
    def evidence(self) -> NDArray[np.float32] | None:
        """float32 [h, w, K] whose mean over h and w is the logits, or None."""
        return self.evidence_levels.dequantize() if self.evidence_levels else None


class Classifier:
    """A .tflite and its interpreter. Not for use from several threads at once.

    Args:
        model: a .tflite file with a uint8 or int8 [1, S, S, 3] RGB input of real pixel values, or with a
            float32 one and a manifest, which says that it holds them.
        labels: class names for a file without a manifest.
        num_threads: of the interpreter.
        runtime: ``auto``, ``litert`` or ``tflite-runtime``.
        tta: test-time augmentation: the logits are the mean over the picture, its mirror image and both
            turned by 180 degrees, which takes four inferences; the evidence is that of the picture.
        xnnpack: False computes with the runtime's own kernels, to tell what those of XNNPACK change.

    Raises:
        ModelError: the file cannot be run, or is no picture classifier.
        OptionError: the number of labels is not that of the classes.
    """

    def __init__(
        self,
        model: Path | str,
        labels: Sequence[str] | None = None,
        num_threads: int = 1,
        runtime: str = "auto",
        tta: bool = False,
        xnnpack: bool = True,
    ) -> None:
        self.path = Path(model)
        self.runtime = choose_runtime(runtime)
        self.num_threads = num_threads
        self.tta = tta
        started = perf_counter_ns()
        self._interpreter: Interpreter = open_interpreter(self.path, num_threads, self.runtime, xnnpack)
        self.load_ms = (perf_counter_ns() - started) / NS_PER_MS
        self.manifest: Manifest | None = read_manifest(self.path)
        self._input = _input_details(self._interpreter, self.path, self.manifest is not None)
        self._probabilities, self._evidence = _output_details(self._interpreter, self.path)
        self.input_size = int(self._input["shape"][1])
        self._preprocess = Preprocessor(self.input_size)
        self._picture = np.empty((self.input_size, self.input_size, 3), np.uint8)
        classes = int(self._probabilities["shape"][-1])
        if self.manifest and len(self.manifest.labels) != classes:
            raise ModelError(
                f"'{self.path}' has {classes} classes, and its manifest names {len(self.manifest.labels)}; "
                "convert it again"
            )
        self.labels = _labels(self.path, self.manifest, labels, classes)
        if self.manifest and self.manifest.preprocessing != PREPROCESSING:
            raise ModelError(
                f"'{self.path}' wants the preprocessing '{self.manifest.preprocessing}', "
                f"and this dermedge does '{PREPROCESSING}'; install the dermedge that made it"
            )
        self.temperature = self.manifest.temperature if self.manifest else 1.0
        self.thresholds = self.manifest.thresholds if self.manifest else {}
        # thresholds name the classes as the manifest does, also where other labels were given
        self._own_labels = self.manifest.labels if self.manifest else self.labels
        self._none_label = self.manifest.none_label if self.manifest else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the interpreter and its arena; the classifier cannot be used after."""
        del self._interpreter

    @property
    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the input; the scale is 0 where it is not quantized."""
        scale, zero_point = self._input["quantization"]
        return float(scale), int(zero_point)

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """What the input tensor holds: uint8, int8 or float32."""
        return np.dtype(self._input["dtype"])

    @property
    def least_input(self) -> int:
        """What the pixel 0 is in the input tensor: -128 where that is int8, else 0."""
        return -128 if self._input["dtype"] == np.int8 else 0

    @property
    def has_heat_map(self) -> bool:
        """Whether the evidence has more than one cell, so that it says where."""
        return self._evidence is not None and int(np.prod(self._evidence["shape"][1:3])) > 1

    @property
    def has_prediction_sets(self) -> bool:
        """Whether `prediction_set` can be asked for."""
        return "conformal" in self.thresholds

    def preprocess(self, frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Writes the network's picture of a uint8 [h, w, 3] BGR frame into the input tensor.

        Returns:
            The picture: uint8 [S, S, 3] RGB, until the next call.
        """
        picture = self._preprocess(frame_bgr, out=self._picture)
        tensor = self._interpreter.tensor(self._input["index"])()[0]
        # int8 holds the pixel less 128
        tensor[...] = (picture ^ 0x80).view(np.int8) if tensor.dtype == np.int8 else picture
        return picture

    def invoke(self) -> None:
        """Runs the network on what lies in the input tensor."""
        self._interpreter.invoke()

    def raw_outputs(self) -> dict[str, Tensor]:
        """Copies of the outputs as the network left them: ``probabilities`` and, maybe, ``evidence``."""
        outputs = {"probabilities": self._read(self._probabilities)}
        if self._evidence is not None:
            outputs["evidence"] = self._read(self._evidence)
        return outputs

    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        """Classifies one uint8 [h, w, 3] BGR frame of 0 to 255."""
        started = perf_counter_ns()
        self.preprocess(frame_bgr)
        return self.predict_preprocessed((perf_counter_ns() - started) / NS_PER_MS)

    def predict_preprocessed(self, preprocess_ms: float, smooth: Smooth | None = None) -> Prediction:
        """Classifies what `preprocess` wrote last, once.

        Args:
            preprocess_ms: what that took.
            smooth: makes of its calibrated probabilities those that are decided on.
        """
        picture = self._interpreter.tensor(self._input["index"])()[0].copy() if self.tta else None
        prepared = perf_counter_ns()
        self._interpreter.invoke()
        invoked = perf_counter_ns()
        evidence, logits = self._logits()
        turns_ns = 0
        if picture is not None:
            logits, turns_ns = self._with_turns(picture, logits)
        probabilities = softmax(logits, self.temperature)
        if smooth is not None:
            probabilities = smooth(probabilities)
        decision = self._decide(probabilities)
        alert = self._label_of_alert() if decision.alert else None
        ended = perf_counter_ns()
        timing = Timing(
            preprocess_ms,
            (invoked - prepared + turns_ns) / NS_PER_MS,
            (ended - invoked - turns_ns) / NS_PER_MS,
        )
        label = self.labels[decision.index]
        return Prediction(label, decision, alert, probabilities, logits, timing, evidence)

    def require_prediction_sets(self) -> None:
        """Raises OptionError where the model `has_prediction_sets` not."""
        if not self.has_prediction_sets:
            raise OptionError(
                f"--sets needs a model with thresholds for prediction sets, and '{self.path}' has none; "
                "convert it again"
            )

    def prediction_set(self, prediction: Prediction) -> tuple[str, ...]:
        """The classes that a prediction of this classifier does not rule out; maybe none, maybe several.

        Raises:
            KeyError: the model `has_prediction_sets` not.
        """
        chosen = prediction_set(prediction.probabilities, self._own_labels, self.thresholds)
        return tuple(self.labels[index] for index in chosen)

    def _decide(self, probabilities: tuple[float, ...]) -> Decision:
        return decide(probabilities, self._own_labels, self._none_label, self.thresholds)

    def _label_of_alert(self) -> str:
        return self.labels[self._own_labels.index(self.thresholds["alert"]["label"])]

    def _with_turns(self, picture: NDArray[Any], logits: tuple[float, ...]) -> tuple[tuple[float, ...], int]:
        """The mean of a picture's logits and of those of its `TURNS`, and the nanoseconds these ran."""
        rows, invoke_ns = [logits], 0
        for down, right in TURNS:
            self._interpreter.tensor(self._input["index"])()[0] = picture[::down, ::right]
            started = perf_counter_ns()
            self._interpreter.invoke()
            invoke_ns += perf_counter_ns() - started
            rows.append(self._logits()[1])
        return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True)), invoke_ns

    def _read(self, details: dict[str, Any]) -> Tensor:
        return Tensor(self._interpreter.tensor(details["index"])()[0].copy(), *details["quantization"])

    def _logits(self) -> tuple[Tensor | None, tuple[float, ...]]:
        if self._evidence is not None:
            evidence = self._read(self._evidence)
            return evidence, evidence.mean_over_cells()
        return None, logits_of_outputs(self._read(self._probabilities).dequantize().tolist())


def _input_details(interpreter: Interpreter, path: Path, is_ours: bool) -> dict[str, Any]:
    inputs = interpreter.get_input_details()
    shape = [int(n) for n in inputs[0]["shape"]]
    if len(inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
        raise ModelError(f"'{path}' is no picture classifier: its input is {shape}, not [1, S, S, 3]")
    if inputs[0]["dtype"] not in ((np.uint8, np.int8, np.float32) if is_ours else (np.uint8, np.int8)):
        name = np.dtype(inputs[0]["dtype"]).name
        raise ModelError(
            f"the input of '{path}' is {name}, whose normalization nobody wrote down; "
            "convert it with `dermedge convert`, which takes real uint8 pixels"
        )
    return inputs[0]


def _output_details(interpreter: Interpreter, path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The outputs by rank: [1, K] are the probabilities, [1, h, w, K] the evidence."""
    outputs = interpreter.get_output_details()
    flat = [one for one in outputs if len(one["shape"]) == 2]
    maps = [one for one in outputs if len(one["shape"]) == 4]
    if len(flat) != 1 or len(maps) > 1 or len(flat) + len(maps) != len(outputs):
        shapes = [one["shape"].tolist() for one in outputs]
        raise ModelError(
            f"'{path}' is no classifier: its outputs are {shapes}, not [1, K] (and [1, h, w, K])"
        )
    if maps and maps[0]["shape"][-1] != flat[0]["shape"][-1]:
        raise ModelError(f"'{path}' is damaged: its two outputs disagree on the number of classes")
    return flat[0], maps[0] if maps else None


def _labels(
    path: Path, manifest: Manifest | None, given: Sequence[str] | None, count: int
) -> tuple[str, ...]:
    labels: Sequence[str] | None = given
    if labels is None:
        labels = manifest.labels if manifest else read_associated_labels(path)
    if labels is None:
        labels = [f"class {index}" for index in range(count)]
    if len(labels) != count:
        raise OptionError(f"'{path}' has {count} classes, but {len(labels)} labels were given")
    return tuple(labels)


def common_labels(classifiers: Sequence[Classifier]) -> tuple[str, ...]:
    """The labels that all of at least one classifier have.

    Raises:
        OptionError: they differ, so that no photo has one truth for all.
    """
    first, *others = classifiers
    for other in others:
        if other.labels != first.labels:
            raise OptionError(
                f"'{other.path}' knows other classes ({_some(other.labels)}) than '{first.path}' "
                f"({_some(first.labels)}): they cannot be scored on the same photos"
            )
    return first.labels


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f", … {len(labels)} in all" if len(labels) > 3 else "")

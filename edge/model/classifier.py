"""Opens a model file, and classifies frames with the model: crop, infer, decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError, OptionError, PictureError
from dermedge.edge.fork_lock import ForkLock
from dermedge.edge.model.decision import Headline, decide, headline, prediction_set, softmax
from dermedge.edge.model.head import Head, calibrated_logits_of, logits_of, probabilities_of
from dermedge.edge.model.input_tensor import InputTensor
from dermedge.edge.model.manifest import CLOSE_UP, Manifest, digest, read_manifest
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.photo_view import DERMOSCOPIC, ViewCalibration, calibration_of, view_by_probability
from dermedge.edge.model.prediction import Crop, Outputs, Prediction, Tensor, Timing
from dermedge.edge.model.runtime import Interpreter, choose_runtime, invoke, open_interpreter, read_tensor
from dermedge.edge.model.shipped import DEFAULT_MODEL, model_path
from dermedge.edge.model.signature import (
    check_manifest,
    find_input,
    find_labels,
    find_normalization,
    find_outputs,
)
from dermedge.edge.preprocess import Preprocessor

__all__ = ["Classifier", "common_labels"]

_NS_PER_MS = 1e6
# A frame may be gray, in colour, or in colour with an alpha channel, which is ignored.
_CHANNELS = (1, 3, 4)
# A quantized probability may lie this far below 0 or above 1, because its scale is rounded.
_ROUNDING = 0.01
# Test-time augmentation needs three changed copies of an image: the mirror image, the image rotated by 180 degrees, and
# the mirror image rotated by 180 degrees. Each pair makes one copy: the first number is the step by which the rows are
# sliced, the second number the step by which the columns are sliced. The step -1 reverses the order.
_TURNS = ((1, -1), (-1, -1), (-1, 1))


class Classifier:
    """A .tflite model with the interpreter that runs it. Threads may share a classifier: it runs one frame at a time.

    `predict` classifies one frame: it calls `crop`, `infer` and `decide`. You can also call these methods one by one.

    Args:
        model: the name of a model that ships with dermedge, or the path of a .tflite file. The input of the model must
            be one colour or gray image: uint8, int8, int16 or float32, [N, H, W, C] or [N, C, H, W].
        labels: the class names, in the order of the outputs. None uses the names that the file states.
        num_threads: the number of threads of the interpreter, 1 to 1024.
        runtime: the TFLite runtime: ``auto``, ``litert`` or ``tflite-runtime``.
        tta: whether to use test-time augmentation. The network then runs on four images: the crop, the mirror image of
            the crop, and both images rotated by 180 degrees. The four vectors of logits are averaged. If the file has
            no manifest, the outputs of the network are averaged instead. The probability of a close-up is averaged too.
            The evidence is not averaged: it is the evidence for the crop.
        xnnpack: whether to use XNNPACK, the default library of kernels for CPUs. False uses the runtime's own kernels.
        normalization: how to normalize pixels for a file without a manifest: a key of
            `dermedge.edge.model.normalization.NORMALIZATIONS`. None uses what the metadata of the file states.

    Attributes:
        calibration: the temperature and thresholds for dermoscopic photos. They are used for all photos if the file
            does not tell close-ups from dermoscopic photos.
        close_up_calibration: the temperature and thresholds for close-ups. They are equal to ``calibration`` if the
            manifest has none for close-ups.
        head: the kind of the output ``probabilities``. It is None if the file has a manifest and the logits are
            computed from the evidence.
        interpreter: the interpreter of the runtime, for measurements.
        load_ms: the time that it took to open the model, in milliseconds.
        manifest: the manifest in the file, or None if there is none.
        labels: the class names, in the order of the outputs.
        layout: the shape of the input.
        normalization: the normalization of the pixels before they are written into the input. It is None if the input
            holds pixel values.

    Raises:
        ModelError: the file is missing, cannot be run, or is not an image classifier.
        OptionError: the number of labels differs from the number of classes, the normalization is unknown or missing,
            the runtime is unknown, or ``num_threads`` is less than 1 or more than 1024.
        MissingExtra: the runtime is not installed.
    """

    def __init__(
        self,
        model: Path | str = DEFAULT_MODEL,
        labels: Sequence[str] | None = None,
        num_threads: int = 1,
        runtime: str = "auto",
        tta: bool = False,
        xnnpack: bool = True,
        normalization: str | None = None,
    ) -> None:
        self.path = model_path(model) if isinstance(model, str) else model
        self.runtime = choose_runtime(runtime)
        self.num_threads = num_threads
        self.tta = tta
        self._lock = ForkLock()  # held while the buffers of the preprocessor or the tensors are in use
        started = perf_counter_ns()
        self.interpreter: Interpreter = open_interpreter(self.path, num_threads, self.runtime, xnnpack)
        self.load_ms = (perf_counter_ns() - started) / _NS_PER_MS
        self.manifest: Manifest | None = read_manifest(self.path)
        self._input, self.layout = find_input(self.interpreter, self.path)
        outputs = find_outputs(self.interpreter, self.path)
        self._probabilities, self._evidence = outputs.probabilities, outputs.evidence
        self._close_up = outputs.close_up
        self.normalization = (
            None if self.manifest else find_normalization(self.path, self._input, self.layout, normalization)
        )
        self._input_tensor = InputTensor(self._input, self.layout, self.normalization)
        self._preprocess = Preprocessor(self.layout.height, self.layout.width)
        units = int(self._probabilities["shape"][-1])
        if self.manifest:
            check_manifest(self.manifest, self.path, units)
        self.head = None if self.manifest and self._evidence else self._find_head()
        self.labels = find_labels(self.path, self.manifest, labels, units)
        self.calibration = calibration_of(self.manifest, DERMOSCOPIC)
        self.close_up_calibration = calibration_of(
            self.manifest, CLOSE_UP if self.tells_view else DERMOSCOPIC
        )
        # the thresholds name classes by the labels in the manifest, even if the caller gave other labels
        self._own_labels = self.manifest.labels if self.manifest else self.labels
        self._none_label = self.manifest.none_label if self.manifest else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the interpreter. The classifier cannot be used afterwards. A second call does nothing."""
        self.__dict__.pop("interpreter", None)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the model file, in hexadecimal."""
        return digest(self.path)

    @property
    def input_quantization(self) -> tuple[float, int]:
        """The scale and the zero point of the input. The scale is 0 if the input is not quantized."""
        scale, zero_point = self._input["quantization"]
        return float(scale), int(zero_point)

    @property
    def input_size(self) -> int:
        """The height or the width of the input in pixels, whichever is smaller."""
        return min(self.layout.height, self.layout.width)

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """The type of the input tensor: uint8, int8, int16 or float32."""
        return np.dtype(self._input["dtype"])

    @property
    def has_heat_map(self) -> bool:
        """Whether the model has evidence for more than one position in the crop, so that a heat map can be computed."""
        return self._evidence is not None and int(np.prod(self._evidence["shape"][1:3])) > 1

    @property
    def tells_view(self) -> bool:
        """Whether the model tells close-ups from dermoscopic photos.

        The property is False for a model without a manifest. Such a model may have an output of the shape [N, 1], but
        only a manifest shows that this output is the probability of a close-up.
        """
        return self._close_up is not None and self.manifest is not None

    @property
    def alert_label(self) -> str | None:
        """The class for which the model has an alert, or None if the model has no alert.

        The alert may exist only for dermoscopic photos, or only for close-ups.
        """
        labels = (self._alert_label(one.thresholds) for one in (self.calibration, self.close_up_calibration))
        return next(filter(None, labels), None)

    @property
    def has_prediction_sets(self) -> bool:
        """Whether the model has thresholds for prediction sets, which `prediction_set` needs."""
        return any("conformal" in one.thresholds for one in (self.calibration, self.close_up_calibration))

    def predict(self, frame_bgr: NDArray[np.uint8]) -> Prediction:
        """Classifies one frame: uint8 [h, w, 3], 0 to 255, blue first."""
        outputs = self.infer(self.crop(frame_bgr))
        return self.decide(outputs, outputs.probabilities)

    def crop(self, frame_bgr: NDArray[np.uint8]) -> Crop:
        """Cuts out the region that the network sees, resizes it to the size of the input, and converts it to RGB.

        Args:
            frame_bgr: uint8 [h, w, 3], 0 to 255, blue first.

        Raises:
            PictureError: the frame is not an image, or is not uint8.
        """
        _check_frame(frame_bgr)
        with self._lock.held():
            started = perf_counter_ns()
            region = self._preprocess.region(frame_bgr.shape[0], frame_bgr.shape[1])
            image = self._preprocess(frame_bgr)
            return Crop(image, region, (perf_counter_ns() - started) / _NS_PER_MS)

    def infer(self, crop: Crop) -> Outputs:
        """Runs the network on a crop."""
        with self._lock.held():
            return self._infer(crop)

    def _infer(self, crop: Crop) -> Outputs:
        started = perf_counter_ns()
        self._write(crop.image_rgb)
        written = perf_counter_ns()
        invoke(self.interpreter, self.path)
        invoked = perf_counter_ns()
        evidence, values, close_up = self._read_values()
        turns_ns = 0
        if self.tta:
            values, close_up, turns_ns = self._mean_with_turns(crop.image_rgb, values, close_up)
        view = view_by_probability(close_up)
        probabilities, logits = self._interpret(values, view)
        ended = perf_counter_ns()
        timing = Timing(
            crop.took_ms + (written - started) / _NS_PER_MS,
            (invoked - written + turns_ns) / _NS_PER_MS,
            (ended - invoked - turns_ns) / _NS_PER_MS,
        )
        return Outputs(probabilities, logits, evidence, timing, close_up, view)

    def in_view(self, outputs: Outputs, view: str | None) -> Outputs:
        """Computes the probabilities again, with the temperature for ``view``, and returns the changed outputs."""
        temperature = self._calibration_of(view).temperature
        return replace(outputs, probabilities=softmax(outputs.logits, temperature), view=view)

    def decide(self, outputs: Outputs, probabilities: tuple[float, ...]) -> Prediction:
        """Chooses the answer by the thresholds in the manifest. `dermedge.edge.model.decision` states the rules.

        Args:
            outputs: the outputs for the frame. ``outputs.view`` selects the thresholds.
            probabilities: the probabilities to decide on, one for each class. They are ``outputs.probabilities``, or
                these probabilities smoothed over time.

        Raises:
            ModelError: a probability is NaN, or not from 0 to 1.
        """
        started = perf_counter_ns()
        for one in probabilities:
            if not -_ROUNDING <= one <= 1 + _ROUNDING:
                raise ModelError(
                    f"'{self.path}' answered with the probability {one:g}, which is not a number from 0 to 1; convert "
                    "the model again, for example to float32 and without an operator after its softmax, or use another "
                    "model"
                )
        thresholds = self._calibration_of(outputs.view).thresholds
        decision = decide(probabilities, self._own_labels, self._none_label, thresholds)
        label, alert = self.labels[decision.index], self._alert_label(thresholds) if decision.alert else None
        spent = outputs.timing
        decided_ms = (perf_counter_ns() - started) / _NS_PER_MS
        timing = Timing(spent.preprocess_ms, spent.invoke_ms, spent.postprocess_ms + decided_ms)
        levels = outputs.evidence_levels
        return Prediction(label, decision, alert, probabilities, outputs.logits, timing, levels, outputs.view)

    def headline(self, prediction: Prediction, confidence: float = 0.0) -> Headline:
        """Returns the headline for a prediction of this classifier, with `dermedge.edge.model.decision.headline`.

        Args:
            prediction: the prediction to describe.
            confidence: a probability, 0 to 1, that the user chose. An answer whose probability is lower is called
                uncertain.
        """
        has_none = self._none_label in self._own_labels
        return headline(prediction.probabilities, prediction.decision, self.labels, has_none, confidence)

    def raw_outputs(self, frame_bgr: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Runs the network on a frame, and returns the output tensors.

        Returns:
            A dict from the name of an output to a copy of the tensor. The names are ``probabilities`` and, if the
            model has these outputs, ``evidence`` and ``close_up``.
        """
        details = {
            "probabilities": self._probabilities,
            "evidence": self._evidence,
            "close_up": self._close_up,
        }
        crop = self.crop(frame_bgr)
        with self._lock.held():
            self._write(crop.image_rgb)
            invoke(self.interpreter, self.path)
            return {name: self._read(one) for name, one in details.items() if one is not None}

    def require_prediction_sets(self) -> None:
        """Raises OptionError if the model has no thresholds for prediction sets."""
        if not self.has_prediction_sets:
            raise OptionError(
                f"--sets needs a model with thresholds for prediction sets, and '{self.path}' has none; "
                "convert the model again"
            )

    def prediction_set(self, prediction: Prediction) -> tuple[str, ...]:
        """Returns the classes that a prediction of this classifier does not rule out. The set may be empty.

        The thresholds for prediction sets may exist for one view only, such as close-ups. For a photo of the other
        view, this method returns all classes.

        Raises:
            KeyError: the model has no thresholds for prediction sets.
        """
        thresholds = self._calibration_of(prediction.view).thresholds
        if "conformal" not in thresholds and self.has_prediction_sets:
            return self.labels
        indices = prediction_set(prediction.probabilities, self._own_labels, thresholds)
        return tuple(self.labels[index] for index in indices)

    def _calibration_of(self, view: str | None) -> ViewCalibration:
        return self.close_up_calibration if view == CLOSE_UP else self.calibration

    def _alert_label(self, thresholds: Mapping[str, Any]) -> str | None:
        """Returns the label, from ``labels``, of the class that has an alert. Returns None if no class has an alert."""
        if "alert" not in thresholds:
            return None
        return self.labels[self._own_labels.index(thresholds["alert"]["label"])]

    def _write(self, image_rgb: NDArray[np.uint8]) -> None:
        """Writes uint8 [H, W, 3] RGB into the input tensor."""
        self._input_tensor.write(self.interpreter.tensor(self._input["index"])(), image_rgb)

    def _mean_with_turns(
        self, image_rgb: NDArray[np.uint8], values: tuple[float, ...], close_up: float | None
    ) -> tuple[tuple[float, ...], float | None, int]:
        """Averages the network's values and the probability of a close-up over an image and its three `_TURNS`.

        Returns the averaged values, the averaged probability of a close-up, and the duration of the additional
        inferences in nanoseconds.

        Args:
            image_rgb: uint8 [H, W, 3], red first.
            values: the values for the image itself, as `_read_values` returns them.
            close_up: the probability of a close-up for the image itself, or None.
        """
        rows, close_ups, invoke_ns = [values], [close_up], 0
        for down, right in _TURNS:
            self._write(image_rgb[::down, ::right])
            started = perf_counter_ns()
            invoke(self.interpreter, self.path)
            invoke_ns += perf_counter_ns() - started
            _, turned, turned_close_up = self._read_values()
            rows.append(turned)
            close_ups.append(turned_close_up)
        told = [one for one in close_ups if one is not None]
        means = tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
        return means, sum(told) / len(told) if told else None, invoke_ns

    def _read(self, details: dict[str, Any]) -> Tensor:
        values = read_tensor(self.interpreter, details["index"], self.path)
        return Tensor(values[0], *details["quantization"])

    def _read_values(self) -> tuple[Tensor | None, tuple[float, ...], float | None]:
        """Returns the evidence, the logits, and the probability of a close-up.

        For a file without a manifest, the second result is the dequantized output of the network, which may be logits
        or probabilities.
        """
        evidence = None if self._evidence is None else self._read(self._evidence)
        close_up = self._read_close_up()
        if self.head is None and evidence is not None:
            return evidence, evidence.mean_over_cells(), close_up
        outputs = self._read(self._probabilities).dequantize().ravel().tolist()
        if self.head is None or self.manifest is None:
            return evidence, tuple(outputs), close_up
        return evidence, calibrated_logits_of(self.head, outputs), close_up

    def _read_close_up(self) -> float | None:
        """Returns the dequantized probability of a close-up, or None if `tells_view` is False."""
        if self._close_up is None or self.manifest is None:
            return None
        scale, zero_point = self._close_up["quantization"]
        level: float = read_tensor(self.interpreter, self._close_up["index"], self.path)[0].item()
        return (level - zero_point) * scale if scale else level

    def _interpret(
        self, values: tuple[float, ...], view: str | None
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns the probabilities and the logits, computed from the values that `_read_values` returned.

        If the file has a manifest, the probabilities are calibrated with the manifest's temperature for ``view``.
        """
        if self.manifest is not None or self.head is None:
            return softmax(values, self._calibration_of(view).temperature), values
        return probabilities_of(self.head, values), logits_of(self.head, values)

    def _find_head(self) -> Head:
        """Returns the kind of the output ``probabilities``, which `read_facts` derives from the file."""
        indices = [one["index"] for one in self.interpreter.get_output_details()]
        head = read_facts(self.path).heads[indices.index(self._probabilities["index"])]
        if head is Head.SOFTMAX and self._probabilities["shape"][-1] == 1:
            raise ModelError(
                f"'{self.path}' ends in a softmax over one class, whose probability is always 1; "
                "train the network with a sigmoid, or with two classes"
            )
        return head


def common_labels(classifiers: Sequence[Classifier]) -> tuple[str, ...]:
    """Returns the labels of one or more classifiers. All classifiers must have the same labels.

    Raises:
        OptionError: the labels of two classifiers differ, so that the same labelled photos cannot score both.
    """
    first, *others = classifiers
    for other in others:
        if other.labels != first.labels:
            raise OptionError(
                f"the classes of '{other.path}' ({_some(other.labels)}) differ from those of '{first.path}' "
                f"({_some(first.labels)}): these models cannot be scored on the same photos; "
                "score each one in a command of its own"
            )
    return first.labels


def _check_frame(frame_bgr: Any) -> None:
    """Raises PictureError if a frame is not a uint8 array of an image, for example a path, None or a batch."""
    if not isinstance(frame_bgr, np.ndarray):
        raise PictureError(
            f"the frame is of the type {type(frame_bgr).__name__}, and not an array of pixels; read a file with "
            "dermedge.read_picture"
        )
    if frame_bgr.dtype != np.uint8:
        raise PictureError(
            f"the frame is {frame_bgr.dtype}, and its values would be misread; scale them to 0 to 255, and convert "
            "the frame to uint8"
        )
    has_channels = frame_bgr.ndim == 2 or (frame_bgr.ndim == 3 and frame_bgr.shape[2] in _CHANNELS)
    if not frame_bgr.size or not has_channels:
        raise PictureError(
            f"the frame has the shape {frame_bgr.shape}; give one image of the shape (height, width, 3), blue first"
        )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (f", … {len(labels)} in total" if len(labels) > 3 else "")

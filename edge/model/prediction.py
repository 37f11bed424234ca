"""Defines the results of the steps of a prediction: the crop, the network's outputs, and the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.decision import Decision
from dermedge.edge.preprocess import Region

__all__ = ["Crop", "Outputs", "Prediction", "Tensor", "Timing"]


@dataclass(frozen=True)
class Timing:
    """The durations of the steps of one prediction, in milliseconds.

    Attributes:
        preprocess_ms: milliseconds from the frame to the input tensor.
        invoke_ms: milliseconds of the inference. With test-time augmentation, this is the sum of four inferences.
        postprocess_ms: milliseconds from reading the output tensors to the decision.
    """

    preprocess_ms: float
    invoke_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        return self.preprocess_ms + self.invoke_ms + self.postprocess_ms


@dataclass(frozen=True, eq=False)
class Tensor:
    """An output tensor with its quantization. A tensor equals only itself, because ``values`` is an array.

    Attributes:
        values: the values without the batch dimension: uint8, int8, int16 or float32.
        scale: the scale of the quantization. It is 0 if the values are not quantized.
        zero_point: the zero point of the quantization.
    """

    values: NDArray[Any]
    scale: float
    zero_point: int

    def dequantize(self) -> NDArray[np.float32]:
        """Returns (values - zero_point) * scale as float32. Values that are not quantized are returned unchanged."""
        values = self.values.astype(np.float32)
        return (values - np.float32(self.zero_point)) * np.float32(self.scale) if self.scale else values

    def mean_over_cells(self) -> tuple[float, ...]:
        """Returns the mean over h and w of a [h, w, K] tensor: K dequantized numbers."""
        classes = self.values.shape[-1]
        if self.values.dtype != np.uint8:
            return tuple(self.dequantize().reshape(-1, classes).mean(axis=0).tolist())
        levels = self.values.tobytes()
        cells = len(levels) // classes
        return tuple(
            (sum(levels[index::classes]) / cells - self.zero_point) * self.scale for index in range(classes)
        )


@dataclass(frozen=True, eq=False)
class Crop:
    """The region of a frame that the network sees, resized to the size of the network's input.

    A crop equals only itself, because ``image_rgb`` is an array.

    Attributes:
        image_rgb: uint8 [H, W, 3], 0 to 255, red first.
        region: the region of the frame.
        took_ms: the time that the preprocessing took, in milliseconds.
    """

    image_rgb: NDArray[np.uint8]
    region: Region
    took_ms: float


@dataclass(frozen=True)
class Outputs:
    """The outputs of the network for one crop.

    Attributes:
        probabilities: one probability for each class, calibrated with the manifest's temperature. For a file without a
            manifest, they are the probabilities that the network computes. They sum to 1, except for independent
            labels.
        logits: one logit for each class, not divided by the temperature.
        evidence_levels: the output tensor of the evidence, not dequantized, or None if the model has no evidence.
        timing: the durations of the steps from the frame to these outputs.
        close_up: the probability, 0 to 1, that the photo is a close-up. It is None if the model does not compute it.
        view: the view whose temperature calibrates the probabilities: ``dermoscopic``, ``close-up`` or None, as in
            `Prediction`.
    """

    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    evidence_levels: Tensor | None
    timing: Timing
    close_up: float | None = None
    view: str | None = None


@dataclass(frozen=True)
class Prediction:
    """The answer of the model to one frame.

    Attributes:
        label: the label of the answer.
        decision: the decision: which class is the answer, and whether the answer is uncertain.
        alert: the label of the class whose alert is on, whatever the answer is. It is None if the alert is off.
        probabilities: one probability for each class, on which the decision is based. In a live view, they are
            smoothed over time.
        logits: one logit for each class, for this frame alone, not divided by the temperature.
        timing: the durations of the steps of this prediction.
        evidence_levels: the output tensor of the evidence, not dequantized, or None if the model has no evidence.
        view: the view whose thresholds were used: ``dermoscopic`` or ``close-up``. It is None if the model does not
            tell close-ups from dermoscopic photos.
    """

    label: str
    decision: Decision
    alert: str | None
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    timing: Timing
    evidence_levels: Tensor | None
    view: str | None = None

    @property
    def index(self) -> int:
        """The index of the class that is the answer."""
        return self.decision.index

    @property
    def probability(self) -> float:
        """The probability of the class that is the answer."""
        return self.probabilities[self.decision.index]

    @property
    def is_most_probable(self) -> bool:
        """Whether the answer is the most probable class. The thresholds can make another class the answer."""
        return self.probability >= max(self.probabilities)

    @property
    def evidence(self) -> NDArray[np.float32] | None:
        """The evidence as float32 [h, w, K], or None if the model has no evidence.

        If the model has a manifest, the logit of a class is the mean of the evidence for this class over h and w.
        This is not so with test-time augmentation, which averages the logits of four images, but not the evidence.
        """
        return self.evidence_levels.dequantize() if self.evidence_levels else None

"""The results of the steps of a prediction: the crop, the network's outputs, and the prediction."""

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
        invoke_ms: milliseconds of the inference; with test-time augmentation, of its four inferences together.
        postprocess_ms: milliseconds from reading the output tensors to the decision.
    """

    preprocess_ms: float
    invoke_ms: float
    postprocess_ms: float

    @property
    def total_ms(self) -> float:
        return self.preprocess_ms + self.invoke_ms + self.postprocess_ms


@dataclass(frozen=True)
class Tensor:
    """An output tensor with its quantization.

    Attributes:
        values: uint8, int8 or float32, without the batch dimension.
        scale: scale of the quantization; 0 for floats.
        zero_point: zero point of the quantization.
    """

    values: NDArray[Any]
    scale: float
    zero_point: int

    def dequantize(self) -> NDArray[np.float32]:
        """Returns (q - zero point) * scale in float32; floats are returned unchanged."""
        values = self.values.astype(np.float32)
        return (values - np.float32(self.zero_point)) * np.float32(self.scale) if self.scale else values

    def mean_over_cells(self) -> tuple[float, ...]:
        """Returns the dequantized mean of a [h, w, K] tensor over h and w: K numbers."""
        classes = self.values.shape[-1]
        if self.values.dtype != np.uint8:
            return tuple(self.dequantize().reshape(-1, classes).mean(axis=0).tolist())
        levels = self.values.tobytes()
        cells = len(levels) // classes
        return tuple(
            (sum(levels[index::classes]) / cells - self.zero_point) * self.scale for index in range(classes)
        )


@dataclass(frozen=True)
class Crop:
    """The region of a frame that the network sees, at the network's size.

    Attributes:
        image_rgb: uint8 [H, W, 3], 0 to 255, red first.
        region: region of the frame.
        took_ms: how long the preprocessing took.
    """

    image_rgb: NDArray[np.uint8]
    region: Region
    took_ms: float


@dataclass(frozen=True)
class Outputs:
    """The outputs of the network for one crop.

    Attributes:
        probabilities: one for each class, calibrated with the manifest's temperature. A file without a manifest gives
            the probabilities that its network computes. The sum is 1, or any number for independent labels.
        logits: one for each class, before the temperature.
        evidence_levels: the evidence as the network left it, or None if the model has none.
        timing: times from the frame to these outputs; ``postprocess_ms`` ends with the probabilities.
        close_up: the probability, 0 to 1, that the photo is a close-up; None if the file has no such output.
        view: the view whose temperature the probabilities are calibrated with, as `Prediction.view`.
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
        label: the answered class.
        decision: the answered class, and whether it was declined or uncertain.
        alert: the class whose alert is on, whatever the label is; or None.
        probabilities: one for each class: those that the decision was based on. In a live view they are smoothed over
            time.
        logits: one for each class, of this frame alone, before the temperature.
        timing: timing of this prediction.
        evidence_levels: the evidence as the network left it, or None if the model has none.
        view: ``dermoscopic`` or ``close-up``: the view whose thresholds were used; None if the file does not tell the
            view.
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
        """The index of the answered class."""
        return self.decision.index

    @property
    def probability(self) -> float:
        """The probability of the answered class."""
        return self.probabilities[self.decision.index]

    @property
    def is_most_probable(self) -> bool:
        """Whether the answered class is also the most probable one. Thresholds can choose another class."""
        return self.probability >= max(self.probabilities)

    @property
    def evidence(self) -> NDArray[np.float32] | None:
        """float32 [h, w, K] whose mean over h and w is the logits, or None."""
        return self.evidence_levels.dequantize() if self.evidence_levels else None

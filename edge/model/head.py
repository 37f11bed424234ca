"""Names the kinds of a classifier's output, and computes probabilities and logits from each kind."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import exp, log

from dermedge.edge.model.decision import softmax

__all__ = ["Head", "calibrated_logits_of", "logits_of", "probabilities_of"]

# Quantized probabilities have steps of 1 / 256. Probabilities of up to half a step are rounded to 0.
_HALF_STEP = 0.5 / 256
# A probability that the quantization rounded to 0 is replaced by a small positive number, because 0 has no logarithm.
# Even if all classes have this number, the sum of these numbers is at most _MOST_OF_ZEROS.
_MOST_OF_ZEROS = 0.1

# This probability replaces a probability of 0 before its logarithm is computed.
_LEAST_PROBABILITY = 1e-12


class Head(StrEnum):
    """The kind of an output.

    SOFTMAX stands for probabilities of classes that exclude each other, SIGMOID for probabilities of independent
    labels, and LOGITS for logits.
    """

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    LOGITS = "logits"


def probabilities_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Returns one probability for each class.

    Probabilities that the network computes are returned unchanged. Logits are turned into probabilities. If the output
    is a single value, there are two classes. The value is the probability p of the second class, or the logit of p. The
    function then returns (1 - p, p).
    """
    if len(outputs) == 1:
        positive = _sigmoid(outputs[0]) if head is Head.LOGITS else outputs[0]
        return 1 - positive, positive
    return softmax(outputs) if head is Head.LOGITS else tuple(outputs)


def logits_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Returns one logit for each class. Only the differences between the logits have a meaning.

    The softmax of the logits is equal to the result of `probabilities_of` if this result sums to 1.
    """
    if head is Head.LOGITS:
        return (0.0, outputs[0]) if len(outputs) == 1 else tuple(outputs)
    return tuple(log(max(one, _LEAST_PROBABILITY)) for one in probabilities_of(head, outputs))


def calibrated_logits_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Returns one logit for each class, which the caller divides by the manifest's temperature.

    Only the differences between the logits have a meaning. If the network computes probabilities, the logits are the
    logarithms of the probabilities. Before the logarithms are computed, probabilities below a limit are set to the
    limit, because a quantized 0 may stand for any value below half a step of uint8. For up to 51 classes, the limit is
    half a step, 0.5 / 256. For K > 51 classes, the limit is 0.1 / K. edge/phone/page/decision.js implements the same
    function.
    """
    if head is Head.LOGITS:
        return tuple(outputs)
    least = min(_HALF_STEP, _MOST_OF_ZEROS / len(outputs))
    return tuple(log(max(one, least)) for one in outputs)


def _sigmoid(logit: float) -> float:
    """Returns 1 / (1 + exp(-z)), without overflow for any z."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))

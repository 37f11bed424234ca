"""The kinds of a classifier's output, and how probabilities are computed from each."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import exp, log

from dermedge.edge.model.decision import softmax

__all__ = ["Head", "calibrated_logits_of", "logits_of", "probabilities_of"]

# Half of a uint8 probability's step: the largest probability that is rounded to 0.
_HALF_STEP = 0.5 / 256
# The largest sum of probabilities that the quantized zeros of all classes may stand for.
_MOST_OF_ZEROS = 0.1

# Replaces a probability of 0 where its logarithm is needed.
_LEAST_PROBABILITY = 1e-12


class Head(StrEnum):
    """The kind of an output: probabilities of classes that exclude each other, of independent labels, or logits."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    LOGITS = "logits"


def probabilities_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Returns one probability for each class: those that the network computes, unchanged, or those of its logits.

    A single value is the probability p, or the logit, of the second of two classes; the result is 1 - p and p.
    """
    if len(outputs) == 1:
        positive = _sigmoid(outputs[0]) if head is Head.LOGITS else outputs[0]
        return 1 - positive, positive
    return softmax(outputs) if head is Head.LOGITS else tuple(outputs)


def logits_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Returns logits, one for each class, up to a constant.

    Their softmax equals `probabilities_of` if these sum to 1.
    """
    if head is Head.LOGITS:
        return (0.0, outputs[0]) if len(outputs) == 1 else tuple(outputs)
    return tuple(log(max(one, _LEAST_PROBABILITY)) for one in probabilities_of(head, outputs))


def calibrated_logits_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Returns the logits that a manifest's temperature divides, one for each class, up to a constant.

    If the head computes probabilities, the logits are their logarithms. A probability counts as at least half a step
    of uint8, because a quantized 0 may stand for that much; with more than 51 classes, as at least 0.1 / K.
    edge/phone/page/decision.js repeats this function.
    """
    if head is Head.LOGITS:
        return tuple(outputs)
    least = min(_HALF_STEP, _MOST_OF_ZEROS / len(outputs))
    return tuple(log(max(one, least)) for one in outputs)


def _sigmoid(logit: float) -> float:
    """Returns 1 / (1 + exp(-z)), without overflow for any z."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))

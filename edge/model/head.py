"""What the output of a classifier holds, and the probabilities that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import exp, log

from dermedge.edge.model.decision import softmax

__all__ = ["Head", "logits_of", "probabilities_of"]

# Stands for a probability of 0 where its logarithm is needed.
_LEAST_PROBABILITY = 1e-12


class Head(StrEnum):
    """What an output holds: probabilities of classes that exclude each other, of independent labels, or logits."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    LOGITS = "logits"


def probabilities_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """The probabilities of an output, one a class: those that the network computes, unchanged, or those of its logits.

    A single output is the probability p, or the logit, of the second of two classes: 1 - p and p.
    """
    if len(outputs) == 1:
        positive = _sigmoid(outputs[0]) if head is Head.LOGITS else outputs[0]
        return 1 - positive, positive
    return softmax(outputs) if head is Head.LOGITS else tuple(outputs)


def logits_of(head: Head, outputs: Sequence[float]) -> tuple[float, ...]:
    """Logits, up to a constant, one a class, whose softmax is `probabilities_of` where these sum to 1."""
    if head is Head.LOGITS:
        return (0.0, outputs[0]) if len(outputs) == 1 else tuple(outputs)
    return tuple(log(max(one, _LEAST_PROBABILITY)) for one in probabilities_of(head, outputs))


def _sigmoid(logit: float) -> float:
    """1 / (1 + exp(-z)), without overflow for any z."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))

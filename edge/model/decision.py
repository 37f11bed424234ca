"""Turns outputs into calibrated probabilities, and probabilities into an answer.

The thresholds of a decision are those of a manifest, fitted on the validation split by `convert`; each may
be absent:

- ``none``: the photo is declined (answered "none of these") if p(none of these) >= this threshold. Otherwise the
  answer is the most probable of the other classes. Without this threshold, the answer is the most probable of all
  classes.
- ``uncertain``: an answer that is not declined is uncertain if its share among the classes other than "none of
  these", p / (sum of their p), is below this threshold (Chow, "On Optimum Recognition Error and Reject Tradeoff",
  1970).
- ``alert``: {"label", "threshold"}: the alert is on if p(label) >= threshold, whatever the answer is.
- ``conformal``: {"coverage", "thresholds": {label: threshold}}: the prediction set holds each class with p >= its
  threshold. It may be empty, and may hold several. For photos of each class that are sampled like those of validation,
  the set holds the true class with a probability of at least ``coverage``: least ambiguous set-valued classifiers
  (Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", 2019), class by
  class (Vovk, "Conditional Validity of Inductive Conformal Predictors", 2012).

The text of an answer is its `Headline`, the same in every view. It names a single class only if that class is
the most probable of all and its probability suffices, so that it agrees with the bars beside it.

All probabilities are calibrated: softmax(logits / temperature).

The code uses plain Python floats, because the classes are few. Right after an inference the caches are full of the
network, and a few NumPy calls then take longer than all of this code. The phone app repeats these rules;
tests/edge/decision_vectors.json holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

__all__ = [
    "UNCERTAIN",
    "Decision",
    "Headline",
    "decide",
    "headline",
    "prediction_set",
    "softmax",
]

# The label of an answer whose probability is too low.
UNCERTAIN = "uncertain"


def softmax(logits: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """Returns exp(z / T) / sum(exp(z / T)).

    Temperature scaling as in Guo et al., "On Calibration of Modern Neural Networks", 2017.
    """
    top = max(logits)
    exponents = [exp((one - top) / temperature) for one in logits]
    total = sum(exponents)
    return tuple(one / total for one in exponents)


@dataclass(frozen=True)
class Decision:
    """The decision for one vector of probabilities.

    Attributes:
        index: index of the answered class.
        declined: whether the answer is "none of these".
        uncertain: whether the share of the answer among the classes other than "none of these" is below the
            threshold.
        alert: whether the class of the alert reached its threshold, independent of the answer.
    """

    index: int
    declined: bool
    uncertain: bool
    alert: bool


def decide(
    probabilities: Sequence[float],
    labels: Sequence[str],
    none_label: str | None,
    thresholds: Mapping[str, Any],
) -> Decision:
    """Returns the answer by the rules that the module's docstring states.

    Args:
        probabilities: calibrated, one a class, sum 1.
        labels: labels of the classes.
        none_label: the label that stands for "none of these", or None.
        thresholds: thresholds of a manifest; an empty dict decides for the most probable class.
    """
    none_index = labels.index(none_label) if none_label in labels else None
    named = [index for index in range(len(labels)) if index != none_index]
    if none_index is None or "none" not in thresholds:
        index = probabilities.index(max(probabilities))
    elif probabilities[none_index] >= thresholds["none"]:
        index = none_index
    else:
        index = max(named, key=lambda one: probabilities[one])
    declined = index == none_index
    among_named = sum(probabilities[one] for one in named)
    alert = thresholds.get("alert")
    return Decision(
        index=index,
        declined=declined,
        uncertain=not declined and probabilities[index] < thresholds.get("uncertain", 0) * among_named,
        alert=alert is not None and probabilities[labels.index(alert["label"])] >= alert["threshold"],
    )


@dataclass(frozen=True)
class Headline:
    """The text of an answer.

    Attributes:
        title: the answered class, or a text that says that no class is clear.
        nearest: the most probable class other than "none of these", if `title` does not name a class; else None.
    """

    title: str
    nearest: str | None = None

    @property
    def text(self) -> str:
        """The headline in one line: ``nevus``, or ``uncertain; nearest: nevus``."""
        return self.title if self.nearest is None else f"{self.title}; nearest: {self.nearest}"


def headline(
    probabilities: Sequence[float],
    decision: Decision,
    labels: Sequence[str],
    has_none: bool,
    confidence: float = 0.0,
) -> Headline:
    """Returns the text of a decision.

    Args:
        probabilities: probabilities that the decision is based on.
        decision: the result of `decide`.
        labels: labels of the classes.
        has_none: whether one of the classes stands for "none of these".
        confidence: the probability, 0 to 1, below which an answer is uncertain for the user.
    """
    label, probability = labels[decision.index], probabilities[decision.index]
    if probability < max(probabilities):
        # The most probable class is not the answer: "none of these" is more probable than an answer that was not
        # declined, or less probable than another class although the photo was declined.
        nearest = labels[probabilities.index(max(probabilities))] if decision.declined else label
        classes = len(labels) - has_none
        if classes == 1:
            return Headline(f"not clearly {nearest}")
        return Headline(f"not clearly one of the {classes} classes", nearest)
    return Headline(UNCERTAIN, label) if decision.uncertain or probability < confidence else Headline(label)


def prediction_set(
    probabilities: Sequence[float], labels: Sequence[str], thresholds: Mapping[str, Any]
) -> tuple[int, ...]:
    """Returns the indices of the classes that the probabilities do not rule out, by ``conformal`` of the thresholds.

    Raises:
        KeyError: there are no thresholds for prediction sets.
    """
    least = thresholds["conformal"]["thresholds"]
    return tuple(index for index, label in enumerate(labels) if probabilities[index] >= least[label])

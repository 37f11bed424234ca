"""Turns logits into calibrated probabilities, and probabilities into an answer.

The manifest stores the thresholds of a decision, which `dermedge convert` fits on the validation photos. Each of these
keys may be absent:

- ``none``: a threshold for the probability of "none of these". If p(none of these) >= ``none``, the answer is "none of
  these", and the photo is called declined. Otherwise, the answer is the most probable of the other classes. If the key
  is absent, the answer is the most probable of all classes.
- ``uncertain``: a threshold for the share of the answer, p(answer) / sum of p over all classes except "none of these".
  If the answer is not "none of these" and its share is below ``uncertain``, the answer is uncertain (Chow, "On Optimum
  Recognition Error and Reject Tradeoff", 1970).
- ``alert``: an object with the keys ``label`` and ``threshold``. The alert is on if p(label) >= threshold, whatever the
  answer is.
- ``conformal``: an object with the keys ``coverage`` and ``thresholds``. The value of ``thresholds`` maps each label to
  a threshold. The prediction set holds each class whose p is at least the threshold of the class. The set may be empty,
  and it may hold several classes. If the photos of each class are sampled like the validation photos of this class, the
  set holds the true class with a probability of at least ``coverage``. The method is that of least ambiguous set-valued
  classifiers (Sadinle, Lei and Wasserman, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels", 2019),
  with one threshold for each class (Vovk, "Conditional Validity of Inductive Conformal Predictors", 2012).

The `Headline` is the text of an answer. The terminal, the window and the web page all show the same text. The headline
names a single class only if this class is the most probable of all classes and its probability is high enough. So the
headline agrees with the bars of the probabilities beside it.

All probabilities are calibrated: softmax(logits / temperature).

The code uses plain Python floats, because there are few classes. Right after an inference, the CPU's caches are full of
data of the network. A few NumPy calls would then take longer than all of this code. The phone app implements the same
rules, and tests/edge/decision_vectors.json tests that both implementations agree.
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

# This text replaces the label of an answer whose probability is too low.
UNCERTAIN = "uncertain"


def softmax(logits: Sequence[float], temperature: float = 1.0) -> tuple[float, ...]:
    """Returns exp(z / T) / sum(exp(z / T)) for the logits z and the temperature T.

    Dividing logits by a temperature is called temperature scaling (Guo et al., "On Calibration of Modern Neural
    Networks", 2017).
    """
    top = max(logits)
    exponents = [exp((one - top) / temperature) for one in logits]
    total = sum(exponents)
    return tuple(one / total for one in exponents)


@dataclass(frozen=True)
class Decision:
    """The decision for one vector of probabilities.

    Attributes:
        index: the index of the class that is the answer.
        declined: whether the answer is "none of these".
        uncertain: whether p(answer) / (sum of p over all classes except "none of these") is below the threshold
            ``uncertain``. It is False if the answer is "none of these".
        alert: whether the probability of the alert's class reached the alert's threshold, whatever the answer is.
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
    """Returns the decision by the rules that the docstring of this module states.

    Args:
        probabilities: the calibrated probabilities, one for each class.
        labels: the labels of the classes, in the same order.
        none_label: the label that stands for "none of these", or None if there is no such class.
        thresholds: the thresholds in a manifest. If the dict is empty, the answer is the most probable class.
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
    """The text that shows an answer to the user, such as ``nevus`` or ``uncertain; nearest: nevus``.

    Attributes:
        title: the label of the answer, or a text that says that no class is clear.
        nearest: the nearest class, which is shown after a ``title`` that names no class. It is None if ``title`` names
            a class. It can be "none of these" in one case only: "none of these" is the answer, but its probability is
            lower than the confidence that the user demands.
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
        probabilities: the probabilities on which the decision is based.
        decision: the result of `decide`.
        labels: the labels of the classes.
        has_none: whether one of the classes stands for "none of these".
        confidence: a probability, 0 to 1, that the user chose. An answer whose probability is lower is called
            uncertain.
    """
    label, probability = labels[decision.index], probabilities[decision.index]
    if probability < max(probabilities):
        # The most probable class differs from the answer in two cases. Either "none of these" is the most probable
        # class, but its probability is below its threshold, so that another class is the answer. Or "none of these" is
        # the answer, because its probability reached its threshold, although another class is more probable.
        nearest = labels[probabilities.index(max(probabilities))] if decision.declined else label
        classes = len(labels) - has_none
        if classes == 1:
            return Headline(f"not clearly {nearest}")
        return Headline(f"not clearly one of the {classes} classes", nearest)
    return Headline(UNCERTAIN, label) if decision.uncertain or probability < confidence else Headline(label)


def prediction_set(
    probabilities: Sequence[float], labels: Sequence[str], thresholds: Mapping[str, Any]
) -> tuple[int, ...]:
    """Returns the indices of the classes in the prediction set, according to ``thresholds["conformal"]``.

    Raises:
        KeyError: ``thresholds`` has no key ``conformal``.
    """
    least = thresholds["conformal"]["thresholds"]
    return tuple(index for index, label in enumerate(labels) if probabilities[index] >= least[label])

"""Scores a model on some of its classes, and counts all other classes of the model as "none of these".

With this module, models with different classes can be compared on the same photos. For instance, a model with five
classes and a model with nine classes can be scored on the classes that both models have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dermedge.edge.errors import OptionError
from dermedge.train.data.catalogue import NONE_OF_THESE
from dermedge.train.evaluation.metrics import Floats
from dermedge.train.evaluation.scorecard import ModelOutputs

if TYPE_CHECKING:
    from dermedge.train.evaluation.evaluate import EvaluatedModel

__all__ = ["merge_classes", "merge_classes_of_all", "merge_logits", "reorder_classes"]


def merge_classes(model: EvaluatedModel, classes: Sequence[str]) -> EvaluatedModel:
    """Returns the model with only the given classes. All other classes are merged into "none of these".

    The probability of "none of these" is the sum of the probabilities of the other classes. The threshold of the alert
    is kept if the class of the alert is among ``classes``. The other thresholds are dropped, because they were fitted
    for the classes before the merge. After the merge, the answer is the most probable class.

    Args:
        model: the model to score.
        classes: names of two or more classes of the model. The class "none of these" does not count, and need not be
            given.

    Raises:
        OptionError: the model lacks one of the classes, a class is given twice, or fewer than two classes are given.
    """
    named = [name for name in classes if name != NONE_OF_THESE]
    _check(model, named)
    others = [index for index, label in enumerate(model.labels) if label not in named]
    kept = [model.labels.index(name) for name in named]
    if not others:
        return replace(reorder_classes(model, named), none_label=None)
    return replace(
        _with_alert_alone(model, named),
        labels=(*named, NONE_OF_THESE),
        none_label=NONE_OF_THESE,
        outputs=lambda frames: _merged(model, model.outputs(frames), kept, others),
    )


def reorder_classes(model: EvaluatedModel, labels: Sequence[str]) -> EvaluatedModel:
    """Returns the model with its classes in the order of ``labels``, which has each class of the model once."""
    columns = [model.labels.index(label) for label in labels]

    def outputs(frames: Sequence[Any]) -> ModelOutputs:
        found = model.outputs(frames)
        return replace(found, logits=found.logits[:, columns])

    return replace(model, labels=tuple(labels), outputs=outputs)


def merge_classes_of_all(models: Sequence[EvaluatedModel], classes: Sequence[str]) -> list[EvaluatedModel]:
    """Merges the classes of several models as `merge_classes` does, and gives all models the same labels.

    If at least one model has the class "none of these" after the merge, the other models get this class too. Their
    probability of this class is always 0.
    """
    merged = [merge_classes(model, classes) for model in models]
    if not any(one.none_label for one in merged):
        return merged
    return [one if one.none_label else _with_none_class(one) for one in merged]


def _with_none_class(model: EvaluatedModel) -> EvaluatedModel:
    """Returns the model with "none of these" as a last class, whose probability is always 0."""

    def outputs(frames: Sequence[Any]) -> ModelOutputs:
        found = model.outputs(frames)
        impossible = np.full(len(found.logits), -np.inf)
        return replace(found, logits=np.column_stack([found.logits, impossible]))

    return replace(
        _with_alert_alone(model, model.labels),
        labels=(*model.labels, NONE_OF_THESE),
        none_label=NONE_OF_THESE,
        outputs=outputs,
    )


def _merged(
    model: EvaluatedModel, outputs: ModelOutputs, kept: Sequence[int], others: Sequence[int]
) -> ModelOutputs:
    """Returns the outputs with the columns ``others`` merged.

    A merged logit depends on the temperature. The temperature of each photo is that of `Answers.calibrations`; it is 1
    if the probabilities of the model are independent.
    """
    calibrations = model.answers(outputs).calibrations
    temperatures = np.array([1.0 if model.independent else one.temperature for one in calibrations])
    return replace(
        outputs,
        logits=merge_logits(outputs.logits, kept, others, temperatures),
        uncalibrated=merge_logits(outputs.logits, kept, others, np.ones(len(temperatures))),
    )


def merge_logits(logits: Floats, kept: Sequence[int], others: Sequence[int], temperature: Floats) -> Floats:
    """Returns float64 [n, len(kept) + 1]: the logits of the kept columns, and one logit for all other columns.

    The last logit is T * log(sum(exp(z / T))), where z are the logits of the columns ``others``. After a softmax with
    temperature T, the probability of the last column is the sum of the probabilities of the columns ``others``.

    Args:
        logits: float64 [n, K].
        kept: columns that are kept, in the order of the result.
        others: columns that are merged, at least one.
        temperature: float64 [n], the temperature T of each photo in the softmax.
    """
    summed = temperature * np.logaddexp.reduce(logits[:, list(others)] / temperature[:, None], axis=1)
    return np.column_stack([logits[:, list(kept)], summed])


def _with_alert_alone(model: EvaluatedModel, named: Sequence[str]) -> EvaluatedModel:
    """Returns the model without thresholds. Only an alert is kept, provided that ``named`` contains its class."""
    of_close_ups = model.of_close_ups
    if of_close_ups is not None:
        of_close_ups = replace(of_close_ups, thresholds=_alert_alone(of_close_ups.thresholds, named))
    return replace(model, thresholds=_alert_alone(model.thresholds, named), of_close_ups=of_close_ups)


def _alert_alone(thresholds: Mapping[str, Any], named: Sequence[str]) -> dict[str, Any]:
    alert = thresholds.get("alert")
    return {"alert": alert} if alert and alert["label"] in named else {}


def _check(model: EvaluatedModel, named: Sequence[str]) -> None:
    unknown = next((name for name in named if name not in model.labels), None)
    if unknown is not None:
        raise OptionError(
            f"--classes names '{unknown}', which is not a class of '{model.name}'. Known: {', '.join(model.labels)}"
        )
    if len(set(named)) < max(2, len(named)):
        raise OptionError(
            f"--classes is '{', '.join(named)}'; name at least two classes besides '{NONE_OF_THESE}', and each class "
            "only once"
        )

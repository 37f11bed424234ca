"""Decide whether a converted file is accepted.

The file must classify better than chance, and its labels must be in the right order
(`dermedge.convert.accept.network_checks`). On the same photos, the file must also be nearly as good as its float
network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dermedge.convert.accept.network_checks import NetworkCheck, check_network
from dermedge.convert.accept.power import detectable_loss
from dermedge.convert.calibrate.temperature import calibrated, fit_temperature
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.intervals import effective_size
from dermedge.train.evaluation.metrics import (
    Bools,
    Floats,
    Score,
    calibration_errors,
    count,
    lesion_draws,
    score_of,
    sensitivities_at,
)

__all__ = [
    "CANNOT_TELL",
    "PASSED",
    "POINTS",
    "REFUSED",
    "SURE_LEAD",
    "Acceptance",
    "AcceptanceCheck",
    "accept",
]

# The possible verdicts on a file and on a single check.
PASSED, REFUSED, CANNOT_TELL = "passed", "refused", "cannot tell"
_NOT_MEASURED = "not measured"

# An answer is called sure if its probability exceeds the probability of the second most probable class by at least this
# much. With a smaller difference, rounding may swap the two classes.
SURE_LEAD = 0.25
POINTS = 100
# The largest accepted change of a probability of a single photo. A sound 8-bit file changes a probability by 0.25 at
# most. A broken file changes probabilities much more, because it reverses answers.
_LARGEST_CHANGE = 0.5
_SPECIFICITY = 0.90
# A loss may exceed the limit by this much, because the difference of two float64 numbers is rounded.
_ROUNDING = 1e-9
# If the photos are too few to reveal a loss of balanced accuracy of this size, the verdict cannot be "passed".
_LOSS_TO_SHOW = 0.10
_BALANCED_ACCURACY = "balanced accuracy"


@dataclass(frozen=True)
class AcceptanceCheck:
    """The comparison of a file with its float network in one metric.

    Attributes:
        name: the name of the metric.
        reference: the metric of the float network, 0 to 1. It is None for the largest change of a probability, which is
            not a property of the float network alone.
        device: the metric of the file in the device runtime. It is NaN if the photos do not suffice to compute it.
        drop: the loss, where 0.01 is one percentage point, with its 95 % confidence interval from a paired bootstrap
            over lesions.
        limit: the largest loss that is accepted.
        detectable: the smallest true loss that would be found on 80 % of all proof sets of this size, computed by
            `detectable_loss`.
    """

    name: str
    reference: float | None
    device: float
    drop: Score
    limit: float
    detectable: float

    @property
    def passed(self) -> bool:
        """Whether the file passes the check.

        The file passes in three cases: the loss was not measured; the loss is within the limit; or the loss may be
        chance, because its confidence interval does not lie above 0.
        """
        return not self.drop.measured or self._is_within_limit or self.drop.low <= 0

    @property
    def _is_within_limit(self) -> bool:
        return self.drop.value <= self.limit + _ROUNDING

    @property
    def status(self) -> str:
        """The result: ``passed``, ``refused``, ``not measured`` or ``cannot tell``.

        ``cannot tell`` means that the loss is above the limit but may be chance.
        """
        if not self.drop.measured:
            return _NOT_MEASURED
        if not self.passed:
            return REFUSED
        return PASSED if self._is_within_limit else CANNOT_TELL

    @property
    def line(self) -> str:
        """One line for the user about the result of the check, with losses in percentage points."""
        if not self.drop.measured:
            return f"{self.name}: not measured on these photos"
        reference = "" if self.reference is None else f"{self.reference:.3f} -> "
        interval = f"{self.drop.low * POINTS:.1f} to {self.drop.high * POINTS:.1f}"
        may_be_chance = ", which may be chance" if self.status == CANNOT_TELL else ""
        return (
            f"{self.name}: {reference}{self.device:.3f}, lost {self.drop.value * POINTS:.1f} points "
            f"(95 % confidence interval {interval}){may_be_chance}; allowed: {self.limit * POINTS:.1f}, "
            f"smallest detectable loss: {self.detectable * POINTS:.1f}"
        )


@dataclass(frozen=True)
class Acceptance:
    """All checks of one file.

    Attributes:
        photos: the number of photos in the proof set.
        network_checks: the checks of the file alone, which need no float network.
        checks: the comparisons of the file with the float network.
        flips: two numbers for each class that has photos. The first one counts the photos of the class that only the
            float network classifies correctly. The second one counts those that only the file classifies correctly.
    """

    photos: int
    network_checks: tuple[NetworkCheck, ...]
    checks: tuple[AcceptanceCheck, ...]
    flips: dict[str, tuple[int, int]]

    @property
    def passed(self) -> bool:
        """Whether the file passes all checks."""
        return not self.failed

    @property
    def verdict(self) -> str:
        """The verdict on the file: ``passed``, ``refused`` or ``cannot tell``."""
        if self.failed:
            return REFUSED
        return CANNOT_TELL if self.doubts else PASSED

    @property
    def doubts(self) -> tuple[str, ...]:
        """The reasons why the photos cannot tell whether the file loses more than allowed, one line each.

        The tuple is empty if the photos allow a clear verdict.
        """
        doubts = [
            f"the loss of {check.drop.value * POINTS:.1f} percentage points in '{check.name}' is above the allowed "
            f"{check.limit * POINTS:.1f}, but it may be chance"
            for check in self.checks
            if check.status == CANNOT_TELL
        ]
        (accuracy,) = (check for check in self.checks if check.name == _BALANCED_ACCURACY)
        if accuracy.detectable > _LOSS_TO_SHOW:
            doubts.insert(
                0,
                f"{self.photos} photos are too few, because they only reveal a loss of balanced accuracy of at least "
                f"{accuracy.detectable * POINTS:.1f} percentage points",
            )
        return tuple(doubts)

    @property
    def failed(self) -> tuple[NetworkCheck | AcceptanceCheck, ...]:
        """The checks that the file does not pass.

        The failed ``checks`` come first. The check whose loss exceeds the limit by the most is the first one. The
        failed ``network_checks`` follow.
        """
        failed = [check for check in self.checks if not check.passed]
        failed.sort(key=lambda check: check.limit - check.drop.value)
        return (*failed, *(check for check in self.network_checks if not check.passed))


def accept(proof: ProofSet, device: Floats, max_drop: float) -> Acceptance:
    """Check a file, and compare it with its float network. The most probable class counts as the answer.

    The file must pass `check_network`, and no probability of any photo may change by more than 0.5. Each of these
    metrics may lose at most ``max_drop``:

    - the balanced accuracy;
    - the recall of each class;
    - the sensitivity for the critical class at a specificity of 90 %;
    - the calibration error, after a separate temperature was fitted for the file and for the float network;
    - the fraction of the float network's sure answers that stay the same. `SURE_LEAD` defines when an answer is sure.

    If a metric loses more than ``max_drop``, the file is refused only if the bootstrap over lesions shows that the loss
    is not chance.

    Args:
        proof: the photos with the float network's logits.
        device: the logits of the file in the device runtime, float [n, K].
        max_drop: the largest loss that is accepted, where 0.01 is one percentage point.
    """
    draws = lesion_draws(list(proof.groups))
    checks = (
        *_accuracy_checks(proof, device, draws, max_drop),
        *_probability_checks(proof, device, draws, max_drop),
        *_photo_checks(proof, device, draws, max_drop),
    )
    return Acceptance(len(proof.truth), check_network(proof, device, draws), checks, _flips(proof, device))


def _accuracy_checks(
    proof: ProofSet, device: Floats, draws: Floats, limit: float
) -> Iterator[AcceptanceCheck]:
    """Return the checks of the balanced accuracy and of the recall of each class."""
    classes, truth = len(proof.labels), proof.truth
    before, after = (
        count(truth, logits.argmax(axis=1), classes, draws) for logits in (proof.reference, device)
    )
    sizes = {int(index): _size(proof, truth == index) for index in np.unique(truth)}
    accuracies = before.balanced_accuracy, after.balanced_accuracy
    yield _loss(_BALANCED_ACCURACY, *accuracies, list(sizes.values()), limit)
    for index, size in sizes.items():
        name = f"recall of {proof.labels[index]}"
        yield _loss(name, before.recall[:, index], after.recall[:, index], [size], limit)


def _probability_checks(
    proof: ProofSet, device: Floats, draws: Floats, limit: float
) -> Iterator[AcceptanceCheck]:
    """Return the checks of the sensitivity for the critical class and of the calibration error.

    The probabilities of the file and of the float network are computed with separate temperatures.
    """
    truth = proof.truth
    scaled = [calibrated(logits, fit_temperature(logits, truth)) for logits in (proof.reference, device)]
    is_critical = np.array([proof.labels[index] == proof.critical for index in truth])
    if is_critical.any() and not is_critical.all():
        index = proof.labels.index(str(proof.critical))
        name = f"sensitivity for {proof.critical} at 90 % specificity"
        before, after = (sensitivities_at(_SPECIFICITY, is_critical, one[:, index], draws) for one in scaled)
        yield _loss(name, before, after, [_size(proof, is_critical)], limit)
    before, after = (
        calibration_errors(one.max(axis=1), one.argmax(axis=1) == truth, draws) for one in scaled
    )
    yield _check("calibration error", before, after, after - before, [_size(proof, truth >= 0)], limit)


def _photo_checks(proof: ProofSet, device: Floats, draws: Floats, limit: float) -> Iterator[AcceptanceCheck]:
    """Return two checks: the fraction of the sure answers that stay the same, and the largest change of a probability.

    The probabilities of the file and of the float network are computed with the same temperature.
    """
    # If the float network makes no error, the fitted temperature is as low as possible, and every answer would be sure.
    # So a temperature below 1 is replaced by 1.
    temperature = max(1.0, fit_temperature(proof.reference, proof.truth))
    before, after = (calibrated(logits, temperature) for logits in (proof.reference, device))
    best = np.sort(before, axis=1)
    sure = best[:, -1] - best[:, -2] >= SURE_LEAD
    flipped = sure & (before.argmax(axis=1) != after.argmax(axis=1))
    among = draws @ sure
    lost = np.divide(draws @ flipped, among, out=np.full(len(among), np.nan), where=among > 0)
    yield _check("sure answers that stay the same", np.ones(1), 1 - lost, lost, [_size(proof, sure)], limit)
    change = float(np.abs(before - after).max())
    score = Score(change, change, change)
    # The largest change is measured, and not estimated from a sample. So every change above the limit is found.
    detectable = _LARGEST_CHANGE
    yield AcceptanceCheck("largest change of a probability", None, change, score, _LARGEST_CHANGE, detectable)


def _loss(
    name: str, reference: Floats, device: Floats, sizes: Sequence[float], limit: float
) -> AcceptanceCheck:
    """Check a metric for which a higher value is better.

    ``reference`` and ``device`` are float [1 + B]: the metric on the photos, followed by the metric on each of the B
    bootstrap resamples.
    """
    return _check(name, reference, device, reference - device, sizes, limit)


def _check(
    name: str, reference: Floats, device: Floats, lost: Floats, sizes: Sequence[float], limit: float
) -> AcceptanceCheck:
    """Check whether a metric loses more than ``limit``.

    ``lost`` is float [1 + B]: the loss on the photos, followed by the loss on each of the B bootstrap resamples.
    `detectable_loss` explains ``sizes``.
    """
    drop = score_of(lost)
    detectable = detectable_loss(drop, sizes, limit) if drop.measured else np.nan
    return AcceptanceCheck(name, float(reference[0]), float(device[0]), drop, limit, float(detectable))


def _size(proof: ProofSet, among: Bools) -> float:
    """Return the effective number of independent photos among those that the mask ``among``, bool [n], selects."""
    _, lesions = np.unique(np.asarray(proof.groups), return_inverse=True)
    return effective_size(lesions[among])


def _flips(proof: ProofSet, device: Floats) -> dict[str, tuple[int, int]]:
    before, after = (logits.argmax(axis=1) == proof.truth for logits in (proof.reference, device))
    return {
        label: (int((of_class & before & ~after).sum()), int((of_class & ~before & after).sum()))
        for index, label in enumerate(proof.labels)
        if (of_class := proof.truth == index).any()
    }

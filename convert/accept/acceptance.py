"""Decide whether a converted file may be delivered.

The file must classify better than chance (`dermedge.convert.accept.network_checks`), and lose little compared with
its float network on the same photos.
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

# The verdicts on a file, and on each check.
PASSED, REFUSED, CANNOT_TELL = "passed", "refused", "cannot tell"
_NOT_MEASURED = "not measured"

# The two most probable classes of a photo are tied if they are closer than this; rounding may swap them.
SURE_LEAD = 0.25
POINTS = 100
# Sound 8-bit files change the probability of single photos by 0.05 to 0.25; broken ones reverse answers.
_LARGEST_CHANGE = 0.5
_SPECIFICITY = 0.90
# Rounding error of the difference of two shares in float64.
_ROUNDING = 1e-9
# Photos on which a loss of balanced accuracy of this size would not be found cannot tell whether a file is sound.
_LOSS_TO_SHOW = 0.10
_BALANCED_ACCURACY = "balanced accuracy"


@dataclass(frozen=True)
class AcceptanceCheck:
    """The comparison of one figure between the float network and the file.

    Attributes:
        name: name of the figure.
        reference: the float network's figure, 0 to 1; None for a figure that only exists for both together.
        device: the file's figure, by the device runtime; NaN if these photos cannot measure it.
        drop: the loss as a share, with its 95 % interval by a paired bootstrap over lesions.
        limit: the largest loss that is accepted.
        detectable: the smallest loss that is found on such photos with a power of 80 %, by `detectable_loss`.
    """

    name: str
    reference: float | None
    device: float
    drop: Score
    limit: float
    detectable: float

    @property
    def passed(self) -> bool:
        """Whether the loss is within the limit, or may be chance: its interval holds 0."""
        return not self.drop.measured or self._is_within_limit or self.drop.low <= 0

    @property
    def _is_within_limit(self) -> bool:
        return self.drop.value <= self.limit + _ROUNDING

    @property
    def status(self) -> str:
        """``passed``, ``refused``, ``not measured``, or ``cannot tell`` for a loss that may be chance."""
        if not self.drop.measured:
            return _NOT_MEASURED
        if not self.passed:
            return REFUSED
        return PASSED if self._is_within_limit else CANNOT_TELL

    @property
    def line(self) -> str:
        """The check in one line for people; losses are in percentage points."""
        if not self.drop.measured:
            return f"{self.name}: not measured on these photos"
        reference = "" if self.reference is None else f"{self.reference:.3f} -> "
        interval = f"[{self.drop.low * POINTS:.1f}, {self.drop.high * POINTS:.1f}]"
        may_be_chance = ", which may be chance" if self.status == CANNOT_TELL else ""
        return (
            f"{self.name}: {reference}{self.device:.3f}, lost {self.drop.value * POINTS:.1f} points {interval}"
            f"{may_be_chance}; allowed {self.limit * POINTS:.1f}, detectable {self.detectable * POINTS:.1f}"
        )


@dataclass(frozen=True)
class Acceptance:
    """All checks of one file.

    Attributes:
        photos: number of photos of the proof set.
        network_checks: the checks that need no float network.
        checks: the checks against the float network.
        flips: class -> number of its photos that only the float network answers correctly, and number that
            only the file does.
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
        """``passed``, ``refused`` or ``cannot tell``."""
        if self.failed:
            return REFUSED
        return CANNOT_TELL if self.doubts else PASSED

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why these photos cannot tell whether the file is sound, one reason in each line; empty if they can."""
        doubts = [
            f"the {check.name} lost {check.drop.value * POINTS:.1f} points, which is more than the allowed "
            f"{check.limit * POINTS:.1f} and may be chance"
            for check in self.checks
            if check.status == CANNOT_TELL
        ]
        (accuracy,) = (check for check in self.checks if check.name == _BALANCED_ACCURACY)
        if accuracy.detectable > _LOSS_TO_SHOW:
            doubts.insert(
                0,
                f"{self.photos} photos show a loss of balanced accuracy only from "
                f"{accuracy.detectable * POINTS:.1f} points on",
            )
        return tuple(doubts)

    @property
    def failed(self) -> tuple[NetworkCheck | AcceptanceCheck, ...]:
        """The checks that refuse the file: the losses, the largest excess first, then `network_checks`."""
        failed = [check for check in self.checks if not check.passed]
        failed.sort(key=lambda check: check.limit - check.drop.value)
        return (*failed, *(check for check in self.network_checks if not check.passed))


def accept(proof: ProofSet, device: Floats, max_drop: float) -> Acceptance:
    """Check a file, and compare it with its float network. The answer of both is the most probable class.

    The file must pass `check_network`. Each of these may lose ``max_drop``, unless the bootstrap over lesions shows
    that the loss may be chance: balanced accuracy; the recall of each class; the sensitivity for the critical class
    at a specificity of 90 %; the calibration error, each at its own temperature; and the share of the photos on which
    the float network is sure (a lead of `SURE_LEAD`) but the file has another answer. No probability of any photo may
    change by more than 0.5.

    Args:
        proof: the photos with the float network's logits.
        device: float [n, K] logits of the file, by the device runtime.
        max_drop: the loss that is accepted, as a share: 0.01 is one percentage point.
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
    """Return the checks of the sensitivity for the critical class and of the calibration error; each side has its own
    temperature.
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
    """Return the checks of sure answers that change, and of the largest change of any probability; both at one
    temperature.
    """
    # On photos without a wrong answer, a fitted temperature could make the network arbitrarily sure.
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
    # This figure has no sampling error.
    detectable = _LARGEST_CHANGE
    yield AcceptanceCheck("largest change of a probability", None, change, score, _LARGEST_CHANGE, detectable)


def _loss(
    name: str, reference: Floats, device: Floats, sizes: Sequence[float], limit: float
) -> AcceptanceCheck:
    """Return the check of a figure for which more is better; reference and device are float [1 + B]."""
    return _check(name, reference, device, reference - device, sizes, limit)


def _check(
    name: str, reference: Floats, device: Floats, lost: Floats, sizes: Sequence[float], limit: float
) -> AcceptanceCheck:
    """Return the check of a figure from its loss, float [1 + B]; ``sizes`` as in `detectable_loss`."""
    drop = score_of(lost)
    detectable = detectable_loss(drop, sizes, limit) if drop.measured else np.nan
    return AcceptanceCheck(name, float(reference[0]), float(device[0]), drop, limit, float(detectable))


def _size(proof: ProofSet, among: Bools) -> float:
    """Return the effective number of some of the photos."""
    _, lesions = np.unique(np.asarray(proof.groups), return_inverse=True)
    return effective_size(lesions[among])


def _flips(proof: ProofSet, device: Floats) -> dict[str, tuple[int, int]]:
    before, after = (logits.argmax(axis=1) == proof.truth for logits in (proof.reference, device))
    return {
        label: (int((of_class & before & ~after).sum()), int((of_class & ~before & after).sum()))
        for index, label in enumerate(proof.labels)
        if (of_class := proof.truth == index).any()
    }

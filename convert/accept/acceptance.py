"""Decide whether a converted file may be delivered.

It must classify at all (`dermedge.convert.accept.network_checks`), and lose little beside its float network on the
same photos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dermedge.convert.accept.network_checks import NetworkCheck, check_network
from dermedge.convert.calibrate.temperature import calibrated, fit_temperature
from dermedge.convert.load.conversion_input import ProofSet
from dermedge.train.evaluation.metrics import (
    Floats,
    Score,
    calibration_errors,
    count,
    lesion_draws,
    score_of,
    sensitivities_at,
)

__all__ = ["POINTS", "SURE_LEAD", "Acceptance", "AcceptanceCheck", "accept"]

# The two most probable classes of a photo are tied if they are closer than this; rounding may swap them.
SURE_LEAD = 0.25
POINTS = 100
# Sound 8-bit files change the probability of single photos by 0.05 to 0.25; broken ones reverse answers.
_LARGEST_CHANGE = 0.5
_SPECIFICITY = 0.90


@dataclass(frozen=True)
class AcceptanceCheck:
    """One figure of the float network and of the file, with its loss.

    Attributes:
        name: name of the figure.
        reference: the float network's figure, 0 to 1; None for a figure that only the pair has.
        device: the file's figure, by the device runtime; NaN if these photos cannot measure it.
        drop: the loss as a share, with its 95 % interval by a paired bootstrap over lesions.
        limit: the largest loss that is accepted.
    """

    name: str
    reference: float | None
    device: float
    drop: Score
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the loss is within the limit, or may be chance: its interval holds 0."""
        return not self.drop.measured or self.drop.value <= self.limit or self.drop.low <= 0

    @property
    def status(self) -> str:
        """``passed``, ``refused`` or ``not measured``."""
        if not self.drop.measured:
            return "not measured"
        return "passed" if self.passed else "refused"

    @property
    def line(self) -> str:
        """The check in one line for people; losses are in percentage points."""
        if not self.drop.measured:
            return f"{self.name}: not measured on these photos"
        reference = "" if self.reference is None else f"{self.reference:.3f} -> "
        interval = f"[{self.drop.low * POINTS:.1f}, {self.drop.high * POINTS:.1f}]"
        return (
            f"{self.name}: {reference}{self.device:.3f}, "
            f"lost {self.drop.value * POINTS:.1f} points {interval}, allowed {self.limit * POINTS:.1f}"
        )


@dataclass(frozen=True)
class Acceptance:
    """All checks of one file.

    Attributes:
        photos: number of photos of the proof set.
        network_checks: the checks of the file alone.
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
        """Whether the file may be delivered."""
        return not self.failed

    @property
    def failed(self) -> tuple[NetworkCheck | AcceptanceCheck, ...]:
        """The checks that refuse the file: those of the file alone, then the others, the largest excess first."""
        failed = [check for check in self.checks if not check.passed]
        failed.sort(key=lambda check: check.limit - check.drop.value)
        return (*(check for check in self.network_checks if not check.passed), *failed)


def accept(proof: ProofSet, device: Floats, max_drop: float) -> Acceptance:
    """Check a file, and compare it with its float network; both answer with the most probable class.

    The file must pass `check_network`. Each of these may lose ``max_drop``, unless the bootstrap over lesions shows
    that the loss may be chance: balanced accuracy; the recall of each class; the sensitivity for the critical class
    at a specificity of 90 %; the calibration error, each at its own temperature; and the share of the photos on
    which the float network is sure (a lead of `SURE_LEAD`) and which the file answers otherwise. No probability of
    any photo may change by more than 0.5.

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
    """Balanced accuracy and the recall of each class."""
    classes, truth = len(proof.labels), proof.truth
    before, after = (
        count(truth, logits.argmax(axis=1), classes, draws) for logits in (proof.reference, device)
    )
    yield _loss("balanced accuracy", before.balanced_accuracy, after.balanced_accuracy, limit)
    for index in np.unique(truth):
        name = f"recall of {proof.labels[index]}"
        yield _loss(name, before.recall[:, index], after.recall[:, index], limit)


def _probability_checks(
    proof: ProofSet, device: Floats, draws: Floats, limit: float
) -> Iterator[AcceptanceCheck]:
    """Sensitivity for the critical class, and calibration error; each side has its own temperature."""
    truth = proof.truth
    scaled = [calibrated(logits, fit_temperature(logits, truth)) for logits in (proof.reference, device)]
    is_critical = np.array([proof.labels[index] == proof.critical for index in truth])
    if is_critical.any() and not is_critical.all():
        index = proof.labels.index(str(proof.critical))
        before, after = (sensitivities_at(_SPECIFICITY, is_critical, one[:, index], draws) for one in scaled)
        yield _loss(f"sensitivity for {proof.critical} at 90 % specificity", before, after, limit)
    reference_error, device_error = (
        calibration_errors(one.max(axis=1), one.argmax(axis=1) == truth, draws) for one in scaled
    )
    loss = score_of(device_error - reference_error)
    yield AcceptanceCheck("calibration error", float(reference_error[0]), float(device_error[0]), loss, limit)


def _photo_checks(proof: ProofSet, device: Floats, draws: Floats, limit: float) -> Iterator[AcceptanceCheck]:
    """Sure answers that change, and the largest change of any probability; both at one temperature."""
    # On photos that it answers without a mistake, a network could be made as sure as one likes.
    temperature = max(1.0, fit_temperature(proof.reference, proof.truth))
    before, after = (calibrated(logits, temperature) for logits in (proof.reference, device))
    yield _sure_flips(before, after, draws, limit)
    change = float(np.abs(before - after).max())
    score = Score(change, change, change)
    yield AcceptanceCheck("largest change of a probability", None, change, score, _LARGEST_CHANGE)


def _loss(name: str, reference: Floats, device: Floats, limit: float) -> AcceptanceCheck:
    """The check of a figure where more is better; float [1 + B] each, as the metrics give them."""
    return AcceptanceCheck(name, float(reference[0]), float(device[0]), score_of(reference - device), limit)


def _sure_flips(reference: Floats, device: Floats, draws: Floats, limit: float) -> AcceptanceCheck:
    best = np.sort(reference, axis=1)
    sure = best[:, -1] - best[:, -2] >= SURE_LEAD
    flipped = sure & (reference.argmax(axis=1) != device.argmax(axis=1))
    among = draws @ sure
    lost = np.divide(draws @ flipped, among, out=np.full(len(among), np.nan), where=among > 0)
    return AcceptanceCheck("sure answers that stay the same", 1.0, float(1 - lost[0]), score_of(lost), limit)


def _flips(proof: ProofSet, device: Floats) -> dict[str, tuple[int, int]]:
    before, after = (logits.argmax(axis=1) == proof.truth for logits in (proof.reference, device))
    return {
        label: (int((of_class & before & ~after).sum()), int((of_class & ~before & after).sum()))
        for index, label in enumerate(proof.labels)
        if (of_class := proof.truth == index).any()
    }

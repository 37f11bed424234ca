"""What a converted file loses beside its float network on the same photos, and whether it may go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.accept.parity import calibrated, fit_temperature
from dermedge.train.evaluation.metrics import (
    Floats,
    Score,
    calibration_errors,
    count,
    lesion_draws,
    score_of,
    sensitivities_at,
)

# A photo whose two best classes are closer than this is a tie, which any rounding may decide otherwise.
SURE_LEAD = 0.25
# Honest 8-bit files move the probability of single photos by 0.05 to 0.25; a broken one turns them over.
LARGEST_CHANGE = 0.5
SPECIFICITY = 0.90
POINTS = 100


@dataclass(frozen=True)
class Check:
    """One figure of the float network and of the file, and how much of it was lost.

    Attributes:
        name: of the figure.
        reference: of the float network, 0 to 1; None for what only a pair has.
        device: of the file, by the device runtime; NaN where these photos do not tell.
        drop: the loss, as a share, with its 95 % interval by a paired bootstrap over lesions.
        limit: the greatest drop that is let pass.
    """

    name: str
    reference: float | None
    device: float
    drop: Score
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the drop is within the limit, or is one that other photos might as well not have shown."""
        return not self.drop.measured or self.drop.value <= self.limit or self.drop.low <= 0

    @property
    def word(self) -> str:
        """What became of it, in a word or two."""
        if not self.drop.measured:
            return "not measured"
        return "passed" if self.passed else "refused"

    @property
    def line(self) -> str:
        """For people, in points."""
        if not self.drop.measured:
            return f"{self.name}: not measured on these photos"
        reference = "" if self.reference is None else f"{self.reference:.3f} -> "
        interval = f"[{self.drop.low * POINTS:.1f}, {self.drop.high * POINTS:.1f}]"
        return (
            f"{self.name}: {reference}{self.device:.3f}, "
            f"lost {self.drop.value * POINTS:.1f} points {interval}, allowed {self.limit * POINTS:.1f}"
        )


@dataclass(frozen=True)
class Verdict:
    """All checks of one file.

    Attributes:
        photos: how many it was proven on.
        checks: each figure.
        flips: class -> photos of it that the float network alone named rightly, and that the file alone did.
    """

    photos: int
    checks: tuple[Check, ...]
    flips: dict[str, tuple[int, int]]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that refuse the file, the greatest excess first."""
        failed = [check for check in self.checks if not check.passed]
        return tuple(sorted(failed, key=lambda check: check.limit - check.drop.value))


@dataclass(frozen=True)
class ProofSet:
    """The photos that a file is proven on, and what the float network says of them.

    Attributes:
        pixels: uint8 [n, s, s, 3] RGB.
        truth: int [n].
        groups: the lesion of each photo.
        labels: of the K classes.
        none_label: the one of them that stands for "none of these", or None.
        reference: float [n, K] logits of the float network.
        critical: the class whose misses weigh most, or None.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    groups: Sequence[str]
    labels: tuple[str, ...]
    none_label: str | None
    reference: Floats
    critical: str | None


def judge(proof: ProofSet, device: Floats, max_drop: float) -> Verdict:
    """Compares the file with the float network; the classes answered are the most probable ones.

    Checked are balanced accuracy, the recall of each class, the sensitivity for the critical class at a
    specificity of 90 %, the calibration error after each one's own temperature, and the share of the photos
    of which the float network was sure (a lead of `SURE_LEAD`) that the file answers otherwise: each may lose
    ``max_drop``, unless resampling the lesions shows that the loss may be chance. No single probability
    may change by more than `LARGEST_CHANGE`.

    Args:
        proof: the photos and the reference.
        device: float [n, K] logits by the device runtime.
        max_drop: as a share: 0.01 is one point.
    """
    draws = lesion_draws(list(proof.groups))
    classes, truth = len(proof.labels), proof.truth
    before, after = (
        count(truth, logits.argmax(axis=1), classes, draws) for logits in (proof.reference, device)
    )
    checks = [_lost("balanced accuracy", before.balanced_accuracy, after.balanced_accuracy, max_drop)]
    for index in np.unique(truth):
        was, now = before.recall[:, index], after.recall[:, index]
        checks.append(_lost(f"recall of {proof.labels[index]}", was, now, max_drop))
    scaled = [calibrated(logits, fit_temperature(logits, truth)) for logits in (proof.reference, device)]
    is_critical = np.array([proof.labels[index] == proof.critical for index in truth])
    if is_critical.any() and not is_critical.all():
        index = proof.labels.index(str(proof.critical))
        was, now = (sensitivities_at(SPECIFICITY, is_critical, one[:, index], draws) for one in scaled)
        checks.append(_lost(f"sensitivity for {proof.critical} at 90 % specificity", was, now, max_drop))
    reference_error, device_error = (
        calibration_errors(one.max(axis=1), one.argmax(axis=1) == truth, draws) for one in scaled
    )
    checks.append(
        Check(
            "calibration error",
            float(reference_error[0]),
            float(device_error[0]),
            score_of(device_error - reference_error),
            max_drop,
        )
    )
    # of photos that it names without a mistake, a network could be made as sure as one likes
    softened = max(1.0, fit_temperature(proof.reference, truth))
    reference, other = (calibrated(logits, softened) for logits in (proof.reference, device))
    checks.append(_sure_flips(reference, other, draws, max_drop))
    change = float(np.abs(reference - other).max())
    checks.append(
        Check("largest change of a probability", None, change, Score(change, change, change), LARGEST_CHANGE)
    )
    return Verdict(len(truth), tuple(checks), _flips(proof, device))


def _lost(name: str, reference: Floats, device: Floats, limit: float) -> Check:
    """The check of a figure of which more is better; [1 + B] each, as `train.evaluation.metrics` gives them."""
    return Check(name, float(reference[0]), float(device[0]), score_of(reference - device), limit)


def _sure_flips(reference: Floats, device: Floats, draws: Floats, limit: float) -> Check:
    best = np.sort(reference, axis=1)
    sure = best[:, -1] - best[:, -2] >= SURE_LEAD
    flipped = sure & (reference.argmax(axis=1) != device.argmax(axis=1))
    among = draws @ sure
    lost = np.divide(draws @ flipped, among, out=np.full(len(among), np.nan), where=among > 0)
    return Check("sure answers that stay the same", 1.0, float(1 - lost[0]), score_of(lost), limit)


def _flips(proof: ProofSet, device: Floats) -> dict[str, tuple[int, int]]:
    before, after = (logits.argmax(axis=1) == proof.truth for logits in (proof.reference, device))
    return {
        label: (int((of_class & before & ~after).sum()), int((of_class & ~before & after).sum()))
        for index, label in enumerate(proof.labels)
        if (of_class := proof.truth == index).any()
    }

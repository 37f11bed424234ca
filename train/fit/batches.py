"""Batches for training: classes, and what each is made of, drawn by the root of their size, and blended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.preprocess import normalize
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.pixels import let_go
from dermedge.train.fit.augment import augment

LABEL_SMOOTHING = 0.05
# Of the size of a class, for how often it is drawn.
CLASS_POWER = 0.5
# Beta(MIXUP, MIXUP) is how much of a batch's pictures is blended with others of it; most are hardly blended.
MIXUP = 0.2
# The teacher's part of what is wanted; the label has the rest (Hinton et al., 2015).
TEACHER_SHARE = 0.5

Teacher = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def draw_evenly(photos: Sequence[Photo], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of ``count`` photos: every class alike often, and in it each stratum by the root of its size.

    A stratum is what one source shows of one diagnosis. A model could else learn the source in place of the
    lesion; and with all strata alike often it would see those of small ones again and again. Within a stratum
    no photo comes again before all have come.
    """
    return _draw(photos, count, rng, class_power=0.0)


def draw_by_root(photos: Sequence[Photo], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """As `draw_evenly`, but the classes too by the root of their size: rare photos are seen less often again.

    Seen hundreds of times, the few photos of a rare class are learned by heart, and others of it are missed.
    """
    return _draw(photos, count, rng, CLASS_POWER)


def drawn_shares(photos: Sequence[Photo], classes: Sequence[str]) -> NDArray[np.float32]:
    """float32 [K]: the share that each class has of what `draw_by_root` draws."""
    sizes = np.bincount(label_indices(photos, classes), minlength=len(classes)) ** CLASS_POWER
    return (sizes / sizes.sum()).astype(np.float32)


def _draw(
    photos: Sequence[Photo], count: int, rng: np.random.Generator, class_power: float
) -> NDArray[np.intp]:
    strata: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, photo in enumerate(photos):
        strata[photo.label][photo.diagnosis, photo.source].append(index)
    weights = {label: sum(map(len, parts.values())) ** class_power for label, parts in strata.items()}
    total = sum(weights.values())
    drawn: list[NDArray[np.intp]] = []
    for label, parts in sorted(strata.items()):
        members = [parts[key] for key in sorted(parts)]
        roots = np.sqrt([len(part) for part in members])
        for part, share in zip(members, count * weights[label] / total * roots / roots.sum(), strict=True):
            # rounded up or down by chance
            times = int(share) + int(rng.random() < share % 1)
            rounds = [rng.permutation(part) for _ in range(-(-times // len(part)))]
            drawn.append(np.concatenate(rounds)[:times] if rounds else np.empty(0, np.intp))
    return rng.permutation(np.concatenate(drawn))[:count]


class TrainingBatches:
    """The batches of one epoch; equal seeds and epochs give equal batches, whatever was done before.

    Args:
        pixels: uint8 [n, s, s, 3] RGB.
        photos: what each of ``pixels`` is.
        classes: in the order of the labels.
        batch_size: photos a batch.
        photos_per_epoch: how many are drawn.
        seed: of the run.
        epoch: which one.
        teacher: if given, what a network is to say of normalized pictures [n, s, s, 3]: probabilities [n, K],
            as if all classes were alike often.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        photos: Sequence[Photo],
        classes: Sequence[str],
        *,
        batch_size: int,
        photos_per_epoch: int,
        seed: int,
        epoch: int,
        teacher: Teacher | None = None,
    ) -> None:
        self.pixels, self.batch_size, self.seed, self.epoch = pixels, batch_size, seed, epoch
        self.labels, self.classes, self.teacher = label_indices(photos, classes), len(classes), teacher
        self.shares = drawn_shares(photos, classes)
        self.order = draw_by_root(photos, photos_per_epoch, np.random.default_rng([seed, epoch]))

    def __len__(self) -> int:
        return len(self.order) // self.batch_size or 1

    def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 [batch, s, s, 3] normalized and augmented, float32 [batch, K] wanted probabilities.

        Every picture is blended with another one of the batch, and so are their labels (Zhang et al.,
        "mixup", 2018). The probabilities are those of what is drawn, where classes are not alike often.
        """
        rng = np.random.default_rng([self.seed, self.epoch, batch])
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        pictures = normalize(np.stack([augment(self.pixels[index], rng) for index in chosen]))
        let_go(self.pixels)
        wanted = smoothed(self.labels[chosen], self.classes)
        share, others = np.float32(rng.beta(MIXUP, MIXUP)), rng.permutation(len(chosen))
        # at least half is the picture's own
        share = max(share, 1 - share)
        pictures = share * pictures + (1 - share) * pictures[others]
        wanted = share * wanted + (1 - share) * wanted[others]
        if self.teacher:
            told = self.teacher(pictures) * self.shares
            told /= told.sum(axis=1, keepdims=True)
            wanted = (1 - TEACHER_SHARE) * wanted + TEACHER_SHARE * told
        return pictures, wanted.astype(np.float32)


def smoothed(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """float32 [n, K]: int [n] labels as probabilities with label smoothing (Szegedy et al., 2016)."""
    return np.eye(classes, dtype=np.float32)[labels] * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / classes


def label_indices(photos: Sequence[Photo], classes: Sequence[str]) -> NDArray[np.int64]:
    """int64 [n]: the position of each photo's label among the classes."""
    return np.array([list(classes).index(photo.label) for photo in photos], np.int64)


def predict_logits(
    model: keras.Model, pixels: NDArray[np.uint8], batch_size: int = 64
) -> NDArray[np.float32]:
    """float32 [n, K] logits of uint8 [n, s, s, 3] RGB pictures, without holding them all in memory."""
    batches = []
    for start in range(0, len(pixels), batch_size):
        batches.append(model.predict_on_batch(normalize(pixels[start : start + batch_size])))
        let_go(pixels)
    return np.concatenate(batches)

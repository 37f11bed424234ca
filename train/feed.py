"""Batches for training: drawn evenly over the classes, and over what each is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from edge.preprocess import normalize
from train.augment import augment
from train.catalogue import Photo

LABEL_SMOOTHING = 0.05
# The teacher's part of what is wanted; the label has the rest (Hinton et al., 2015).
TEACHER_SHARE = 0.5

Teacher = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def draw_evenly(photos: Sequence[Photo], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of ``count`` photos: every class alike often, and in it each stratum by the root of its size.

    A stratum is what one source shows of one diagnosis. A model could else learn the prior of the classes, or
    the source in place of the lesion; and with all strata alike often it would see those of small ones
    again and again. Within a stratum no photo comes again before all have come.
    """
    strata: dict[str, dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, photo in enumerate(photos):
        strata[photo.label][photo.diagnosis, photo.source].append(index)
    drawn: list[NDArray[np.intp]] = []
    for _, parts in sorted(strata.items()):
        members = [parts[key] for key in sorted(parts)]
        roots = np.sqrt([len(part) for part in members])
        for part, share in zip(members, count / len(strata) * roots / roots.sum(), strict=True):
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
        teacher: if given, what a network is to say of normalized pictures [n, s, s, 3]: probabilities [n, K].
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
        self.order = draw_evenly(photos, photos_per_epoch, np.random.default_rng([seed, epoch]))

    def __len__(self) -> int:
        return len(self.order) // self.batch_size or 1

    def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """float32 [batch, s, s, 3] normalized and augmented, float32 [batch, K] wanted probabilities."""
        rng = np.random.default_rng([self.seed, self.epoch, batch])
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        pictures = normalize(np.stack([augment(self.pixels[index], rng) for index in chosen]))
        wanted = smoothed(self.labels[chosen], self.classes)
        if self.teacher:
            wanted = (1 - TEACHER_SHARE) * wanted + TEACHER_SHARE * self.teacher(pictures)
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
    batches = [
        model.predict_on_batch(normalize(pixels[start : start + batch_size]))
        for start in range(0, len(pixels), batch_size)
    ]
    return np.concatenate(batches)

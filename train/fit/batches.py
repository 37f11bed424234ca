"""Makes training batches: samples, augments and blends photos, and computes the target probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import tf_keras as keras
from numpy.typing import NDArray

from dermedge.edge.preprocess import normalize
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.pixels import release_pages
from dermedge.train.fit.augment import augment
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.sampling import class_shares, label_indices, sample_epoch

__all__ = ["Teacher", "TrainingBatches", "mix", "predict_logits", "smooth_labels", "teacher_targets"]

# A function from float32 [n, s, s, 3] normalized RGB images to float32 [n, K] probabilities. The probabilities assume
# that all classes are equally frequent.
Teacher = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class TrainingBatches:
    """The training batches of one epoch, as a sequence.

    A batch depends only on its index and on the arguments below. So the batches may be made in any order.

    Args:
        pixels: uint8 [n, s, s, 3] RGB images.
        photos: the n photos that the images were made from, in the same order.
        classes: classes in the order of the network's outputs.
        batch_size: number of photos in a batch.
        photos_per_epoch: number of photos that are sampled for the epoch.
        seed: seed of the run.
        epoch: index of the epoch, counted from 0.
        teacher: network that provides a part of the targets, or None.
        recipe: settings of sampling, augmentation and targets; None for the default recipe.
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
        recipe: Recipe | None = None,
    ) -> None:
        self.pixels, self.batch_size, self.seed, self.epoch = pixels, batch_size, seed, epoch
        self.labels, self.classes, self.teacher = label_indices(photos, classes), len(classes), teacher
        self.recipe = recipe or Recipe()
        self.shares = class_shares(photos, classes, self.recipe)
        self.order = sample_epoch(photos, photos_per_epoch, np.random.default_rng([seed, epoch]), self.recipe)

    def __len__(self) -> int:
        return len(self.order) // self.batch_size or 1

    @property
    def photos(self) -> int:
        """The number of photos in all batches."""
        return min(len(self) * self.batch_size, len(self.order))

    def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the images, float32 [n, s, s, 3] normalized RGB, and the targets, float32 [n, K].

        Each image is blended with another image of the batch. The targets of the two images are blended with the same
        weights. Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018. If there is a teacher, its
        probabilities for the blended image become a part of the target, as `teacher_targets` returns them.
        """
        rng = np.random.default_rng([self.seed, self.epoch, batch])
        indices = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        changed = [augment(self.pixels[index], rng, self.recipe.augmentation) for index in indices]
        images = _normalized(np.stack(changed))
        release_pages(self.pixels)
        targets = smooth_labels(self.labels[indices], self.classes, self.recipe.label_smoothing)
        if self.recipe.mixup:
            share = np.float32(rng.beta(self.recipe.mixup, self.recipe.mixup))
            order = rng.permutation(len(indices))
            # The larger weight is for the image itself, and the smaller weight is for the image that is blended in.
            share = max(share, 1 - share)
            images, targets = mix(images, order, share), mix(targets, order, share)
        if self.teacher:
            taught, part = teacher_targets(self.teacher(images), self.shares), self.recipe.teacher_share
            targets = (1 - part) * targets + part * taught
        return images, targets.astype(np.float32)


def mix(values: NDArray[np.float32], order: NDArray[np.integer], share: np.float32) -> NDArray[np.float32]:
    """Returns a blend of each row with another row, float32 [n, ...].

    Row i of the result is ``share * values[i] + (1 - share) * values[order[i]]``.
    """
    blended = share * values
    others = values[order]
    # The arithmetic works in place, because allocating memory for a batch would take longer than the arithmetic.
    others *= 1 - share
    blended += others
    return blended


def _normalized(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalizes uint8 [n, s, s, 3] images, with the same result as `normalize`.

    Looking the values up in a table of 256 entries is several times as fast as computing them.
    """
    table = normalize(np.arange(256, dtype=np.uint8))
    rows = images.reshape(-1, *images.shape[2:])
    return cv2.LUT(rows, table).reshape(images.shape)  # type: ignore[return-value]


def smooth_labels(labels: NDArray[np.int64], classes: int, smoothing: float) -> NDArray[np.float32]:
    """Returns target probabilities with label smoothing, float32 [n, K]. Source: Szegedy et al., 2016.

    Args:
        labels: int64 [n], the index of each label.
        classes: the number K of classes.
        smoothing: part of each target that is spread evenly over all classes, 0 to 1.
    """
    return np.eye(classes, dtype=np.float32)[labels] * (1 - smoothing) + smoothing / classes


def teacher_targets(answers: NDArray[np.float32], shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Adapts the probabilities of a teacher to the class frequencies among the sampled photos. Returns float32 [n, K].

    Each probability is multiplied by the share of the class. Then each row is divided by its sum.

    Args:
        answers: float32 [n, K], probabilities of the teacher, which assume equally frequent classes.
        shares: float32 [K], the share of each class among the sampled photos.
    """
    weighted = answers * shares
    return weighted / weighted.sum(axis=1, keepdims=True)


def predict_logits(
    model: keras.Model, pixels: NDArray[np.uint8], batch_size: int = 64
) -> NDArray[np.float32]:
    """Returns the logits of a network, float32 [n, K], without holding all images in memory.

    Args:
        model: a network of `build_network` or its quantization-aware copy.
        pixels: uint8 [n, s, s, 3] RGB images, which may be a memory-mapped file.
        batch_size: number of images in each call of the network.
    """
    batches = []
    for start in range(0, len(pixels), batch_size):
        batches.append(model.predict_on_batch(normalize(pixels[start : start + batch_size])))
        release_pages(pixels)
    return np.concatenate(batches)

"""Distillation: trained runs that tell a smaller network how sure it should be.

A teacher that learned from a photo of the student's validation or test split would carry that split into the
student by what it says of others, so such a teacher is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from edge.errors import DataError, OptionError
from train.catalogue import Photo
from train.feed import Teacher
from train.run_folder import Config, RunFolder


def make_teacher(networks: Sequence[keras.Model], sizes: Sequence[int], classes: int) -> Teacher:
    """What networks say together: from float32 [n, s, s, 3] normalized RGB to float32 [n, K] probabilities.

    Args:
        networks: each from [n, s, s, 3] pictures to [n, K] logits.
        sizes: the side of each one's input; pictures of another side are resized, bilinearly.
        classes: K.
    """

    @tf.function(reduce_retracing=True)
    def ask(pictures: tf.Tensor) -> tf.Tensor:
        said = [
            tf.nn.softmax(network(tf.image.resize(pictures, (size, size)), training=False))
            for network, size in zip(networks, sizes, strict=True)
        ]
        return tf.add_n(said) / len(said)

    def teacher(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = ask(tf.constant(pictures)).numpy()
        return answers.reshape(-1, classes)

    return teacher


def check_teachers(paths: Sequence[str], config: Config, photos: Sequence[Photo]) -> None:
    """Makes sure that runs can teach a run of ``config`` on ``photos``.

    Raises:
        OptionError: other classes, or not trained yet.
        DataError: one learned from what the student is validated or tested on.
    """
    held_out = {key for photo in photos if photo.split != "train" for key in _keys(photo)}
    for path in paths:
        run = RunFolder(Path(path))
        if run.config().classes != config.classes:
            raise OptionError(f"the teacher '{path}' knows other classes: {', '.join(run.config().classes)}")
        if not run.weights_path("float").is_file():
            raise OptionError(f"the teacher '{path}' is not trained yet; train --resume '{path}'")
        seen = {key for photo in run.photos() if photo.split == "train" for key in _keys(photo)}
        shared = sorted(seen & held_out)
        if shared:
            raise DataError(
                f"the teacher '{path}' learned from {len(shared)} lesions or images that this run holds out, "
                f"'{shared[0][1]}' among them; train it on the same catalogue"
            )


def _keys(photo: Photo) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("image", photo.image_id), ("group", photo.group)

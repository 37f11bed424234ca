"""Checks the parents of a run: finished runs that teach it, and runs or a .tflite whose weights it starts from.

If a parent was trained on photos of the run's validation or test split, its weights or its answers would leak them
into the run. Such a parent is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.associated import read_associated
from dermedge.edge.model.shipped import model_path
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.learned import LEARNED_NAME, count_learned, learned_photos, merge_learned
from dermedge.train.fit.run_folder import Config, RunFolder
from dermedge.train.fit.tflite_weights import is_tflite

__all__ = ["check_parents", "learned_before", "learned_by"]


def check_parents(config: Config, photos: Sequence[Photo]) -> None:
    """Makes sure that a run with ``config`` may learn from its parents when it holds out some of ``photos``.

    Raises:
        OptionError: a parent has other classes or, to start from, another architecture, or is not trained yet.
        DataError: a parent learned from photos or lesions that the run is validated or tested on.
    """
    if is_tflite(config.weights):
        _check_tflite(config.weights, photos)
    for path in config.teachers:
        _check(path, "teacher", config, photos)
    for path in config.starts:
        _check(path, "start", config, photos)
        architecture = RunFolder(Path(path)).config().architecture
        if architecture != config.architecture:
            raise OptionError(
                f"'{path}' is a run of {architecture}; a network of {config.architecture} cannot start with "
                f"its weights"
            )


def learned_before(config: Config) -> bytes | None:
    """Returns the photos that the parents of a run have learned from, as `learned_photos` packs them.

    Returns:
        None if a parent does not state it, as a .tflite of an older dermedge.
    """
    runs = [learned_by(RunFolder(Path(path))) for path in (*config.teachers, *config.starts)]
    if not is_tflite(config.weights):
        return merge_learned(runs)
    learned = read_associated(model_path(config.weights), LEARNED_NAME)
    return None if learned is None else merge_learned([*runs, learned])


def learned_by(run: RunFolder, moved_to: Sequence[Path] = ()) -> bytes:
    """Returns the photos that a run and its parents have learned from, as `learned_photos` packs them.

    Args:
        run: its folder.
        moved_to: folders where its photos lie now.
    """
    own = learned_photos(photo for photo in run.photos(moved_to) if photo.split == "train")
    return merge_learned([own, run.learned_before()])


def _check_tflite(weights: str, photos: Sequence[Photo]) -> None:
    learned = read_associated(model_path(weights), LEARNED_NAME)
    held_out = [Path(photo.path) for photo in photos if photo.split != "train"]
    shared = count_learned(learned, held_out) if learned else 0
    if shared:
        raise DataError(
            f"'{weights}' has learned from {shared} photos that this run holds out; give the catalogue that it was "
            "trained on with --data, beside the new photos"
        )


def _check(path: str, role: str, config: Config, photos: Sequence[Photo]) -> None:
    run = RunFolder(Path(path))
    if run.config().classes != config.classes:
        raise OptionError(f"the {role} '{path}' knows other classes: {', '.join(run.config().classes)}")
    if not run.weights_path("float").is_file():
        raise OptionError(f"the {role} '{path}' is not trained yet; train --resume '{path}'")
    held_out = {key for photo in photos if photo.split != "train" for key in _keys(photo)}
    learned = {key for photo in run.photos() if photo.split == "train" for key in _keys(photo)}
    shared = sorted(learned & held_out)
    if shared:
        raise DataError(
            f"the {role} '{path}' learned from {len(shared)} lesions or images that this run holds out, "
            f"'{shared[0][1]}' among them; train it on the same catalogue"
        )


def _keys(photo: Photo) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("image", photo.image_id), ("group", photo.group)

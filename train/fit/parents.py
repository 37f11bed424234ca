"""Checks the parents of a run.

A parent is a teacher of the run, or a finished run or .tflite whose weights are the initial weights of the run. A
parent is refused if it was trained on photos of the validation or test split of the run. Otherwise, the run would learn
these photos through the weights or the answers of the parent, and the scores of the run would be too good.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.associated import read_associated
from dermedge.edge.model.shipped import model_path
from dermedge.train.data.catalogue import NONE_OF_THESE, Photo
from dermedge.train.data.counts import plural
from dermedge.train.data.learned import LEARNED_NAME, find_learned, learned_photos, merge_learned
from dermedge.train.fit.run_folder import STAGES, Config, RunFolder
from dermedge.train.fit.tflite_weights import is_tflite

__all__ = ["check_parents", "learned_before", "learned_by"]


def check_parents(config: Config, photos: Sequence[Photo]) -> None:
    """Checks that a run may learn from its parents: its teachers, and the runs whose weights it starts from.

    Args:
        config: settings of the run, which name the parents.
        photos: photos of the run with their splits.

    Raises:
        OptionError: the float stage of a parent is not finished, or its classes differ from those of the run; or the
            parent whose weights the run starts from has a different architecture.
        DataError: a parent was trained on photos or lesions of the validation or test split of the run.
    """
    if is_tflite(config.weights):
        _check_tflite(config.weights, photos)
    for path in config.teachers:
        _check(path, "teacher", config, photos)
    for path in config.starts:
        _check(path, "starting run", config, photos)
        architecture = RunFolder(Path(path)).config().architecture
        if architecture != config.architecture:
            raise OptionError(
                f"the run '{path}' has the architecture {architecture}, and a network of {config.architecture} cannot "
                f"start with its weights; give --arch {architecture}, or another run"
            )


def learned_before(config: Config) -> bytes | None:
    """Returns the photos that the parents of a run were trained on, as `learned_photos` packs them.

    Returns:
        The packed photos. None if the run starts with a .tflite that does not state its training photos, because an
        older version of dermedge wrote the file.
    """
    runs = [learned_by(RunFolder(Path(path))) for path in (*config.teachers, *config.starts)]
    if not is_tflite(config.weights):
        return merge_learned(runs)
    learned = read_associated(model_path(config.weights), LEARNED_NAME)
    return None if learned is None else merge_learned([*runs, learned])


def learned_by(run: RunFolder, moved_to: Sequence[Path] = ()) -> bytes:
    """Returns the photos that a run and its parents were trained on, as `learned_photos` packs them.

    Args:
        run: the run.
        moved_to: if the photos of the run have moved, the folders where they are now.
    """
    own = learned_photos(photo for photo in run.photos(moved_to) if photo.split == "train")
    return merge_learned([own, run.learned_before()])


def _check_tflite(weights: str, photos: Sequence[Photo]) -> None:
    shared = _held_out_in(read_associated(model_path(weights), LEARNED_NAME), photos)
    if shared:
        raise DataError(
            f"'{weights}' was trained on {len(shared)} of the photos in the validation or test split of this run, such "
            f"as '{shared[0].path}'; give --data the new photos and also the catalogue that '{weights}' was trained "
            "on, so that the photos of the catalogue keep their splits"
        )


def _held_out_in(learned: bytes | None, photos: Sequence[Photo]) -> list[Photo]:
    """Returns the photos of the validation and test splits that are in the record ``learned`` of `learned_photos`.

    The list is empty if there is no record.
    """
    held_out = (photo for photo in photos if photo.split != "train")
    return find_learned(learned, held_out) if learned else []


def _check(path: str, role: str, config: Config, photos: Sequence[Photo]) -> None:
    run = RunFolder(Path(path))
    classes = run.config().classes
    if classes != config.classes:
        raise OptionError(
            f"the {role} '{path}' has the classes {', '.join(classes)}, which differ from those of this run: "
            f"{', '.join(config.classes)}; {_cure_for_classes(classes, config)}"
        )
    if not _has_trained(run):
        raise OptionError(
            f"the {role} '{path}' is not finished yet; finish it with: dermedge train --resume '{path}'"
        )
    learned = {key for photo in run.photos() if photo.split == "train" for key in _keys(photo)}
    held_out = [photo for photo in photos if photo.split != "train"]
    known = sorted(photo.image_id for photo in held_out if not learned.isdisjoint(_keys(photo)))
    if known:
        raise DataError(
            f"the {role} '{path}' has learned lesions that are in the validation or test split of this run. They have "
            f"{plural(len(known), 'photo')} in these splits, for instance '{known[0]}'; train both runs on the same "
            "catalogue"
        )
    shared = _held_out_in(run.learned_before(), photos)
    if shared:
        raise DataError(
            f"the {role} '{path}' has learned from another model, which was trained on {len(shared)} of the photos in "
            f"the validation or test split of this run, such as '{shared[0].path}'; give --data the new photos and "
            "also the catalogue that the other model was trained on, so that the photos of the catalogue keep their "
            "splits"
        )


def _has_trained(run: RunFolder) -> bool:
    """Returns whether the float stage of a run is finished.

    The file with the weights alone does not show this, because the first epoch already writes it.
    """
    progress = run.progress()
    return run.weights_path("float").is_file() and (progress.finished or progress.stage != STAGES[0])


def _cure_for_classes(classes: tuple[str, ...], config: Config) -> str:
    """Returns the cure for a run whose classes differ from ``classes``, the classes of its parent."""
    if config.classes == (*classes, NONE_OF_THESE):
        return f"remove the photos of '{NONE_OF_THESE}' from --data"
    cure = "give a run with the same classes in the same order"
    return cure if config.validated else f"{cure}, or leave out --classes to use the classes of that run"


def _keys(photo: Photo) -> set[tuple[str, str]]:
    """Returns the id, the group and the digest of a photo.

    If the folder of a photo was renamed, the photo has another id and group, but the same digest.
    """
    keys = {("image", photo.image_id), ("group", photo.group)}
    return keys | {("digest", photo.digest)} if photo.digest else keys

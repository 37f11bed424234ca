"""The parents of a run: finished runs that teach it or whose weights it starts from.

A parent that learned from a photo of the run's validation or test split would carry that split into the run, by its
weights or by its answers. Such a parent is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import Photo
from dermedge.train.fit.run_folder import Config, RunFolder

__all__ = ["check_parents"]


def check_parents(config: Config, photos: Sequence[Photo]) -> None:
    """Makes sure that a run with ``config`` may learn from its parents when it holds out some of ``photos``.

    Raises:
        OptionError: a parent has other classes or, to start from, another architecture, or is not trained yet.
        DataError: a parent learned from photos or lesions that the run is validated or tested on.
    """
    for path in config.teachers:
        _check(path, "teacher", config, photos)
    for path in config.starts:
        _check(path, "start", config, photos)
        architecture = RunFolder(Path(path)).config().architecture
        if architecture != config.architecture:
            raise OptionError(
                f"'{path}' is a run of {architecture}; no {config.architecture} can start with it"
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

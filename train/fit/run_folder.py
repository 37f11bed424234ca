"""The folder of a training run, with the settings, photos, progress, weights and plots of the run."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dermedge.edge.errors import DataError, StorageError
from dermedge.edge.files import write_beside, write_bytes, write_text
from dermedge.edge.model.shipped import SHIPPED
from dermedge.train.data.catalogue import Catalogue, Photo, check_photos, read_catalogue
from dermedge.train.fit.recipe import Recipe, recipe_from_json

__all__ = [
    "FOLD",
    "IMAGENET",
    "NO_WEIGHTS",
    "STAGES",
    "Config",
    "RunFolder",
    "RunProgress",
    "is_run",
    "refuse_existing",
]

STAGES = ("float", "qat")
# The run folders of a cross-validation have this name, followed by their number from 1.
FOLD = "fold-"
# Values of --weights: the published ImageNet weights of an architecture, and random weights.
IMAGENET, NO_WEIGHTS = "imagenet", "none"
# These values of --weights are names. They are never read as paths, even if a file or folder has such a name.
_NAMES = (IMAGENET, NO_WEIGHTS, *SHIPPED)


@dataclass(frozen=True)
class Config:
    """All settings on which the result of a run depends.

    Attributes:
        architecture: a key of `dermedge.train.fit.networks.NETWORKS`.
        classes: classes in the order of the network's outputs.
        size: width and height of the input in pixels.
        weights: initial weights of the network: imagenet, none, a Keras weights file of the backbone, a .tflite, the
            name of a shipped model, or the folder of a finished run.
        epochs: number of epochs of the float stage.
        qat_epochs: number of epochs of the quantization-aware stage. With 0, there is no such stage.
        photos_per_epoch: number of photos that are sampled for each epoch.
        batch_size: number of photos in a batch.
        learning_rate: peak learning rate of the float stage.
        qat_learning_rate: peak learning rate of the quantization-aware stage.
        seed: seed of the split, the initial weights, the sampling and the augmentation.
        data: paths that were given with --data.
        data_digest: digest of the catalogue.
        command: command line that started the run.
        teachers: folders of the runs whose probabilities are a part of the targets.
        validated: folder of the run that was given with --refit. The new run repeats the training of the given run, and
            is also trained on the validation photos of the given run. Empty if --refit was not given.
        averaged: folders of further finished runs. If there are any, ``weights`` is also a run, and the network starts
            with the mean of the weights of all these runs.
        recipe: settings of the sampling, the augmentation, the targets and the weights.
    """

    architecture: str
    classes: tuple[str, ...]
    size: int
    weights: str
    epochs: int
    qat_epochs: int
    photos_per_epoch: int
    batch_size: int
    learning_rate: float
    qat_learning_rate: float
    seed: int
    data: tuple[str, ...]
    data_digest: str
    command: str
    teachers: tuple[str, ...] = ()
    validated: str = ""
    averaged: tuple[str, ...] = ()
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def starts(self) -> tuple[str, ...]:
        """The folders of the finished runs whose weights the network starts with.

        If there are several runs, the network starts with the mean of their weights. The tuple is empty if the network
        does not start with the weights of a run.
        """
        return (self.weights, *self.averaged) if is_run(self.weights) else ()

    @property
    def freezes_batch_norms(self) -> bool:
        """Whether training leaves the batch norms of the pretrained weights unchanged."""
        return self.weights != NO_WEIGHTS and not self.recipe.train_batch_norms

    def stage_epochs(self, stage: str) -> int:
        """Returns the number of epochs of a stage of `STAGES`."""
        return {"float": self.epochs, "qat": self.qat_epochs}[stage]


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run.

    Attributes:
        stage: current stage, a value of `STAGES`.
        epoch: number of finished epochs of the current stage.
        checkpoint: folder with the state after the last finished epoch, relative to the run folder. Empty before the
            first epoch of the stage is finished.
        finished: whether all stages of the run are finished.
    """

    stage: str = "float"
    epoch: int = 0
    checkpoint: str = ""
    finished: bool = False


def is_run(weights: str) -> bool:
    """Returns whether a value of --weights is the folder of a run. A value in `_NAMES` never means a folder."""
    return weights not in _NAMES and Path(weights).is_dir()


def refuse_existing(path: Path) -> None:
    """Raises StorageError if ``path`` exists already, because a run never overwrites anything."""
    if path.exists():
        raise StorageError(
            f"'{path}' exists already; give another --output, or continue that run with --resume"
        )


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, with methods that read and write its files."""

    path: Path

    @property
    def catalogue_path(self) -> Path:
        return self.path / "catalogue.csv"

    @property
    def history_path(self) -> Path:
        return self.path / "history.csv"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def cache(self) -> Path:
        """The folder that stores decoded photos. All runs in the same parent folder share this folder."""
        return self._parent / ".cache"

    @property
    def _parent(self) -> Path:
        """The folder that contains the run folder, even if the path of the run folder is relative, such as ``.``."""
        return Path(os.path.abspath(self.path)).parent

    def weights_path(self, stage: str) -> Path:
        """Returns the path of the weights of a stage. The file has the weights after the last finished epoch."""
        return self.path / f"{stage}_weights.h5"

    def create(self, config: Config, catalogue: Catalogue, learned: bytes = b"") -> None:
        """Makes the folder, and writes the settings and the catalogue.

        Args:
            config: settings of the run.
            catalogue: photos of the run.
            learned: photos that the parents of the run were trained on, as `learned_before` returns them.

        Raises:
            StorageError: the folder exists already or cannot be written.
        """
        refuse_existing(self.path)
        try:
            catalogue.save(self.catalogue_path)
            write_text(self.path / "data.json", catalogue.to_json())
            self.keep_learned_before(learned)
            self.save_progress(RunProgress())
            # The config is written last, because a folder that has a config must be complete enough to be resumed.
            content = asdict(_with_absolute_paths(config))
            write_text(self.path / "config.json", json.dumps(content, indent=1) + "\n")
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def config(self) -> Config:
        """Returns the settings.

        The settings may name other runs or a weights file. If one of them has moved together with this run, the result
        contains the new path.

        Raises:
            DataError: the folder is not a run.
        """
        values = self._known(Config, "config.json")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        # Older versions stored no recipe, and trained with the default recipe.
        recipe = recipe_from_json(values.get("recipe", {}))
        config = Config(**(values | lists | {"recipe": recipe}))
        return _with_paths(config, self._found)

    def _found(self, path: str) -> str:
        """Returns the current path of a file or folder that the settings name.

        If ``path`` does not exist, but a file or folder of the same name lies beside the run folder, the result is the
        path beside the run folder, because both have probably moved together. Otherwise, the result is ``path``.
        """
        beside = self._parent / Path(path).name
        # The settings never name this run itself. So if ``path`` ends in the name of this run, it means another run.
        is_this_run = beside == Path(os.path.abspath(self.path))
        return str(beside) if not Path(path).exists() and beside.exists() and not is_this_run else path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training the run within a ``with`` block.

        The lock ends with the process. On Windows and on some network file systems, there are no such locks, and this
        method does nothing.

        Raises:
            StorageError: another process is training the run.
        """
        try:
            import fcntl
        except ImportError:
            yield
            return
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(folder)
            raise StorageError(
                f"another process is training '{self.path}'; wait until it has ended, or stop it"
            ) from error
        except OSError:
            pass  # the file system has no locks
        try:
            yield
        finally:
            os.close(folder)

    def photos(self, data: Sequence[Path] = ()) -> tuple[Photo, ...]:
        """Returns the photos of the run.

        If the photos have moved, ``data`` holds the folders where they are now, as
        `dermedge.train.data.catalogue.read_catalogue` explains.
        """
        return read_catalogue(self.catalogue_path, data)

    def learned_before(self) -> bytes:
        """Returns the photos that the parents of the run were trained on, as `dermedge.train.data.learned` packs them.

        The result is empty if the run has no parents, or if it is not known which photos the parents were trained on.
        """
        return self._learned_before.read_bytes() if self._learned_before.is_file() else b""

    def keep_learned_before(self, learned: bytes) -> None:
        """Stores which photos the parents of the run were trained on. Writes no file if ``learned`` is empty.

        Raises:
            StorageError: the file cannot be written.
        """
        if learned:
            write_bytes(self._learned_before, learned)

    @property
    def _learned_before(self) -> Path:
        return self.path / "learned-before.bin"

    def move_photos(self, data: Sequence[Path]) -> None:
        """Updates the catalogue after the photos have moved.

        Args:
            data: folders where the photos are now.

        Raises:
            DataError: ``data`` does not contain all photos, or photos were replaced.
            StorageError: the catalogue cannot be written.
        """
        classes, photos = self.config().classes, self.photos(data)
        check_photos(photos)
        Catalogue(photos, classes, {}).save(self.catalogue_path)

    def progress(self) -> RunProgress:
        """Returns the progress of the run.

        Raises:
            DataError: the folder is not a run.
        """
        return RunProgress(**self._known(RunProgress, "progress.json"))

    def save_progress(self, progress: RunProgress) -> None:
        """Writes the progress of the run.

        Raises:
            StorageError: the file cannot be written.
        """
        write_text(self.path / "progress.json", json.dumps(asdict(progress), indent=1) + "\n")

    def history(self) -> list[dict[str, str]]:
        """Returns one dict for each finished epoch: name of a column -> value as text."""
        if not self.history_path.is_file():
            return []
        with self.history_path.open(newline="") as handle:
            return list(csv.DictReader(handle))

    def add_history(self, row: dict[str, Any]) -> None:
        """Adds the row of one epoch to the history, and writes the history.

        If the history already has a row for this epoch, because the run was interrupted, the old row is replaced.

        Raises:
            StorageError: the file cannot be written.
        """
        key = (row["stage"], str(row["epoch"]))
        rows = [*(old for old in self.history() if (old["stage"], old["epoch"]) != key), row]
        # Another version of dermedge may have written rows with other columns.
        columns = list(dict.fromkeys(name for one in reversed(rows) for name in one))
        with write_beside(self.history_path) as part, part.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def save_checkpoint(self, checkpoint: Any, progress: RunProgress) -> RunProgress:
        """Writes a checkpoint, and writes the progress with the name of this checkpoint. Deletes all other checkpoints.

        Args:
            checkpoint: a `tf.train.Checkpoint`.
            progress: progress without the name of the checkpoint.

        Returns:
            The progress with the name of the checkpoint.

        Raises:
            StorageError: the checkpoint or the progress cannot be written.
        """
        import tensorflow as tf

        name = f"checkpoints/{progress.stage}-{progress.epoch:03d}"
        (self.path / name).mkdir(parents=True, exist_ok=True)
        try:
            checkpoint.write(str(self.path / name / "state"))
            _flush_files(self.path / name)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(self.path / name, ignore_errors=True)
            raise StorageError(
                f"cannot write the checkpoint '{self.path / name}': {error}; free some disk space, then continue with: "
                f"dermedge train --resume '{self.path}'"
            ) from error
        progress = replace(progress, checkpoint=name)
        self.save_progress(progress)
        self.keep_checkpoint(name)
        return progress

    def restore_checkpoint(self, checkpoint: Any, name: str) -> None:
        """Restores the state that `save_checkpoint` wrote.

        Args:
            checkpoint: a `tf.train.Checkpoint`.
            name: folder of the state, relative to the run folder.

        Raises:
            DataError: the files of the checkpoint are missing or damaged, or belong to another network.
        """
        import tensorflow as tf

        try:
            checkpoint.restore(str(self.path / name / "state")).expect_partial()
        except (OSError, ValueError, IndexError, tf.errors.OpError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(
                f"cannot read the checkpoint '{self.path / name}': {reason}; copy the whole run folder again, or start "
                "a new run"
            ) from error

    def keep_checkpoint(self, name: str) -> None:
        """Deletes all checkpoints except the one in the folder ``name``. If ``name`` is empty, deletes all of them."""
        for folder in (self.path / "checkpoints").glob("*"):
            # A file browser may have left a file such as .DS_Store here.
            if folder.is_dir() and folder != self.path / name:
                shutil.rmtree(folder)

    def _known(self, kind: type[Config | RunProgress], name: str) -> dict[str, Any]:
        """Returns the values of the JSON file ``name`` whose keys are fields of the dataclass ``kind``.

        Values with unknown keys are ignored, because another version of dermedge may have written them.
        """
        values, known = self._json(name), fields(kind)
        needed = {one.name for one in known if one.default is MISSING and one.default_factory is MISSING}
        if not isinstance(values, dict) or not needed <= set(values):
            raise self._not_a_run(name)
        names = {one.name for one in known}
        return {key: value for key, value in values.items() if key in names}

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise self._not_a_run(name) from error

    def _not_a_run(self, name: str) -> DataError:
        fold = self.path / f"{FOLD}1"
        if fold.is_dir():
            return DataError(
                f"'{self.path}' is a cross-validation, which has a run for each fold; give one of these runs, such as "
                f"'{fold}'"
            )
        return DataError(
            f"'{self.path}' is not a run folder of dermedge train: it has no readable {name}; give the folder that "
            "dermedge train wrote"
        )


def _flush_files(folder: Path) -> None:
    """Waits until the files in a folder are on the disk.

    Otherwise, a power cut could lose the new checkpoint after the old one was deleted.
    """
    for path in folder.iterdir():
        if path.is_file():
            # Windows flushes only files that are open for writing.
            with path.open("r+b") as handle:
                os.fsync(handle.fileno())


def _with_absolute_paths(config: Config) -> Config:
    """Returns the settings with absolute paths, so that they are valid in any working directory."""
    return _with_paths(config, lambda path: os.path.abspath(path) if os.path.exists(path) else path)


def _with_paths(config: Config, change: Callable[[str], str]) -> Config:
    weights = config.weights if config.weights in _NAMES else change(config.weights)
    return replace(
        config,
        weights=weights,
        teachers=tuple(map(change, config.teachers)),
        averaged=tuple(map(change, config.averaged)),
        validated=change(config.validated) if config.validated else "",
    )

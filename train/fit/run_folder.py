"""The folder of one training run: its settings, photos, progress, weights and plots."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dermedge.edge.errors import DataError, StorageError
from dermedge.edge.files import write_beside, write_bytes, write_text
from dermedge.train.data.catalogue import Catalogue, Photo, check_photos, read_catalogue
from dermedge.train.fit.recipe import Recipe, recipe_from_json

__all__ = [
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
# The published ImageNet weights of an architecture, and none.
IMAGENET, NO_WEIGHTS = "imagenet", "none"


@dataclass(frozen=True)
class Config:
    """All settings on which the result of a run depends.

    Attributes:
        architecture: a name of `dermedge.train.fit.networks.NETWORKS`.
        classes: classes in the order of the outputs.
        size: side of the input in pixels.
        weights: what the network starts from: imagenet, none, a weights file of the backbone, or the folder of
            a finished run.
        epochs: number of epochs of the float stage.
        qat_epochs: number of epochs of the quantization-aware stage; 0 for none.
        photos_per_epoch: number of photos that an epoch samples.
        batch_size: photos a step.
        learning_rate: the peak of the float stage.
        qat_learning_rate: the peak of the quantization-aware stage.
        seed: seed of the split, the initial weights, the sampling and the augmentation.
        data: the paths that were given.
        data_digest: digest of the catalogue.
        command: the command line.
        teachers: run folders whose probabilities are part of the targets.
        validated: the run that this one repeats with its validation photos as training photos; empty for none.
        averaged: run folders whose weights, averaged with those of ``weights``, are the start.
        recipe: how photos are sampled, varied and labelled, and which weights are kept.
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
        """The finished runs whose mean weights are the start; none if the run starts from something else."""
        return (self.weights, *self.averaged) if is_run(self.weights) else ()

    @property
    def freezes_batch_norms(self) -> bool:
        """Whether the batch norms keep the pretrained statistics and factors that the run starts with."""
        return self.weights != NO_WEIGHTS and not self.recipe.train_batch_norms

    def stage_epochs(self, stage: str) -> int:
        """Returns the number of epochs of a stage of `STAGES`."""
        return {"float": self.epochs, "qat": self.qat_epochs}[stage]


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run: ``epoch`` epochs of ``stage`` are done.

    Attributes:
        checkpoint: the folder, below the run folder, with the state after that epoch; empty before the first.
        finished: whether there is nothing left to do.
    """

    stage: str = "float"
    epoch: int = 0
    checkpoint: str = ""
    finished: bool = False


def is_run(weights: str) -> bool:
    """Tells whether the value of ``weights`` is the folder of another run."""
    return weights not in (IMAGENET, NO_WEIGHTS) and Path(weights).is_dir()


def refuse_existing(path: Path) -> None:
    """Raises StorageError if a run would overwrite another one, or anything else."""
    if path.exists():
        raise StorageError(f"'{path}' exists already; continue it with --resume, or choose another --output")


@dataclass(frozen=True)
class RunFolder:
    """Paths and files of one run."""

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
        """Decoded photos, shared by all runs beside this one."""
        return self.path.parent / ".cache"

    def weights_path(self, stage: str) -> Path:
        """Returns the weights of a stage after its last epoch so far."""
        return self.path / f"{stage}_weights.h5"

    def create(self, config: Config, catalogue: Catalogue) -> None:
        """Makes the folder, and writes the settings and the photos.

        Raises:
            StorageError: it exists already, or cannot be written.
        """
        refuse_existing(self.path)
        try:
            catalogue.save(self.catalogue_path)
            write_text(self.path / "data.json", catalogue.to_json())
            self.save_progress(RunProgress())
            # the config is written last, because a folder with a config can be resumed
            content = asdict(_with_absolute_paths(config))
            write_text(self.path / "config.json", json.dumps(content, indent=1) + "\n")
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def config(self) -> Config:
        """Returns the settings, with the present paths of other runs and weights files.

        If these have moved together with this run, they are found beside it.

        Raises:
            DataError: the folder holds no run.
        """
        values = self._known(Config, "config.json")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        # older runs have no recipe: they were trained with the default one
        recipe = recipe_from_json(values.get("recipe", {}))
        config = Config(**(values | lists | {"recipe": recipe}))
        return _with_paths(config, self._found)

    def _found(self, path: str) -> str:
        """Returns the present path of a file or folder that this run names: its old path, or one beside the run."""
        beside = self.path.parent / Path(path).name
        return str(beside) if not Path(path).exists() and beside.exists() else path

    def photos(self, data: Sequence[Path] = ()) -> tuple[Photo, ...]:
        """Returns the photos of the run; ``data`` as `dermedge.train.data.catalogue.read_catalogue` takes it."""
        return read_catalogue(self.catalogue_path, data)

    def learned_before(self) -> bytes:
        """Returns the photos that the run's parents have learned from, as `dermedge.train.data.learned` packs them."""
        return self._learned_before.read_bytes() if self._learned_before.is_file() else b""

    def keep_learned_before(self, learned: bytes) -> None:
        """Stores which photos the run's parents were trained on; raises StorageError."""
        if learned:
            write_bytes(self._learned_before, learned)

    @property
    def _learned_before(self) -> Path:
        return self.path / "learned-before.bin"

    def move_photos(self, data: Sequence[Path]) -> None:
        """Writes the new folders of photos that have moved into the catalogue.

        Raises:
            DataError: ``data`` does not hold the photos, or they were replaced.
            StorageError: the catalogue cannot be written.
        """
        classes, photos = self.config().classes, self.photos(data)
        check_photos(photos)
        Catalogue(photos, classes, {}).save(self.catalogue_path)

    def progress(self) -> RunProgress:
        """Returns the progress of the run; raises DataError if the folder is not a run."""
        return RunProgress(**self._known(RunProgress, "progress.json"))

    def save_progress(self, progress: RunProgress) -> None:
        """Writes the progress of the run; raises StorageError."""
        write_text(self.path / "progress.json", json.dumps(asdict(progress), indent=1) + "\n")

    def history(self) -> list[dict[str, str]]:
        """Returns one row for each finished epoch."""
        if not self.history_path.is_file():
            return []
        with self.history_path.open(newline="") as handle:
            return list(csv.DictReader(handle))

    def add_history(self, row: dict[str, Any]) -> None:
        """Adds the row of one epoch. A row of the same epoch from before an interruption is replaced."""
        key = (row["stage"], str(row["epoch"]))
        rows = [old for old in self.history() if (old["stage"], old["epoch"]) != key]
        with write_beside(self.history_path) as part, part.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(row), lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, row])

    def save_checkpoint(self, checkpoint: Any, progress: RunProgress) -> RunProgress:
        """Writes a TensorFlow checkpoint, then the progress that points to it, and then deletes the previous
        checkpoint.

        Raises:
            StorageError: it cannot be written.
        """
        import tensorflow as tf

        name = f"checkpoints/{progress.stage}-{progress.epoch:03d}"
        (self.path / name).mkdir(parents=True, exist_ok=True)
        try:
            checkpoint.write(str(self.path / name / "state"))
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(self.path / name, ignore_errors=True)
            raise StorageError(f"cannot write the checkpoint '{self.path / name}': {error}") from error
        progress = replace(progress, checkpoint=name)
        self.save_progress(progress)
        self.keep_checkpoint(name)
        return progress

    def keep_checkpoint(self, name: str) -> None:
        """Deletes all checkpoints except for the one called ``name``."""
        for folder in (self.path / "checkpoints").glob("*"):
            if folder != self.path / name:
                shutil.rmtree(folder)

    def _known(self, kind: type[Config | RunProgress], name: str) -> dict[str, Any]:
        """Returns the values of a file that are fields of ``kind``; other versions may have written more."""
        names = {one.name for one in fields(kind)}
        return {key: value for key, value in self._json(name).items() if key in names}

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise DataError(
                f"'{self.path}' is not a run folder of dermedge train: it has no readable {name}"
            ) from error


def _with_absolute_paths(config: Config) -> Config:
    """Returns the settings with the paths of runs and weights files as seen from any folder."""
    return _with_paths(config, lambda path: os.path.abspath(path) if os.path.exists(path) else path)


def _with_paths(config: Config, change: Callable[[str], str]) -> Config:
    weights = config.weights if config.weights in (IMAGENET, NO_WEIGHTS) else change(config.weights)
    return replace(
        config,
        weights=weights,
        teachers=tuple(map(change, config.teachers)),
        averaged=tuple(map(change, config.averaged)),
        validated=change(config.validated) if config.validated else "",
    )

"""What a training costs before, beside and in its network on a folder of photos.

Each function is called in a process of its own, where a second set of photos does not find the freed memory and
the warm TensorFlow of the first.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from dermedge.benchmarks.memory import BYTES_PER_MB, resident_peak_bytes

if TYPE_CHECKING:
    from dermedge.train.fit.run_folder import RunFolder

ARCHITECTURE, SIZE, BATCH = "efficientnet_lite0_trunk", 128, 32
__all__ = ["ARCHITECTURE", "BATCH", "SIZE", "TrainingFigures", "first_start", "second_start"]

# The first step of the first epoch traces the graph; the second is timed.
_EPOCHS = 2

TrainingFigures = dict[str, float]


def first_start(photos: Path, run: Path, photos_per_epoch: int) -> TrainingFigures:
    """A training from nothing to the end of its float stage.

    Returns:
        ``reading_s`` and ``comparing_s``, all photos for the catalogue; ``decoding_s`` into the cache, and
        ``decoded`` photos, those of train and val; ``cache_mb``; ``pipeline`` and ``training`` in photos a
        second, of all photos of train once and of an epoch; ``catalogue_peak_mb`` and ``peak_mb``.
    """
    from dermedge.train.data.pixels import cached_pixels
    from dermedge.train.fit.batches import TrainingBatches
    from dermedge.train.fit.training import Trainer

    figures, folder = _catalogued(photos, run, photos_per_epoch)
    figures["catalogue_peak_mb"] = _peak_mb()
    known = folder.photos()
    parts = [[Path(photo.path) for photo in known if photo.split == split] for split in ("train", "val")]
    began = perf_counter()
    for part in parts:
        cached_pixels(part, SIZE, folder.cache)
    figures["decoding_s"] = perf_counter() - began
    figures["decoded"] = sum(map(len, parts))
    figures["cache_mb"] = sum(path.stat().st_size for path in folder.cache.rglob("*")) / BYTES_PER_MB
    trainer = Trainer(folder, say=lambda line: None)
    batches = TrainingBatches(
        trainer.train_pixels,
        trainer.train_photos,
        folder.config().classes,
        batch_size=BATCH,
        photos_per_epoch=len(trainer.train_photos),
        seed=0,
        epoch=0,
    )
    began = perf_counter()
    for batch in range(len(batches)):
        batches[batch]
    figures["pipeline"] = len(batches) * BATCH / (perf_counter() - began)
    trainer.fit()
    figures["training"] = float(folder.history()[-1]["photos_per_second"])
    figures["peak_mb"] = _peak_mb()
    return figures


def second_start(photos: Path, run: Path, photos_per_epoch: int) -> TrainingFigures:
    """Another training on photos that one beside it has seen, to its first step, and that one resumed.

    Returns:
        ``start_s``, all that comes before the first step; ``resumed_s``, the same of a run that has its
        catalogue.
    """
    from dermedge.train.fit.training import Trainer

    began = perf_counter()
    _, folder = _catalogued(photos, run, photos_per_epoch)
    Trainer(folder, say=lambda line: None)
    ready = perf_counter()
    Trainer(folder, say=lambda line: None)
    return {"start_s": ready - began, "resumed_s": perf_counter() - ready}


def _catalogued(photos: Path, run: Path, photos_per_epoch: int) -> tuple[TrainingFigures, RunFolder]:
    """A run folder as `dermedge train` makes it, and the seconds that its catalogue took."""
    from dermedge.train.data.build import build_catalogue
    from dermedge.train.fit.plan import plan_training
    from dermedge.train.fit.run_folder import Config, RunFolder

    folder, halves = RunFolder(run), list[float]()

    def note(done: int, total: int) -> None:
        # reading is the first half; there is none where the copies are known
        if 2 * done == total:
            halves.append(perf_counter())

    began = perf_counter()
    catalogue = build_catalogue([photos], progress=note, cache=folder.cache)
    ended = perf_counter()
    read = halves[0] if halves else ended
    config = Config(
        architecture=ARCHITECTURE,
        classes=catalogue.classes,
        size=SIZE,
        weights="none",
        epochs=_EPOCHS,
        qat_epochs=0,
        photos_per_epoch=photos_per_epoch,
        batch_size=BATCH,
        learning_rate=plan_training(len(catalogue.photos), pretrained=False).learning_rate,
        qat_learning_rate=0.0,
        seed=0,
        data=(str(photos),),
        data_digest=catalogue.digest,
        command="python -m dermedge.benchmarks.lab growth photos",
    )
    folder.create(config, catalogue)
    return {"reading_s": read - began, "comparing_s": ended - read}, folder


def _peak_mb() -> float:
    return (resident_peak_bytes() or 0) / BYTES_PER_MB

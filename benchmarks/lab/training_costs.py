"""Measures the time and memory of a training on a folder of photos: the preparation, the input pipeline and the epochs.

Each public function must run in a new process. In one process, a second measurement would reuse the memory and the
imported TensorFlow of the first measurement.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from dermedge.benchmarks.lab.cli import command_line
from dermedge.benchmarks.lab.training_run import BATCH, SIZE, create_run
from dermedge.benchmarks.memory import BYTES_PER_MB, resident_peak_bytes

if TYPE_CHECKING:
    from dermedge.train.fit.run_folder import RunFolder

__all__ = ["TrainingFigures", "first_start", "second_start"]

# The first epoch includes the tracing of the graph, so only the second epoch is timed.
_EPOCHS = 2

TrainingFigures = dict[str, float]


def first_start(photos: Path, run: Path, photos_per_epoch: int) -> TrainingFigures:
    """Measures a training from its start to the end of the float stage.

    Returns:
        ``reading_s``: seconds to read all photos for the catalogue. ``comparing_s``: seconds to find duplicates.
        ``decoding_s``: seconds to decode the photos of the splits train and val into the cache. ``decoded``: number of
        decoded photos. ``cache_mb``: size of the cache. ``pipeline``: photos per second of the input pipeline alone.
        ``training``: photos per second of an epoch. ``catalogue_peak_mb``: highest memory until the catalogue is
        complete. ``peak_mb``: highest memory until the end.
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
    """Measures how long a new and a resumed training need to start, after an earlier training has read the photos.

    The new training makes a catalogue of the photos. The resumed training has a catalogue already.

    Returns:
        ``start_s``: seconds before the first step of the new training. ``resumed_s``: seconds before the first step of
        the resumed training.
    """
    from dermedge.train.fit.training import Trainer

    began = perf_counter()
    _, folder = _catalogued(photos, run, photos_per_epoch)
    Trainer(folder, say=lambda line: None)
    ready = perf_counter()
    Trainer(folder, say=lambda line: None)
    return {"start_s": ready - began, "resumed_s": perf_counter() - ready}


def _catalogued(photos: Path, run: Path, photos_per_epoch: int) -> tuple[TrainingFigures, RunFolder]:
    """Builds a catalogue and a run folder, as `dermedge train` does.

    Returns:
        A dict and the run folder. The dict has the keys ``reading_s`` and ``comparing_s``, which `first_start`
        explains.
    """
    from dermedge.train.data.build import build_catalogue
    from dermedge.train.fit.run_folder import RunFolder

    folder, halves = RunFolder(run), list[float]()

    def note(done: int, total: int) -> None:
        # reading the photos is the first half of the progress, so at half of the total all photos have been read
        if 2 * done == total:
            halves.append(perf_counter())

    began = perf_counter()
    catalogue = build_catalogue([photos], progress=note, cache=folder.cache)
    ended = perf_counter()
    read = halves[0] if halves else ended
    command = command_line("growth", ["photos"])
    create_run(folder, catalogue, photos, command, epochs=_EPOCHS, photos_per_epoch=photos_per_epoch)
    return {"reading_s": read - began, "comparing_s": ended - read}, folder


def _peak_mb() -> float:
    return (resident_peak_bytes() or 0) / BYTES_PER_MB

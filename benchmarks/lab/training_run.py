"""Makes the run folder for a training whose speed or memory is measured.

The run has the architecture of the shipped models, random initial weights, and only the float stage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dermedge.train.data.catalogue import Catalogue
    from dermedge.train.fit.run_folder import RunFolder

__all__ = ["ARCHITECTURE", "BATCH", "SIZE", "create_run"]

ARCHITECTURE, SIZE, BATCH = "efficientnet_lite0_trunk", 128, 32


def create_run(
    folder: RunFolder,
    catalogue: Catalogue,
    photos: Path,
    command: str,
    *,
    epochs: int,
    photos_per_epoch: int,
    size: int = SIZE,
    batch: int = BATCH,
) -> None:
    """Writes the settings and the catalogue of a run, as `dermedge train` does.

    Args:
        folder: a run folder that does not exist yet.
        catalogue: the catalogue of the photos.
        photos: the folder of the photos.
        command: the command line of the experiment.
        epochs: number of epochs of the float stage.
        photos_per_epoch: number of photos that an epoch samples.
        size: width and height of the network input in pixels.
        batch: number of photos per step.
    """
    from dermedge.train.fit.plan import plan_training
    from dermedge.train.fit.run_folder import Config

    config = Config(
        architecture=ARCHITECTURE,
        classes=catalogue.classes,
        size=size,
        weights="none",
        epochs=epochs,
        qat_epochs=0,
        photos_per_epoch=photos_per_epoch,
        batch_size=batch,
        learning_rate=plan_training(len(catalogue.photos), pretrained=False).learning_rate,
        qat_learning_rate=0.0,
        seed=0,
        data=(str(photos),),
        data_digest=catalogue.digest,
        command=command,
    )
    folder.create(config, catalogue)

"""Returns the network of a run at its start, or with its trained weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tf_keras as keras

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.files import write_beside
from dermedge.train.fit.efficientnet_lite import freeze_blocks
from dermedge.train.fit.networks import build_network, freeze_batch_norms
from dermedge.train.fit.quantize_aware import uncalibrated_twin
from dermedge.train.fit.run_folder import NO_WEIGHTS, Config, RunFolder
from dermedge.train.fit.tflite_weights import is_tflite, take_tflite_weights

__all__ = ["save_weights", "start_network", "trained_network"]


def start_network(config: Config) -> keras.Model:
    """Returns the float network of a run before its first step.

    If it starts from several runs, it gets the mean of their weights: Wortsman et al., "Model soups", 2022.

    Raises:
        OptionError: it starts from a run of another size, which its fully connected layers do not fit, or from a
            .tflite of another architecture; or its recipe freezes more blocks than it has.
        DataError: the weights cannot be loaded.
        MissingExtra: the package that carries the ImageNet weights is not installed.
    """
    from_tflite = is_tflite(config.weights)
    weights = NO_WEIGHTS if config.starts or from_tflite else config.weights
    network = build_network(config.architecture, config.size, len(config.classes), weights)
    if from_tflite:
        take_tflite_weights(network, config.weights, config.classes)
    if config.freezes_batch_norms:
        freeze_batch_norms(network)
    freeze_blocks(network, config.recipe.frozen_blocks)
    if not config.starts:
        return network
    learned = []
    for path in config.starts:
        parent = RunFolder(Path(path))
        try:
            network.set_weights(trained_network(parent, "float").get_weights())
        except ValueError as error:
            raise OptionError(
                f"'{path}' was trained at {parent.config().size} pixels, and a {config.architecture} of "
                f"{config.size} cannot start with its weights"
            ) from error
        learned.append(network.get_weights())
    network.set_weights([np.mean(parts, axis=0) for parts in zip(*learned, strict=True)])
    return network


def trained_network(run: RunFolder, stage: str) -> keras.Model:
    """Returns the network of a run with the weights of a stage's last epoch.

    Args:
        run: the folder.
        stage: ``float`` or ``qat``.

    Raises:
        DataError: the stage has no weights.
    """
    config = run.config()
    weights = run.weights_path(stage)
    if not weights.is_file():
        raise DataError(f"'{run.path}' has no {stage} weights; continue it with: train --resume '{run.path}'")
    network = build_network(config.architecture, config.size, len(config.classes))
    if config.freezes_batch_norms:
        # the order of the stored weights depends on this
        freeze_batch_norms(network)
    if stage == "qat":
        network = uncalibrated_twin(network)
    network.load_weights(weights)
    return network


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights, whole or not at all; raises StorageError."""
    with write_beside(path) as part:
        model.save_weights(part)

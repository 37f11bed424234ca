"""Builds the network of a run, with its initial or its trained weights, and saves trained weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tf_keras as keras

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.files import write_beside
from dermedge.train.fit.efficientnet_lite import freeze_blocks
from dermedge.train.fit.networks import WEIGHTS_ERRORS, build_network, freeze_batch_norms
from dermedge.train.fit.quantize_aware import uncalibrated_twin
from dermedge.train.fit.run_folder import NO_WEIGHTS, Config, RunFolder
from dermedge.train.fit.tflite_weights import is_tflite, take_tflite_weights

__all__ = ["load_weights", "save_weights", "start_network", "trained_network"]


def start_network(config: Config) -> keras.Model:
    """Returns the float network of a run with its initial weights.

    If the run starts from several finished runs, the network gets the mean of their weights. Source: Wortsman et al.,
    "Model soups", 2022.

    Raises:
        OptionError: the .tflite to start from has another architecture; or the recipe freezes more blocks than the
            network has; or the network has fully connected layers, and a run to start from has another input size. (The
            weights of fully connected layers depend on the input size.)
        DataError: the weights cannot be loaded.
        MissingExtra: the package with the ImageNet weights is not installed.
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
                f"'{path}' was trained with an input of {parent.config().size} pixels, and a {config.architecture} "
                f"with an input of {config.size} pixels cannot start with its weights; give --imgsz "
                f"{parent.config().size}"
            ) from error
        learned.append(network.get_weights())
    network.set_weights([np.mean(parts, axis=0) for parts in zip(*learned, strict=True)])
    return network


def trained_network(run: RunFolder, stage: str) -> keras.Model:
    """Returns the network of a run with the weights after the last finished epoch of a stage.

    Args:
        run: the run.
        stage: ``float`` or ``qat``. With ``qat``, the network is the quantization-aware copy.

    Raises:
        DataError: the stage has no weights yet, or the file with the weights is damaged.
    """
    config = run.config()
    if not run.weights_path(stage).is_file():
        raise DataError(
            f"'{run.path}' has no {stage} weights; continue it with: dermedge train --resume '{run.path}'"
        )
    network = build_network(config.architecture, config.size, len(config.classes))
    if config.freezes_batch_norms:
        # The order of the weights in the file depends on which layers are frozen. So the same layers are frozen before
        # the file is read.
        freeze_batch_norms(network)
    if stage == "qat":
        network = uncalibrated_twin(network)
    load_weights(network, run, stage)
    return network


def load_weights(network: keras.Model, run: RunFolder, stage: str) -> None:
    """Loads the weights after the last finished epoch of a stage into a network, in place.

    Raises:
        DataError: the file with the weights is missing or damaged.
    """
    weights = run.weights_path(stage)
    try:
        network.load_weights(weights)
    except WEIGHTS_ERRORS as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"cannot load the weights '{weights}': {reason}; copy the whole run folder again, or train a new run"
        ) from error


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights of a network to a file. The file is replaced only after all weights have been written.

    Raises:
        StorageError: the file cannot be written.
    """
    with write_beside(path) as part:
        model.save_weights(part)

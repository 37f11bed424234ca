"""The command line of `dermedge train`."""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dermedge.edge.cli.arguments import Parser, make_parser, positive_int, positive_number, whole
from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.shipped import SHIPPED
from dermedge.train.cli.catalogue_options import add_catalogue_options, catalogue_arguments, print_catalogue
from dermedge.train.data.build import build_catalogue
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.data.splits import with_source_tested, with_validation_learned
from dermedge.train.fit.interrupts import InterruptGuard
from dermedge.train.fit.plan import plan_training
from dermedge.train.fit.recipe import Recipe, read_recipe
from dermedge.train.fit.run_folder import (
    IMAGENET,
    NO_WEIGHTS,
    Config,
    RunFolder,
    is_run,
    refuse_existing,
)
from dermedge.train.tensorflow_start import load_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

    from dermedge.train.fit.training import Trainer

__all__ = ["main", "parser"]

# The options that can be combined with --resume or --refit. All other settings come from the existing run.
_BESIDE_A_RUN = {
    "--resume": {"--data", "--strategy"},
    "--refit": {"--data", "--output", "--weights", "--strategy"},
}
_SHOWN_AUGMENTED = 24
# NumPy accepts no greater seed for its global random numbers, which Keras seeds.
_MAX_SEED = 2**32 - 1
# Example commands that are shown at the end of the help.
_EXAMPLES = (
    "dermedge train --data photos/ --output runs/mine",
    "dermedge train --resume runs/mine",
    "dermedge train --data photos/ --folds 5 --output runs/cv",
)


def parser() -> Parser:
    """Returns the parser of `dermedge train`."""
    made = make_parser(
        "train", "Train a classifier on labelled photos, then fine-tune it for int8.", _EXAMPLES
    )
    _add_run_options(made)
    _add_network_options(made)
    _add_stage_options(made)
    _add_recipe_options(made)
    _add_plan_options(made)
    return made


def _add_run_options(made: Parser) -> None:
    """Adds the options for the photos and the run folder."""
    group = made.add_argument_group("photos and run")
    group.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="Train on the photos of these folders, tables and catalogues. With --resume or --refit, use this "
        "option only if the photos of that run have moved, and give the folders where the photos are now.",
    )
    group.add_argument("--resume", type=Path, metavar="RUN", help="Continue this stopped run.")
    group.add_argument(
        "--refit",
        type=Path,
        metavar="RUN",
        help="Train a new run with the settings of RUN, on the training and validation photos of RUN. The new run has "
        "no validation photos left. Therefore, `dermedge convert` fits the thresholds with the network and the "
        "validation photos of RUN, and uses them for the new run.",
    )
    group.add_argument(
        "--output",
        type=Path,
        metavar="RUN",
        help="Write the run into this new folder. Default: runs/TIME.",
    )
    add_catalogue_options(made)


def _add_network_options(made: Parser) -> None:
    """Adds the options for the architecture, the initial weights and the input size."""
    group = made.add_argument_group("network")
    group.add_argument(
        "--arch",
        default="efficientnet_lite0_trunk",
        metavar="NAME",
        help="Train a network of this architecture: efficientnet_lite0_trunk (as in the shipped models), "
        "efficientnet_lite2, mobilenet_v2 or cnn. Default: %(default)s.",
    )
    group.add_argument(
        "--weights",
        nargs="+",
        metavar="WEIGHTS",
        help="Start from these weights: imagenet (published weights), none (random weights), a Keras weights file, a "
        f".tflite of dermedge, a shipped model ({', '.join(SHIPPED)}), or a finished run of any input size. "
        "If several finished runs are given, the network starts from the mean of their weights. These runs must have "
        "the same --seed. Default: imagenet. For cnn, the default is none.",
    )
    group.add_argument(
        "--imgsz",
        type=positive_int,
        default=192,
        metavar="PIXELS",
        help="Set the width and height of the network's input in pixels. Default: %(default)s.",
    )


def _add_stage_options(made: Parser) -> None:
    """Adds the options for the length and the learning rates of both stages."""
    group = made.add_argument_group("training")
    group.add_argument(
        "--epochs",
        type=whole,
        metavar="N",
        help="Train the float stage for N epochs. With 0, the stage is skipped, and the weights of the finished runs "
        "in --weights are used unchanged. Default: enough epochs to sample each training photo 14 times on average, "
        "but at least about 6,400 and at most about 200,000 samples in total.",
    )
    group.add_argument(
        "--photos-per-epoch",
        type=positive_int,
        metavar="N",
        help="Sample N photos for each epoch. The number of samples of a class is in proportion to the square root of "
        "the number of its photos. Within a class, the same rule divides the samples among the combinations of "
        "diagnosis and source. Default: the number of training photos. If --epochs is not given either, the default is "
        "at least 640 and at most 4,000.",
    )
    group.add_argument(
        "--qat-epochs",
        type=whole,
        default=2,
        metavar="N",
        help="Fine-tune the trained network for int8 for N epochs. With 0, the network is not fine-tuned. Default: "
        "%(default)s.",
    )
    group.add_argument(
        "--batch",
        type=positive_int,
        default=32,
        metavar="N",
        help="Train on N photos in each step. Default: %(default)s.",
    )
    group.add_argument(
        "--lr",
        type=positive_number,
        metavar="RATE",
        help="Set the peak learning rate of the float stage. Default: 0.0003. With --weights none, the "
        "default is 0.001.",
    )
    group.add_argument(
        "--qat-lr",
        type=positive_number,
        default=1e-5,
        metavar="RATE",
        help="Set the peak learning rate of the int8 stage. Default: %(default)s.",
    )


def _add_recipe_options(made: Parser) -> None:
    """Adds the options for sampling, augmentation and the random seed."""
    group = made.add_argument_group("recipe")
    group.add_argument(
        "--recipe",
        type=Path,
        metavar="JSON",
        help="Read the settings of sampling, augmentation and targets from this JSON file. A field that the file lacks "
        "keeps its default. The section 'The recipe' of docs/training.md lists all fields.",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="Set the random seed of the split, the initial weights, the sampling and the augmentation. Default: "
        "%(default)s.",
    )


def _add_plan_options(made: Parser) -> None:
    """Adds the options for teachers, test sources, folds and devices."""
    group = made.add_argument_group("teachers, tests and devices")
    group.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="Learn from the labels and from the probabilities that these finished runs predict (distillation). "
        "These runs must have been trained on the same splits.",
    )
    group.add_argument(
        "--test-source",
        metavar="NAME",
        help="Use all photos of this source as the test photos, and train on the other sources. This shows how well "
        "the model works on an unseen source. The photos of the original test split are not used.",
    )
    group.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="Cross-validate: train K runs, and score each run on lesions that it did not learn from.",
    )
    group.add_argument(
        "--strategy",
        choices=("single", "mirrored", "multi-worker"),
        default="single",
        help="Choose the devices to train on. single: one device; mirrored: all devices of this machine; "
        "multi-worker: all machines that the environment variable TF_CONFIG names. Several devices share each batch "
        "equally. Default: %(default)s.",
    )


def main(argv: Sequence[str]) -> int:
    """Trains a new run or continues a stopped one.

    Prints a line for each epoch. At the end, prints the command that converts the run.
    """
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # So a log file shows each epoch as soon as the epoch ends. With a block buffer, the log file would stay empty
        # for hours, and its content would be lost if the process were killed.
        sys.stdout.reconfigure(line_buffering=True)
    _check_options(options, argv)
    load_tensorflow()
    from dermedge.train.fit.distribution import STRATEGIES, is_chief, report_lost_workers, wait_for_all

    strategy = STRATEGIES[options.strategy]()
    path = options.resume or options.output
    with InterruptGuard() as guard, report_lost_workers(), _memory_errors_reported():
        if is_chief(strategy):
            command = shlex.join(["dermedge", "train", *argv])
            path = _prepare(options, command, strategy, guard)
        wait_for_all(strategy)
        _train_all(path, strategy, guard)
        wait_for_all(strategy)
    return 0


def _check_options(options: argparse.Namespace, argv: Sequence[str]) -> None:
    """Raises OptionError for mistakes that can be found without reading the photos."""
    if options.resume and options.refit:
        raise OptionError(
            "--resume and --refit cannot be combined; give --resume to continue a run, or --refit to start a new one"
        )
    if not (options.data or options.resume or options.refit):
        raise OptionError(
            "there is nothing to train on; give --data PATH for a new run, --resume RUN to continue a run, or "
            "--refit RUN to also train on the validation photos of a run"
        )
    given = [word.split("=")[0] for word in argv if word.startswith("--")]
    for option, beside in _BESIDE_A_RUN.items():
        useless = [name for name in given if name not in {option, *beside}]
        if option in given and useless:
            raise OptionError(
                f"{option} uses the settings of an existing run, and cannot be combined with "
                f"{', '.join(useless)}; leave out {', '.join(useless)}"
            )
    if not 0 <= options.seed <= _MAX_SEED:
        raise OptionError(f"--seed is {options.seed}; it must be from 0 to {_MAX_SEED}")
    for path in options.data or ():
        if not path.exists():
            raise OptionError(f"--data is '{path}', which does not exist; check the path")
    if options.strategy == "multi-worker" and not (options.resume or options.output):
        raise OptionError(
            "--strategy multi-worker needs --output RUN; give the same folder to all workers. All machines must be "
            "able to reach this folder"
        )


@contextmanager
def _memory_errors_reported() -> Iterator[None]:
    """Turns the errors of Python and TensorFlow about exhausted memory into an OptionError with a cure."""
    import tensorflow as tf

    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        reason = next(iter(str(error).splitlines()), "") or "allocation failed"
        raise OptionError(
            f"this machine has too little memory ({reason}); start a new run with a smaller --batch or --imgsz"
        ) from error


def _prepare(
    options: argparse.Namespace, command: str, strategy: tf.distribute.Strategy, guard: InterruptGuard
) -> Path:
    """Returns the folder of the run or cross-validation to train, and creates the folder if it is a new one."""
    if options.refit:
        return _start_refit(options, command, strategy, guard)
    if not options.resume:
        return _start(options, command, strategy, guard)
    if options.data:
        for run in _runs(options.resume):
            run.move_photos(options.data)
    return options.resume


def _runs(path: Path) -> list[RunFolder]:
    """Returns the runs of all folds if ``path`` is a cross-validation, or else the single run in ``path``."""
    from dermedge.train.fit.folds import runs_below

    return runs_below(path) or [RunFolder(path)]


def _train_all(path: Path, strategy: tf.distribute.Strategy, guard: InterruptGuard) -> None:
    """Trains the single run in ``path``, or the runs of all folds if ``path`` is a cross-validation."""
    from dermedge.train.fit.distribution import is_chief
    from dermedge.train.fit.folds import report_folds, runs_below

    for run in _runs(path):
        if not is_chief(strategy):
            _assist(run, strategy)
        elif run.progress().finished:
            print(f"'{run.path}' is already finished. Convert it with: dermedge convert '{run.path}' --int8")
        else:
            _train(run, strategy, guard)
    folds = runs_below(path)
    if folds and is_chief(strategy):
        report_folds(path, folds)


def _output_path(options: argparse.Namespace) -> Path:
    """Returns the path of the new run folder. Raises StorageError if it exists already."""
    path: Path = options.output or Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    refuse_existing(path)
    return path


def _start_weights(given: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Returns the fields ``weights`` and ``averaged`` of `Config` for the values of --weights."""
    weights, *averaged = given
    for one in given if averaged else ():
        if not is_run(one):
            raise OptionError(
                f"'{one}' of --weights is not a run folder. Several values must all be run folders, because their "
                "weights are averaged; give only run folders, or give a single value"
            )
    return weights, tuple(averaged)


def _start_refit(
    options: argparse.Namespace, command: str, strategy: tf.distribute.Strategy, guard: InterruptGuard
) -> Path:
    """Makes the folder of a run that repeats the run of --refit, but also trains on the validation photos."""
    from dermedge.train.fit.distribution import check_batch
    from dermedge.train.fit.parents import check_parents
    from dermedge.train.fit.run_networks import start_network

    path, validated = _output_path(options), RunFolder(options.refit)
    config, photos = validated.config(), validated.photos(options.data or ())
    check_batch(config.batch_size, strategy)
    if options.weights:
        weights, averaged = _start_weights(options.weights)
        _check_batch_norms(weights, config.recipe)
        config = replace(config, weights=weights, averaged=averaged)
    if not any(photo.split == "val" for photo in photos):
        raise OptionError(
            f"'{validated.path}' has no validation photos that --refit could add to the training. Perhaps this run was "
            "itself made with --refit. Give --refit a run that has validation photos"
        )
    catalogue = Catalogue(with_validation_learned(photos), config.classes, {}, config.seed)
    config = replace(
        config,
        data_digest=catalogue.digest,
        command=command,
        validated=str(options.refit),
    )
    check_parents(config, catalogue.photos)
    print_catalogue(catalogue)
    start_network(config)
    learned = _learned_before(config)
    guard.check()
    RunFolder(path).create(config, catalogue, learned)
    return path


def _start(
    options: argparse.Namespace, command: str, strategy: tf.distribute.Strategy, guard: InterruptGuard
) -> Path:
    """Checks the options, catalogues the photos, and makes the folder of the run or of the cross-validation."""
    from dermedge.train.fit.folds import create_folds
    from dermedge.train.fit.parents import check_parents
    from dermedge.train.fit.run_networks import start_network

    path = _output_path(options)
    weights, averaged = _start_weights(options.weights or [NO_WEIGHTS if options.arch == "cnn" else IMAGENET])
    recipe = read_recipe(options.recipe) if options.recipe else Recipe()
    _check_batch_norms(weights, recipe)
    _check_before_reading(options, weights, strategy)
    catalogue = _catalogue(options, path)
    config = _config(options, catalogue, start=(weights, averaged), recipe=recipe, command=command)
    check_parents(config, catalogue.photos)
    start_network(config)
    learned = _learned_before(config)
    guard.check()
    if options.folds is not None:
        create_folds(path, config, catalogue, options.folds, learned)
    else:
        RunFolder(path).create(config, catalogue, learned)
    return path


def _learned_before(config: Config) -> bytes:
    """Returns which photos the parents (the teachers and the starting models) were trained on.

    If a parent does not state its photos, prints a warning.
    """
    from dermedge.train.fit.parents import learned_before

    learned = learned_before(config)
    if learned is None:
        print(
            f"warning: '{config.weights}' does not state which photos it was trained on; if it was trained on some of "
            "your validation or test photos, the scores of this run on val and test will be too good"
        )
    return learned or b""


def _check_batch_norms(weights: str, recipe: Recipe) -> None:
    """Raises OptionError if a run would train the batch norms of weights that come from a .tflite.

    The batch norms of a .tflite are folded into its weights. If new batch norms normalized the batches, the first
    training step would destroy what the network in the file has learned.
    """
    if recipe.train_batch_norms and _come_from_tflite(weights):
        raise OptionError(
            f"'train_batch_norms' of the recipe is true, but the batch norms of '{weights}' cannot be trained, because "
            "they are folded into the weights of a .tflite; set the field to false, or start from other weights"
        )


def _come_from_tflite(weights: str) -> bool:
    """Returns whether a value of --weights is a .tflite, or a run that started from one, perhaps through other runs."""
    from dermedge.train.fit.tflite_weights import is_tflite

    return is_tflite(weights) or (
        is_run(weights) and _come_from_tflite(RunFolder(Path(weights)).config().weights)
    )


def _check_before_reading(
    options: argparse.Namespace, weights: str, strategy: tf.distribute.Strategy
) -> None:
    """Raises the errors that can be found before the photos are read, because reading them takes minutes."""
    from dermedge.train.fit.distribution import check_batch
    from dermedge.train.fit.networks import NETWORKS, build_network
    from dermedge.train.fit.tflite_weights import is_tflite, start_labels, take_tflite_weights

    if options.arch not in NETWORKS:
        raise OptionError(f"unknown architecture '{options.arch}'. Known: {', '.join(NETWORKS)}")
    check_batch(options.batch, strategy)
    if options.epochs == 0 and not is_run(weights):
        raise OptionError(
            "--epochs 0 skips the float stage, so the weights must come from a finished run, but --weights is "
            f"'{weights}'; give a finished run as --weights RUN, or --epochs 1 or more"
        )
    for teacher in options.teacher or ():
        RunFolder(teacher).config()
    if is_tflite(weights):
        labels = start_labels(weights)
        take_tflite_weights(build_network(options.arch, options.imgsz, len(labels)), weights, labels)
    else:
        build_network(options.arch, options.imgsz, 2, NO_WEIGHTS if is_run(weights) else weights)


def _catalogue(options: argparse.Namespace, path: Path) -> Catalogue:
    """Catalogues the photos of --data with their splits, and prints the counts."""
    from dermedge.train.progress import progress_line

    arguments = catalogue_arguments(options)
    if arguments["classes"] is None:
        arguments["classes"] = _classes_of_parent(options)
    catalogue = build_catalogue(
        options.data,
        seed=options.seed,
        progress=progress_line("reading the photos"),
        cache=RunFolder(path).cache,
        say=print,
        **arguments,
    )
    if options.test_source is not None:
        catalogue = _with_source_tested(catalogue, options.test_source)
    print_catalogue(catalogue)
    # A cross-validation splits all photos outside the test split again.
    if options.folds is None:
        _check_training_photos(catalogue)
    return catalogue


def _with_source_tested(catalogue: Catalogue, source: str) -> Catalogue:
    """Returns the catalogue with one source as the test split. ``left_out`` counts the photos that are lost by this."""
    photos = with_source_tested(catalogue.photos, source)
    kept = {photo.path for photo in photos}
    lost = Counter(
        "in the original test split, which --test-source does not use"
        if photo.split == "test"
        else f"of lesions or persons that are also in '{source}'"
        for photo in catalogue.photos
        if photo.path not in kept
    )
    return replace(catalogue, photos=photos, left_out={**catalogue.left_out, **lost})


def _check_training_photos(catalogue: Catalogue) -> None:
    """Raises DataError if a class has no training photo.

    This happens if the splits come from folders, a table or an earlier catalogue.
    """
    learned = {photo.label for photo in catalogue.of("train")}
    missing = next((name for name in catalogue.classes if name not in learned), None)
    if missing is not None:
        raise DataError(
            f"the class '{missing}' has no photo in train, so it cannot be learned; move photos of this class to "
            "train, or leave the class out"
        )


def _classes_of_parent(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Returns the classes of the parent of the new run, and prints them; None if there is no parent.

    The parent is the first run in --weights or, if --weights names no run, the first run in --teacher. The new run must
    have the classes of its parent in the same order.
    """
    parents = [path for path in options.weights or () if is_run(path)] + list(options.teacher or ())
    if not parents:
        return None
    classes = RunFolder(Path(parents[0])).config().classes
    print(f"the new run has the classes of the run '{parents[0]}': {', '.join(classes)}")
    return classes


def _config(
    options: argparse.Namespace,
    catalogue: Catalogue,
    start: tuple[str, tuple[str, ...]],
    recipe: Recipe,
    command: str,
) -> Config:
    """Returns the settings of a new run, and prints the plan of the float stage."""
    weights, averaged = start
    photos = len(catalogue.of("train"))
    plan = plan_training(photos, weights != NO_WEIGHTS, options.epochs, options.photos_per_epoch, options.lr)
    if plan.epochs:
        print(plan.describe(photos))
    return Config(
        architecture=options.arch,
        classes=catalogue.classes,
        size=options.imgsz,
        weights=weights,
        epochs=plan.epochs,
        qat_epochs=options.qat_epochs,
        photos_per_epoch=plan.photos_per_epoch,
        batch_size=options.batch,
        learning_rate=plan.learning_rate,
        qat_learning_rate=options.qat_lr,
        seed=options.seed,
        data=tuple(map(str, options.data)),
        data_digest=catalogue.digest,
        command=command,
        teachers=tuple(map(str, options.teacher or ())),
        averaged=averaged,
        recipe=recipe,
    )


def _assist(run: RunFolder, strategy: tf.distribute.Strategy) -> None:
    """Trains a run as a worker that is not the chief. Such a worker prints nothing and keeps no files."""
    from dermedge.train.fit.distribution import wait_for_all, worker_copy
    from dermedge.train.fit.training import Trainer

    if run.progress().finished:
        return
    # This call waits for the chief, which calls `wait_for_all` after it has decoded the photos.
    wait_for_all(strategy)
    with worker_copy(run, strategy) as copy:
        Trainer(copy, strategy, say=lambda line: None).fit()


def _train(run: RunFolder, strategy: tf.distribute.Strategy, guard: InterruptGuard) -> None:
    """Trains a run to its end and plots its history. After Ctrl-C, prints how to continue the run."""
    from dermedge.train.evaluation.plots import plot_history
    from dermedge.train.fit.distribution import wait_for_all
    from dermedge.train.fit.training import Trainer

    with run.locked():
        try:
            guard.check()
            trainer = Trainer(run, strategy, guard=guard)
            wait_for_all(strategy)
            _plot_augmented(trainer)
            trainer.fit()
        except KeyboardInterrupt:
            print(
                f"\nStopped. All finished epochs are saved. Continue with: dermedge train --resume '{run.path}'"
            )
            raise
        finally:
            if run.history():
                plot_history(run.history(), run.plots / "history.png")
    print(f"done: '{run.path}'. Convert it with: dermedge convert '{run.path}' --int8")
    if warning := trainer.warning():
        print(warning)


def _plot_augmented(trainer: Trainer) -> None:
    """Plots some augmented training photos, as the network gets them before they are blended."""
    from dermedge.train.evaluation.plots import plot_images
    from dermedge.train.fit.augment import augment

    shown = np.random.default_rng(0).permutation(len(trainer.train_photos))[:_SHOWN_AUGMENTED]
    rng, how = np.random.default_rng(trainer.config.seed), trainer.config.recipe.augmentation
    plot_images(
        np.stack([augment(trainer.train_pixels[index], rng, how) for index in shown]),
        [trainer.train_photos[index].label for index in shown],
        trainer.run.plots / "augmented.png",
    )

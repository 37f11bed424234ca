"""The command line of `dermedge train`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dermedge.edge.cli.arguments import Parser, make_parser, positive_int, positive_number, whole
from dermedge.edge.errors import OptionError
from dermedge.train.cli.catalogue_options import add_catalogue_options, catalogue_arguments, print_catalogue
from dermedge.train.data.build import build_catalogue
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.data.splits import with_source_tested, with_validation_learned
from dermedge.train.fit.run_folder import NO_WEIGHTS, Config, RunFolder, is_run, refuse_existing

if TYPE_CHECKING:
    import tensorflow as tf

# Of the peak, by whether the network starts from pretrained weights.
PRETRAINED_RATE, FRESH_RATE = 3e-4, 1e-3
QAT_LEARNING_RATE = 1e-5
# What may stand beside an option that names a run, which decides on all else.
BESIDE_A_RUN = {"--resume": {"--strategy"}, "--refit": {"--output", "--weights", "--strategy"}}


def parser() -> Parser:
    """The options of the verb."""
    made = make_parser("train", "Fit a classifier on labelled photos, then fine-tune it for int8.")
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--data", type=Path, nargs="+", metavar="PATH", help="folders of photos, and the publishers' tables"
    )
    what.add_argument("--resume", type=Path, metavar="RUN", help="continue a run that was stopped")
    what.add_argument(
        "--refit",
        type=Path,
        metavar="RUN",
        help="the recipe of RUN once more, on its validation photos too: RUN decides on all but --output, "
        "--weights and --strategy, and goes on to tell the thresholds",
    )
    made.add_argument("--output", type=Path, metavar="RUN", help="the run folder to make; default runs/TIME")
    _add_network_options(made)
    _add_stage_options(made)
    _add_plan_options(made)
    return made


def _add_network_options(made: Parser) -> None:
    """What is trained, and what it starts with."""
    made.add_argument(
        "--arch",
        default="mobilenet_v2",
        help="cnn, mobilenet_v2, efficientnet_lite0_trunk or efficientnet_lite2",
    )
    made.add_argument(
        "--weights",
        nargs="+",
        metavar="WEIGHTS",
        help="imagenet, the default; none, a weights file, or a finished run, of any size, to go on from, or "
        "several, with the same --seed, to go on from the mean of their weights",
    )
    made.add_argument("--imgsz", type=positive_int, default=160, help="side of the input in pixels")
    add_catalogue_options(made)


def _add_stage_options(made: Parser) -> None:
    """How long and how fast the two stages learn."""
    made.add_argument(
        "--epochs",
        type=whole,
        default=8,
        help="epochs of the float stage; with 0 it is what finished runs, named with --weights, have learned",
    )
    made.add_argument(
        "--qat-epochs", type=whole, default=2, help="epochs of the int8 fine-tuning; 0 for none"
    )
    made.add_argument("--photos-per-epoch", type=positive_int, help="photos drawn evenly over the classes")
    made.add_argument("--batch", type=positive_int, default=32, help="photos a step")
    made.add_argument("--lr", type=positive_number, help="peak learning rate of the float stage")
    made.add_argument(
        "--qat-lr",
        type=positive_number,
        default=QAT_LEARNING_RATE,
        help="peak learning rate of the int8 stage",
    )


def _add_plan_options(made: Parser) -> None:
    """From whom it learns besides, on which photos it is tested, and on how many devices it runs."""
    made.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="finished runs on the same photos and splits to learn from besides the labels (distillation)",
    )
    made.add_argument(
        "--test-source",
        metavar="NAME",
        help="test on all photos of one source, and train on the others: does it hold elsewhere?",
    )
    made.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="cross-validate: train K runs, each held-out part judged by a run that has not seen its lesions",
    )
    made.add_argument(
        "--strategy",
        choices=("single", "mirrored", "multi-worker"),
        default="single",
        help="one device, all devices of this machine, or all machines of TF_CONFIG; the batch is shared",
    )
    made.add_argument("--seed", type=int, default=0, help="of the split, the weights and the drawing")


def main(argv: Sequence[str]) -> int:
    """Trains, or goes on training; prints each epoch, and what to do next."""
    options = parser().parse_args(argv)
    refuse_what_the_run_decides(argv)
    path = options.resume or options.output
    if options.strategy == "multi-worker" and not path:
        raise OptionError("--strategy multi-worker needs --output RUN, the same folder for all workers")
    from dermedge.train.fit.distribution import STRATEGIES, is_chief, lost_workers_told, wait_for_all

    strategy = STRATEGIES[options.strategy]()
    with lost_workers_told():
        if is_chief(strategy):
            command = shlex.join(["dermedge", "train", *argv])
            path = options.resume or (start_refit if options.refit else start)(options, command, strategy)
        wait_for_all(strategy)
        train_all(path, strategy)
        wait_for_all(strategy)
    return 0


def refuse_what_the_run_decides(argv: Sequence[str]) -> None:
    """Raises OptionError where an option stands beside --resume or --refit that would change nothing."""
    given = [word.split("=")[0] for word in argv if word.startswith("--")]
    for option, beside in BESIDE_A_RUN.items():
        useless = [name for name in given if name not in {option, *beside}]
        if option in given and useless:
            raise OptionError(
                f"{', '.join(useless)} cannot change a run that is there already; leave it out with {option}"
            )


def train_all(path: Path, strategy: tf.distribute.Strategy) -> None:
    """Trains the run of a folder, or those of all its folds."""
    from dermedge.train.fit.distribution import is_chief
    from dermedge.train.fit.folds import report_folds, runs_below

    folds = runs_below(path)
    for run in folds or [RunFolder(path)]:
        if not is_chief(strategy):
            assist(run, strategy)
        elif run.progress().finished:
            print(f"'{run.path}' is finished; next: dermedge convert '{run.path}' --int8")
        else:
            train(run, strategy)
    if folds and is_chief(strategy):
        report_folds(path, folds)


def output_path(options: argparse.Namespace) -> Path:
    """The run folder to make, which is not there yet."""
    path: Path = options.output or Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    refuse_existing(path)
    return path


def start_weights(given: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What a Config says of --weights: ``weights`` and ``averaged``."""
    weights, *averaged = given
    for one in given if averaged else ():
        if not is_run(one):
            raise OptionError(f"'{one}' of --weights is no run folder; only the weights of runs are averaged")
    return weights, tuple(averaged)


def start_refit(options: argparse.Namespace, command: str, strategy: tf.distribute.Strategy) -> Path:
    """Makes the folder of a run by the recipe of another, which learns from its validation photos too."""
    from dermedge.train.fit.distribution import check_batch
    from dermedge.train.fit.parents import check_origins
    from dermedge.train.fit.training import start_network

    path, validated = output_path(options), RunFolder(options.refit)
    config, photos = validated.config(), validated.photos()
    check_batch(config.batch_size, strategy)
    if options.weights:
        weights, averaged = start_weights(options.weights)
        config = replace(config, weights=weights, averaged=averaged)
    if not any(photo.split == "val" for photo in photos):
        raise OptionError(f"'{validated.path}' has learned from its validation photos already; refit another")
    catalogue = Catalogue(with_validation_learned(photos), config.classes, {}, config.seed)
    config = replace(
        config,
        data_digest=catalogue.digest,
        command=command,
        validated=str(options.refit),
    )
    check_origins(config, catalogue.photos)
    print_catalogue(catalogue)
    start_network(config)
    RunFolder(path).create(config, catalogue)
    return path


def start(options: argparse.Namespace, command: str, strategy: tf.distribute.Strategy) -> Path:
    """Checks the options, catalogues the photos and makes the run folder, or that of all folds."""
    from dermedge.train.fit.distribution import check_batch
    from dermedge.train.fit.folds import create_folds
    from dermedge.train.fit.networks import NETWORKS, build_network
    from dermedge.train.fit.parents import check_origins
    from dermedge.train.fit.training import start_network
    from dermedge.train.progress import progress_line

    if options.arch not in NETWORKS:
        raise OptionError(f"unknown architecture '{options.arch}'. Known: {', '.join(NETWORKS)}")
    check_batch(options.batch, strategy)
    weights, averaged = start_weights(options.weights or ["none" if options.arch == "cnn" else "imagenet"])
    if not options.epochs and not is_run(weights):
        raise OptionError(f"--epochs 0 needs --weights RUN; '{weights}' has learned nothing of these photos")
    path = output_path(options)
    # what can be told before the photos are read is told then, because that takes a while
    for teacher in options.teacher:
        RunFolder(teacher).config()
    build_network(options.arch, options.imgsz, 2, NO_WEIGHTS if is_run(weights) else weights)
    catalogue = build_catalogue(
        options.data,
        seed=options.seed,
        progress=progress_line("reading the photos"),
        cache=RunFolder(path).cache,
        say=print,
        **catalogue_arguments(options),
    )
    if options.test_source is not None:
        catalogue = replace(catalogue, photos=with_source_tested(catalogue.photos, options.test_source))
    print_catalogue(catalogue)
    config = Config(
        architecture=options.arch,
        classes=catalogue.classes,
        size=options.imgsz,
        weights=weights,
        epochs=options.epochs,
        qat_epochs=options.qat_epochs,
        photos_per_epoch=options.photos_per_epoch or len(catalogue.of("train")),
        batch_size=options.batch,
        learning_rate=options.lr or (FRESH_RATE if weights == "none" else PRETRAINED_RATE),
        qat_learning_rate=options.qat_lr,
        seed=options.seed,
        data=tuple(map(str, options.data)),
        data_digest=catalogue.digest,
        command=command,
        teachers=tuple(map(str, options.teacher)),
        averaged=averaged,
    )
    check_origins(config, catalogue.photos)
    start_network(config)
    if options.folds is not None:
        create_folds(path, config, catalogue, options.folds)
    else:
        RunFolder(path).create(config, catalogue)
    return path


def assist(run: RunFolder, strategy: tf.distribute.Strategy) -> None:
    """Takes part, as a worker that is not the chief, in what the chief fits and tells."""
    from dermedge.train.fit.distribution import wait_for_all, worker_copy
    from dermedge.train.fit.training import Trainer

    if run.progress().finished:
        return
    # the chief has decoded the photos
    wait_for_all(strategy)
    with worker_copy(run, strategy) as copy:
        Trainer(copy, strategy, say=lambda line: None).fit()


def train(run: RunFolder, strategy: tf.distribute.Strategy) -> None:
    """Fits a run to its end and draws its plots; on Ctrl-C says how to go on."""
    from dermedge.train.evaluation.plots import plot_history, plot_pictures
    from dermedge.train.fit.augment import augment
    from dermedge.train.fit.distribution import wait_for_all
    from dermedge.train.fit.training import Trainer

    try:
        trainer = Trainer(run, strategy)
        wait_for_all(strategy)
        shown = np.random.default_rng(0).permutation(len(trainer.train_photos))[:24]
        rng = np.random.default_rng(run.config().seed)
        plot_pictures(
            np.stack([augment(trainer.train_pixels[index], rng) for index in shown]),
            [trainer.train_photos[index].label for index in shown],
            run.plots / "augmented.png",
        )
        trainer.fit()
    except KeyboardInterrupt:
        print(f"\nstopped; every finished epoch is kept. Go on with: dermedge train --resume '{run.path}'")
        raise
    finally:
        if run.history():
            plot_history(run.history(), run.plots / "history.png")
    print(f"done: '{run.path}'; next: dermedge convert '{run.path}' --int8")

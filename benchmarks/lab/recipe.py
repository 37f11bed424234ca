"""Measures the benefit of each part of the training recipe. Each run differs from the recipe in one part.

    python -m dermedge.benchmarks.lab recipe OUT --data PATH... --weights efficientnet_lite0_trunk=FILE [--rows NAME...]

A row of the table is one variant of the recipe. Each variant is trained like a run of `dermedge train`, on one half of
the photos outside the test split. The float network is scored on the other half, because the validation split has too
few photos of rare classes to compare recipes. If the training of a row was stopped, the training is resumed. A finished
row is not trained again, so rows can be added one by one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.files import write_text
from dermedge.edge.text_table import TextTable, csv_of
from dermedge.train.fit.recipe import Recipe

if TYPE_CHECKING:
    from dermedge.train.fit.run_folder import RunFolder

__all__ = ["VARIANTS", "RecipeVariant", "TrainedVariant", "main", "read_rows", "to_csv", "to_table"]

_BASE = "base"
_SEEDS = (_BASE, "seed-1", "seed-2")
_HALVES = 2
_DEFAULT_RECIPE = Recipe()
_EPOCHS, _PHOTOS_PER_EPOCH = 6, 3200
_SHOWN = (
    "balanced_accuracy_named",
    "balanced_accuracy",
    "critical_auroc_all",
    "decline_auroc_other",
    "brier",
)
_HEAD = ("balanced accuracy, four classes", "balanced accuracy", "melanoma AUROC", "declining AUROC", "Brier")


@dataclass(frozen=True)
class RecipeVariant:
    """A variant of the recipe, which is one row of the table.

    Attributes:
        what: description of the change.
        config: fields of `dermedge.train.fit.run_folder.Config` that differ from those of the recipe.
        recipe: recipe of the run.
        teachers: names of other variants. The network of this variant learns from the networks of the teachers and from
            the labels.
    """

    what: str
    config: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = _DEFAULT_RECIPE
    teachers: tuple[str, ...] = ()


def _augmented(**changes: Any) -> Recipe:
    """Returns the default recipe, but with changed fields of the augmentation."""
    return replace(_DEFAULT_RECIPE, augmentation=replace(_DEFAULT_RECIPE.augmentation, **changes))


VARIANTS = {
    _BASE: RecipeVariant("the recipe: EfficientNet-Lite0 trunk, 128 pixels"),
    "seed-1": RecipeVariant("another seed", {"seed": 1}),
    "seed-2": RecipeVariant("a third seed", {"seed": 2}),
    "160-pixels": RecipeVariant("160 pixels", {"size": 160}),
    "192-pixels": RecipeVariant("192 pixels", {"size": 192}),
    "224-pixels": RecipeVariant("224 pixels", {"size": 224}),
    "mobilenet-v2": RecipeVariant("MobileNetV2", {"architecture": "mobilenet_v2"}),
    "wider": RecipeVariant("EfficientNet-Lite2: wider and deeper", {"architecture": "efficientnet_lite2"}),
    "evenly": RecipeVariant(
        "all classes sampled equally often", recipe=replace(_DEFAULT_RECIPE, class_power=0.0)
    ),
    "as-they-come": RecipeVariant(
        "classes sampled in proportion to their numbers of photos",
        recipe=replace(_DEFAULT_RECIPE, class_power=1.0),
    ),
    "not-adjusted": RecipeVariant(
        "no logit adjustment", recipe=replace(_DEFAULT_RECIPE, logit_adjustment=False)
    ),
    "not-blended": RecipeVariant("no mixup", recipe=replace(_DEFAULT_RECIPE, mixup=0.0)),
    "sharp-labels": RecipeVariant("no label smoothing", recipe=replace(_DEFAULT_RECIPE, label_smoothing=0.0)),
    "smoother-labels": RecipeVariant(
        "label smoothing 0.1", recipe=replace(_DEFAULT_RECIPE, label_smoothing=0.1)
    ),
    "shades-of-gray": RecipeVariant(
        "white balance by shades of gray in half of the images", recipe=_augmented(white_balance_share=0.5)
    ),
    "not-moved": RecipeVariant(
        "no rotation, mirroring, zoom or shift",
        recipe=_augmented(rotation_degrees=(0, 0), zoom=(1, 1), shift=0, mirror_share=0),
    ),
    "milder-colours": RecipeVariant(
        "light and colours varied less",
        recipe=_augmented(
            exposure=(0.85, 1.1), gain=0.02, contrast=(0.9, 1.1), saturation=(0.9, 1.1), hue_degrees=2
        ),
    ),
    "own-colours": RecipeVariant(
        "light and colours not varied",
        recipe=_augmented(exposure=(1, 1), gain=0, contrast=(1, 1), saturation=(1, 1), hue_degrees=0),
    ),
    "mild": RecipeVariant(
        "no blur, hairs, patches or JPEG compression",
        recipe=_augmented(blur_share=0, hair_share=0, patch_share=0, jpeg_share=0),
    ),
    "longer": RecipeVariant("twice the epochs", {"epochs": 2 * _EPOCHS}),
    "taught": RecipeVariant("taught by two other seeds", teachers=("seed-1", "seed-2")),
    "taught-by-wider": RecipeVariant("taught by EfficientNet-Lite2", teachers=("wider",)),
}


@dataclass(frozen=True)
class TrainedVariant:
    """The result of one variant of the recipe whose training has finished: a row of the experiment table.

    Attributes:
        name: name of the variant.
        what: description of the change.
        epochs: number of epochs.
        photos_per_epoch: number of photos that an epoch samples.
        seed: seed of the training.
        figures: the value of each metric, with the ends of the 95 % confidence interval. The keys are the names of the
            metrics.
    """

    name: str
    what: str
    epochs: int
    photos_per_epoch: int
    seed: int
    figures: dict[str, Sequence[float]]


def main(argv: Sequence[str]) -> int:
    """Trains the variants that are not finished, and writes the table of all finished ones; returns the exit status."""
    options = _parse(argv)
    for name in options.rows:
        _train(name, options)
    rows = read_rows(options.output)
    write_text(options.output / "experiments.csv", to_csv(rows))
    print(to_table(rows).to_markdown())
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser(
        "recipe", "Train with one part of the recipe changed at a time, and compare the results."
    )
    parser.add_argument(
        "output", type=Path, metavar="OUT", help="store the runs and results of all variants in this folder"
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="train on the photos of these folders, tables and catalogues",
    )
    parser.add_argument(
        "--weights",
        type=_start,
        nargs="+",
        default=[],
        metavar="ARCH=FILE",
        help="start the training of architecture ARCH from the weights in FILE. Other architectures start from "
        "ImageNet weights",
    )
    parser.add_argument(
        "--rows",
        nargs="*",
        default=list(VARIANTS),
        metavar="NAME",
        help="train these variants of the recipe. Without this option, train all variants",
    )
    parser.add_argument(
        "--epochs", type=positive_int, default=_EPOCHS, help="train each variant for this many epochs"
    )
    parser.add_argument(
        "--photos-per-epoch",
        type=positive_int,
        default=_PHOTOS_PER_EPOCH,
        help="sample this many photos in each epoch of a variant",
    )
    options = parser.parse_args(argv)
    for name in options.rows:
        if name not in VARIANTS:
            raise OptionError(f"--rows names no row '{name}'. Known: {', '.join(VARIANTS)}")
    return options


def _start(text: str) -> tuple[str, str]:
    architecture, given, path = text.partition("=")
    if not given or not Path(path).is_file():
        raise argparse.ArgumentTypeError(
            f"'{text}' is not ARCH=FILE with an existing file; name an architecture and its file of weights"
        )
    return architecture, path


def _train(name: str, options: argparse.Namespace) -> None:
    from dermedge.train.fit.training import Trainer

    result = options.output / f"{name}.json"
    if result.is_file():
        return
    variant = VARIANTS[name]
    missing = [teacher for teacher in variant.teachers if not (options.output / f"{teacher}.json").is_file()]
    if missing:
        raise OptionError(
            f"the row '{name}' needs the network of the row '{missing[0]}', which has not been trained; train both: "
            f"--rows {missing[0]} {name}"
        )
    run = _run(name, variant, options)
    Trainer(run, say=lambda line: print(f"{name}: {line}", flush=True)).fit()
    config = run.config()
    row = TrainedVariant(
        name, variant.what, config.epochs, config.photos_per_epoch, config.seed, _figures(run)
    )
    write_text(result, json.dumps(asdict(row), indent=1) + "\n")


def _run(name: str, variant: RecipeVariant, options: argparse.Namespace) -> RunFolder:
    """Returns the run of a variant. If the run folder does not exist, it is created, but not trained yet."""
    from dermedge.train.data.build import build_catalogue
    from dermedge.train.data.splits import with_fold
    from dermedge.train.fit.plan import plan_training
    from dermedge.train.fit.run_folder import Config, RunFolder
    from dermedge.train.progress import progress_line

    run = RunFolder(options.output / name)
    if run.path.exists():
        return run
    catalogue = build_catalogue(options.data, progress=progress_line("reading the photos"), cache=run.cache)
    half = replace(catalogue, photos=with_fold(catalogue.photos, 0, _HALVES, catalogue.seed))
    architecture = variant.config.get("architecture", "efficientnet_lite0_trunk")
    config = Config(
        architecture=architecture,
        classes=half.classes,
        size=128,
        weights=dict(options.weights).get(architecture, "imagenet"),
        epochs=options.epochs,
        qat_epochs=0,
        photos_per_epoch=options.photos_per_epoch,
        batch_size=32,
        learning_rate=plan_training(len(half.photos), pretrained=True).learning_rate,
        qat_learning_rate=0.0,
        seed=0,
        data=tuple(map(str, options.data)),
        data_digest=half.digest,
        command=f"python -m dermedge.benchmarks.lab recipe, row {name}",
        teachers=tuple(str(options.output / teacher) for teacher in variant.teachers),
        recipe=variant.recipe,
    )
    run.create(replace(config, **variant.config), half)
    return run


def _figures(run: RunFolder) -> dict[str, Sequence[float]]:
    from dermedge.train.fit.folds import pooled_figures

    scores, _ = pooled_figures([run])
    return {name: (scores[name].value, scores[name].low, scores[name].high) for name in _SHOWN}


def read_rows(folder: Path) -> list[TrainedVariant]:
    """Returns the variants whose results are stored in ``folder``, in the order of `VARIANTS`.

    Raises:
        DataError: the folder holds no results.
    """
    there = [folder / f"{name}.json" for name in VARIANTS]
    rows = [TrainedVariant(**json.loads(path.read_text())) for path in there if path.is_file()]
    if not rows:
        raise DataError(
            f"'{folder}' holds no results of this experiment; train one of the variants into this folder first"
        )
    return rows


def to_csv(rows: Sequence[TrainedVariant]) -> str:
    """Returns CSV with one line per variant.

    Each metric has three columns: the value, and the two ends of the 95 % confidence interval over lesions.
    """
    columns = ["row", "what", "epochs", "photos_per_epoch", "seed"]
    columns += [f"{name}{end}" for name in _SHOWN for end in ("", "_low", "_high")]
    lines = []
    for row in rows:
        settings = [row.name, row.what, row.epochs, row.photos_per_epoch, row.seed]
        figures = [f"{value:.4f}" for name in _SHOWN for value in row.figures[name]]
        lines.append(dict(zip(columns, [*settings, *figures], strict=True)))
    return csv_of(columns, lines)


def to_table(rows: Sequence[TrainedVariant]) -> TextTable:
    """Returns a table with a row for each variant.

    If the default recipe was trained with several seeds, the last row holds the standard deviation over the seeds.
    """
    cells = [(row.what, str(row.epochs), *(_interval(row.figures[name]) for name in _SHOWN)) for row in rows]
    seeds = [row for row in rows if row.name in _SEEDS]
    if len(seeds) > 1:
        spread = [np.std([row.figures[name][0] for row in seeds], ddof=1) for name in _SHOWN]
        cells.append((f"standard deviation over {len(seeds)} seeds", "", *(f"{one:.4f}" for one in spread)))
    return TextTable(
        "The float networks, scored on the half of the photos that was not used for training.",
        ("row", "epochs", *_HEAD),
        tuple(cells),
    )


def _interval(figure: Sequence[float]) -> str:
    value, low, high = figure
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"

"""Cross-validates: trains one run for each fold, and scores each run on the lesions that it did not learn from.

Each photo outside the test split is held out by exactly one of the runs. A single validation split would have too few
photos of rare classes to show which of two recipes is better.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.files import whole_folder, write_text
from dermedge.train.data.catalogue import NONE_OF_THESE, Catalogue
from dermedge.train.data.pixels import cached_pixels
from dermedge.train.data.scoring import LabelledPhoto, labelled_photos
from dermedge.train.data.splits import with_fold
from dermedge.train.evaluation.metrics import Floats, Score, lesion_draws
from dermedge.train.evaluation.scorecard import Answers, Truth, critical_class, figures
from dermedge.train.fit.batches import predict_logits
from dermedge.train.fit.run_folder import FOLD, Config, RunFolder, refuse_existing
from dermedge.train.fit.run_networks import trained_network

__all__ = ["create_folds", "pooled_figures", "report_folds", "runs_below"]

# The metrics in the report of a cross-validation. They can be computed without a fitted temperature and without
# thresholds. Only `dermedge convert` fits a temperature and thresholds.
_SHOWN = (
    "balanced_accuracy_named",
    "balanced_accuracy",
    "critical_auroc_named",
    "decline_auroc_other",
    "accuracy",
)


def create_folds(
    path: Path, config: Config, catalogue: Catalogue, folds: int, learned: bytes = b""
) -> list[RunFolder]:
    """Makes a run folder for each fold.

    Args:
        path: new folder in which the run folders are made.
        config: settings of all runs.
        catalogue: photos. The photos of the test split stay in the test split in every fold.
        folds: number of folds, at least 2.
        learned: photos that the parents of the runs were trained on, as in `RunFolder.create`.

    Raises:
        OptionError: ``folds`` is less than 2, or greater than the number of lesions of the rarest class.
        StorageError: ``path`` exists already or cannot be written.
    """
    if folds < 2:
        raise OptionError(f"--folds is {folds}; it must be 2 or more")
    name, groups = _rarest_class(catalogue)
    if folds > groups:
        raise OptionError(
            f"--folds is {folds}, but the class '{name}' has only {groups} lesions outside the test split; give at "
            f"most {groups}, or add photos of other lesions of this class"
        )
    refuse_existing(path)
    # If the process is killed, no folder with only some of the folds may remain, because it would seem to be complete.
    with whole_folder(path) as folder:
        for fold in range(folds):
            part = replace(catalogue, photos=with_fold(catalogue.photos, fold, folds, config.seed))
            run = RunFolder(folder / f"{FOLD}{fold + 1}")
            run.create(replace(config, data_digest=part.digest), part, learned)
    return runs_below(path)


def _rarest_class(catalogue: Catalogue) -> tuple[str, int]:
    """Returns the class with the fewest lesions outside the test split, and the number of these lesions."""
    groups = {(photo.label, photo.group) for photo in catalogue.photos if photo.split != "test"}
    counts = Counter(label for label, _ in groups)
    return min(((name, counts[name]) for name in catalogue.classes), key=lambda one: one[1])


def runs_below(path: Path) -> list[RunFolder]:
    """Returns the runs of a cross-validation in the order of the folds.

    The list is empty if ``path`` is not the folder of a cross-validation.
    """
    folds = [folder for folder in path.glob(f"{FOLD}*") if folder.name.removeprefix(FOLD).isdecimal()]
    return [RunFolder(folder) for folder in sorted(folds, key=lambda one: int(one.name.removeprefix(FOLD)))]


def pooled_figures(runs: Sequence[RunFolder]) -> tuple[dict[str, Score], list[dict[str, Score]]]:
    """Scores the network of each fold, after its last training stage, on the held-out photos of the fold.

    Returns:
        The pooled metrics on the held-out photos of all folds, and a list with the metrics of each single fold.

    Raises:
        DataError: a fold is not finished.
    """
    config = runs[0].config()
    none_label = NONE_OF_THESE if NONE_OF_THESE in config.classes else None
    photos: list[LabelledPhoto] = []
    logits: list[Floats] = []
    alone = []
    for run in runs:
        if not run.progress().finished:
            raise DataError(
                f"'{run.path}' is not finished; continue it with: dermedge train --resume '{run.path}'"
            )
        held_out = labelled_photos(run.catalogue_path, config.classes, "val")
        network = trained_network(run, "qat" if config.qat_epochs else "float")
        pixels = cached_pixels([photo.path for photo in held_out], config.size, run.cache)
        fold_logits = predict_logits(network, pixels).astype(np.float64)
        alone.append(_figures(held_out, fold_logits, config.classes, none_label))
        photos += held_out
        logits.append(fold_logits)
    return _figures(photos, np.concatenate(logits), config.classes, none_label), alone


def _figures(
    photos: Sequence[LabelledPhoto], logits: Floats, labels: tuple[str, ...], none_label: str | None
) -> dict[str, Score]:
    truth = Truth.of(photos, labels, none_label, critical_class(labels, None, []))
    answers = Answers(logits, labels, none_label, 1.0, {})
    return figures(truth, answers, lesion_draws(truth.groups.tolist()))


def report_folds(path: Path, runs: Sequence[RunFolder], say: Callable[[str], None] = print) -> None:
    """Writes ``cross-validation.json``, and prints the pooled metrics of all folds, with confidence intervals.

    Args:
        path: folder of the cross-validation.
        runs: runs of all folds.
        say: function that is called with each line.

    Raises:
        DataError: a fold is not finished.
        StorageError: the file cannot be written.
    """
    together, alone = pooled_figures(runs)
    rows = {
        name: {"pooled": together[name].to_json(), "folds": [one[name].to_json() for one in alone]}
        for name in _SHOWN
        if together[name].measured
    }
    content = {"schema": "dermedge-cross-validation/1", "command": runs[0].config().command, "figures": rows}
    write_text(path / "cross-validation.json", json.dumps(content, indent=1) + "\n")
    say(f"{len(runs)} folds; each photo was scored by the run that was not trained on photos of its lesion:")
    for name in rows:
        score = together[name]
        values = [one[name].value for one in alone if one[name].measured]
        spread = f"{np.std(values):.3f}" if len(values) > 1 else "not measured"
        say(
            f"{name.replace('_', ' '):<24} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}], "
            f"standard deviation over the folds {spread}"
        )

"""Compares scores that should detect photos of unknown content, on the validation photos of a run.

    python -m dermedge.benchmarks.lab unknown runs/mine --output benchmarks/results/unknown

The named classes are all classes except "none of these". Two kinds of unknown photos should get higher scores than
lesions of the named classes: photos without a lesion, and lesions that belong to no named class. The class "none of
these" of the run must have photos of both kinds. The scores are computed from the outputs of the float network, and
from the features of at most 6,000 training photos.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.benchmarks.lab.unknown_scores import SCORES, Answered, Reference
from dermedge.edge.errors import OptionError
from dermedge.edge.files import check_writable, write_text
from dermedge.edge.text_table import NOT_MEASURED, TextTable
from dermedge.train.data.catalogue import NONE_OF_THESE, Photo
from dermedge.train.data.diagnoses import LESION_DIAGNOSES
from dermedge.train.evaluation.intervals import area_score
from dermedge.train.evaluation.metrics import Score
from dermedge.train.fit.run_folder import RunFolder

__all__ = ["compare_scores", "main"]

_TRAINING_PHOTOS, _BATCH = 6000, 64
NO_LESION, NO_CLASS = "photos without a lesion", "lesions of no class"


def main(argv: Sequence[str]) -> int:
    """Prints and writes the AUROC (area under the ROC curve) of each score; returns the exit status."""
    parser = experiment_parser(
        "unknown", "Compare scores that should detect unknown photos, on the validation photos of a run."
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="use the float network and the photos of this run"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write results.json and README.md into this folder"
    )
    options = parser.parse_args(argv)
    if options.output:
        check_writable(options.output)
    run = RunFolder(options.run)
    classes = run.config().classes
    if NONE_OF_THESE not in classes:
        raise OptionError(
            f"'{options.run}' has no class '{NONE_OF_THESE}'; name a run with this class. Its classes are "
            f"{', '.join(classes)}"
        )
    photos, held_out, known = _answers(run)
    found = compare_scores(photos, held_out, known)
    table = _table(found, held_out)
    print(table.to_text())
    if options.output:
        _write(options.output, found, table, command_line("unknown", argv))
    return 0


def compare_scores(
    photos: Sequence[Photo], answered: Answered, known: Reference
) -> dict[str, dict[str, Score]]:
    """Measures how well each score separates unknown photos from photos of the named classes.

    There are two kinds of unknown photos, `NO_LESION` and `NO_CLASS`. Each kind is measured separately.

    Args:
        photos: held-out photos with their labels.
        answered: the outputs of the network for these photos.
        known: features of training photos of the named classes.

    Returns:
        A dict whose keys are the names of the scores. Each value is a dict, which maps a kind of unknown photos to the
        AUROC of this kind.
    """
    kinds = np.array([_kind(photo) for photo in photos])
    lesions = np.unique([photo.group for photo in photos], return_inverse=True)[1]
    areas: dict[str, dict[str, Score]] = {}
    for name, score in SCORES.items():
        values = score(answered, known)
        areas[name] = {}
        for kind in (NO_LESION, NO_CLASS):
            chosen = (kinds == kind) | (kinds == "")
            areas[name][kind] = area_score(kinds[chosen] == kind, values[chosen], lesions[chosen])
    return areas


def _kind(photo: Photo) -> str:
    """Returns `NO_LESION` or `NO_CLASS` for a photo of the class "none of these"; an empty string for other photos."""
    if photo.label != NONE_OF_THESE:
        return ""
    return NO_CLASS if photo.diagnosis in LESION_DIAGNOSES else NO_LESION


def _answers(run: RunFolder) -> tuple[list[Photo], Answered, Reference]:
    """Returns the validation photos, the outputs of the network for these photos, and the features of training photos.

    The training photos are photos of the named classes.
    """
    photos, config = run.photos(), run.config()
    held_out = [photo for photo in photos if photo.split == "val"]
    named = [photo for photo in photos if photo.split == "train" and photo.label != NONE_OF_THESE]
    count = min(_TRAINING_PHOTOS, len(named))
    chosen = np.sort(np.random.default_rng(config.seed).choice(len(named), count, replace=False))
    training = [named[index] for index in chosen]
    none_index = config.classes.index(NONE_OF_THESE)
    features, _ = _features_and_logits(run, training)
    labels = np.array([config.classes.index(photo.label) for photo in training])
    return held_out, Answered(*_features_and_logits(run, held_out), none_index), Reference(features, labels)


def _features_and_logits(
    run: RunFolder, photos: Sequence[Photo]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the features, float64 [n, F], and the logits, float64 [n, K], that the float network computes."""
    import tf_keras as keras

    from dermedge.edge.preprocess import normalize
    from dermedge.train.data.pixels import cached_pixels
    from dermedge.train.fit.networks import EVIDENCE
    from dermedge.train.fit.run_networks import trained_network

    network = trained_network(run, "float")
    pooled = keras.layers.GlobalAveragePooling2D()(network.get_layer(EVIDENCE).input)
    both = keras.Model(network.input, [pooled, network.output])
    pixels = cached_pixels([Path(photo.path) for photo in photos], run.config().size, run.cache)
    parts = [
        both.predict_on_batch(normalize(pixels[start : start + _BATCH]))
        for start in range(0, len(photos), _BATCH)
    ]
    features, logits = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    return features, logits


def _table(found: dict[str, dict[str, Score]], answered: Answered) -> TextTable:
    rows = tuple((name, *(_told(score) for score in areas.values())) for name, areas in found.items())
    count = len(answered.logits)
    title = (
        "Area under the ROC curve (AUROC) for unknown photos against lesions of the named classes, "
        f"{count:,} validation photos:"
    )
    return TextTable(title, ("score", NO_LESION, NO_CLASS), rows)


def _told(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]" if score.measured else NOT_MEASURED


def _write(folder: Path, found: dict[str, dict[str, Score]], table: TextTable, command: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"command": command, "areas": {}}
    for name, areas in found.items():
        content["areas"][name] = {
            kind: {"value": one.value, "low": one.low, "high": one.high} if one.measured else None
            for kind, one in areas.items()
        }
    write_text(folder / "results.json", json.dumps(content, indent=1) + "\n")
    text = f"# Scores of how unknown a photo is\n\nWritten by `{command}`.\n\n{table.to_markdown()}\n"
    write_text(folder / "README.md", text)

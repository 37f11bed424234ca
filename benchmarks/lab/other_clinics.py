"""Scores models on lesions from clinics that the models were not trained on, for the model card.

    dermedge data catalogue ../shared/data --output catalogue.csv
    python -m dermedge.benchmarks.lab other-clinics --data catalogue.csv --sources milk10k milk10k_close_up \\
        --output benchmarks/results/other-clinics

Many lesions of MILK10k are also in HAM10000, so a model may have been trained on photos of these lesions. Therefore a
lesion is scored only if all photos of the lesion are from the sources in --sources. By default, photos from all splits
of the catalogue are scored; --split selects one split.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dermedge.benchmarks.lab.cli import command_line, experiment_parser
from dermedge.edge.cli.arguments import Parser
from dermedge.edge.errors import DataError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.shipped import SHIPPED
from dermedge.train.cli.catalogue_options import class_names
from dermedge.train.data.catalogue import SPLITS, Catalogue, Photo, read_catalogue
from dermedge.train.data.scoring import labelled_photos
from dermedge.train.evaluation.evaluate import evaluate, models_of_files
from dermedge.train.evaluation.report import save, to_text
from dermedge.train.progress import progress_line

__all__ = ["main", "photos_of_other_clinics"]

_SPLIT = "test"


def photos_of_other_clinics(
    photos: Sequence[Photo], sources: Collection[str], split: str | None = None
) -> tuple[Photo, ...]:
    """Returns the photos of lesions that occur only in the named sources. The split of these photos is set to ``test``.

    Args:
        photos: photos of a catalogue.
        sources: names of the sources.
        split: the split from which photos are selected; None for all splits.

    Raises:
        DataError: no photo is left.
    """
    known = {photo.group for photo in photos if photo.source not in sources}
    found = tuple(
        replace(photo, split=_SPLIT)
        for photo in photos
        if photo.group not in known and split in (None, photo.split)
    )
    if not found:
        raise DataError(
            f"there is no photo to score, because no lesion{f' of the split {split}' if split else ''} has photos only "
            f"from the sources {', '.join(sorted(sources))}; name other sources of the catalogue with --sources"
            f"{', or leave out --split' if split else ''}"
        )
    return found


def main(argv: Sequence[str]) -> int:
    """Scores the models, and prints and writes the evaluation; returns the exit status."""
    options = _parser().parse_args(argv)
    photos = photos_of_other_clinics(read_catalogue(options.data), set(options.sources), options.split)
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / "catalogue.csv"
    Catalogue(photos, (), {}).save(table)
    with ExitStack() as stack:
        classifiers = [stack.enter_context(Classifier(model)) for model in options.models]
        models = models_of_files(classifiers, class_names(options.classes))
        labelled = labelled_photos(table, models[0].labels, _SPLIT)
        name = f"lesions of {' and '.join(options.sources)} alone"
        evaluation = evaluate(models, labelled, name, progress=progress_line)
    print(to_text(evaluation))
    save(evaluation, options.output, command_line("other-clinics", argv))
    return 0


def _parser() -> Parser:
    parser = experiment_parser(
        "other-clinics", "Score models on lesions from sources that the models did not learn from."
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="CSV", help="Select the photos from this catalogue.csv."
    )
    parser.add_argument(
        "--sources",
        nargs="+",
        required=True,
        metavar="NAME",
        help="Score the lesions whose photos are all from these sources.",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="Score only the photos of this split of the catalogue. Without this option, score all splits.",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="Score only these classes; see --classes in `dermedge evaluate --help`. Without this option, score all "
        "classes.",
    )
    parser.add_argument(
        "--models",
        type=Path,
        nargs="+",
        default=list(SHIPPED.values()),
        help="Score these .tflite files. Without this option, score all shipped models.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="Write catalogue.csv, evaluation.html and evaluation.json into this folder.",
    )
    return parser

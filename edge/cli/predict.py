"""`dermedge predict`: classifies photos, which are given as files or folders."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2

from dermedge.edge.cli.arguments import Parser, add_model_options, add_sets_option, make_parser, read_labels
from dermedge.edge.cli.photo_table import brief_table, full_table
from dermedge.edge.errors import OptionError, PictureError, SourceError
from dermedge.edge.files import check_file, check_writable, write_bytes, write_text
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.tuning import tuned_threads
from dermedge.edge.photos import EXPLAINED_SUFFIX, encode_image, find_photo_files, is_photo_file
from dermedge.edge.pipeline import classify_frames
from dermedge.edge.printable import printable, printable_json
from dermedge.edge.results import Classification
from dermedge.edge.sources.photo_files import PhotoFiles
from dermedge.edge.sources.redact import without_secrets
from dermedge.edge.text_table import csv_line
from dermedge.edge.views.paint import paint_classification
from dermedge.edge.views.photo_json import model_to_json, photo_to_json

__all__ = ["main", "parser"]

_MODEL_SUFFIX = ".tflite"
# Matches the beginning of a URL in a Path, which keeps only one of the two slashes. A scheme has at least two letters
# here, because a single letter is a Windows drive.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
# The help ends with these example commands.
_EXAMPLES = (
    "dermedge predict photo.jpg",
    "dermedge predict photos/ --format csv --output answers.csv",
    "dermedge predict photo.jpg --explain why/",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Classifies the photos that can be read. The exit status is 2 if a photo could not be read, and 0 otherwise."""
    options = parser().parse_args(argv)
    if options.all and options.format != "table":
        raise OptionError(
            f"--all is for --format table only; {options.format} always has the probabilities of all classes. "
            "Leave --all out"
        )
    if options.output:
        check_file(options.output)
        _refuse_input(options.output, [*options.paths, options.model, *filter(None, [options.labels])])
    if options.explain:
        check_writable(options.explain)
    # The images are small. Starting OpenCV's threads would take more time than the threads save.
    cv2.setNumThreads(1)
    paths = _find_all(options.paths)
    if options.explain:
        _refuse_equal_names(paths)
    unreadable: list[PictureError] = []
    with Classifier(
        options.model,
        read_labels(options.labels),
        tuned_threads(options.model, options.num_threads, options.runtime),
        options.runtime,
        options.tta,
        normalization=options.normalization,
    ) as classifier:
        if options.explain and not classifier.has_heat_map:
            raise OptionError(
                f"--explain needs a model that can compute a heat map, but '{options.model}' has no output for it. "
                f"Leave --explain out, or use a model that `dermedge models` lists"
            )
        if options.sets:
            classifier.require_prediction_sets()
        classifications = _predict(paths, classifier, unreadable, options.sets)
        if options.explain:
            classifications = _explain(classifications, options.explain)
        lines = _lines(options, classifications, classifier, paths)
        _print_or_write(lines, options.output, unreadable, len(paths))
    for error in unreadable:
        print(f"dermedge: error: {printable(str(error))}", file=sys.stderr)
    return 2 if unreadable else 0


def _find_all(paths: Sequence[Path]) -> list[Path]:
    """Replaces each folder among the paths with the photos in the folder. The order of the paths stays the same.

    Raises:
        OptionError: a path names a model file, or is an address.
        SourceError: a folder contains no photo.
    """
    found: list[Path] = []
    for path in paths:
        if path.suffix.lower() == _MODEL_SUFFIX:
            raise OptionError(f"'{path}' is a model and not a photo; give it with --model")
        if _ADDRESS.match(str(path)) and not os.path.lexists(path):
            raise OptionError(
                f"'{without_secrets(str(path))}' is an address and not a file; download the photo, or give the address "
                "of a camera to `dermedge run --source`"
            )
        # Path.is_dir raises an error if permission is missing
        photos = find_photo_files(path) if os.path.isdir(path) else [path]
        if not photos:
            raise SourceError(f"there is no photo in the folder '{path}'; give a folder with photos")
        found += photos
    return found


def _predict(
    paths: Iterable[Path], classifier: Classifier, unreadable: list[PictureError], sets: bool = False
) -> Iterator[Classification]:
    """Classifies the photos that can be decoded. Appends the errors of the other photos to ``unreadable``."""
    for path in paths:
        with PhotoFiles([path]) as source:
            try:
                yield from classify_frames(source, classifier, sets=sets)
            except PictureError as error:
                unreadable.append(error)


def _explain(classifications: Iterable[Classification], folder: Path) -> Iterator[Classification]:
    """Yields each classification, after a copy of the photo with the answer and the heat map was written."""
    for classification in classifications:
        name = Path(classification.frame.name).name + EXPLAINED_SUFFIX
        write_bytes(folder / name, encode_image(paint_classification(classification, heat=True), ".png"))
        yield classification


def _lines(
    options: argparse.Namespace,
    classifications: Iterable[Classification],
    classifier: Classifier,
    paths: Sequence[Path],
) -> Iterator[str]:
    """Returns the answers as lines in the format that the user chose."""
    if options.format == "csv":
        return _comma_separated(classifications, classifier, options.sets)
    if options.format == "jsonl":
        return (printable_json(photo_to_json(one, classifier)) for one in classifications)
    table = full_table if options.all else brief_table
    return table(classifications, classifier, paths)


def _comma_separated(
    classifications: Iterable[Classification], classifier: Classifier, sets: bool
) -> Iterator[str]:
    """Yields a header, and one line of CSV for each photo. Each class has a column, whose name is the class's label.

    The column ``view`` exists only if the model tells close-ups from dermoscopic photos.
    """
    model = model_to_json(classifier)
    yield csv_line(
        [
            "path",
            "headline",
            "label",
            "probability",
            "uncertain",
            "alert",
            *(["view"] if classifier.tells_view else []),
            *classifier.labels,
            *(["set"] if sets else []),
            *model,
        ]
    )
    for classification in classifications:
        prediction = classification.prediction
        yield csv_line(
            [
                classification.frame.name,
                classification.headline.text,
                prediction.label,
                f"{prediction.probability:.6f}",
                "yes" if classification.is_uncertain else "no",
                prediction.alert or "",
                *([] if prediction.view is None else [prediction.view]),
                *(f"{one:.6f}" for one in prediction.probabilities),
                *([] if classification.prediction_set is None else [";".join(classification.prediction_set)]),
                *model.values(),
            ]
        )


def _print_or_write(
    lines: Iterable[str], output: Path | None, unreadable: Sequence[PictureError], count: int
) -> None:
    """Prints each line when it is ready. If ``output`` is given, writes all lines to this file at the end instead.

    No file is written if none of the ``count`` photos could be read.
    """
    if output is None:
        for line in lines:
            print(printable(line) if sys.stdout.isatty() else line, flush=True)
        return
    content = "".join(f"{line}\n" for line in lines)
    if len(unreadable) < count:
        write_text(output, content)
        answered = count - len(unreadable)
        predictions = "1 prediction" if answered == 1 else f"{answered} predictions"
        print(f"{predictions} written to {printable(str(output))}")


def _refuse_input(output: Path, inputs: Sequence[Path]) -> None:
    """Raises OptionError if the predictions would replace a photo, a model or an input, as with `--output *.jpg`."""
    is_input = output.exists() and any(os.path.exists(one) and output.samefile(one) for one in inputs)
    if is_input or is_photo_file(output) or output.suffix.lower() == _MODEL_SUFFIX:
        raise OptionError(
            f"--output '{output}' is the name of a photo, a model or an input, and the predictions would replace it; "
            "give another name, such as answers.csv"
        )


def _refuse_equal_names(paths: Sequence[Path]) -> None:
    name, count = Counter(path.name for path in paths).most_common(1)[0]
    if count > 1:
        raise OptionError(
            f"--explain: {count} photos are named '{name}', and the heat map of one would overwrite that of another; "
            "run the command once for each folder of photos, with a different --explain folder each time"
        )


def parser() -> Parser:
    """Returns the options of `dermedge predict`."""
    made = make_parser(
        "predict", "Classify photos. For research and education only: not a medical device.", _EXAMPLES
    )
    made.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="classify this photo, or all photos in this folder and its subfolders",
    )
    model = made.add_argument_group("model")
    add_model_options(model)
    add_sets_option(model)
    output = made.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        default="table",
        help="print predictions in this format",
    )
    output.add_argument(
        "--all",
        action="store_true",
        help="show the probabilities of all classes, even if the table becomes wider than the terminal",
    )
    output.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the predictions to this file instead of printing them",
    )
    output.add_argument(
        "--explain",
        type=Path,
        metavar="DIR",
        help="write a copy of each photo with its heat map into this folder",
    )
    return made

"""The command line of `dermedge evaluate`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.cli.arguments import (
    AUTO_NORMALIZATION,
    OptionGroup,
    Parser,
    add_foreign_options,
    add_runtime_options,
    make_parser,
    positive_int,
    read_labels,
)
from dermedge.edge.errors import OptionError
from dermedge.edge.files import check_writable
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import read_manifest
from dermedge.edge.model.shipped import SHIPPED, model_path
from dermedge.edge.model.tuning import tuned_threads
from dermedge.edge.printable import printable
from dermedge.train.cli.catalogue_options import add_labels_option, class_names
from dermedge.train.data.catalogue import SPLITS, is_catalogue
from dermedge.train.data.layout import AUTO
from dermedge.train.data.scoring import LabelledPhoto, check_unlearned, labelled_photos
from dermedge.train.fit.run_folder import STAGES, RunFolder
from dermedge.train.progress import progress_line

if TYPE_CHECKING:
    from dermedge.train.evaluation.evaluate import Evaluation

__all__ = ["main", "parser"]

_STRESS_PHOTOS = 200
# Options that only apply to .tflite files. A run has its labels in its catalogue, and its network runs in TensorFlow.
_FILE_OPTIONS = ("labels", "labels_from", "normalization", "num_threads", "runtime")
# Example commands that are shown at the end of the help.
_EXAMPLES = (
    "dermedge evaluate runs/mine --split val",
    "dermedge evaluate one.tflite two.tflite --data photos/ --output report/",
    "dermedge evaluate mine.tflite --data runs/mine/catalogue.csv --split test",
    "dermedge evaluate dermedge-192 --classes melanoma,nevus --data photos/",
)


def parser() -> Parser:
    """Returns the parser of `dermedge evaluate`."""
    made = make_parser(
        "evaluate", "Score one or more .tflite files, or a run, on the same labelled photos.", _EXAMPLES
    )
    made.add_argument(
        "models",
        type=model_path,
        nargs="+",
        metavar="MODEL",
        help=f"Score these .tflite files or shipped models ({', '.join(SHIPPED)}), or a single run folder.",
    )
    _add_photo_options(made.add_argument_group("photos"))
    made.add_argument(
        "--stage",
        choices=STAGES,
        default=STAGES[0],
        help="Score the network of a run after this training stage. float: training in float32; qat: fine-tuning for "
        "int8. Default: %(default)s.",
    )
    made.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="Write evaluation.html and evaluation.json into this folder.",
    )
    _add_stress_options(made)
    made.add_argument(
        "--classes",
        metavar="NAMES",
        help="Score only these classes; separate their names by commas. All other classes of a model count as 'none "
        "of these'. This makes models with different classes comparable. Default: all classes.",
    )
    made.add_argument(
        "--critical",
        metavar="CLASS",
        help="Name the class that must not be missed. Default: the class of the first model's alert. If the first "
        "model has no alert, the default is melanoma.",
    )
    model = made.add_argument_group("models")
    add_foreign_options(model, finds_normalization=True)
    add_runtime_options(model)
    return made


def _add_stress_options(made: OptionGroup) -> None:
    """Adds the options that score disturbed copies of the photos."""
    made.add_argument(
        "--stress",
        action="store_true",
        help="Also score disturbed copies of the photos. The disturbances are blur, brighter and darker light, JPEG "
        "compression, rotation, hairs and ink.",
    )
    made.add_argument(
        "--stress-photos",
        type=positive_int,
        default=_STRESS_PHOTOS,
        metavar="N",
        help="Disturb at most N photos, with equally many of each class where possible. Default: %(default)s.",
    )


def _add_photo_options(made: OptionGroup) -> None:
    """Adds the options that choose the photos to score and the source of their labels."""
    made.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="Score .tflite files on these photos. Give a folder of labelled photos, a table of labels, or the "
        "catalogue.csv of a run. If MODEL is a run whose photos have moved, give the folder where they are now.",
    )
    made.add_argument(
        "--split",
        choices=SPLITS,
        help="Score on this split. The option is required if --data is a catalogue. For a run, the default is val.",
    )
    add_labels_option(made)


def main(argv: Sequence[str]) -> int:
    """Scores the models, prints a summary, and writes the reports.

    Returns:
        The exit status: 0, or 2 if a photo could not be decoded.
    """
    options = parser().parse_args(argv)
    if options.stress_photos != _STRESS_PHOTOS and not options.stress:
        raise OptionError(
            "--stress-photos has no effect without --stress; add --stress, or leave --stress-photos out"
        )
    if options.output:
        check_writable(options.output)

    from dermedge.train.evaluation.report import save, to_text

    with ExitStack() as stack:
        evaluation = _evaluate(options, stack)
    print(to_text(evaluation))
    for line in _order_warnings(evaluation, options.labels is not None):
        print(line)
    if options.output:
        written = save(evaluation, options.output, shlex.join(["dermedge", "evaluate", *argv]))
        print(f"\nwritten: {', '.join(repr(str(path)) for path in written)}")
    for error in evaluation.unreadable:
        print(f"dermedge: error: {printable(str(error))}", file=sys.stderr)
    return 2 if evaluation.unreadable else 0


def _evaluate(options: argparse.Namespace, stack: ExitStack) -> Evaluation:
    """Returns the scores. The classifiers stay open until ``stack`` is closed."""
    from dermedge.train.evaluation.coarser import merge_classes
    from dermedge.train.evaluation.evaluate import evaluate, model_of_run, models_of_files

    classes = class_names(options.classes)
    moved_to: list[Path] = []
    if any(model.is_dir() for model in options.models):
        run = _only_run(options)
        moved_to = [options.data] if options.data else []
        evaluated = [model_of_run(run, options.stage, moved_to)]
        if classes:
            evaluated = [merge_classes(evaluated[0], classes)]
        data, split = run.catalogue_path, options.split or "val"
    else:
        classifiers = _open_files(options, stack)
        data, split = options.data, options.split
        check_unlearned(data, split, classifiers)
        evaluated = models_of_files(classifiers, classes)
    photos = labelled_photos(data, evaluated[0].labels, split, options.labels_from, print, moved_to)
    name = f"{data}, split {split}" if split else str(data)
    stress = options.stress_photos if options.stress else None
    return evaluate(evaluated, photos, name, stress, options.critical, progress_line)


def _order_warnings(evaluation: Evaluation, has_labels: bool) -> list[str]:
    """Returns a warning for each model whose labels seem to be in a wrong order.

    A model is checked only if its labels came from --labels, or if it has no manifest of dermedge.
    """
    from dermedge.train.evaluation.class_order import find_better_order
    from dermedge.train.evaluation.metrics import lesion_draws

    lines = []
    truth, draws = evaluation.truth, lesion_draws(evaluation.truth.groups.tolist())
    for model in evaluation.models:
        if has_labels or model.is_foreign:
            answered = model.answers.logits.argmax(axis=1)
            if found := find_better_order(truth.index, answered, truth.labels, draws):
                lines.append(
                    f"warning: order of the classes of {model.name}: {found.describe()}; give the labels in the order "
                    "of the outputs with --labels"
                )
    return lines


def _only_run(options: argparse.Namespace) -> RunFolder:
    if len(options.models) > 1:
        raise OptionError(
            "a run cannot be scored beside other models, because it is scored on its own photos; give one run alone, "
            "or only .tflite files"
        )
    if options.data and not options.data.is_dir():
        raise OptionError(
            f"--data is '{options.data}', which is not a folder; to evaluate a run, give the folder where its photos "
            "are now, or leave out --data if they have not moved"
        )
    usual = parser().parse_args([str(options.models[0])])
    unused = [name for name in _FILE_OPTIONS if getattr(options, name) != getattr(usual, name)]
    if unused:
        name = f"--{unused[0].replace('_', '-')}"
        raise OptionError(
            f"{name} is for .tflite files; leave {name} out, because a run has its own labels and runs in TensorFlow"
        )
    return RunFolder(options.models[0])


def _open_files(options: argparse.Namespace, stack: ExitStack) -> list[Classifier]:
    if not options.data:
        raise OptionError(
            f"'{options.models[0]}' is not a run folder, so --data is needed to score it; give --data a folder "
            "with a subfolder for each class, a table of labels (path,label), or the catalogue.csv of a run"
        )
    if is_catalogue(options.data) and options.labels_from != AUTO:
        raise OptionError(
            f"--labels-from is for folders and tables; leave it out, because the catalogue '{options.data}' already "
            "holds the labels"
        )
    if options.stage != STAGES[0]:
        raise OptionError(
            f"--stage is for a run, and '{options.models[0]}' is not a run folder; leave --stage out, or give the run"
        )
    return [stack.enter_context(_open_file(model, options)) for model in options.models]


def _open_file(model: Path, options: argparse.Namespace) -> Classifier:
    """Opens a .tflite file.

    If --normalization is auto and the file has no manifest, this function first finds out which normalization the file
    expects.
    """
    labels = read_labels(options.labels)
    num_threads = tuned_threads(model, options.num_threads, options.runtime)

    def open_with(normalization: str | None) -> Classifier:
        return Classifier(model, labels, num_threads, options.runtime, normalization=normalization)

    if options.normalization != AUTO_NORMALIZATION:
        return open_with(options.normalization)
    if read_manifest(model):
        return open_with(None)
    from dermedge.train.evaluation.normalization import find_normalization

    def photos_of(labels: Sequence[str]) -> list[LabelledPhoto]:
        return labelled_photos(options.data, labels, options.split, options.labels_from)

    return open_with(find_normalization(model, photos_of, open_with, print))

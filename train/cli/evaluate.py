"""The command line of `dermedge evaluate`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dermedge.edge.cli.arguments import (
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
from dermedge.edge.model.shipped import SHIPPED, model_path
from dermedge.train.data.catalogue import SPLITS
from dermedge.train.data.scoring import check_unlearned
from dermedge.train.fit.run_folder import STAGES, RunFolder
from dermedge.train.progress import progress_line

STRESS_PHOTOS = 200


def parser() -> Parser:
    """The options of the verb."""
    made = make_parser("evaluate", "Score .tflite files, or a run, on identical labelled photos.")
    made.add_argument(
        "models",
        type=model_path,
        nargs="+",
        metavar="MODEL",
        help=f".tflite files, names of those that ship ({', '.join(SHIPPED)}), or one run folder",
    )
    made.add_argument("--data", type=Path, help="for a .tflite: a folder per class, or a run's catalogue.csv")
    made.add_argument("--split", choices=SPLITS, help="of the catalogue; val if a run is scored")
    made.add_argument("--stage", choices=STAGES, default="float", help="of a run")
    made.add_argument(
        "--output", type=Path, metavar="DIR", help="write evaluation.html and evaluation.json there"
    )
    made.add_argument(
        "--stress", action="store_true", help="also score disturbed photos: blur, light, JPEG, hair, ink …"
    )
    made.add_argument(
        "--stress-photos", type=positive_int, default=STRESS_PHOTOS, help="so many, evenly over the classes"
    )
    made.add_argument(
        "--critical",
        metavar="CLASS",
        help="name the class that must not be missed (default: that of the model's alert, else melanoma)",
    )
    add_foreign_options(made)
    add_runtime_options(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Scores, prints a summary, and writes the reports; status 2 where a photo could not be decoded."""
    options = parser().parse_args(argv)
    if options.output:
        check_writable(options.output)

    from dermedge.train.evaluation.evaluate import Evaluation, evaluate, model_of_run, models_of_files
    from dermedge.train.evaluation.report import save, to_text

    stress = options.stress_photos if options.stress else None
    with ExitStack() as stack:
        if any(model.is_dir() for model in options.models):
            run = _only_run(options)
            evaluated = [model_of_run(run, options.stage)]
            data, split = run.catalogue_path, options.split or "val"
        else:
            classifiers = _open_files(options, stack)
            data, split = options.data, options.split
            check_unlearned(data, split, classifiers)
            evaluated = models_of_files(classifiers)
        evaluation: Evaluation = evaluate(evaluated, data, split, stress, options.critical, progress_line)
    print(to_text(evaluation))
    if options.output:
        written = save(evaluation, options.output, shlex.join(["dermedge", "evaluate", *argv]))
        print(f"\nwritten: {', '.join(repr(str(path)) for path in written)}")
    for error in evaluation.unreadable:
        print(f"dermedge: error: {error}", file=sys.stderr)
    return 2 if evaluation.unreadable else 0


def _only_run(options: argparse.Namespace) -> RunFolder:
    if len(options.models) > 1:
        raise OptionError("a run is scored alone, on its own photos; give one run, or .tflite files")
    if options.data:
        raise OptionError("--data goes with a .tflite; a run is scored on its own photos")
    return RunFolder(options.models[0])


def _open_files(options: argparse.Namespace, stack: ExitStack) -> list[Classifier]:
    if not options.data:
        raise OptionError(
            f"'{options.models[0]}' is no run folder, and a .tflite is scored on --data: a folder per class, "
            "or a run's catalogue.csv"
        )
    labels = read_labels(options.labels)
    return [
        stack.enter_context(
            Classifier(
                model, labels, options.num_threads, options.runtime, normalization=options.normalization
            )
        )
        for model in options.models
    ]

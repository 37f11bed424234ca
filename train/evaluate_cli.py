"""The command line of `dermedge evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.arguments import Parser, add_runtime_options, make_parser, read_labels
from edge.classifier import Classifier
from edge.errors import OptionError
from train.catalogue import SPLITS
from train.evaluate import Evaluation, evaluate_file, evaluate_run
from train.progress import progress_line
from train.run_folder import STAGES, RunFolder


def parser() -> Parser:
    """The options of the verb."""
    made = make_parser("evaluate", "Score a run or a .tflite on labelled photos.")
    made.add_argument("model", type=Path, help="a .tflite, or a run folder")
    made.add_argument("--data", type=Path, help="for a .tflite: a folder per class, or a run's catalogue.csv")
    made.add_argument("--split", choices=SPLITS, help="of the catalogue; val if a run is scored")
    made.add_argument("--stage", choices=STAGES, default="float", help="of a run")
    made.add_argument(
        "--output", type=Path, metavar="DIR", help="write evaluation.json and confusion.png there"
    )
    made.add_argument("--labels", type=Path, help="a text file, one label a line, for a foreign .tflite")
    add_runtime_options(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Scores, prints a table, and writes what was asked for."""
    options = parser().parse_args(argv)
    show = progress_line("scoring")
    if options.model.is_dir():
        if options.data:
            raise OptionError("--data goes with a .tflite; a run is scored on its own photos")
        evaluation: Evaluation = evaluate_run(
            RunFolder(options.model), options.stage, options.split or "val", show
        )
    else:
        if not options.data:
            raise OptionError("a .tflite is scored on --data: a folder per class, or a run's catalogue.csv")
        with Classifier(
            options.model, read_labels(options.labels), options.num_threads, options.runtime
        ) as classifier:
            evaluation = evaluate_file(classifier, options.data, options.split, show)
    print(evaluation.to_text())
    if options.output:
        evaluation.save(options.output)
        print(f"\nwritten: '{options.output / 'evaluation.json'}', '{options.output / 'confusion.png'}'")
    return 0

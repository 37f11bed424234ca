"""The command line of `dermedge benchmark`, which measures accuracy, latency and memory of .tflite files."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dermedge.benchmarks import compare, estimate, soak
from dermedge.benchmarks.arguments import names_with_commas, seconds, thread_counts
from dermedge.benchmarks.frames import GENERATED, frames_of_source
from dermedge.benchmarks.latency import RunLength
from dermedge.benchmarks.plot import check_plot, save_plot
from dermedge.benchmarks.report import BenchmarkReport, save, to_json, to_text
from dermedge.benchmarks.side_by_side import (
    DEFAULT_RUN_LENGTH,
    BenchmarkSettings,
    benchmark,
    named_source,
)
from dermedge.benchmarks.status_line import print_above_status, show_status, status_cleared
from dermedge.benchmarks.whole_loop import source_opener
from dermedge.edge.cli.arguments import (
    OptionGroup,
    Parser,
    add_foreign_options,
    make_parser,
    positive_int,
    positive_number,
    read_labels,
    whole,
)
from dermedge.edge.errors import OptionError
from dermedge.edge.files import check_file, check_writable
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.flatbuffer import tflite_schema
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_path
from dermedge.edge.printable import printable
from dermedge.edge.sources.redact import without_secrets

__all__ = ["main", "parser"]

_STOPPED = 130
_RUN_LENGTH = ("--warmup-runs", "--num-runs", "--min-secs", "--max-secs")
_UNUSED_BY_ESTIMATE = (
    *_RUN_LENGTH,
    "--data",
    "--split",
    "--max-photos",
    "--source",
    "--labels",
    "--normalization",
    "--num-threads",
    "--runtime",
    "--profile",
    "--tta",
    "--soak",
    "--output",
    "--plot",
)
# Example commands that the help shows at its end.
_EXAMPLES = (
    "dermedge benchmark --source photos/ --output results/",
    "dermedge benchmark a.tflite b.tflite --data catalogue.csv --split val",
    "dermedge benchmark compare before.json after.json",
    "dermedge benchmark --estimate pi4,pi5",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the models, and writes and prints the results.

    Returns:
        The exit status: 0 after success, 2 if a photo could not be decoded, 130 if Ctrl-C ended a run with --soak.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["compare"]:
        return compare.main(given[1:])
    arguments = parser().parse_args(given)
    if arguments.estimate:
        _refuse(_UNUSED_BY_ESTIMATE, given, "--estimate measures nothing")
        return _estimate(arguments)
    if arguments.soak:
        _refuse(_RUN_LENGTH, given, "--soak MINUTES sets the duration")
    _check_before_running(arguments)
    command = _command(given, arguments.source)
    if arguments.soak:
        return _soak(_settings(arguments, command), arguments)
    with status_cleared():
        report = benchmark(_settings(arguments, command), show_status, print_above_status)
    try:
        _write(report, arguments.output, arguments.plot)
    finally:  # the measurement took minutes, so the results are printed even if writing them fails
        print(to_json(report) if arguments.json else to_text(report))
    for error in report.unreadable:
        print(f"dermedge: error: {printable(str(error))}", file=sys.stderr)
    return 2 if report.unreadable else 0


def _command(given: Sequence[str], source: str | None) -> str:
    """Returns the command line for the results, without the passwords of the source. The results may be published."""
    if source:
        given = [word.replace(source, without_secrets(source)) for word in given]
    return shlex.join(["dermedge", "benchmark", *given])


def _write(report: BenchmarkReport, folder: Path | None, plot: Path | None) -> None:
    written = save(report, folder) if folder else []
    if plot:
        save_plot(report, plot)
        written.append(plot)
    _tell_written(written)


def _tell_written(paths: Sequence[Path]) -> None:
    for path in paths:
        print(printable(f"wrote {path}"), file=sys.stderr)


def _refuse(unused: Sequence[str], given: Sequence[str], why: str) -> None:
    """Raises OptionError if an option in ``unused`` is given, because such an option would have no effect."""
    for option in (word.partition("=")[0] for word in given):
        if option in unused:
            raise OptionError(f"{why}; leave out {option}")


def _check_before_running(arguments: argparse.Namespace) -> None:
    """Checks the options before anything is measured.

    Raises:
        DermedgeError: an option is missing, cannot be combined with another option, or names a file that cannot be
            written.
    """
    models = getattr(arguments, "models", (DEFAULT_MODEL,))
    if arguments.soak:
        if len(models) > 1 or len(arguments.num_threads) > 1:
            raise OptionError(
                "--soak measures one model with one number of threads; give one MODEL and one number with --num-threads"
            )
        if arguments.data or arguments.profile or arguments.tta:
            raise OptionError(
                "--soak cannot be combined with --data, --profile or --tta; leave them out, and name the frames with "
                "--source"
            )
    of_photos = ("split", "max_photos") if arguments.soak else ("split", "max_photos", "plot")
    for option in of_photos:
        if getattr(arguments, option) is not None and arguments.data is None:
            raise OptionError(f"--{option.replace('_', '-')} needs labelled photos; give them with --data")
    if arguments.data is None and arguments.source is None:
        frames_of_source(None)
    if arguments.profile:
        tflite_schema()
    if arguments.output:
        check_writable(arguments.output)
    if arguments.plot:
        check_plot(arguments.plot)
        check_file(arguments.plot)


def _estimate(arguments: argparse.Namespace) -> int:
    """Prints the estimates for --estimate, and returns the exit status."""
    models = getattr(arguments, "models", tuple(SHIPPED.values()))
    found = estimate.estimate(models, arguments.estimate)
    print(estimate.to_json(found) if arguments.json else estimate.to_text(found))
    return 0


def _soak(settings: BenchmarkSettings, arguments: argparse.Namespace) -> int:
    """Runs one model for a long time, then prints and writes the results.

    Returns:
        The exit status: 0, or 130 after Ctrl-C. After Ctrl-C, the results so far are printed and written.
    """
    [model], [threads] = settings.models, settings.num_threads

    def keep(found: soak.SoakRun) -> None:
        if arguments.output:
            soak.save(found, arguments.output)

    runtime = choose_runtime(settings.runtime)
    with (
        status_cleared(),
        Classifier(
            model, settings.labels, threads, runtime, normalization=settings.normalization
        ) as classifier,
    ):
        found = soak.soak(
            classifier,
            source_opener(settings.source, []),
            arguments.soak,
            named_source(settings.source),
            settings.command,
            keep,
            show_status,
        )
    print(soak.to_json(found) if arguments.json else soak.to_text(found))
    written = soak.save(found, arguments.output) if arguments.output else []
    if arguments.plot:
        soak.save_plot(found, arguments.plot)
        written.append(arguments.plot)
    _tell_written(written)
    return _STOPPED if found.stopped else 0


def parser() -> Parser:
    """Returns the parser of `dermedge benchmark`. The parser of `dermedge benchmark compare` is in `compare.py`."""
    made = make_parser(
        "benchmark",
        "Measure the accuracy, latency and memory of .tflite files, side by side. `dermedge benchmark compare "
        "A.json B.json` compares two results.",
        _EXAMPLES,
    )
    made.add_argument(
        "models",
        nargs="*",
        type=model_path,
        default=argparse.SUPPRESS,
        metavar="MODEL",
        help=f"measure these .tflite files or shipped models. The shipped models are {', '.join(SHIPPED)}. Without "
        "MODEL, measure the default model",
    )
    _add_input(made.add_argument_group("photos and models"))
    _add_run_length(made.add_argument_group("duration"))
    _add_results(made.add_argument_group("measurements and results"))
    return made


def _add_input(parser: OptionGroup) -> None:
    """Adds the options for the models and the photos or frames."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="measure the accuracy on these labelled photos: a folder with a subfolder for each class, a table of "
        "labels, or a catalogue.csv",
    )
    parser.add_argument(
        "--split", choices=("val", "test"), help="measure the accuracy on this split of the catalogue.csv"
    )
    parser.add_argument(
        "--max-photos",
        type=positive_int,
        metavar="N",
        help="measure the accuracy on at most N photos, sampled evenly over the classes",
    )
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="measure the latency on frames of this source: a photo, a folder of photos, a video, a camera, or "
        f"{GENERATED} for generated frames. Default: the photos of --data",
    )
    add_foreign_options(parser)
    parser.add_argument(
        "--num-threads",
        type=thread_counts,
        default="1",
        metavar="N",
        help="run the interpreter with N threads. To measure each model with several numbers of threads, separate "
        "the numbers with commas, such as 1,2",
    )
    parser.add_argument(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="run the network with this TFLite runtime. auto chooses litert if it is installed, and tflite-runtime "
        "otherwise",
    )


def _add_results(parser: OptionGroup) -> None:
    """Adds the options for further measurements and for the results."""
    parser.add_argument("--profile", action="store_true", help="also time each operator of the network")
    parser.add_argument(
        "--tta",
        action="store_true",
        help="also measure each model with test-time augmentation, which averages the outputs for four orientations "
        "of the crop",
    )
    parser.add_argument(
        "--soak",
        type=positive_number,
        metavar="MINUTES",
        help="run the whole loop from capture to decision for this many minutes on the frames of --source, and test "
        "whether latency, frame rate, memory and temperature drift",
    )
    parser.add_argument(
        "--estimate",
        type=names_with_commas,
        metavar="BOARDS",
        help="estimate the latency on these boards from published latencies of other networks, and measure nothing. "
        "Known boards are pi4, pi5 and pixel4; separate several with commas. Without MODEL, estimate the latency of "
        "all shipped models",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write results.csv, results.html, results.json and results.md into this folder. With --soak, write "
        "soak.csv and soak.json instead",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="write a plot of accuracy against latency into this .png, .svg or .pdf file. With --soak, plot the "
        "measurements over time instead",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _add_run_length(parser: OptionGroup) -> None:
    """Adds the options for the duration of the measurement."""
    run_length = DEFAULT_RUN_LENGTH
    parser.add_argument(
        "--warmup-runs",
        type=whole,
        default=run_length.warmup_runs,
        metavar="N",
        help="run at least N warm-up rounds, and continue until the latencies are steady. The warm-up ends after 30 "
        "seconds at the latest",
    )
    parser.add_argument(
        "--num-runs",
        type=positive_int,
        default=run_length.num_runs,
        metavar="N",
        help="measure at least N rounds. In a round, each model classifies one frame",
    )
    parser.add_argument(
        "--min-secs",
        type=seconds,
        default=run_length.min_secs,
        metavar="SECONDS",
        help="measure for at least this many seconds",
    )
    parser.add_argument(
        "--max-secs",
        type=seconds,
        default=run_length.max_secs,
        metavar="SECONDS",
        help="measure for at most this many seconds. A round that has begun is finished",
    )


def _settings(arguments: argparse.Namespace, command: str) -> BenchmarkSettings:
    labels = read_labels(arguments.labels)
    return BenchmarkSettings(
        models=tuple(getattr(arguments, "models", (DEFAULT_MODEL,))),
        num_threads=arguments.num_threads,
        runtime=arguments.runtime,
        labels=tuple(labels) if labels is not None else None,
        normalization=arguments.normalization,
        data=arguments.data,
        split=arguments.split,
        max_photos=arguments.max_photos,
        source=arguments.source,
        run_length=RunLength(
            arguments.warmup_runs, arguments.num_runs, arguments.min_secs, arguments.max_secs
        ),
        profile=arguments.profile,
        tta=arguments.tta,
        command=command,
    )

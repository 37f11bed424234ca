"""The command line of `dermedge convert`."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dermedge.edge.cli.arguments import Parser, make_parser, number, positive_int, read_labels
from dermedge.edge.errors import OptionError, StorageError
from dermedge.edge.files import check_writable
from dermedge.edge.model.manifest import Manifest
from dermedge.train.fit.run_folder import RunFolder

if TYPE_CHECKING:
    from dermedge.convert.load.conversion_input import Subject
    from dermedge.convert.search import Outcome
    from dermedge.convert.to_tflite.converter import Form

REFUSED = 3
# `Check.word` -> what stands before its line.
MARKS = {"passed": "ok", "refused": "REFUSED", "not measured": "-"}
POINTS = 100
WORST_NAMED = 3


def parser() -> Parser:
    """The options of the verb."""
    made = make_parser(
        "convert",
        "Turn a run, or any Keras classifier, into one .tflite that is proven and describes itself.",
    )
    made.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="a folder of dermedge train, a .keras or .h5 file, a SavedModel",
    )
    _add_form_options(made)
    _add_proof_options(made)
    _add_keras_options(made)
    _add_file_options(made)
    return made


def _add_form_options(made: Parser) -> None:
    """What the file is to be."""
    kind = made.add_mutually_exclusive_group(required=True)
    kind.add_argument("--int8", action="store_true", help="8-bit integers throughout")
    kind.add_argument(
        "--int16x8", action="store_true", help="16-bit activations, 8-bit weights: slower, closer"
    )
    kind.add_argument("--float16", action="store_true", help="weights in half precision")
    kind.add_argument("--dynamic", action="store_true", help="weights in 8 bits, activations in float")
    kind.add_argument("--float32", action="store_true", help="as it was trained")
    kind.add_argument(
        "--ladder",
        action="store_true",
        help="int8, then slower forms, until one passes; the fastest is delivered",
    )
    made.add_argument(
        "--method",
        choices=("auto", "qat", "ptq"),
        default="auto",
        help="for --int8: fine-tuned, or post-training quantization; auto: both, and the better is delivered",
    )
    made.add_argument(
        "--ranges",
        choices=("recorded", "min-max", "percentile", "entropy", "mse"),
        default="recorded",
        help="for ptq: how the ranges of activations follow from the calibration photos",
    )
    made.add_argument(
        "--float-layers",
        metavar="N|NAMES",
        help="for --int8: the N worst layers, or named ones, stay in float",
    )
    made.add_argument(
        "--io",
        choices=("uint8", "int8", "float32"),
        default="uint8",
        help="the type of the input of real pixels",
    )


def _add_proof_options(made: Parser) -> None:
    """What it may lose, and on how many photos it is calibrated."""
    made.add_argument(
        "--max-drop", type=points, default=1.0, help="points that each figure of the proof may lose"
    )
    made.add_argument(
        "--critical", metavar="CLASS", help="the class whose misses weigh most; default melanoma"
    )
    made.add_argument(
        "--calibration-photos",
        type=positive_int,
        default=200,
        help="photos for the ranges, evenly over classes",
    )


def _add_keras_options(made: Parser) -> None:
    """What a classifier that is no run does not tell of itself."""
    made.add_argument(
        "--data",
        type=Path,
        help="for a Keras classifier: a folder per class, or a catalogue.csv, to prove it on",
    )
    made.add_argument(
        "--labels", type=Path, help="a text file, one label a line, in the order of its outputs"
    )
    made.add_argument("--imgsz", type=positive_int, help="side of its input in pixels, where it takes any")
    made.add_argument(
        "--normalization",
        default="auto",
        help="what it wants of pixels: pixels, unit, symmetric, imagenet, caffe, or auto: seen or tried",
    )


def _add_file_options(made: Parser) -> None:
    """What is written, and where."""
    made.add_argument("--no-evidence", action="store_true", help="leave out the heat map's output of a run")
    made.add_argument("--licence", help="of the weights, for the manifest")
    made.add_argument(
        "--output", type=Path, metavar="FILE", help="default: beside MODEL, with the form in its name"
    )
    made.add_argument("--report", type=Path, metavar="DIR", help="default: beside the file")


def points(text: str) -> float:
    """An argparse type: a number of 0 to 100."""
    value = number(text)
    if not 0 <= value <= POINTS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of points from 0 to 100")
    return value


def main(argv: Sequence[str]) -> int:
    """Converts, proves, writes the report, and the file if it passed; prints what was lost."""
    options = parser().parse_args(argv)
    command = shlex.join(["dermedge", "convert", *argv])
    check_options(options)
    target = options.output or default_target(options)
    folder = options.report or target.with_name(f"{target.stem}-report")
    for path, option in ((target, "--output"), (folder, "--report")):
        if path.exists():
            raise StorageError(f"'{path}' exists already; delete it, or name another with {option}")
        check_writable(path.parent)

    from dermedge.convert.report.report import save_report

    subject = open_subject(options, command)
    outcome = make(options, subject)
    page = save_report(outcome, subject, folder, command, target)
    if outcome.delivered:
        try:
            outcome.chosen.save(target)
        except StorageError:
            shutil.rmtree(folder)
            raise
    print(summary(outcome))
    print(f"report: '{page}'")
    if not outcome.delivered:
        print(refusal(outcome, options.ladder), file=sys.stderr)
        return REFUSED
    print(f"done: '{target}'")
    return 0


def is_run(path: Path) -> bool:
    return path.is_dir() and not (path / "saved_model.pb").is_file()


def check_options(options: argparse.Namespace) -> None:
    """Raises OptionError where options do not go together."""
    of_keras = ("data", "labels", "imgsz")
    if is_run(options.model):
        given = next((name for name in of_keras if getattr(options, name) is not None), None)
        if given or options.normalization != "auto":
            raise OptionError(
                f"--{given or 'normalization'} is for a Keras file; the run '{options.model}' knows its own"
            )
    elif options.data is None:
        raise OptionError(
            f"'{options.model}' is no run folder of dermedge train; any other Keras classifier needs --data: "
            "a folder per class, or a catalogue.csv, to calibrate it and to prove what comes out"
        )
    if options.float_layers and not options.int8:
        raise OptionError("--float-layers is for --int8")
    if options.float_layers and options.method == "qat":
        raise OptionError("--float-layers needs the ranges of a calibration: --method ptq")
    if options.method == "qat" and not is_run(options.model):
        raise OptionError(
            "--method qat needs a run with an int8 stage; a Keras classifier is calibrated: ptq"
        )


def default_target(options: argparse.Namespace) -> Path:
    """Beside the model, with the form in its name."""
    kinds = ("int8", "int16x8", "float16", "dynamic", "float32", "ladder")
    kind = next(name for name in kinds if getattr(options, name))
    model = options.model
    if is_run(model):
        config = RunFolder(model).config()
        return model / f"{config.architecture}-{config.size}-{kind}.tflite"
    return model.with_name(f"{model.stem}-{kind}.tflite")


def open_subject(options: argparse.Namespace, command: str) -> Subject:
    """What MODEL is, with its photos."""
    from dermedge.convert.load.conversion_input import subject_of_keras, subject_of_run
    from dermedge.train.progress import progress_line

    if is_run(options.model):
        return subject_of_run(
            RunFolder(options.model),
            options.calibration_photos,
            evidence=not options.no_evidence,
            licence=options.licence,
            critical=options.critical,
            progress=progress_line,
        )
    return subject_of_keras(
        options.model,
        options.data,
        command,
        options.calibration_photos,
        labels=read_labels(options.labels),
        size=options.imgsz,
        normalization=options.normalization,
        licence=options.licence,
        critical=options.critical,
    )


def make(options: argparse.Namespace, subject: Subject) -> Outcome:
    """Converts into what the options ask for."""
    from dermedge.convert.search import climb, try_forms
    from dermedge.train.progress import progress_line

    max_drop = options.max_drop / POINTS
    if options.ladder:
        return climb(subject, options.io, max_drop, progress_line)
    return try_forms(subject, chosen_forms(options, subject), max_drop, progress_line)


def chosen_forms(options: argparse.Namespace, subject: Subject) -> list[Form]:
    """The forms that the options ask for; of several, the better is delivered.

    Raises:
        OptionError: the run has no int8 stage, or no layer is called so.
    """
    from dermedge.convert.search import mixed_form
    from dermedge.convert.to_tflite.converter import INT8_PTQ, INT8_QAT, Form

    if not options.int8:
        kind = next(name for name in ("float32", "float16", "dynamic", "int16x8") if getattr(options, name))
        return [Form(kind, options.io)]
    ptq = Form(INT8_PTQ, options.io, options.ranges)
    if options.float_layers:
        return [mixed_form(subject, ptq, options.float_layers)]
    if options.method == "qat" and not subject.quantization_aware:
        raise OptionError(
            f"'{options.model}' has no int8 stage; train it with --qat-epochs, or use --method ptq"
        )
    tuned = [Form(INT8_QAT, options.io)] if subject.quantization_aware and options.method != "ptq" else []
    return [*tuned, *([ptq] if options.method != "qat" else [])]


def summary(outcome: Outcome) -> str:
    """What was made and what was lost, for people."""
    chosen = outcome.chosen
    lines = []
    if "val_balanced_accuracy_argmax_of" in chosen.manifest.metrics:
        figures = chosen.manifest.metrics["val_balanced_accuracy_argmax_of"]
        told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        lines.append(f"balanced accuracy on the proof set by the most probable class: {told}")
    parity = chosen.parity
    lines += [
        f"{chosen.form.name}: {len(chosen.model) / 1e6:.2f} MB",
        f"beside its Keras model on {parity.pictures} photos, by the device runtime: same class "
        f"{parity.agreement:.1%}, logits apart {parity.mean_logit_difference:.3f} on average, "
        f"{parity.max_logit_difference:.3f} at most",
        *decision_lines(chosen.manifest),
        "beside the float network:",
        *(f"  {MARKS[check.word]:<7} {check.line}" for check in chosen.verdict.checks),
    ]
    return "\n".join(lines)


def refusal(outcome: Outcome, climbed: bool) -> str:
    """One line: what was lost most, where, and the cure."""
    from dermedge.convert.accept.layer_errors import worst_layers

    worst = worst_layers(list(outcome.layers), WORST_NAMED) if outcome.layers else []
    where = f"; worst layers: {', '.join(worst)}" if worst else ""
    cure = (
        "allow more with --max-drop, or train longer"
        if climbed
        else "try --ladder, or allow more with --max-drop"
    )
    return f"dermedge: refused: {outcome.chosen.verdict.failed[0].line}{where}; nothing is delivered: {cure}"


def decision_lines(manifest: Manifest) -> list[str]:
    """What temperature and thresholds do on the validation photos that they were fitted on, for people."""
    metrics, thresholds = manifest.metrics, manifest.thresholds
    lines = []
    if "validated_by" in metrics:
        lines.append(
            "the network has learned the validation photos: temperature, thresholds and all figures on "
            f"these are of '{metrics['validated_by']}', the same recipe without them"
        )
    if metrics.get("logit_adjustment"):
        before = metrics["val_float_balanced_accuracy_unadjusted"]
        lines.append(
            f"rare classes: logits adjusted by {metrics['logit_adjustment']:.2f} of their log share; "
            f"balanced accuracy in float {metrics['val_float_balanced_accuracy']:.3f}, was {before:.3f}"
        )
    lines.append(
        f"validation balanced accuracy {metrics['val_balanced_accuracy']:.3f} as it answers, "
        f"{metrics['val_balanced_accuracy_argmax']:.3f} by the most probable class; temperature "
        f"{manifest.temperature:.2f}: calibration error {metrics['val_ece']:.3f}, was "
        f"{metrics['val_ece_unscaled']:.3f}"
    )
    if "none" in thresholds:
        others = metrics.get("val_none_declined")
        lines.append(
            f"declined from p({manifest.none_label}) >= {thresholds['none']:.4f}: "
            f"{metrics['val_declined']:.1%} of the named classes"
            + ("" if others is None else f", {others:.1%} of the rest")
        )
    if "alert" in thresholds:
        alert = thresholds["alert"]
        lines.append(
            f"alert from p({alert['label']}) >= {alert['threshold']:.4f}: sensitivity "
            f"{metrics['val_alert_sensitivity']:.1%}, specificity {metrics['val_alert_specificity']:.1%}"
        )
    if "uncertain" in thresholds:
        lines.append(
            f"uncertain below {thresholds['uncertain']:.4f}: {metrics['val_uncertain']:.1%} of the answered; "
            f"balanced error {metrics['val_risk']:.3f}, of the certain {metrics['val_risk_certain']:.3f}"
        )
    lines.append(
        f"prediction sets for {thresholds['conformal']['coverage']:.0%}: {metrics['val_set_coverage']:.1%} "
        f"hold the true class, of {metrics['val_set_size']:.2f} classes on average"
    )
    return lines

"""The command line of `dermedge convert`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dermedge.convert.request import AIMS, ConversionRequest, check_request
from dermedge.edge.cli.arguments import (
    AUTO_NORMALIZATION,
    OptionGroup,
    Parser,
    make_parser,
    number,
    positive_int,
    read_labels,
)
from dermedge.edge.model.normalization import FOREIGN
from dermedge.edge.printable import printable_lines

__all__ = ["REFUSED", "main", "parser"]

# Exit status when no file was accepted.
REFUSED = 3
_POINTS = 100
# argparse would write the forms in one line of 100 characters.
_USAGE = """dermedge convert MODEL (--int8 | --int16x8 | --float16 | --dynamic |
                        --float32 | --search | --onnx) [options]"""
# Commands that the end of the help shows.
_EXAMPLES = (
    "dermedge convert runs/mine --int8",
    "dermedge convert runs/mine --search",
    "dermedge convert classifier.keras --int8 --data photos/",
    "dermedge convert classifier.tflite --int8 --data photos/",
)


def parser() -> Parser:
    """Return the options of the verb."""
    made = make_parser(
        "convert",
        "Convert a run, a Keras classifier or a float .tflite to one .tflite that describes itself, and compare it "
        "with its float network. If the photos show that it loses too much, no file is written, and the exit status "
        "is 3.",
        _EXAMPLES,
    )
    made.usage = _USAGE
    made.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="convert this run folder of dermedge train, .keras or .h5 file, SavedModel folder, or .tflite of floats",
    )
    _add_form_options(made.add_argument_group("form"))
    _add_proof_options(made.add_argument_group("proof"))
    _add_foreign_options(made.add_argument_group("classifiers of other makers"))
    _add_file_options(made.add_argument_group("files"))
    return made


def _add_form_options(made: OptionGroup) -> None:
    aim = made.add_mutually_exclusive_group(required=True)
    aim.add_argument("--int8", action="store_true", help="use 8-bit integers throughout")
    aim.add_argument(
        "--int16x8",
        action="store_true",
        help="use 16-bit activations and 8-bit weights: slower than int8, and closer to float",
    )
    aim.add_argument("--float16", action="store_true", help="store the weights in half precision")
    aim.add_argument(
        "--dynamic", action="store_true", help="store the weights in 8 bits and compute activations in float"
    )
    aim.add_argument("--float32", action="store_true", help="keep the network as it was trained")
    aim.add_argument(
        "--search",
        action="store_true",
        help="try int8, then slower or larger forms, and deliver the fastest one that is accepted",
    )
    aim.add_argument(
        "--onnx",
        action="store_true",
        help="convert to ONNX for other runtimes: float32 and, if it is accepted, int8 (QDQ). Each file is "
        "proven with ONNX Runtime, and its manifest is written beside it as JSON",
    )
    made.add_argument(
        "--method",
        choices=("auto", "qat", "ptq"),
        default="auto",
        help="quantize to int8 with the ranges of quantization-aware training (qat), by post-training "
        "quantization (ptq), or by both, and deliver the better one (auto)",
    )
    made.add_argument(
        "--ranges",
        choices=("min-max", "percentile", "entropy", "mse"),
        default="min-max",
        help="choose how ptq finds the ranges of activations on the calibration photos",
    )
    made.add_argument(
        "--float-layers",
        metavar="N|NAMES",
        help="keep the N worst layers of an int8 file, or the named ones, in float",
    )
    made.add_argument(
        "--io", choices=("uint8", "int8", "float32"), default="uint8", help="set the dtype of the pixel input"
    )


def _add_proof_options(made: OptionGroup) -> None:
    made.add_argument(
        "--max-drop",
        type=_points,
        default=1.0,
        metavar="POINTS",
        help="accept a loss of this many percentage points in each figure",
    )
    made.add_argument(
        "--cannot-tell",
        choices=("deliver", "refuse"),
        default="deliver",
        help="deliver or refuse a file if the photos are too few to tell whether it is sound",
    )
    made.add_argument(
        "--critical",
        metavar="CLASS",
        help="name the class that must not be missed. Default: melanoma, if it is a class.",
    )
    made.add_argument(
        "--calibration-photos",
        type=positive_int,
        default=200,
        metavar="N",
        help="calibrate on this many photos, sampled evenly over the classes",
    )


def _add_foreign_options(made: OptionGroup) -> None:
    made.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="prove a Keras classifier or a .tflite on these photos: a folder per class, a table of "
        "labels, or a catalogue.csv",
    )
    made.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="read the labels of a Keras classifier or a .tflite from this file, one per line in the order of "
        "its outputs; for a single sigmoid, the class of 0 comes first",
    )
    made.add_argument(
        "--imgsz",
        type=positive_int,
        metavar="PIXELS",
        help="set the side of the input in pixels, for a Keras classifier that takes any size",
    )
    made.add_argument(
        "--normalization",
        choices=(*FOREIGN, AUTO_NORMALIZATION),
        default=AUTO_NORMALIZATION,
        metavar="NAME",
        help=f"set the normalization that a Keras classifier or a .tflite expects: {', '.join(FOREIGN)}; or auto, "
        "which takes the one that the file states, or else tries each on the calibration photos",
    )
    made.add_argument(
        "--trust",
        action="store_true",
        help="load a Keras classifier even if it holds Python code, as Lambda layers do; the code then runs on this "
        "machine",
    )


def _add_file_options(made: OptionGroup) -> None:
    made.add_argument("--no-evidence", action="store_true", help="leave out the output of the heat map")
    made.add_argument("--licence", metavar="TEXT", help="write the licence of the weights into the manifest")
    made.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the .tflite or .onnx here. Default: beside MODEL, with the form in its name",
    )
    made.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write the report to this folder. Default: beside the .tflite",
    )


def _points(text: str) -> float:
    """An argparse type: percentage points from 0 to 100."""
    value = number(text)
    if not 0 <= value <= _POINTS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of percentage points from 0 to 100")
    return value


def main(argv: Sequence[str]) -> int:
    """Convert, write report and file, and print what was lost; return 3 if no file was accepted."""
    options = parser().parse_args(argv)
    request = _request(options, shlex.join(["dermedge", "convert", *argv]))
    # Checks the request before TensorFlow is imported, which takes seconds.
    check_request(request)

    from dermedge.convert.pipeline import convert_model
    from dermedge.convert.report.summary import refusal, summary
    from dermedge.train.progress import progress_line

    delivery = convert_model(request, progress_line)
    print(printable_lines(summary(delivery.result)))
    print(f"report: '{delivery.page}'")
    if not delivery.result.delivered:
        print(printable_lines(refusal(delivery.result, options.search or options.onnx)), file=sys.stderr)
        return REFUSED
    for path in delivery.files:
        print(f"done: '{path}'")
    return 0


def _request(options: argparse.Namespace, command: str) -> ConversionRequest:
    return ConversionRequest(
        model=options.model,
        aim=next(name for name in AIMS if getattr(options, name)),
        output=options.output,
        report=options.report,
        command=command,
        method=options.method,
        ranges=options.ranges,
        float_layers=options.float_layers,
        io=options.io,
        max_drop=options.max_drop / _POINTS,
        delivers_untold=options.cannot_tell == "deliver",
        critical=options.critical,
        calibration_photos=options.calibration_photos,
        data=options.data,
        labels=read_labels(options.labels),
        size=options.imgsz,
        normalization=options.normalization,
        trusted=options.trust,
        evidence=not options.no_evidence,
        licence=options.licence,
    )

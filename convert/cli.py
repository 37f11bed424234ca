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

# The exit status of `dermedge convert` if no file was accepted.
REFUSED = 3
_POINTS = 100
# The usage is written by hand, because argparse would put all options into one long line.
_USAGE = """dermedge convert MODEL (--int8 | --int16x8 | --float16 | --dynamic |
                        --float32 | --search | --onnx) [options]"""
# The examples at the end of the help text.
_EXAMPLES = (
    "dermedge convert runs/mine --int8",
    "dermedge convert runs/mine --search",
    "dermedge convert classifier.keras --int8 --data photos/",
    "dermedge convert classifier.tflite --int8 --data photos/",
)


def parser() -> Parser:
    """Return the argument parser of `dermedge convert`."""
    made = make_parser(
        "convert",
        "Convert a run, a Keras classifier or a float .tflite to one .tflite with labels, preprocessing and "
        "thresholds. The new file is compared with the float network on labelled photos. If the photos show that the "
        "file loses too much accuracy, no file is written, and the exit status is 3.",
        _EXAMPLES,
    )
    made.usage = _USAGE
    made.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="convert this model: a run folder of dermedge train, a .keras or .h5 file, a SavedModel folder, or a "
        "float32 .tflite",
    )
    _add_form_options(made.add_argument_group("format of the file"))
    _add_proof_options(made.add_argument_group("comparison with the float network"))
    _add_foreign_options(made.add_argument_group("classifiers that dermedge did not train"))
    _add_file_options(made.add_argument_group("files"))
    return made


def _add_form_options(made: OptionGroup) -> None:
    aim = made.add_mutually_exclusive_group(required=True)
    aim.add_argument("--int8", action="store_true", help="use 8-bit weights and 8-bit activations")
    aim.add_argument(
        "--int16x8",
        action="store_true",
        help="use 16-bit activations and 8-bit weights. Such a file is slower than int8, but loses less accuracy",
    )
    aim.add_argument("--float16", action="store_true", help="store the weights in half precision (16 bits)")
    aim.add_argument(
        "--dynamic", action="store_true", help="store the weights in 8 bits, and compute in float32"
    )
    aim.add_argument("--float32", action="store_true", help="keep the network in float32, as it was trained")
    aim.add_argument(
        "--search",
        action="store_true",
        help="try int8 by several methods, and write the most accurate int8 file that is accepted. If none is "
        "accepted, also try formats that are slower or larger, and write the accepted file that is fastest on this "
        "machine",
    )
    aim.add_argument(
        "--onnx",
        action="store_true",
        help="make two ONNX files for other runtimes: one in float32 and one in int8 (QDQ). Each file is run in ONNX "
        "Runtime and compared with the float network. An accepted file is written, with its manifest as JSON beside it",
    )
    made.add_argument(
        "--method",
        choices=("auto", "qat", "ptq"),
        default="auto",
        help="choose how --int8 finds the ranges of activations. qat: by quantization-aware training; ptq: on "
        "calibration photos (post-training quantization); auto: try both methods, and write the better file",
    )
    made.add_argument(
        "--ranges",
        choices=("min-max", "percentile", "entropy", "mse"),
        default="min-max",
        help="choose how ptq finds the range of each activation on the calibration photos. min-max: use the range that "
        "covers all values; percentile: leave out one in 10,000 values at each end of the range; entropy: use the "
        "range with the smallest Kullback-Leibler divergence; mse: use the range with the smallest mean squared error",
    )
    made.add_argument(
        "--float-layers",
        metavar="N|NAMES",
        help="keep some layers of an int8 file in float. N: keep the N layers that add the most quantization error; "
        "NAMES: keep the layers with these names, separated by commas",
    )
    made.add_argument(
        "--io", choices=("uint8", "int8", "float32"), default="uint8", help="set the dtype of input pixels"
    )


def _add_proof_options(made: OptionGroup) -> None:
    made.add_argument(
        "--max-drop",
        type=_points,
        default=1.0,
        metavar="POINTS",
        help="accept a loss of up to this many percentage points in each metric",
    )
    made.add_argument(
        "--cannot-tell",
        choices=("deliver", "refuse"),
        default="deliver",
        help="choose what happens if there are too few photos to tell whether the file loses too much accuracy. "
        "deliver: write the file; refuse: write no file",
    )
    made.add_argument(
        "--critical",
        metavar="CLASS",
        help="name the class that must not be missed. Default: melanoma, if the model has this class.",
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
        help="read labelled photos for a Keras classifier or a .tflite. One part of the photos is used for "
        "calibration, and the other part for the comparison with the float network. PATH is a folder with a folder "
        "per class, a table of labels, or a catalogue.csv",
    )
    made.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="read the labels of a Keras classifier or a .tflite from this file: one label per line, in the order of "
        "the outputs. If the only output is a sigmoid, give two labels: first the class for a value near 0, then the "
        "class for a value near 1",
    )
    made.add_argument(
        "--imgsz",
        type=positive_int,
        metavar="PIXELS",
        help="set the width and the height of the input in pixels. Only a Keras classifier that accepts any size needs "
        "this option",
    )
    made.add_argument(
        "--normalization",
        choices=(*FOREIGN, AUTO_NORMALIZATION),
        default=AUTO_NORMALIZATION,
        metavar="NAME",
        help=f"set the normalization that a Keras classifier or a .tflite expects: {', '.join(FOREIGN)}, or auto. "
        "With auto, the normalization that the file states is used. If the file states none, every normalization is "
        "tried on the calibration photos, and the one with the highest balanced accuracy is used",
    )
    made.add_argument(
        "--trust",
        action="store_true",
        help="load a Keras classifier even if it holds Python code, such as Lambda layers. The code then runs on this "
        "machine",
    )


def _add_file_options(made: OptionGroup) -> None:
    made.add_argument(
        "--no-evidence",
        action="store_true",
        help="leave out the evidence, the output from which heat maps are made",
    )
    made.add_argument("--licence", metavar="TEXT", help="write this licence of the weights into the manifest")
    made.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the .tflite or .onnx to this path. Without this option, the file of a run is written into the run "
        "folder, and the file of any other MODEL is written beside MODEL. In both cases, the name ends in the "
        "precision, such as -int8.tflite, or in -search.tflite with --search",
    )
    made.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write the report to this folder. Default: a folder beside the .tflite or .onnx",
    )


def _points(text: str) -> float:
    """Parse percentage points from 0 to 100, as an argparse type."""
    value = number(text)
    if not 0 <= value <= _POINTS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of percentage points from 0 to 100")
    return value


def main(argv: Sequence[str]) -> int:
    """Convert a model, write the report and the accepted files, and print the results of the comparison.

    Returns:
        The exit status: 0 if a file was written, or `REFUSED` if no file was accepted.
    """
    options = parser().parse_args(argv)
    request = _request(options, shlex.join(["dermedge", "convert", *argv]))
    # The request is checked before TensorFlow is imported, because the import takes seconds.
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

"""The command line of `dermedge convert`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge.arguments import Parser, make_parser, positive_int
from edge.errors import StorageError
from train.run_folder import RunFolder


def parser() -> Parser:
    """The options of the verb."""
    made = make_parser("convert", "Turn a run into one .tflite that describes itself.")
    made.add_argument("run", type=Path, metavar="RUN", help="a folder of dermedge train")
    kind = made.add_mutually_exclusive_group(required=True)
    kind.add_argument("--int8", action="store_true", help="8-bit integers throughout")
    kind.add_argument("--float32", action="store_true", help="as it was trained")
    kind.add_argument("--float16", action="store_true", help="weights in half precision")
    kind.add_argument("--dynamic", action="store_true", help="weights in 8 bits, activations in float")
    made.add_argument(
        "--method",
        choices=("auto", "qat", "ptq"),
        default="auto",
        help="for --int8: fine-tuned, or post-training quantization; auto: qat where there is one",
    )
    made.add_argument(
        "--calibration-photos", type=positive_int, default=200, help="training photos for ptq, drawn evenly"
    )
    made.add_argument("--no-evidence", action="store_true", help="leave out the heat map's output")
    made.add_argument("--licence", help="of the weights, for the manifest")
    made.add_argument("--output", type=Path, metavar="FILE", help="default RUN/ARCHITECTURE-SIZE-KIND.tflite")
    return made


def main(argv: Sequence[str]) -> int:
    """Converts, compares and writes; prints what was lost."""
    options = parser().parse_args(argv)
    run = RunFolder(options.run)
    config = run.config()
    kind = chosen_kind(options, run)
    target = options.output or run.path / f"{config.architecture}-{config.size}-{kind}.tflite"
    if target.exists():
        raise StorageError(f"'{target}' exists already; delete it, or name another with --output")

    from convert.conversion import convert_run
    from train.progress import progress_line

    conversion = convert_run(
        run,
        kind,
        calibration_photos=options.calibration_photos,
        evidence=not options.no_evidence,
        licence=options.licence,
        progress=progress_line,
    )
    conversion.save(target)
    parity, metrics = conversion.parity, conversion.manifest.metrics
    print(f"{kind}: {len(conversion.model) / 1e6:.2f} MB, temperature {conversion.manifest.temperature:.2f}")
    print(
        f"beside its Keras model on {parity.pictures} validation photos, by the device runtime: same class "
        f"{parity.agreement:.1%}, logits apart {parity.mean_logit_difference:.3f} on average, "
        f"{parity.max_logit_difference:.3f} at most"
    )
    print(f"validation balanced accuracy {metrics['val_balanced_accuracy']:.3f}")
    print(f"done: '{target}'")
    return 0


def chosen_kind(options: argparse.Namespace, run: RunFolder) -> str:
    """The kind of `convert.lower.KINDS` that the options ask for."""
    if not options.int8:
        return next(kind for kind in ("float32", "float16", "dynamic") if getattr(options, kind))
    method = options.method
    if method == "auto":
        method = "qat" if run.weights_path("qat").is_file() else "ptq"
    return f"int8-{method}"

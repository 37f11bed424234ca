"""The command line of `dermedge convert`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge.arguments import Parser, make_parser, positive_int
from edge.errors import StorageError
from edge.manifest import Manifest
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
        help="for --int8: fine-tuned, or post-training quantization; auto: both, and the better is delivered",
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
    kinds = chosen_kinds(options, run)
    targets = {
        kind: options.output or run.path / f"{config.architecture}-{config.size}-{kind}.tflite"
        for kind in kinds
    }
    for target in targets.values():
        if target.exists():
            raise StorageError(f"'{target}' exists already; delete it, or name another with --output")

    from convert.conversion import better, convert_run
    from train.progress import progress_line

    conversions = [
        convert_run(
            run,
            kind,
            calibration_photos=options.calibration_photos,
            evidence=not options.no_evidence,
            licence=options.licence,
            progress=progress_line,
        )
        for kind in kinds
    ]
    conversion = better(*conversions) if len(conversions) > 1 else conversions[0]
    kind = conversion.manifest.quantization
    target = targets[kind]
    conversion.save(target)
    if len(kinds) > 1:
        figures = conversion.manifest.metrics["val_balanced_accuracy_argmax_of"]
        told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        print(f"validation balanced accuracy by the most probable class: {told}; {kind} is delivered")
    parity = conversion.parity
    print(f"{kind}: {len(conversion.model) / 1e6:.2f} MB")
    print(
        f"beside its Keras model on {parity.pictures} validation photos, by the device runtime: same class "
        f"{parity.agreement:.1%}, logits apart {parity.mean_logit_difference:.3f} on average, "
        f"{parity.max_logit_difference:.3f} at most"
    )
    for line in decision_lines(conversion.manifest):
        print(line)
    print(f"done: '{target}'")
    return 0


def decision_lines(manifest: Manifest) -> list[str]:
    """What temperature and thresholds do on the validation photos that they were fitted on, for people."""
    metrics, thresholds = manifest.metrics, manifest.thresholds
    lines = [
        f"validation balanced accuracy {metrics['val_balanced_accuracy']:.3f} as it answers, "
        f"{metrics['val_balanced_accuracy_argmax']:.3f} by the most probable class; temperature "
        f"{manifest.temperature:.2f}: calibration error {metrics['val_ece']:.3f}, was "
        f"{metrics['val_ece_unscaled']:.3f}"
    ]
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


def chosen_kinds(options: argparse.Namespace, run: RunFolder) -> list[str]:
    """The kinds of `convert.lower.KINDS` that the options ask for; of two, the better is delivered."""
    if not options.int8:
        return [next(kind for kind in ("float32", "float16", "dynamic") if getattr(options, kind))]
    if options.method != "auto":
        return [f"int8-{options.method}"]
    return ["int8-qat", "int8-ptq"] if run.weights_path("qat").is_file() else ["int8-ptq"]

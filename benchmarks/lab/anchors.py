"""Counts the instructions of networks with a published latency, for `dermedge benchmark --estimate`.

    python -m dermedge.benchmarks.lab anchors                  # write benchmarks/estimates.json (about an hour)
    python -m dermedge.benchmarks.lab anchors --shipped        # count only the shipped models again (some minutes)
    python -m dermedge.benchmarks.lab anchors --model a.tflite # print the counts of one file

The latencies in this file were copied from public pages, and were not measured here. Each network is built with random
weights, quantized by the converter of dermedge, and run by LiteRT under emulation of the processor of the board. The
experiment needs a C compiler, the extra ``train``, and the programs that `make test-arm64` needs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dermedge.benchmarks.calibrated_boards import ESTIMATES
from dermedge.benchmarks.child import call_in_child, run_program
from dermedge.benchmarks.lab.children.counted_invoke import MARKS
from dermedge.benchmarks.lab.cli import COMMAND, experiment_parser
from dermedge.benchmarks.lab.instructions import CPUS, build_plugin, counted_marks, make_board
from dermedge.benchmarks.status_line import show_status
from dermedge.benchmarks.traffic import bytes_moved
from dermedge.edge.files import write_text
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED

__all__ = ["LEFT_OUT", "PUBLISHED_LATENCIES", "LeftOut", "PublishedLatency", "count_invoke", "main"]

_CHILD = "dermedge.benchmarks.lab.children.counted_invoke"
_XNNPACK = "https://github.com/google/XNNPACK/blob/master/README.md"
_XNNPACK_DATE = "2022-02-08"
_ARM_COURSE = (
    "https://learn.arm.com/courses/executorch-on-arm/optimize-image-classification/evaluate-int8-mobilenetv2/"
    "copy-the-int8-artifact-to-raspberry-pi/"
)
_ARM_MODELS = "https://huggingface.co/Arm/"
_ARM_SITE = "https://developer.arm.com/ai/models/hugging-face/Arm/"
_LITE = "https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/README.md"
_NOT_DATED = "not dated; read on 2026-11-29"
_INT8, _FLOAT32 = "int8", "float32"
_KINDS = {_INT8: "int8-ptq", _FLOAT32: "float32"}


@dataclass(frozen=True)
class PublishedLatency:
    """A latency on a public page.

    Attributes:
        board: key of `BOARDS`.
        network: key of `dermedge.benchmarks.lab.published_networks.PUBLISHED`.
        form: number type of the weights and activations: ``int8`` or ``float32``.
        ms: the latency in milliseconds.
        runtime: the runtime that was measured.
        published: date of publication.
        source: URL of the page.
    """

    board: str
    network: str
    form: str
    ms: float
    runtime: str
    published: str
    source: str


@dataclass(frozen=True)
class LeftOut:
    """A published latency that is left out when the estimates for a board are fitted, with the reason."""

    board: str
    network: str
    ms: float
    source: str
    reason: str


def _xnnpack(network: str, form: str, ms: float) -> PublishedLatency:
    return PublishedLatency("pi4", network, form, ms, "XNNPACK end2end-bench", _XNNPACK_DATE, _XNNPACK)


def _executorch(network: str, ms: float, source: str) -> PublishedLatency:
    return PublishedLatency("pi5", network, _INT8, ms, "ExecuTorch with XNNPACK", _NOT_DATED, source)


def _lite(number: int, ms: float) -> PublishedLatency:
    network = f"efficientnet-lite{number}"
    return PublishedLatency("pixel4", network, _INT8, ms, "TensorFlow Lite", "2020-03", _LITE)


# All latencies are for four threads. For Arm's pages, this number is an assumption: the pages do not state it, but the
# float32 latencies on these pages are too short for one core.
BOARDS: dict[str, dict[str, Any]] = {
    "pi4": {"name": "Raspberry Pi 4", "cpu": "cortex-a72", "threads": 4},
    "pi5": {"name": "Raspberry Pi 5", "cpu": "cortex-a76", "threads": 4},
    "pixel4": {"name": "Pixel 4", "cpu": "cortex-a76", "threads": 4},
}
PUBLISHED_LATENCIES = (
    _xnnpack("mobilenet-v1", _INT8, 24),
    _xnnpack("mobilenet-v2", _INT8, 17),
    _xnnpack("mobilenet-v1", _FLOAT32, 77),
    _xnnpack("mobilenet-v2", _FLOAT32, 46),
    _xnnpack("mobilenet-v3-large", _FLOAT32, 40),
    _xnnpack("mobilenet-v3-small", _FLOAT32, 15),
    _executorch("mobilenet-v2", 3.98, _ARM_COURSE),
    _executorch("resnet-18", 8.751, f"{_ARM_MODELS}resnet-18-int8-xnnpack-executorch"),
    _executorch("resnet-50", 20.64, f"{_ARM_MODELS}resnet-50-int8-xnnpack-executorch"),
    _executorch("shufflenet-v2", 3.63, f"{_ARM_MODELS}shufflenet-v2-x1-0-int8-xnnpack-executorch"),
    _executorch(
        "squeezenet-1.0",
        5.09,
        f"{_ARM_SITE}squeezenet-1-0-int8-xnnpack-executorch-raspberrypi5/squeezenet-1.0-int8-pte",
    ),
    _executorch("squeezenet-1.1", 2.307, f"{_ARM_MODELS}squeezenet-1-1-int8-xnnpack-executorch"),
    _lite(0, 6.5),
    _lite(1, 9.1),
    _lite(2, 12),
    _lite(3, 18),
    _lite(4, 30),
)
LEFT_OUT = (
    LeftOut(
        "pi5",
        "GoogLeNet int8",
        25.33,
        f"{_ARM_SITE}googlenet-int8-xnnpack-executorch-raspberrypi5/googlenet-int8-pte",
        "it was probably measured with one thread: its float32 latency of 90.8 ms is plausible for one core, which "
        "takes at least 78 ms for 1.5 billion multiply-accumulates at 2.4 GHz",
    ),
    LeftOut(
        "pi5",
        "Wide ResNet-50-2 int8",
        49.43,
        f"{_ARM_MODELS}wideresnet50-int8-xnnpack-executorch-raspberrypi5",
        "its instructions were not counted, because litert-quantizer could not convert its large weights at that time",
    ),
    LeftOut(
        "pi5",
        "DeiT-Tiny int8",
        26.40,
        f"{_ARM_MODELS}deit-tiny-int8-xnnpack-executorch",
        "a part of the network computes in float32",
    ),
    LeftOut(
        "pi5",
        "Inception V3 int8",
        113.11,
        f"{_ARM_MODELS}inception-v3-int8-mlas-onnx-raspberrypi5",
        "it was run by ONNX Runtime, which has other kernels than LiteRT",
    ),
    LeftOut(
        "pi4",
        "EfficientDet-Lite0 int8",
        122.06,
        "https://github.com/NobuoTsukamoto/benchmarks/blob/main/tensorflow/lite/efficentdet/efficientdet.md",
        "TensorFlow Lite 2.5 did not run int8 with XNNPACK, and the latency includes the postprocessing of bounding "
        "boxes",
    ),
    LeftOut(
        "pi4",
        "MobileNet int8",
        40.30,
        "https://github.com/Tencent/ncnn/issues/3485",
        "it was run by ncnn, which has other kernels than LiteRT",
    ),
)


def main(argv: Sequence[str]) -> int:
    """Counts instructions and writes the counts. With --model, prints the counts instead. Returns the exit status."""
    options = _parse(argv)
    make_board()
    with TemporaryDirectory(prefix="dermedge-") as made:
        plugin = build_plugin(Path(made))
        if options.model:
            print(json.dumps({cpu: count_invoke(options.model, cpu, plugin) for cpu in CPUS}))
            return 0
        content = json.loads(ESTIMATES.read_text(encoding="utf-8")) if options.shipped else {}
        if not options.shipped:
            content = {"boards": _boards(Path(made), plugin)}
        content |= {"counted": _circumstances(), "shipped": list(_shipped(plugin))}
    write_text(ESTIMATES, json.dumps(content, indent=1) + "\n")
    print(f"wrote {ESTIMATES}")
    return 0


def count_invoke(model: Path, cpu: str, plugin: Path) -> int:
    """Returns the number of instructions of one inference on one thread.

    Args:
        model: a .tflite file.
        cpu: QEMU's name of the processor.
        plugin: the result of `build_plugin`.

    Raises:
        ToolError: the program does not run under emulation.
    """
    first, second, start, end = counted_marks(_CHILD, [str(model.resolve())], MARKS, cpu, plugin)
    return (end - start) - (second - first)


def _boards(folder: Path, plugin: Path) -> dict[str, Any]:
    """Returns the boards in the format that `dermedge.benchmarks.calibrated_boards` reads.

    Each board has a list of anchors. An anchor is a published latency, together with the counted cost of the network.
    """
    boards: dict[str, Any] = {key: {**board, "anchors": []} for key, board in BOARDS.items()}
    for one in PUBLISHED_LATENCIES:
        boards[one.board]["anchors"].append(_anchor(one, folder, plugin))
    for left in LEFT_OUT:
        boards[left.board].setdefault("left_out", []).append(
            {"network": left.network, "ms": left.ms, "source": left.source, "reason": left.reason}
        )
    return boards


def _anchor(one: PublishedLatency, folder: Path, plugin: Path) -> dict[str, Any]:
    from dermedge.benchmarks.lab.published_networks import write_network

    show_status(f"{one.network}, {one.form}, for {one.board}")
    path = call_in_child(write_network, one.network, _KINDS[one.form], folder)
    cost = {
        "instructions": count_invoke(path, BOARDS[one.board]["cpu"], plugin),
        "bytes": bytes_moved(path),
    }
    return {
        "network": one.network,
        "form": one.form,
        "ms": one.ms,
        "cost": cost,
        "runtime": one.runtime,
        "published": one.published,
        "source": one.source,
    }


def _shipped(plugin: Path) -> Iterator[dict[str, Any]]:
    for name, path in SHIPPED.items():
        show_status(f"counting {name}")
        counts = {cpu: count_invoke(path, cpu, plugin) for cpu in CPUS}
        yield {"model": name, "sha256": digest(path), "instructions": counts}


def _circumstances() -> str:
    qemu = run_program(["qemu-aarch64", "--version"], "qemu-aarch64").stdout.partition("\n")[0]
    return f"{datetime.now(UTC):%Y-%m-%d}, by `{COMMAND} anchors`; {qemu}; LiteRT of locks/device.txt"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser("anchors", "Count the instructions of networks with a published latency.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--shipped", action="store_true", help="count the instructions of the shipped models only"
    )
    which.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="print the instruction counts of this .tflite file, and write nothing",
    )
    return parser.parse_args(argv)

"""Counts the instructions of an inference on arm64 under emulation. The counts hardly vary between runs.

    python -m dermedge.benchmarks.lab instructions [MODEL…] [--output benchmarks/results/arm64-instructions]

QEMU's user mode runs Python for arm64, with the packages that are also installed on a Raspberry Pi. It emulates the
processors of a Raspberry Pi 4 (cortex-a72) and a Raspberry Pi 5 (cortex-a76). A plugin counts the executed
instructions. The duration cannot be computed from the count, because some instructions take longer than others, and
some wait for memory.

Without MODEL, the experiment measures each shipped model, and a float32 network with the same architecture, the same
size and random weights. The float32 networks need the extra ``train``. The experiment needs make, a C compiler, and the
programs that `make test-arm64` needs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from dermedge import DISCLAIMER
from dermedge.benchmarks.child import ROOT, last_words, run_program
from dermedge.benchmarks.lab.children.counted_inference import MARKS_A_RUN
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.random_networks import NetworkShape, write_random_network
from dermedge.benchmarks.status_line import clear_status, show_status
from dermedge.edge.errors import ModelError, ToolError
from dermedge.edge.files import write_text
from dermedge.edge.model.manifest import read_manifest
from dermedge.edge.model.shipped import SHIPPED, model_path
from dermedge.edge.text_table import TextTable, csv_of

__all__ = [
    "BOARD",
    "CPUS",
    "CountedModel",
    "InstructionCount",
    "build_plugin",
    "count",
    "counted_marks",
    "main",
    "make_board",
    "parts",
    "to_csv",
    "to_table",
]

BOARD = ROOT / ".venv-arm64"
_PLUGIN = Path(__file__).with_name("count_instructions.c")
CPUS = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5"}
# For each type of processor, each model runs in _PROCESSES separate processes. Each of these processes counts the
# instructions of _RUNS runs.
_RUNS = 2
_PROCESSES = 2
_TIMEOUT_S = 900
_CHILD = "dermedge.benchmarks.lab.children.counted_inference"
_MILLION = 1e6
_MARK = re.compile(r"^executed (\d+)$", re.MULTILINE)
_FLOAT32 = "float32, untrained"
_HOW = "Written by `python -m dermedge.benchmarks.lab instructions --output benchmarks/results/arm64-instructions`."


@dataclass(frozen=True)
class CountedModel:
    """A model whose instructions are counted.

    Attributes:
        name: name of the model.
        form: quantization of the model, such as ``int8-ptq``.
        path: path of the .tflite file.
    """

    name: str
    form: str
    path: Path


@dataclass(frozen=True)
class InstructionCount:
    """The instruction counts of one model on one thread of one processor. Each count is the median over all runs.

    Attributes:
        model: name of the model.
        form: quantization of the model, such as ``int8-ptq``.
        cpu: QEMU's name of the processor.
        preprocess: instructions of the preprocessing of a 640x480 frame, including the instructions that Python itself
            executes.
        invoke: instructions of `invoke()` of the TFLite interpreter.
        predict: instructions from frame to decision.
        loop: instructions for one frame in the loop of `dermedge run`, with quality gate, smoothing and states.
        spread: largest count of ``invoke`` minus the smallest count, divided by the median count.
        runs: number of runs.
    """

    model: str
    form: str
    cpu: str
    preprocess: int
    invoke: int
    predict: int
    loop: int
    spread: float
    runs: int


def main(argv: Sequence[str]) -> int:
    """Counts, prints and writes the results; returns the exit status."""
    options = _parse(argv)
    make_board()
    with TemporaryDirectory() as made:
        plugin = build_plugin(Path(made))
        models = _given(options.models) if options.models else _shipped(Path(made))
        counts = [count(model, cpu, plugin, show_status) for model in models for cpu in CPUS]
    clear_status()
    table, notes = to_table(counts), _circumstances(counts)
    print("\n".join([table.to_text(), "", *notes]))
    if options.output:
        write_text(options.output / "instructions.csv", to_csv(counts))
        page = [
            "# Instructions per inference on arm64",
            _HOW,
            table.to_markdown(),
            "\n".join(f"- {line}" for line in notes),
        ]
        write_text(options.output / "README.md", "\n\n".join(page) + "\n")
    return 0


def make_board() -> None:
    """Installs the Python for arm64, which runs under emulation, if it is missing or older than its lock file.

    Raises:
        ToolError: the Python for arm64 cannot be installed on this machine.
    """
    target = [f"{BOARD.name}/installed", f"PYTHON={sys.executable}"]
    done = run_program(["make", "--silent", "-C", ROOT, *target], "make")
    if not (BOARD / "python").is_file():
        said = [line for line in done.stdout.splitlines() if line.startswith("no arm64")]
        raise ToolError(
            said[0] if said else "the emulated arm64 Python cannot be made; run `make test-arm64` to see why"
        )


def build_plugin(folder: Path) -> Path:
    """Compiles the plugin of QEMU that counts instructions, and returns its path.

    Raises:
        ToolError: there is no C compiler, or the compilation fails.
    """
    plugin = folder / "count_instructions.so"
    command = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(plugin), str(_PLUGIN)]
    run_program(command, f"cc, the C compiler, on '{_PLUGIN.name}'")
    return plugin


def _given(models: Sequence[Path]) -> list[CountedModel]:
    """Returns a `CountedModel` for each .tflite file in ``models``."""
    return [CountedModel(path.stem, _form(path), path) for path in models]


def _shipped(folder: Path) -> list[CountedModel]:
    """Returns the shipped models. After each model comes a float32 network with the same architecture and size.

    The function makes these float32 networks with random weights, and writes them to ``folder``.
    """
    models = []
    for name, path in SHIPPED.items():
        show_status(f"making the float32 network like {name}")
        models += [
            *_given([path]),
            CountedModel(name, _FLOAT32, write_random_network(_shape_of(path), folder)),
        ]
    return models


def _shape_of(path: Path, kind: str = "float32") -> NetworkShape:
    """Returns the shape of the network in a .tflite file of dermedge, with ``kind`` in place of its quantization.

    Raises:
        ModelError: the file has no manifest.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise ModelError(
            f"'{path}' has no manifest that names its architecture; attach one with `dermedge convert`"
        )
    return NetworkShape(manifest.architecture, manifest.input_size, 1.0, kind, len(manifest.labels))


def count(
    model: CountedModel, cpu: str, plugin: Path, say: Callable[[str], None] = lambda text: None
) -> InstructionCount:
    """Counts the instructions of a model in `_PROCESSES` processes, one after the other.

    Args:
        model: the model.
        cpu: QEMU's name of the processor.
        plugin: the result of `build_plugin`.
        say: shows the status.

    Raises:
        ToolError: the model does not run under emulation.
    """
    runs: list[tuple[int, ...]] = []
    for number in range(_PROCESSES):
        say(f"{model.name}, {model.form}, on {cpu}: process {number + 1} of {_PROCESSES}")
        arguments = [str(model.path.resolve()), str(_RUNS)]
        runs += parts(counted_marks(_CHILD, arguments, 2 + MARKS_A_RUN * _RUNS, cpu, plugin))
    preprocess, invoke, predict, loop = (tuple(part) for part in zip(*runs, strict=True))
    return InstructionCount(
        model=model.name,
        form=model.form,
        cpu=cpu,
        preprocess=round(median(preprocess)),
        invoke=round(median(invoke)),
        predict=round(median(predict)),
        loop=round(median(loop)),
        spread=(max(invoke) - min(invoke)) / median(invoke),
        runs=len(runs),
    )


def parts(marks: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns four instruction counts for each run: preprocessing, interpreter, whole prediction, and whole loop.

    Args:
        marks: the number of instructions up to each mark that `children.counted_inference` makes.
    """
    own = marks[1] - marks[0]
    runs = [marks[at : at + MARKS_A_RUN] for at in range(2, len(marks), MARKS_A_RUN)]
    return [tuple(after - before - own for before, after in pairwise(one)) for one in runs]


def to_table(counts: Sequence[InstructionCount]) -> TextTable:
    """Returns a table with a row per model and processor, in millions of instructions."""
    head = (
        "model",
        "form",
        "processor",
        "preprocess",
        "invoke",
        "frame to decision",
        "with gate and states",
        "spread",
    )
    rows = tuple(
        (
            one.model,
            one.form,
            one.cpu,
            f"{one.preprocess / _MILLION:.2f}",
            f"{one.invoke / _MILLION:.2f}",
            f"{one.predict / _MILLION:.2f}",
            f"{one.loop / _MILLION:.2f} ({one.loop / one.invoke:.3f} x)",
            f"{one.spread:.1e}",
        )
        for one in counts
    )
    title = (
        "Millions of arm64 instructions per frame of 640x480 pixels, on one thread, counted under emulation. These are "
        "not times. with gate and states: a frame in the loop of `dermedge run`, and the ratio to invoke. spread: "
        f"largest minus smallest count of invoke in {counts[0].runs} runs, divided by the median."
    )
    return TextTable(title, head, rows)


def to_csv(counts: Sequence[InstructionCount]) -> str:
    """Returns CSV with one line per count."""
    return csv_of(list(InstructionCount.__dataclass_fields__), map(asdict, counts))


def _circumstances(counts: Sequence[InstructionCount]) -> list[str]:
    """Returns notes on how the instructions were counted, one line each."""
    version = run_program(["qemu-aarch64", "--version"], "qemu-aarch64").stdout.partition("\n")[0]
    runtime = re.search(r"^ai-edge-litert==(\S+)", (ROOT / "locks/device.txt").read_text(), re.MULTILINE)
    lines = [
        f"{version}, {', '.join(f'{cpu} as in a {board}' for cpu, board in CPUS.items())}; "
        f"ai-edge-litert {runtime[1] if runtime else 'of locks/device.txt'}; {datetime.now(UTC):%Y-%m-%d}",
        "these are instructions; the milliseconds of a Raspberry Pi were not measured",
    ]
    if any(one.form == _FLOAT32 for one in counts):
        lines.append(
            "the float32 networks have random weights, and the architectures and sizes of the int8 networks; the "
            "values of the weights do not change the number of instructions"
        )
    return [*lines, DISCLAIMER]


def counted_marks(child: str, arguments: Sequence[str], expected: int, cpu: str, plugin: Path) -> list[int]:
    """Runs a module under emulation, and returns the number of instructions up to each mark.

    Args:
        child: module of `dermedge.benchmarks.lab.children` that runs in the process.
        arguments: command line of the module; the first argument is a model.
        expected: number of marks that the module makes.
        cpu: QEMU's name of the processor.
        plugin: the result of `build_plugin`.

    Raises:
        ToolError: the process fails, or the number of its marks is not the expected one.
    """
    environment = {
        "QEMU_CPU": cpu,
        "QEMU_PLUGIN": str(plugin),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(ROOT),
    }
    name = f"'{arguments[0]}' under emulation of {cpu}"
    command = [str(BOARD / "python"), "-m", child, *arguments]
    done = run_program(command, name, environment=environment, timeout_s=_TIMEOUT_S)
    marks = [int(found) for found in _MARK.findall(done.stderr)]
    if len(marks) != expected:
        raise ToolError(f"{name}: {last_words(done.stderr, done.returncode)}")
    return marks


def _form(path: Path) -> str:
    manifest = read_manifest(path)
    return manifest.quantization if manifest else "not stated"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = experiment_parser(
        "instructions", "Count the arm64 instructions of an inference under emulation."
    )
    parser.add_argument(
        "models",
        nargs="*",
        type=model_path,
        metavar="MODEL",
        help="count the instructions of these .tflite files or shipped models. Without MODEL, measure "
        f"{', '.join(SHIPPED)}, and float32 networks with the same architectures and sizes",
    )
    parser.add_argument("--output", type=Path, help="write instructions.csv and README.md into this folder")
    return parser.parse_args(argv)

"""Estimates the latency of a network on a board that is not at hand, for `dermedge benchmark --estimate`."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import util
from pathlib import Path

from dermedge import DISCLAIMER
from dermedge.benchmarks.calibrated_boards import (
    MAX_MEDIAN_ERROR,
    CalibratedBoard,
    Cost,
    read_boards,
    stored_instructions,
)
from dermedge.benchmarks.child import run_program, with_our_packages
from dermedge.benchmarks.traffic import bytes_moved
from dermedge.edge.errors import ToolError
from dermedge.edge.model.flatbuffer import float_ops, read_graph
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED, model_argument, require_model_file
from dermedge.edge.text_table import TABLE_WIDTH, TextTable

__all__ = ["MAX_BEYOND", "Estimate", "count_here", "estimate", "to_json", "to_text"]

_SCHEMA = "dermedge-estimate/1"
_LAB = "dermedge.benchmarks.lab"
_FLOAT, _INTEGER = "float32", "int8"
# No latency is estimated for a network that is much smaller or much larger than all networks with a published latency.
# The size of a network is the number of executed instructions. The smallest allowed size is the size of the smallest
# published network divided by this factor. The largest allowed size is the size of the largest published network
# multiplied by this factor.
MAX_BEYOND = 2.0
_MILLION = 1e6
# A function that counts the instructions of a model. The arguments are the path of the model and QEMU's name of the
# processor.
InstructionCounter = Callable[[Path, str], int]


@dataclass(frozen=True)
class Estimate:
    """The estimated latency of one network on one board.

    Attributes:
        model: name of a shipped model, or path of the file.
        board: name of the board in user-facing text.
        threads: number of threads that the estimate is for.
        ms: estimated latency of the network in milliseconds, without preprocessing and postprocessing; None if there is
            no estimate.
        median_error: median of the absolute leave-one-out errors of the board, as a fraction of the latency.
        largest_error: largest absolute leave-one-out error of the board, as a fraction of the latency.
        anchors: number of published latencies that the board was fitted to.
        refused: the reason why there is no estimate; None if there is an estimate.
    """

    model: str
    board: str
    threads: int
    ms: float | None
    median_error: float
    largest_error: float
    anchors: int
    refused: str | None = None


def estimate(
    models: Sequence[Path], keys: Sequence[str], count: InstructionCounter | None = None
) -> list[Estimate]:
    """Estimates the latency of each model on each board. Nothing is measured.

    Args:
        models: .tflite files.
        keys: keys of the boards; see `dermedge.benchmarks.calibrated_boards.read_boards`.
        count: a function that counts the instructions of a model. It is called only if no count is stored for the
            model. If it is None, `count_here` is called.

    Raises:
        OptionError: a board is not known.
        ModelError: a file does not exist, or is not a .tflite model.
        ToolError: the instruction count of a model is not stored, and the instructions cannot be counted on this
            machine.
    """
    boards = read_boards(keys)
    return [_estimate(path, board, count or count_here) for path in models for board in boards]


def to_text(estimates: Sequence[Estimate]) -> str:
    """Returns a table of the estimates, and notes on how the estimates were made."""
    head = ("model", "board", "threads", "estimate", "largest error")
    rows = tuple(_cells(one) for one in estimates)
    title = (
        "Estimates of the network alone (invoke), without camera and preprocessing. Nothing here was measured. ±: the "
        "median error of the estimates for networks with a published latency. largest error: the largest of these "
        "errors."
    )
    boards = {one.board: one for one in estimates}.values()
    notes = [
        *dict.fromkeys(
            f"{one.board}: no estimate, because {one.refused}" for one in estimates if one.refused
        ),
        *map(_board_note, boards),
        DISCLAIMER,
    ]
    lines = (textwrap.fill(note, TABLE_WIDTH, subsequent_indent="  ") for note in notes)
    return "\n".join([TextTable(title, head, rows).to_text(), "", *lines])


def to_json(estimates: Sequence[Estimate]) -> str:
    """Returns all values as JSON.

    The value of ``schema`` differs from the one in the JSON of measurements. So no program mistakes an estimate for a
    measurement.
    """
    content = {"schema": _SCHEMA, "disclaimer": DISCLAIMER, "estimates": [asdict(one) for one in estimates]}
    return json.dumps(content, indent=1, allow_nan=False)


def count_here(model: Path, cpu: str) -> int:
    """Counts the instructions of a model under emulation, which takes some minutes.

    Raises:
        ToolError: dermedge does not run from a checkout, or no emulator is installed.
    """
    if util.find_spec(_LAB) is None:
        raise ToolError(
            f"no instruction count is stored for '{model}', so the instructions must be counted. Only a checkout of "
            "dermedge can count the instructions. Run this command in a checkout, or name a shipped model: "
            f"{', '.join(SHIPPED)}"
        )
    command = [sys.executable, "-P", "-m", _LAB, "anchors", "--model", str(model.resolve())]
    name = f"counting the instructions of '{model}'"
    counts: dict[str, int] = json.loads(run_program(command, name, environment=with_our_packages()).stdout)
    return counts[cpu]


def _estimate(path: Path, board: CalibratedBoard, count: InstructionCounter) -> Estimate:
    refused = _refused(board, _form(path))
    ms = None
    if not refused:
        instructions = stored_instructions(digest(path), board.cpu) or count(path, board.cpu)
        refused = _far_from_anchors(board, instructions)
        ms = None if refused else board.factors().ms(Cost(instructions, bytes_moved(path)))
    return Estimate(
        model=model_argument(path),
        board=board.name,
        threads=board.threads,
        ms=ms,
        median_error=board.median_error(),
        largest_error=max(map(abs, board.errors())),
        anchors=len(board.anchors),
        refused=refused,
    )


def _form(path: Path) -> str:
    """Returns the number type in which a network computes: ``int8`` or ``float32``."""
    require_model_file(path)
    content = path.read_bytes()
    read_graph(content, path)  # raises an error that names a damaged file
    return _FLOAT if float_ops(content) else _INTEGER


def _refused(board: CalibratedBoard, form: str) -> str | None:
    """Returns the reason why no latency can be estimated for a network on a board; None if there is no such reason.

    ``form`` is the number type in which the network computes: ``int8`` or ``float32``.
    """
    if board.median_error() > MAX_MEDIAN_ERROR:
        return f"the median error of {_percent(board.median_error())} is above {_percent(MAX_MEDIAN_ERROR)}"
    if form not in {one.form for one in board.anchors}:
        return (
            f"the network computes in {form}, and no latency of such a network was published for this board"
        )
    return None


def _far_from_anchors(board: CalibratedBoard, instructions: float) -> str | None:
    """Returns the reason why a network is too small or too large for an estimate; None if the size is in the range."""
    counts = [one.cost.instructions for one in board.anchors]
    if min(counts) / MAX_BEYOND <= instructions <= max(counts) * MAX_BEYOND:
        return None
    return (
        f"the network executes {instructions / _MILLION:.3g} million instructions, but the networks with a published "
        f"latency execute {min(counts) / _MILLION:.3g} to {max(counts) / _MILLION:.3g} million; outside this range, "
        f"a network is estimated only if it is within a factor of {MAX_BEYOND:g} of the range"
    )


def _cells(one: Estimate) -> tuple[str, ...]:
    shown = "not estimated" if one.ms is None else f"estimate {one.ms:.2g} ms, ± {_percent(one.median_error)}"
    return (one.model, one.board, str(one.threads), shown, _percent(one.largest_error))


def _board_note(one: Estimate) -> str:
    return (
        f"{one.board}: fitted to {one.anchors} published latencies of known networks. Each published latency was also "
        f"estimated from the others. Half of these estimates were off by at most {_percent(one.median_error)}, and "
        f"the worst was off by {_percent(one.largest_error)}"
    )


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"

"""Fits a formula for the latency of networks on a board to published latencies.

A latency is modelled as a sum of two parts. The first part is in proportion to the number of instructions that the
network executes; an emulator counts these instructions. The second part is in proportion to the number of bytes that
the network reads and writes, because large layers wait for memory. The two factors are fitted to published latencies. A
published latency that is used in the fit is called an anchor. Leave-one-out cross-validation measures the error of the
fit: the latency of each anchor is estimated by a fit to all other anchors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from dermedge.edge.errors import OptionError

__all__ = [
    "ESTIMATES",
    "MAX_MEDIAN_ERROR",
    "Anchor",
    "CalibratedBoard",
    "Cost",
    "Factors",
    "fit",
    "leave_one_out",
    "read_boards",
    "stored_instructions",
]

# This file holds the published latencies to which each board is fitted, and the instruction counts of the shipped
# models. `python -m dermedge.benchmarks.lab anchors` writes the file.
ESTIMATES = Path(__file__).with_name("estimates.json")
# No latency is estimated for a board whose median leave-one-out error exceeds this fraction of the latency.
MAX_MEDIAN_ERROR = 0.25


@dataclass(frozen=True)
class Cost:
    """The cost of one inference.

    Attributes:
        instructions: number of instructions that one thread executes.
        bytes: number of bytes that are read and written. `dermedge.benchmarks.traffic.bytes_moved` counts them.
    """

    instructions: float
    bytes: float


@dataclass(frozen=True)
class Anchor:
    """A published latency of a network on a board. The factors of the board are fitted to it.

    Attributes:
        network: name of the network.
        form: number type of the weights and activations: ``int8`` or ``float32``.
        ms: the latency in milliseconds.
        cost: cost of one inference of the network. The instructions are counted under emulation.
        runtime: the runtime that was measured.
        published: date of publication, as the source states it.
        source: URL of the page.
    """

    network: str
    form: str
    ms: float
    cost: Cost
    runtime: str
    published: str
    source: str


@dataclass(frozen=True)
class Factors:
    """The two fitted factors of a board.

    Attributes:
        per_instruction: milliseconds for each instruction that a network executes, 0 or more.
        per_byte: milliseconds for each byte that a network reads or writes, 0 or more.
    """

    per_instruction: float
    per_byte: float

    def ms(self, cost: Cost) -> float:
        """Returns the estimated latency of a network in milliseconds."""
        return self.per_instruction * cost.instructions + self.per_byte * cost.bytes


@dataclass(frozen=True)
class CalibratedBoard:
    """A board whose latencies can be estimated.

    Attributes:
        key: name of the board for ``--estimate``.
        name: name of the board in user-facing text.
        cpu: QEMU's name of the processor.
        threads: number of threads with which the anchors were measured. The estimates are for this number of threads.
        anchors: published latencies on the board.
    """

    key: str
    name: str
    cpu: str
    threads: int
    anchors: tuple[Anchor, ...]

    def factors(self) -> Factors:
        """Returns the result of `fit` for all anchors of the board."""
        return fit(self.anchors)

    def errors(self) -> tuple[float, ...]:
        """Returns the relative leave-one-out error of each anchor. See `leave_one_out`."""
        return leave_one_out(self.anchors)

    def median_error(self) -> float:
        """Returns the median of the absolute leave-one-out errors."""
        return median(abs(error) for error in self.errors())


def fit(anchors: Sequence[Anchor]) -> Factors:
    """Returns the non-negative factors that minimize the sum of squared relative errors.

    Args:
        anchors: two or more published latencies.
    """
    # Each row is the cost of one anchor divided by the latency of the anchor. If the factors estimate this latency
    # exactly, the product of the row and the factors is 1.
    rows = np.array([(one.cost.instructions / one.ms, one.cost.bytes / one.ms) for one in anchors])
    both = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
    if (both >= 0).all():
        return Factors(*both.tolist())
    # This fit has a negative factor, which is not allowed. In the best allowed fit, one of the two factors is then 0.
    # Both choices are tried. The best value of the other factor is sum(x) / sum(x²), where x is the column of this
    # factor.
    alone = rows.sum(axis=0) / np.square(rows).sum(axis=0)
    choices = (np.array([alone[0], 0.0]), np.array([0.0, alone[1]]))
    best = min(choices, key=lambda factors: float(np.square(rows @ factors - 1).sum()))
    return Factors(*best.tolist())


def leave_one_out(anchors: Sequence[Anchor]) -> tuple[float, ...]:
    """Returns (estimate - published) / published for each anchor. The estimate is from a fit to all other anchors.

    Args:
        anchors: three or more published latencies.
    """
    others = ([*anchors[:at], *anchors[at + 1 :]] for at in range(len(anchors)))
    return tuple(fit(left).ms(one.cost) / one.ms - 1 for one, left in zip(anchors, others, strict=True))


def read_boards(
    keys: Sequence[str] = (), content: Mapping[str, Any] | None = None
) -> tuple[CalibratedBoard, ...]:
    """Returns the boards with these keys, or all boards if no key is given.

    Args:
        keys: keys of the boards.
        content: parsed content of the file `ESTIMATES`. If it is None, the file is read.

    Raises:
        OptionError: no board has one of the keys.
    """
    described = (content or _content())["boards"]
    for key in keys:
        if key not in described:
            raise OptionError(f"unknown board '{key}'. Known: {', '.join(described)}")
    return tuple(_board(key, described[key]) for key in keys or described)


def stored_instructions(digest: str, cpu: str, content: Mapping[str, Any] | None = None) -> int | None:
    """Returns the stored instruction count of a shipped model; None for any other model.

    Args:
        digest: SHA-256 of the file in hexadecimal.
        cpu: QEMU's name of the processor.
        content: parsed content of the file `ESTIMATES`. If it is None, the file is read.
    """
    counts = (content or _content())["shipped"]
    found: dict[str, int] = next((one["instructions"] for one in counts if one["sha256"] == digest), {})
    return found.get(cpu)


def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ESTIMATES.read_text(encoding="utf-8"))
    return content


def _board(key: str, described: Mapping[str, Any]) -> CalibratedBoard:
    anchors = tuple(
        Anchor(**{**one, "cost": Cost(**one["cost"])})
        for one in described["anchors"]
        if "left_out" not in one
    )
    return CalibratedBoard(key, described["name"], described["cpu"], described["threads"], anchors)

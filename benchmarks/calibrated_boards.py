"""Fits a model of the latencies of a board to published latencies of networks on the board.

A latency is modelled as a sum of two parts. The first part is in proportion to the instructions of the network, which
an emulator counts. The second part is in proportion to the bytes that the network moves, because large layers wait for
memory. The two factors are fitted to published latencies, which are called anchors. Leave-one-out shows the error of
such a fit: each anchor is estimated from the other anchors.
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

# The anchors, and the instruction counts of the shipped models. `python -m dermedge.benchmarks.lab anchors` writes this
# file.
ESTIMATES = Path(__file__).with_name("estimates.json")
# A board with a median leave-one-out error above this gets no estimates.
MAX_MEDIAN_ERROR = 0.25


@dataclass(frozen=True)
class Cost:
    """The cost of one inference.

    Attributes:
        instructions: number of instructions that one thread executes.
        bytes: number of bytes that are read and written, as `dermedge.benchmarks.traffic.bytes_moved` counts.
    """

    instructions: float
    bytes: float


@dataclass(frozen=True)
class Anchor:
    """A published latency of a network on a board.

    Attributes:
        network: name of the network.
        form: number type of the weights and activations: ``int8`` or ``float32``.
        ms: the latency in milliseconds.
        cost: cost of an inference of the same network, counted under emulation.
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
    """The milliseconds for each instruction, and for each byte. No factor is negative."""

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
        name: name of the board, for people.
        cpu: QEMU's name of the processor.
        threads: number of threads of the anchors, and therefore of the estimates.
        anchors: published latencies on the board.
    """

    key: str
    name: str
    cpu: str
    threads: int
    anchors: tuple[Anchor, ...]

    def factors(self) -> Factors:
        """Returns the factors that are fitted to all anchors."""
        return fit(self.anchors)

    def errors(self) -> tuple[float, ...]:
        """Returns the relative error of each anchor, as `leave_one_out` does."""
        return leave_one_out(self.anchors)

    def median_error(self) -> float:
        """Returns the median of the absolute leave-one-out errors."""
        return median(abs(error) for error in self.errors())


def fit(anchors: Sequence[Anchor]) -> Factors:
    """Returns the factors of 0 or more that minimize the sum of squared relative errors.

    Args:
        anchors: two or more published latencies.
    """
    # a row is the cost of an anchor divided by its latency; its product with the right factors is 1
    rows = np.array([(one.cost.instructions / one.ms, one.cost.bytes / one.ms) for one in anchors])
    both = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
    if (both >= 0).all():
        return Factors(*both.tolist())
    # one factor would be negative, so it is set to 0; the optimum of the other factor is sum(x) / sum(x²)
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
        content: content of the file `ESTIMATES`; None reads the file.

    Raises:
        OptionError: a key is not known.
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
        content: as in `read_boards`.
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

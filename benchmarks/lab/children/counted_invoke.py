"""Runs a .tflite file under emulation, so that the instructions of one inference can be counted.

    python -m dermedge.benchmarks.lab.children.counted_invoke MODEL

Each call of getppid() is a mark: QEMU's plugin then writes the number of instructions that the process has executed so
far. The first inference prepares the model and is not counted. Two marks follow directly after each other, so their
difference is the cost of a mark itself. The last two marks stand before and after the second inference, whose
instructions are counted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dermedge.edge.model.runtime import open_interpreter

__all__ = ["MARKS", "main"]

MARKS = 4


def main(argv: Sequence[str]) -> int:
    """Runs a model twice with one thread. The input tensor is not set."""
    interpreter = open_interpreter(Path(argv[0]), 1, "litert")
    interpreter.invoke()
    mark = os.getppid
    mark()
    mark()
    mark()
    interpreter.invoke()
    mark()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

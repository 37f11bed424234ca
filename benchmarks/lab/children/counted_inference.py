"""Runs the inferences that `instructions` counts, in the emulated Python.

    python -m dermedge.benchmarks.lab.children.counted_inference MODEL RUNS

Each call of getppid() is a mark at which QEMU's plugin writes the count so far. Two marks in a row give the count of
a mark itself. Then, for every run, there are marks before the preprocessing, between it and the interpreter, after
the interpreter, and after a whole prediction.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dermedge.benchmarks.frames import camera_frame
from dermedge.benchmarks.latency import one_opencv_thread
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import golden_image

__all__ = ["MARKS_A_RUN", "main"]

# The first inference prepares the model. A single one must do, because the emulation of floats is slow.
_WARMUP_RUNS = 1
MARKS_A_RUN = 4


def main(argv: Sequence[str]) -> int:
    """Runs a model with one thread on a generated frame of 640x480."""
    model, runs = argv
    frame = camera_frame(golden_image(0))
    with one_opencv_thread(), Classifier(model) as classifier:
        for _ in range(_WARMUP_RUNS):
            classifier.predict(frame)
        mark = os.getppid
        mark()
        mark()
        for _ in range(int(runs)):
            mark()
            classifier.crop(frame)
            mark()
            classifier.interpreter.invoke()
            mark()
            classifier.predict(frame)
            mark()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

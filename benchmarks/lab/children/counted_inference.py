"""Runs inferences under emulation, so that the experiment `instructions` can count their instructions.

    python -m dermedge.benchmarks.lab.children.counted_inference MODEL RUNS

Each call of getppid() is a mark: QEMU's plugin then writes the number of instructions that the process has executed so
far. The first two marks follow directly after each other, so their difference is the cost of a mark itself. Each run
then makes five marks: before the preprocessing, between preprocessing and interpreter, after the interpreter, after a
whole prediction, and after the loop of `dermedge run` has processed a frame.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.frames import camera_frame
from dermedge.benchmarks.latency import one_opencv_thread
from dermedge.edge.errors import OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import golden_image
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.sources.frame import Frame, FrameSource

__all__ = ["MARKS_A_RUN", "main"]

# This many inferences prepare the model before the counting starts. More than one would take too long, because
# floating-point operations are slow under emulation.
_WARMUP_RUNS = 1
MARKS_A_RUN = 5
_CAMERA_FPS = 30


class _OneFrame(FrameSource):
    """A source that returns the same frame again and again, with the timestamps of a camera."""

    is_live = False

    def __init__(self, image_bgr: NDArray[np.uint8]) -> None:
        self._image_bgr = image_bgr
        self._number = 0

    def read(self) -> Frame:
        self._number += 1
        return Frame(self._image_bgr, self._number, 0.0, "one frame", at_s=self._number / _CAMERA_FPS)

    def close(self) -> None: ...


def _classified(results: Pipeline) -> None:
    """Lets the pipeline process one frame, and checks that the frame was classified.

    Raises:
        OptionError: the quality gate rejects the frame.
    """
    result = next(results)
    if result.classification is None:
        raise OptionError(
            f"the quality gate rejected the generated frame at the input size of this model ({result.defect}); give a "
            "model with another input size"
        )


def main(argv: Sequence[str]) -> int:
    """Runs a model with one thread on a generated frame of 640x480."""
    model, runs = argv
    frame = camera_frame(golden_image(0))
    with (
        one_opencv_thread(),
        Classifier(model) as classifier,
        Pipeline(_OneFrame(frame), classifier) as results,
    ):
        for _ in range(_WARMUP_RUNS):
            classifier.predict(frame)
            _classified(results)
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
            _classified(results)
            mark()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

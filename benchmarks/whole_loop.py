"""Measures the loop of `dermedge run` from capture to decision: the time of each step, and the frame rate.

`dermedge.benchmarks.latency` times predictions on frames in memory. In contrast, this module runs the pipeline of the
device on a source. The measured times include the camera or the decoding, and all work between the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from dermedge.benchmarks.latency import Spread, one_opencv_thread, spread
from dermedge.benchmarks.status_line import ShowStatus
from dermedge.edge.errors import PictureError, SourceError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.prediction import Timing
from dermedge.edge.pipeline import Pipeline, rate
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.frame import Frame, FrameSource
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.photo_files import PhotoFiles

__all__ = [
    "LOOP_S",
    "WARMUP_RESULTS",
    "EndlessSource",
    "FrameTimes",
    "LoopTimes",
    "OpenSource",
    "frame_times",
    "measure_loop",
    "results",
    "source_opener",
    "summarize",
]

# Seconds for which the loop of each model is measured.
LOOP_S = 3.0
WARMUP_RESULTS = 8

OpenSource = Callable[[], FrameSource]


@dataclass(frozen=True)
class LoopTimes:
    """The durations of the steps of the loop with one model, in milliseconds unless stated otherwise.

    The times are measured only on the frames that the quality gate accepted.

    Attributes:
        capture: time for waiting for the source, transferring the frame and decoding it.
        preprocess: time from the frame to the input tensor.
        invoke: time of the interpreter.
        postprocess: time from the output tensors to the decision.
        rest: time of the quality gate and the smoothing. It includes the time in which a frame of a live source waits
            until the classifier has finished the previous frame.
        end_to_end: time of one frame from capture to output.
        fps: frames per second, including rejected frames.
        frames: number of frames, including rejected frames.
        rejected: share of the frames that the quality gate rejected, 0 to 1.
        dropped: number of frames of a live source that arrived while the network was busy.
    """

    capture: Spread
    preprocess: Spread
    invoke: Spread
    postprocess: Spread
    rest: Spread
    end_to_end: Spread
    fps: float
    frames: int
    rejected: float
    dropped: int


@dataclass(frozen=True)
class FrameTimes:
    """The times of one frame of the loop, in milliseconds.

    Attributes:
        dropped: number of frames of a live source that newer frames have replaced so far.
        timing: the times of the prediction; None if the quality gate rejected the frame. The other times are then 0.
        capture_ms: time for waiting for the source, transferring the frame and decoding it.
        rest_ms: time from the arrival of the frame to the decision, without the time of the prediction.
        end_to_end_ms: time of the frame from capture to decision.
    """

    dropped: int
    timing: Timing | None
    capture_ms: float
    rest_ms: float
    end_to_end_ms: float


class EndlessSource(FrameSource):
    """A source that is opened again when it ends, so that a few photos are enough for the whole measurement.

    Args:
        open_again: a function that opens the source from its start.
    """

    def __init__(self, open_again: OpenSource) -> None:
        self._open_again = open_again
        self._source = open_again()
        self.is_live = self._source.is_live

    def read(self) -> Frame | None:
        frame = self._next_readable()
        if frame is None:
            self._source.close()
            self._source = self._open_again()
            frame = self._next_readable()
        return frame

    def _next_readable(self) -> Frame | None:
        """Returns the next frame. Photos that cannot be decoded are skipped."""
        while True:
            try:
                return self._source.read()
            except PictureError:
                continue

    def close(self) -> None:
        self._source.close()


def source_opener(spec: str | None, photos: list[Path]) -> OpenSource:
    """Returns a function that opens the source ``spec``, or the photos if ``spec`` is None."""
    return (lambda: PhotoFiles(photos)) if spec is None else (lambda: open_source(spec))


def results(
    open_again: OpenSource, classifier: Classifier
) -> Generator[tuple[FrameResult, float], None, None]:
    """Yields each result of an endless loop, and the `perf_counter` time in seconds at which the result arrived.

    The caller must close the generator.

    Raises:
        SourceError: the source has no frame, or was lost.
    """
    with closing(EndlessSource(open_again)) as source, Pipeline(source, classifier) as pipeline:
        for result in pipeline:
            yield result, perf_counter()
    raise SourceError("the source has no frame; name another source with --source")


def measure_loop(
    open_again: OpenSource, classifier: Classifier, secs: float, progress: ShowStatus = lambda text: None
) -> LoopTimes | None:
    """Runs the loop for ``secs`` seconds, and for at least two frames; returns the result of `summarize`.

    Raises:
        SourceError, PictureError: the source cannot be opened or read.
    """
    # only the times are stored, because the images in the frame results would fill the memory of a small board
    seen: list[FrameTimes] = []
    stamps: list[float] = []
    with one_opencv_thread(), closing(results(open_again, classifier)) as running:
        for number, (result, at_s) in enumerate(running):
            if number < WARMUP_RESULTS:
                continue
            seen.append(frame_times(result))
            stamps.append(at_s)
            if number % WARMUP_RESULTS == 0:
                progress(f"the whole loop: frame {len(seen)}")
            if len(stamps) > 1 and at_s - stamps[0] >= secs:
                break
    return summarize(seen, stamps)


def frame_times(result: FrameResult) -> FrameTimes:
    """Returns the times of a frame result."""
    found = result.classification
    if found is None:
        return FrameTimes(result.counts.dropped, None, 0.0, 0.0, 0.0)
    timing = found.prediction.timing
    rest_ms = found.frame_age_ms - timing.total_ms
    return FrameTimes(result.counts.dropped, timing, found.capture_ms, rest_ms, found.end_to_end_ms)


def summarize(seen: list[FrameTimes], stamps: list[float]) -> LoopTimes | None:
    """Returns the durations of the steps of the loop; None if the quality gate rejected all frames.

    Args:
        seen: the times of at least two frames.
        stamps: the time in seconds at which each result arrived.
    """
    accepted = [one for one in seen if one.timing]
    if not accepted:
        return None
    timings = [one.timing for one in accepted if one.timing]
    return LoopTimes(
        capture=spread([one.capture_ms for one in accepted]),
        preprocess=spread([timing.preprocess_ms for timing in timings]),
        invoke=spread([timing.invoke_ms for timing in timings]),
        postprocess=spread([timing.postprocess_ms for timing in timings]),
        rest=spread([one.rest_ms for one in accepted]),
        end_to_end=spread([one.end_to_end_ms for one in accepted]),
        fps=rate(stamps) or 0.0,
        frames=len(seen),
        rejected=1 - len(accepted) / len(seen),
        dropped=seen[-1].dropped - seen[0].dropped,
    )

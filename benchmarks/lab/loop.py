"""Measures the costs of the live loop besides the network: overhead, age of frames, web viewers, memory and start.

    python -m dermedge.benchmarks.lab loop --source photos/ [--model dermedge-128] [--parts overhead,age] [--app app/]

Each part is compared with a limit:

- overhead: the time from the arrival of a frame to its result, with quality gate and smoothing, divided by the time of
  a bare `invoke()` that follows. The result is the median ratio of many such pairs. There is one ratio for the clock
  time, and one for the processor time of all threads.
- age: the age of a frame when its inference starts, in frame intervals of the camera. It is measured twice: with the
  network at its normal speed, and with an artificial delay that makes the network slower than the camera.
- viewers: the time of a frame with three viewers of the web page, divided by the time without viewers. The viewers run
  in another process. Periods without and with viewers alternate.
- memory: the growth of the resident memory from the first tenth of the frames to the last frame, with one viewer.
- start: the time from the start of the process to its first answer, minus the time to load the model.
- page: the phone app in a browser, as the experiment `phone` measures it. This part needs --app.

Each ratio is compared with its limit by its 95 % confidence interval. The limit is met if the whole interval is below
the limit, and missed if the whole interval is above the limit. Otherwise the result is undecided.

All frames show the same photo, which passes the quality gate. Each frame has its own noise, like the frames of a
camera.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dermedge.benchmarks.child import with_our_packages
from dermedge.benchmarks.conditions import OtherProcesses
from dermedge.benchmarks.frames import FRAMES, frames_of_source
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.benchmarks.lab.line_process import LineProcess
from dermedge.benchmarks.lab.phone import BROWSER, ROUNDS, measure_page
from dermedge.benchmarks.lab.ratio_interval import ratio_of
from dermedge.benchmarks.latency import one_opencv_thread
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.memory import BYTES_PER_MB, resident_bytes
from dermedge.benchmarks.verdict import MAX_OTHERS_CORES, NOISY
from dermedge.edge.cli.arguments import positive_int
from dermedge.edge.errors import DermedgeError, OptionError
from dermedge.edge.files import write_bytes
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.prediction import Crop, Outputs
from dermedge.edge.model.shipped import DEFAULT_MODEL, model_path
from dermedge.edge.photos import encode_image
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.quality import QualityGate
from dermedge.edge.sources.frame import Frame, FrameSource

if TYPE_CHECKING:
    from dermedge.edge.views.web.server import WebView

__all__ = ["PARTS", "LoopSettings", "age", "main", "overhead", "watching"]

_CAMERA_FPS = 30.0
_NOISE_LEVELS = 2.0
_VIEWERS = 3
# The inference of the slow network takes this many frame intervals of the camera.
_SLOW_INTERVALS = 2.5
_WARM_UP = 50
_STARTS = 5
_START_TIMEOUT_S = 60.0
_MS_PER_S = 1000
_NS_PER_MS = 1e6
# The limits of five results, in this order: the ratio of the overhead, the age of a frame in frame intervals, the ratio
# of the times with and without viewers, the growth of the memory as a fraction, and the start in seconds.
_MAX_RATIO = 1.15
_MAX_AGE_INTERVALS = 1.0
_MAX_VIEWERS_RATIO = 1.05
_MAX_GROWTH = 0.02
_MAX_START_S = 1.0


@dataclass(frozen=True)
class LoopSettings:
    """The settings and durations of the measurements.

    Attributes:
        model: a .tflite file.
        pairs: number of pairs of measurements for the overhead.
        secs: duration in seconds of the measurement of the age with each network, and of each period without or with
            viewers.
        periods: number of pairs of periods. The first period of a pair has no viewers, and the second one has viewers.
        frames: number of frames over which the growth of the memory is measured.
        source: source of the frames for the phone app.
        app: folder of the phone app; None if the phone app is not measured.
        browser: browser that runs the phone app.
    """

    model: Path
    pairs: int
    secs: float
    periods: int
    frames: int
    source: str | None = None
    app: Path | None = None
    browser: str = BROWSER


def _stamp() -> tuple[int, int]:
    """Returns the clock time and the processor time of all threads in nanoseconds. The call takes little time."""
    return time.perf_counter_ns(), time.process_time_ns()


class _ReplayedFrames(FrameSource):
    """A source that repeats frames, either without waiting or at the rate of a camera.

    Attributes:
        in_hand: clock time and processor time at the arrival of the newest frame, as `_stamp` returns them.
    """

    def __init__(self, frames: Sequence[NDArray[np.uint8]], fps: float | None = None) -> None:
        self.is_live = fps is not None
        self.in_hand = _stamp()
        self._frames = frames
        self._interval_s = 1 / fps if fps else 0.0
        self._due_s = time.monotonic()
        self._number = 0

    def read(self) -> Frame:
        if self.is_live:
            time.sleep(max(self._due_s - time.monotonic(), 0))
            self._due_s += self._interval_s
        image = self._frames[self._number % len(self._frames)]
        self._number += 1
        now = time.monotonic()
        self.in_hand = _stamp()
        return Frame(
            image, self._number, now, "replay", at_s=now if self.is_live else self._number / _CAMERA_FPS
        )

    def close(self) -> None: ...


class _WatchedClassifier(Classifier):
    """A classifier that records when its last inference began, and that can be slowed down.

    Attributes:
        began_s: `time.monotonic` at the start of the last inference, in seconds.
        least_s: least duration of an inference in seconds.
    """

    began_s = 0.0
    least_s = 0.0

    def infer(self, crop: Crop) -> Outputs:
        self.began_s = time.monotonic()
        outputs = super().infer(crop)
        while time.monotonic() - self.began_s < self.least_s:
            pass
        return outputs


def _frames_worth_an_answer(source: str | None, classifier: Classifier) -> list[NDArray[np.uint8]]:
    """Returns `FRAMES` copies of one frame of a source, each with different noise.

    The frame is the first one whose copies all pass the quality gate.

    Raises:
        OptionError: no frame passes the quality gate.
    """
    rng = np.random.default_rng(0)
    for image in frames_of_source(source)[0]:
        noise = (rng.normal(0, _NOISE_LEVELS, image.shape) for _ in range(FRAMES))
        copies = [np.clip(image + one, 0, 255).astype(np.uint8) for one in noise]
        gate = QualityGate()
        if not any(
            gate.check(classifier.crop(one).image_rgb, at / _CAMERA_FPS) for at, one in enumerate(copies)
        ):
            return copies
    raise OptionError(f"no frame of '{source}' passes the quality gate; name other photos with --source")


def overhead(settings: LoopSettings, frames: Sequence[NDArray[np.uint8]]) -> Iterator[str]:
    """Measures the part ``overhead``; yields a line for the clock time, and a line for the processor time."""
    source = _ReplayedFrames(frames)
    stamps: list[tuple[tuple[int, int], ...]] = []
    with Classifier(settings.model) as classifier, Pipeline(source, classifier) as results:
        for number in range(_WARM_UP + settings.pairs):
            result = next(results)
            decided = _stamp()
            classifier.interpreter.invoke()
            invoked = _stamp()
            if result.classification is None:
                raise OptionError(
                    f"the quality gate rejected a frame ({result.defect}); name other photos with --source"
                )
            if number >= _WARM_UP:
                stamps.append((source.in_hand, decided, invoked))
    whole, bare = np.moveaxis(np.diff(stamps, axis=1) / _NS_PER_MS, 1, 0)
    for words, one, other in zip(
        ("time", "processor time"), np.transpose(whole), np.transpose(bare), strict=True
    ):
        found = ratio_of((one / other).tolist())
        yield (
            f"overhead, {words}: from frame to decision {np.median(one):.2f} ms, bare invoke "
            f"{np.median(other):.2f} ms: ratio {found.median:.3f} ({found.low:.3f} to {found.high:.3f}), {found.n} "
            f"pairs; limit: {found.against(_MAX_RATIO)}"
        )


def age(settings: LoopSettings, frames: Sequence[NDArray[np.uint8]]) -> Iterator[str]:
    """Measures the part ``age``. Yields two lines: for the network at its normal speed, and with a delay."""
    for words, least_s in (("as it is", 0.0), ("slower than the camera", _SLOW_INTERVALS / _CAMERA_FPS)):
        ages: list[float] = []
        with _WatchedClassifier(settings.model) as classifier:
            classifier.least_s = least_s
            with Pipeline(_ReplayedFrames(frames, _CAMERA_FPS), classifier) as results:
                until = time.monotonic() + settings.secs
                while time.monotonic() < until:
                    result = next(results)
                    if result.classification is not None:
                        ages.append(
                            (classifier.began_s - result.classification.frame.captured_at) * _CAMERA_FPS
                        )
        median, p99, most = np.percentile(ages, (50, 99, 100))
        yield (
            f"age: network {words}: median {median:.2f}, p99 {p99:.2f}, maximum {most:.2f} frame intervals of a "
            f"camera with {_CAMERA_FPS:g} frames a second, {len(ages)} frames, {result.counts.dropped} dropped; "
            f"{_held(most <= _MAX_AGE_INTERVALS)} {_MAX_AGE_INTERVALS:g}"
        )


def _viewers(settings: LoopSettings, frames: Sequence[NDArray[np.uint8]]) -> Iterator[str]:
    """Measures the part ``viewers``; yields one line with the result."""
    ratios = []
    with _served(settings.model, frames) as (results, web):
        _rate(results, web, settings.secs)
        for _ in range(settings.periods):
            alone = _rate(results, web, settings.secs)
            with watching(web.port, _VIEWERS):
                watched = _rate(results, web, settings.secs)
            ratios.append(alone / watched)
    found = ratio_of(ratios)
    yield (
        f"viewers: with {_VIEWERS} viewers, a frame takes {found.median:.3f} times as long as without viewers "
        f"({found.low:.3f} to {found.high:.3f}), {found.n} pairs of periods of {settings.secs:g} s; limit: "
        f"{found.against(_MAX_VIEWERS_RATIO)}"
    )


def _memory(settings: LoopSettings, frames: Sequence[NDArray[np.uint8]]) -> Iterator[str]:
    """Measures the part ``memory``; yields one line with the result."""
    resident: list[int] = []
    with _served(settings.model, frames) as (results, web), watching(web.port, 1):
        for number in range(1, settings.frames + 1):
            web.show(next(results))
            if number in (settings.frames // 10, settings.frames):
                resident.append(resident_bytes() or 0)
    before, after = resident
    if not before:
        yield "memory: not measured, because this system does not report the resident memory"
        return
    growth = after / before - 1
    yield (
        f"memory: {before / BYTES_PER_MB:.1f} MB after {settings.frames // 10} frames, "
        f"{after / BYTES_PER_MB:.1f} MB after {settings.frames} frames: growth {growth:+.2%}; "
        f"{_held(growth <= _MAX_GROWTH)} {_MAX_GROWTH:.0%}"
    )


def _start(settings: LoopSettings, frames: Sequence[NDArray[np.uint8]]) -> Iterator[str]:
    """Measures the part ``start``; yields one line with the result."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "frame.png"
        write_bytes(image, encode_image(frames[0], image.suffix))
        times_s = [_start_s(settings.model, image) for _ in range(_STARTS)]
    with Classifier(settings.model) as classifier:
        load_s = classifier.load_ms / _MS_PER_S
    found = float(np.median(times_s)) - load_s
    yield (
        f"start: {found:.2f} s from the start of the process to the first answer, without {load_s:.3f} s to load "
        f"the model; median of {_STARTS} starts; {_held(found <= _MAX_START_S)} {_MAX_START_S:g} s"
    )


def _page(settings: LoopSettings, frames: Sequence[NDArray[np.uint8]]) -> Iterator[str]:
    """Yields the lines of the experiment `phone`. ``frames`` is not used, because `phone` prepares other frames."""
    if settings.app:
        for line in measure_page(settings.app, settings.source, settings.browser, ROUNDS):
            yield f"page: {line}"


_Part = Callable[[LoopSettings, Sequence[NDArray[np.uint8]]], Iterator[str]]
PARTS: dict[str, _Part] = {
    "overhead": overhead,
    "age": age,
    "viewers": _viewers,
    "memory": _memory,
    "start": _start,
    "page": _page,
}


@contextmanager
def _served(model: Path, frames: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[Pipeline, WebView]]:
    """Yields a pipeline and a web view on a free port. The pipeline repeats ``frames`` and never waits for a frame."""
    from dermedge.edge.views.web.server import WebView

    with ExitStack() as stack:
        classifier = stack.enter_context(Classifier(model))
        web = stack.enter_context(WebView("127.0.0.1:0", {}, classifier.has_heat_map))
        yield stack.enter_context(Pipeline(_ReplayedFrames(frames), classifier)), web


@contextmanager
def watching(port: int, count: int) -> Iterator[None]:
    """Runs viewers of the web page in another process, until the ``with`` block ends.

    Raises:
        DermedgeError: one of the viewers received nothing.
    """
    command = [sys.executable, "-m", "dermedge.benchmarks.lab.children.viewers", str(port), str(count)]
    with LineProcess(command, with_our_packages()) as process:
        yield
        taken = process.finish().split()
    if len(taken) != count or "0" in taken:
        raise DermedgeError(
            f"each of the {count} viewers should have received video, but the bytes received are: "
            f"{', '.join(taken) or 'none'}; raise --secs and --frames, so that the viewers have time to connect"
        )


def _rate(results: Pipeline, web: WebView, secs: float) -> float:
    """Runs the loop for ``secs`` seconds, and returns the number of frames per second."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < secs:
        web.show(next(results))
        count += 1
    return count / (time.monotonic() - began)


def _start_s(model: Path, image: Path) -> float:
    """Returns the seconds from the start of a process to its first answer."""
    command = [sys.executable, "-m", "dermedge", "run", "--source", str(image), "--model", str(model)]
    began = time.monotonic()
    with LineProcess([*command, "--json", "--num-threads", "1"], with_our_packages()) as process:
        line = process.read_line(_START_TIMEOUT_S)
        taken_s = time.monotonic() - began
    if not line or json.loads(line)["label"] is None:
        raise DermedgeError(
            f"`dermedge run` gave no answer for the first frame within {_START_TIMEOUT_S:g} s; run `dermedge run "
            f"--source demo --model {model}` to see why"
        )
    return taken_s


def _held(is_held: bool) -> str:
    return "limit met: at most" if is_held else "limit MISSED: at most"


def _report(settings: LoopSettings, source: str | None, parts: Sequence[str]) -> Iterator[str]:
    """Yields a line on the machine, and the lines of each part.

    If other processes kept the processor busy during a part, the last line of the part says so.
    """
    with Classifier(settings.model) as classifier:
        machine = describe_machine(classifier.runtime)
        frames = _frames_worth_an_answer(source, classifier)
    yield f"{settings.model.stem} on {machine.cpu}, {machine.cores} cores, {machine.runtime}, one thread"
    for name in parts:
        company = OtherProcesses()
        with one_opencv_thread():
            yield from PARTS[name](settings, frames)
        others = company.busy_cores()
        # The parts "viewers" and "page" start programs that need the processor: the viewers or a browser. So for these
        # parts, the load of other processes is not reported.
        if name in ("viewers", "page") or others is None:
            continue
        if others > MAX_OTHERS_CORES:
            yield f"  {NOISY}: other processes kept {others:.2f} cores busy"


def _parts_of(text: str) -> list[str]:
    """Parses names of `PARTS`, separated by commas, as an argparse type."""
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"unknown part '{unknown[0]}'. Known: {', '.join(PARTS)}")
    return names


def main(argv: Sequence[str]) -> int:
    """Prints the report; returns the exit status."""
    options = _parser().parse_args(argv)
    parts = options.parts or [name for name in PARTS if name != "page" or options.app]
    if "page" in parts and not options.app:
        raise OptionError(
            "the part 'page' needs the phone app; make the app with `dermedge phone build APP`, and give --app APP"
        )
    if {"viewers", "memory"} & set(parts):
        import dermedge.edge.views.web.server  # noqa: F401 - a missing package is reported before the measurement
    settings = LoopSettings(
        options.model,
        options.pairs,
        options.secs,
        options.periods,
        options.frames,
        options.source,
        options.app,
        options.browser,
    )
    for line in _report(settings, options.source, parts):
        print(line, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser(
        "loop",
        "Measure the overhead, frame age, memory and start of the live loop, and compare them with limits.",
    )
    parser.add_argument(
        "--source",
        help="use the first frame of this source that passes the quality gate: a folder of photos, a photo, a video or "
        "a camera",
    )
    parser.add_argument(
        "--model", type=model_path, default=DEFAULT_MODEL, help="run this .tflite file or shipped model"
    )
    parser.add_argument(
        "--parts",
        type=_parts_of,
        help="measure these parts, separated by commas: overhead, age, viewers, memory, start, page. Without this "
        "option, measure all parts. The part page is measured only if --app is given",
    )
    parser.add_argument("--app", type=Path, help="also measure the phone app in this folder, in a browser")
    parser.add_argument(
        "--browser",
        default=BROWSER,
        help="run the phone app in this browser: the name or path of Chromium or Firefox",
    )
    _add_length_options(parser)
    return parser


def _add_length_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that set how long each part is measured."""
    parser.add_argument(
        "--pairs",
        type=positive_int,
        default=2000,
        help="measure the overhead with this many pairs of latencies. In each pair, one frame runs through the loop, "
        "and then the network runs alone",
    )
    parser.add_argument(
        "--secs",
        type=positive_int,
        default=10,
        help="measure the age of the frames for this many seconds at each speed of the network. Each period without "
        "or with viewers has the same duration",
    )
    parser.add_argument(
        "--periods",
        type=positive_int,
        default=12,
        help="measure the effect of viewers with this many pairs of periods. The first period of a pair has no "
        "viewers, and the second one has viewers",
    )
    parser.add_argument(
        "--frames",
        type=positive_int,
        default=100_000,
        help="measure the growth of the memory over this many frames",
    )

"""`dermedge run`: classifies live, from a camera, a video, a folder or the built-in demo."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType
from typing import TextIO

import cv2

from dermedge.edge.cli.arguments import (
    add_model_options,
    add_sets_option,
    make_parser,
    number,
    positive_int,
    positive_number,
    read_labels,
)
from dermedge.edge.files import write_bytes
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.tuning import tuned
from dermedge.edge.photos import SUFFIXES, encode_image
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.results import Classification, FrameCounts, FrameResult
from dermedge.edge.sources.camera import without_password
from dermedge.edge.sources.frame import FrameSource
from dermedge.edge.sources.framing import FLIPS
from dermedge.edge.sources.open import KNOWN, open_source
from dermedge.edge.views.open import VIEWS, open_jsonlines
from dermedge.edge.views.paint import paint_classification
from dermedge.edge.views.record import RecordView
from dermedge.edge.views.systemd import ServiceView, is_service
from dermedge.edge.views.text import notes_line, set_line
from dermedge.edge.views.view import Several, View
from dermedge.edge.views.web import DEFAULT_ADDRESS

__all__ = ["main"]

# The summary's medians are those of the last so many classifications: five minutes of 30 a second.
_SUMMARY_WINDOW = 9000
# Frames a second. `edge/dermedge.service` has a watchdog of 30 s, which each frame feeds.
_SLOWEST_RATE = 0.1


@dataclass
class _Session:
    """What is remembered of a run: little, because it may last for weeks.

    Attributes:
        none_label: the class that is no lesion, which `best` passes over.
        counts: what became of the frames.
        first_s: when the first classification came, in `time.monotonic` seconds, and ``last_s`` the newest.
        best: the classification with the most probable lesion.
        last: the newest classification.
        splits: capture, preprocess, invoke, postprocess and end-to-end milliseconds of the newest classifications.
    """

    none_label: str | None
    counts: FrameCounts = field(default_factory=FrameCounts)
    first_s: float = 0.0
    last_s: float = 0.0
    best: Classification | None = None
    last: Classification | None = None
    splits: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=_SUMMARY_WINDOW))

    def add(self, result: FrameResult) -> None:
        self.counts = result.counts
        if result.classification is not None:
            self._add(result.classification)

    def _add(self, classification: Classification) -> None:
        timing = classification.prediction.timing
        self.last_s = time.monotonic()
        if self.last is None:
            self.first_s = self.last_s
        self.last = classification
        self.splits.append(
            (
                classification.capture_ms,
                timing.preprocess_ms,
                timing.invoke_ms,
                timing.postprocess_ms,
                classification.end_to_end_ms,
            )
        )
        if self.best is None or self._lesion(classification) > self._lesion(self.best):
            self.best = classification

    def _lesion(self, classification: Classification) -> float:
        """The probability of the most probable class that is a lesion."""
        pairs = zip(classification.labels, classification.prediction.probabilities, strict=True)
        return max((one for label, one in pairs if label != self.none_label), default=0.0)


def _watch(
    results: Iterable[FrameResult],
    view: View,
    session: _Session,
    max_frames: int | None = None,
    max_secs: float | None = None,
) -> None:
    """Shows results and adds them to the session until they end, a limit is met, or the view says stop."""
    started_s = time.monotonic()
    for result in results:
        session.add(result)
        if not view.show(result):
            return
        if _frames_of(session.counts) == max_frames:
            return
        if max_secs is not None and time.monotonic() - started_s >= max_secs:
            return
    view.finish()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until the source ends, a limit is met, SIGTERM (status 0) or Ctrl-C (KeyboardInterrupt)."""
    options = _parser().parse_args(argv)
    # Pictures are small: OpenCV's threads would cost more to wake than they save, and the interpreter
    # wants the cores.
    cv2.setNumThreads(1)
    open_view = open_jsonlines if options.json else VIEWS[options.view]
    num_threads, runtime = options.num_threads, options.runtime
    if num_threads == "auto":
        choice = tuned(options.model, runtime)
        num_threads, runtime = choice.num_threads, choice.runtime
    with (
        Classifier(options.model, read_labels(options.labels), num_threads, runtime, options.tta) as model,
        _open(options) as source,
    ):
        session = _Session(model.manifest.none_label if model.manifest else None)
        try:
            with (
                _sigterm_ends(),
                Pipeline(source, model, options.conf, options.max_fps, sets=options.sets) as results,
                _open_views(open_view, options, model) as view,
            ):
                _watch(results, view, session, options.max_frames, options.max_secs)
        finally:
            _conclude(session, options.save, sys.stderr if options.json else sys.stdout)
    return 0


def _open_views(open_view: Callable[[], View], options: argparse.Namespace, model: Classifier) -> View:
    """The asked view, and beside it the web page, the recording, and systemd where it is there."""
    views: list[View] = []
    facts = {
        "model": options.model.name,
        "model_sha256": digest(options.model),
        "source": without_password(options.source),
    }
    if options.record:
        settings = {**vars(options), "source": facts["source"], "num_threads": model.num_threads}
        session = {**facts, "runtime": model.runtime, "labels": model.labels, "settings": settings}
        views.append(RecordView(options.record, session, options.record_limit))
    if options.serve:
        from dermedge.edge.views.web.server import WebView  # needs the extra serve

        web = WebView(options.serve, facts, model.has_heat_map)
        print(f"serving {web.url}", file=sys.stderr, flush=True)
        views.append(web)
    if is_service():
        views.append(ServiceView())
    return Several([*views, open_view()])


@contextmanager
def _sigterm_ends() -> Iterator[None]:
    """SIGTERM, as systemd and `docker stop` send it, ends the block as if there were no more frames."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _Terminated:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(BaseException):
    """SIGTERM arrived; no `except Exception` on the way shall take it for a failure."""


def _open(options: argparse.Namespace) -> FrameSource:
    return open_source(
        options.source,
        options.width,
        options.height,
        options.fps,
        focus=options.focus,
        lock_exposure=options.lock_exposure,
        lock_white_balance=options.lock_white_balance,
        realtime=options.realtime,
        flip=options.flip,
        zoom=options.zoom,
    )


def _frames_of(counts: FrameCounts) -> int:
    """How many frames were looked at."""
    return counts.classified + sum(counts.rejected.values())


def _counts_line(counts: FrameCounts) -> str:
    """What became of the frames that were not classified, in words; those that are always told first."""
    parts = [f"{counts.dropped} dropped"]
    parts += [f"{count} {defect}" for defect, count in sorted(counts.rejected.items())]
    if counts.repeated:
        parts.append(f"{counts.repeated} repeated")
    if counts.outages:
        parts.append(f"camera lost {'once' if counts.outages == 1 else f'{counts.outages} times'}")
    return ", ".join(parts)


def _summary(session: _Session, last: Classification) -> str:
    """The run in three lines: counts and rate, the median latency split, the last label."""
    elapsed_s = session.last_s - session.first_s
    count = session.counts.classified
    rate = f", {(count - 1) / elapsed_s:.1f} a second" if elapsed_s else ""
    capture, preprocess, invoke, postprocess, whole = map(median, zip(*session.splits, strict=True))
    height, width = last.frame.image_bgr.shape[:2]
    frames = "1 frame" if count == 1 else f"{count} frames"
    notes = notes_line(last)
    chosen = "" if last.prediction_set is None else f", set {set_line(last.prediction_set)}"
    return (
        f"{frames} of {width}x{height} classified, {_counts_line(session.counts)}{rate}\n"
        f"median ms: capture {capture:.1f}, preprocess {preprocess:.1f}, invoke {invoke:.1f}, "
        f"postprocess {postprocess:.1f}, end to end {whole:.1f}\n"
        f"last: {last.label} {last.prediction.probability:.0%}{notes and f', {notes}'}{chosen}"
    )


def _conclude(session: _Session, save: Path | None, stream: TextIO) -> None:
    """Prints the summary, and saves the picture of the most probable lesion, where there is one."""
    if session.best is None or session.last is None:
        if session.counts != FrameCounts():
            print(f"no frame classified, {_counts_line(session.counts)}", file=stream)
        return
    print(_summary(session, session.last), file=stream)
    if save is not None:
        write_bytes(save, encode_image(paint_classification(session.best), save.suffix))
        print(f"saved {save}", file=stream)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("run", "Classify live. For research and education only: not a medical device.")
    parser.add_argument("--source", default="0", help=KNOWN)
    parser.add_argument("--width", type=positive_int, help="asked of a camera, in pixels")
    parser.add_argument("--height", type=positive_int, help="asked of a camera, in pixels")
    parser.add_argument("--fps", type=positive_number, help="asked of a camera, frames a second")
    parser.add_argument(
        "--focus", type=_focus, metavar="WHERE", help="of a camera: auto, or a number in its own unit"
    )
    parser.add_argument("--lock-exposure", action="store_true", help="of a camera, a second after its start")
    parser.add_argument("--lock-white-balance", action="store_true", help="the same of its white balance")
    parser.add_argument(
        "--realtime", action="store_true", help="a video at its own speed, as a camera would show it"
    )
    parser.add_argument("--flip", choices=tuple(FLIPS), help="the picture, before anything looks at it")
    parser.add_argument(
        "--zoom", type=_zoom, default=1.0, metavar="FACTOR", help="keep only the middle of the picture"
    )
    add_model_options(parser, tune=True)
    add_sets_option(parser)
    parser.add_argument("--conf", type=_probability, default=0.0, help="below it the label is 'uncertain'")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--view", choices=tuple(VIEWS), default="auto", help="auto: a window, else the terminal"
    )
    shown.add_argument("--json", action="store_true", help="print one JSON object a frame instead")
    parser.add_argument(
        "--record", type=Path, metavar="DIR", help="keep JSON lines and the picture of each answer there"
    )
    parser.add_argument(
        "--record-limit", type=positive_number, default=1000.0, metavar="MB", help="the size DIR may reach"
    )
    parser.add_argument(
        "--serve",
        nargs="?",
        const=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help=f"a web page besides; alone, at {DEFAULT_ADDRESS}; other hosts need the token that is printed",
    )
    parser.add_argument(
        "--max-fps", type=_slowest_rate, help="look at no more frames a second, to stay cool; 0.1 or more"
    )
    parser.add_argument("--max-frames", type=positive_int, help="stop after so many frames were looked at")
    parser.add_argument("--max-secs", type=positive_number, help="stop after so many seconds")
    parser.add_argument(
        "--save",
        type=_picture_file,
        metavar="FILE",
        help="at the end, write the picture of the surest lesion",
    )
    return parser


def _slowest_rate(text: str) -> float:
    """An argparse type: frames a second, so many that limits and systemd's watchdog are met between two."""
    value = number(text)
    if not _SLOWEST_RATE <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of {_SLOWEST_RATE} or more")
    return value


def _focus(text: str) -> str | float:
    """An argparse type: ``auto``, or a number of 0 or more."""
    if text == "auto":
        return text
    value = number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto nor a number of 0 or more")
    return value


def _zoom(text: str) -> float:
    """An argparse type: a finite number of 1 or more."""
    value = number(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 1 or more")
    return value


def _probability(text: str) -> float:
    """An argparse type: a number of 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a probability of 0 to 1")
    return value


def _picture_file(text: str) -> Path:
    """An argparse type: the path of a picture to write, in a format that its suffix names."""
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"'{text}' must end in {', '.join(sorted(SUFFIXES))}")
    return path

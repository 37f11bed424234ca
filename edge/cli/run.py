"""`dermedge run`: classifies the frames of a camera, a video, a folder or the built-in demo, and shows the results."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TextIO

import cv2

from dermedge.edge.cli.arguments import (
    OptionGroup,
    Parser,
    add_model_options,
    add_sets_option,
    make_parser,
    number,
    positive_int,
    positive_number,
    read_labels,
)
from dermedge.edge.cli.session import Session, frames_of, summary
from dermedge.edge.errors import OptionError, PictureError, SourceError
from dermedge.edge.files import check_file, write_bytes
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.tuning import tuned
from dermedge.edge.photos import WRITTEN_SUFFIXES, encode_image
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.printable import printable
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.frame import Delivery, FrameSource
from dermedge.edge.sources.framing import FLIPS
from dermedge.edge.sources.open import KNOWN, open_source
from dermedge.edge.sources.redact import without_secrets
from dermedge.edge.views.open import VIEWS, open_jsonlines
from dermedge.edge.views.paint import paint_classification
from dermedge.edge.views.record import RecordView
from dermedge.edge.views.systemd import ServiceView, is_service
from dermedge.edge.views.view import Several, View
from dermedge.edge.views.web import DEFAULT_ADDRESS

__all__ = ["main", "parser"]

# The lowest value that --max-fps accepts, in frames a second. At much lower rates, the watchdog in
# `edge/dermedge.service` would end the program, because it allows at most 30 s without a frame.
_SLOWEST_RATE = 0.1
# Two frame rates count as equal if they differ by at most this fraction.
_RATE_TOLERANCE = 0.001
# A process that a signal ends has the exit status _SIGNAL_STATUS plus the number of the signal.
_SIGNAL_STATUS = 128
# The help ends with these example commands.
_EXAMPLES = (
    "dermedge run --source demo",
    "dermedge run --source 0 --record sessions/",
    "dermedge run --source picamera2 --serve",
    "dermedge run --source video.mp4 --json",
)


def _watch(
    results: Iterable[FrameResult],
    view: View,
    session: Session,
    max_frames: int | None = None,
    max_secs: float | None = None,
) -> None:
    """Shows each result and adds it to the session.

    Stops when there are no more results, when a limit is reached, or when the view asks to stop.
    """
    started_s = time.monotonic()
    for result in results:
        session.add(result)
        if not view.show(result):
            return
        if frames_of(session.counts) == max_frames:
            return
        if max_secs is not None and time.monotonic() - started_s >= max_secs:
            return
    view.finish()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until the source ends, a limit is reached, the view is closed, or a signal arrives.

    The exit status is 1 if the source failed after the first frame, or if some photos of a folder cannot be read. The
    exit status is 2 if no photo of a folder can be read. Otherwise, it is 0, also after SIGTERM or SIGHUP.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C.
    """
    options = parser().parse_args(argv)
    if options.save:
        check_file(options.save)
    # The images are small. Starting OpenCV's threads would take more time than the threads save. Besides, the TFLite
    # interpreter needs the cores.
    cv2.setNumThreads(1)
    num_threads, runtime = options.num_threads, options.runtime
    if num_threads == "auto":
        choice = tuned(options.model, runtime)
        num_threads, runtime = choice.num_threads, choice.runtime
    with (
        _classifier(options, num_threads, runtime) as model,
        _open(options) as source,
    ):
        _print_delivery(source.delivery(), options)
        _print_notice(source.notice())
        open_view = partial(open_jsonlines, source.is_live) if options.json else VIEWS[options.view]
        session = Session(model.manifest.none_label if model.manifest else None)
        failure = ""
        unreadable: list[PictureError] = []
        try:
            with (
                _signals_end(),
                Pipeline(source, model, options.conf, options.max_fps, sets=options.sets) as results,
                _signals_wait(without_secrets(options.source)),
                _open_views(open_view, options, model, source.delivery()) as view,
            ):
                _watch(_readable(results, unreadable), view, session, options.max_frames, options.max_secs)
        except SourceError as error:
            if not frames_of(session.counts):
                raise
            # the answers before the failure remain valid. So the summary is printed first, and the error after it
            failure = str(error)
        finally:
            session.finish(source)
            _conclude(session, options.save, sys.stderr if options.json else sys.stdout)
    if failure:
        _print_error(failure)
    if unreadable and not frames_of(session.counts):
        return 2
    return 1 if failure or unreadable else 0


def _readable(results: Iterator[FrameResult], unreadable: list[PictureError]) -> Iterator[FrameResult]:
    """Yields the results of the photos that can be read. If a photo cannot be read, prints and collects the error."""
    while True:
        try:
            yield next(results)
        except StopIteration:
            return
        except PictureError as error:
            _print_error(str(error))
            unreadable.append(error)


def _print_error(text: str) -> None:
    print(f"dermedge: error: {printable(text)}", file=sys.stderr)


def _classifier(options: argparse.Namespace, num_threads: int, runtime: str) -> Classifier:
    return Classifier(
        options.model,
        read_labels(options.labels),
        num_threads,
        runtime,
        options.tta,
        normalization=options.normalization,
    )


def _open_views(
    open_view: Callable[[], View], options: argparse.Namespace, model: Classifier, delivery: Delivery | None
) -> View:
    """Returns one view, which passes each result to all views of the run.

    One view is always opened: the view that the user chose with --view or --json. Three further views are opened when
    they are needed: the recording for --record, the web page for --serve, and, if the program is a systemd service, the
    view that sends messages to systemd.
    """
    views: list[View] = []
    facts = {
        "model": options.model.name,
        "model_sha256": digest(options.model),
        "source": without_secrets(options.source),
    }
    if options.record:
        settings = {**vars(options), "source": facts["source"], "num_threads": model.num_threads}
        session = {
            **facts,
            "camera": asdict(delivery) if delivery else None,
            "runtime": model.runtime,
            "labels": model.labels,
            "settings": settings,
        }
        views.append(RecordView(options.record, session, options.record_limit))
    if options.serve:
        # imported here, because these modules need the packages of the optional extra "serve"
        from dermedge.edge.views.web.photos import PhotoClassifier
        from dermedge.edge.views.web.server import WebView

        beside = PhotoClassifier(partial(_classifier, options, 1, model.runtime), options.conf, options.sets)
        web = WebView(options.serve, facts, model.has_heat_map, beside)
        print(f"serving {web.url}", file=sys.stderr, flush=True)
        if web.token and sys.stderr.isatty():
            _print_code(web.url)
        views.append(web)
    if is_service():
        views.append(ServiceView())
    return Several([*views, open_view()])


def _print_notice(notice: str) -> None:
    if notice:
        print(f"dermedge: {printable(notice)}", file=sys.stderr)


def _print_delivery(delivery: Delivery | None, options: argparse.Namespace) -> None:
    """Prints the size, rate and format that a camera delivers, and the options that the camera did not accept."""
    if delivery is None:
        return
    asked = [
        (options.width, delivery.width, "--width"),
        (options.height, delivery.height, "--height"),
        (options.fps, delivery.fps, "--fps"),
        (options.pixel_format, delivery.pixel_format, "--pixel-format"),
    ]
    refused = ", ".join(f"{name} {value}" for value, got, name in asked if _is_refused(value, got))
    print(
        f"'{printable(options.source)}' delivers {delivery}{refused and f'; the camera did not accept: {refused}'}",
        file=sys.stderr,
    )


def _is_refused(asked: float | str | None, got: float | str | None) -> bool:
    """Tells whether a camera reports another value than the value that it was asked for.

    Rates count as equal if they differ only by rounding, as 29.97 and 30000/1001. The result is False if the camera
    reports no value, so that ``got`` is None or an empty text.
    """
    if asked is None or got in (None, ""):
        return False
    if isinstance(asked, float) and isinstance(got, float):
        return not math.isclose(asked, got, rel_tol=_RATE_TOLERANCE)
    return asked != got


def _print_code(url: str) -> None:
    """Prints a URL as a QR code, if the package segno is installed."""
    try:
        import segno  # the package belongs to the optional extra "phone"
    except ImportError:
        return
    segno.make(url, micro=False).terminal(out=sys.stderr, compact=True)


@contextmanager
def _signals_end() -> Iterator[None]:
    """Ends the block when SIGTERM or SIGHUP arrives, as if there were no more frames.

    systemd and `docker stop` send SIGTERM. A terminal that is closed sends SIGHUP. Under `nohup`, SIGHUP is still
    ignored.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = {one: signal.getsignal(one) for one in _ending_signals()}
    for one in before.keys() - {signal.SIGINT}:
        signal.signal(one, end)
    try:
        yield
    except _Terminated:
        pass
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _signals_wait(source: str) -> Iterator[None]:
    """Changes what a signal does when the block ends. `_signals_end` restores the handlers.

    At the end of the block, the views are closed, but the thread that reads the source may still wait for an answer of
    a stalled camera. The source must not be closed while this thread reads it. So the first signal only prints what the
    program waits for. The second signal ends the process without closing the source.
    """
    is_told = False

    def wait(number: int, frame: FrameType | None) -> None:
        nonlocal is_told
        if is_told:
            os._exit(_SIGNAL_STATUS + number)
        is_told = True
        with suppress(OSError):  # the terminal may be closed
            print(
                f"dermedge: '{printable(source)}' has not answered yet, and can be closed only after its answer; press "
                "Ctrl-C again to end at once, without the summary",
                file=sys.stderr,
            )

    try:
        yield
    finally:
        for one in _ending_signals():
            signal.signal(one, wait)


def _ending_signals() -> list[signal.Signals]:
    """Returns the signals that end a run and are not ignored."""
    # Windows has no SIGHUP
    there = [getattr(signal, name, signal.SIGINT) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [one for one in dict.fromkeys(there) if signal.getsignal(one) is not signal.SIG_IGN]


class _Terminated(BaseException):
    """Raised when SIGTERM or SIGHUP arrives.

    The class is derived from BaseException. So an `except Exception` does not treat the signal as a failure.
    """


def _open(options: argparse.Namespace) -> FrameSource:
    """Opens the source. Raises OptionError if the frame of --save would replace a photo of the source."""
    source = open_source(
        options.source,
        options.width,
        options.height,
        options.fps,
        focus=options.focus,
        lock_exposure=options.lock_exposure,
        lock_white_balance=options.lock_white_balance,
        pixel_format=options.pixel_format,
        realtime=options.realtime,
        flip=options.flip,
        zoom=options.zoom,
    )
    if options.save and not source.is_live and _is_part_of(options.save, options.source):
        source.close()
        raise OptionError(
            f"--save '{options.save}' is a photo of the source, and the saved frame would replace it; give another name"
        )
    return source


def _is_part_of(path: Path, source: str) -> bool:
    """Tells whether a file exists and is the photo that a source names, or lies in the folder that a source names.

    A photo in the folder may be a link to a file elsewhere. Therefore, two comparisons are made: one of the paths as
    they are given, and one of the paths with all links resolved.
    """
    resolvers = (os.path.abspath, os.path.realpath)
    return path.exists() and any(Path(one(path)).is_relative_to(one(source)) for one in resolvers)


def _conclude(session: Session, save: Path | None, stream: TextIO) -> None:
    """Prints the summary. If ``save`` is given, saves the frame in which a lesion had the highest probability."""
    text = summary(session)
    if text:
        print(text, file=stream)
    if save is None:
        return
    if session.best is None:
        # Without this line, a file of an earlier run would seem to be the result. If there was no frame at all,
        # an error message says so.
        if frames_of(session.counts):
            print(f"'{printable(str(save))}' was not written, because no frame was classified", file=stream)
        return
    write_bytes(save, encode_image(paint_classification(session.best), save.suffix))
    print(f"saved {printable(str(save))}", file=stream)


def parser() -> Parser:
    """Returns the options of `dermedge run`."""
    made = make_parser(
        "run", "Classify live. For research and education only: not a medical device.", _EXAMPLES
    )
    _add_source_options(made.add_argument_group("source"))
    model = made.add_argument_group("model")
    add_model_options(model, finds_runtime=True)
    add_sets_option(model)
    model.add_argument(
        "--conf",
        type=_probability,
        default=0.0,
        metavar="PROBABILITY",
        help="call an answer uncertain if its probability is below PROBABILITY, 0 to 1. The model also has a threshold "
        "of its own, which still applies: this option can only make more answers uncertain. Default: 0",
    )
    _add_output_options(made.add_argument_group("views and files"))
    limits = made.add_argument_group("limits")
    limits.add_argument(
        "--max-fps",
        type=_slowest_rate,
        metavar="FPS",
        help="classify at most FPS frames a second, to keep the device cool; FPS must be 0.1 or more",
    )
    limits.add_argument(
        "--max-frames",
        type=positive_int,
        metavar="N",
        help="stop after N frames have been classified or rejected",
    )
    limits.add_argument(
        "--max-secs", type=positive_number, metavar="SECONDS", help="stop after this many seconds"
    )
    return made


def _add_source_options(parser: OptionGroup) -> None:
    parser.add_argument("--source", default="0", help=f"read frames from one of these: {KNOWN}")
    _add_camera_options(parser)
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="play a video at its own speed, instead of classifying each frame as fast as possible",
    )
    parser.add_argument(
        "--flip",
        choices=tuple(FLIPS),
        help="flip each frame; this works with every source. horizontal: swap left and right; vertical: swap top and "
        "bottom; both: rotate the frame by 180 degrees",
    )
    parser.add_argument(
        "--zoom",
        type=_zoom,
        default=1.0,
        metavar="FACTOR",
        help="cut out the middle of each frame; this works with every source. The width and the height of the frame "
        "are divided by FACTOR",
    )


def _add_camera_options(parser: OptionGroup) -> None:
    parser.add_argument(
        "--width", type=positive_int, metavar="PIXELS", help="ask a camera for frames of this width"
    )
    parser.add_argument(
        "--height", type=positive_int, metavar="PIXELS", help="ask a camera for frames of this height"
    )
    parser.add_argument(
        "--fps", type=positive_number, metavar="FPS", help="ask a camera for this many frames a second"
    )
    parser.add_argument(
        "--focus",
        type=_focus,
        metavar="WHERE",
        help="set a camera's focus: auto, or a number for a fixed lens position. For picamera2, the number is in "
        "dioptres. For V4L2, the driver of the camera defines the unit",
    )
    parser.add_argument(
        "--lock-exposure",
        action="store_true",
        help="lock a camera's exposure one second after the camera starts",
    )
    parser.add_argument(
        "--lock-white-balance",
        action="store_true",
        help="lock a camera's white balance one second after the camera starts",
    )
    parser.add_argument(
        "--pixel-format",
        type=_fourcc,
        metavar="FOURCC",
        help="ask a V4L2 camera for frames in this format; USB cameras deliver large frames in MJPG several times as "
        "fast as in YUYV",
    )


def _add_output_options(parser: OptionGroup) -> None:
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--view",
        choices=tuple(VIEWS),
        default="auto",
        help="show the results in a window or in the terminal; auto: use a window if one can be opened, otherwise the "
        "terminal",
    )
    shown.add_argument(
        "--json", action="store_true", help="print one JSON object for each frame, and open no view"
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="write the results as JSON lines into a new folder inside DIR; whenever a new answer is shown, also write "
        "the frame as a photo",
    )
    parser.add_argument(
        "--record-limit",
        type=positive_number,
        default=1000.0,
        metavar="MB",
        help="stop recording when the folder of --record has grown to this many MB",
    )
    parser.add_argument(
        "--serve",
        nargs="?",
        const=DEFAULT_ADDRESS,
        metavar="HOST:PORT",
        help="also serve a web page with the results, and classify photos that programs send to POST /predict. Without "
        f"HOST:PORT, the address is {DEFAULT_ADDRESS}, which other machines cannot reach. At an address that other "
        "machines can reach, browsers and programs need the token that is printed",
    )
    parser.add_argument(
        "--save",
        type=_image_file,
        metavar="FILE",
        help="at the end, write one frame to FILE: the frame in which a lesion had the highest probability",
    )


def _slowest_rate(text: str) -> float:
    """An argparse type: a number of frames a second, `_SLOWEST_RATE` or more.

    At lower rates, --max-secs would be checked too rarely, and systemd's watchdog would end the program.
    """
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


def _fourcc(text: str) -> str:
    """An argparse type: the name of a pixel format, which has one to four letters and digits."""
    if not (1 <= len(text) <= 4 and text.isascii() and text.isalnum()):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a pixel format of one to four letters and digits, such as MJPG or YUYV"
        )
    return text.upper()


def _zoom(text: str) -> float:
    """An argparse type: a finite number of 1 or more."""
    value = number(text)
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of 1 or more")
    return value


def _probability(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a probability from 0 to 1")
    return value


def _image_file(text: str) -> Path:
    """An argparse type: the path of an image file to write. The suffix of the path determines the format."""
    path = Path(text)
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise argparse.ArgumentTypeError(f"'{text}' must end in {', '.join(sorted(WRITTEN_SUFFIXES))}")
    return path

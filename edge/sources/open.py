"""Opens a source by its name: a camera, stream, video, photo, folder or the demo."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dermedge.edge.errors import OptionError, SourceError
from dermedge.edge.photos import is_photo_file
from dermedge.edge.sources.camera import CameraMode, CameraOpener, open_stream
from dermedge.edge.sources.frame import FrameSource
from dermedge.edge.sources.framing import Flip, FramedSource, Framing
from dermedge.edge.sources.gstreamer import open_gstreamer
from dermedge.edge.sources.photo_files import PhotoFiles, open_folder
from dermedge.edge.sources.reconnect import Reconnecting
from dermedge.edge.sources.redact import without_secrets
from dermedge.edge.sources.video import PacedVideo, VideoFile
from dermedge.edge.sources.video_devices import is_device

__all__ = ["KNOWN", "open_source"]

KNOWN = (
    "0, /dev/video0, /dev/v4l/by-id/…, picamera2, rtsp://…, http://…, a GStreamer pipeline (… ! appsink), a video, "
    "a photo, a folder, demo"
)
_STREAMS = ("rtsp://", "rtsps://", "http://", "https://")


@dataclass(frozen=True)
class _Kind:
    """One kind of source.

    Attributes:
        matches: a function that tells whether the name of a source means this kind.
        opener: a function that returns a second function. The second function opens the source, at the start and again
            after an outage. It imports modules that are rarely needed.
        takes_mode: whether the source is a camera, which accepts a `CameraMode`.
    """

    matches: Callable[[str], bool]
    opener: Callable[[str, CameraMode], Callable[[], FrameSource]]
    takes_mode: bool = False


def open_source(
    spec: Path | str | int,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    *,
    focus: str | float | None = None,
    lock_exposure: bool = False,
    lock_white_balance: bool = False,
    pixel_format: str | None = None,
    realtime: bool = False,
    flip: Flip | None = None,
    zoom: float = 1.0,
) -> FrameSource:
    """Opens a source. Use the source in a ``with`` statement, which closes it. A live source reconnects by itself.

    Args:
        spec: ``0`` (a camera's index, as text or as a number), ``/dev/video0`` or a link to it, ``picamera2``,
            ``rtsp://…``, ``http://…``, a GStreamer pipeline, a video, a photo, a folder of photos, or ``demo``.
        width: the width in pixels that a camera is asked for.
        height: the height in pixels that a camera is asked for.
        fps: the number of frames a second that a camera is asked for.
        focus: the focus that a camera is asked for: ``auto``, or a lens position as `CameraMode` describes it.
        lock_exposure: whether a camera's exposure stays fixed from one second after the start.
        lock_white_balance: whether a camera's white balance stays fixed from one second after the start.
        pixel_format: the FOURCC of the format that a camera is asked for, such as ``MJPG``.
        realtime: whether a video plays at its own speed. Otherwise the video is read as fast as possible.
        flip: ``horizontal`` swaps left and right, ``vertical`` swaps top and bottom, ``both`` does both. This argument
            works with every source.
        zoom: a factor of 1 or more; 2 keeps the middle half of the width and of the height. This argument works with
            every source.

    Raises:
        SourceError: no source has this name, or the source cannot be opened, or the camera refuses a setting.
        OptionError: a setting for cameras was given for a source that is not a camera, ``realtime`` was given for a
            source that is not a video, or there is no such flip or zoom.
        MissingExtra: picamera2 is not installed.
    """
    spec = str(spec)
    mode = CameraMode(width, height, fps, focus, lock_exposure, lock_white_balance, pixel_format)
    framing = Framing(flip, zoom)
    open_again = _opener(spec, mode)
    source = open_again()
    if source.is_live:
        source = Reconnecting(source, open_again)
    if realtime:
        source = _paced(source, spec)
    return source if framing == Framing() else FramedSource(source, framing)


def _opener(spec: str, mode: CameraMode) -> Callable[[], FrameSource]:
    """Returns a function that opens the source. Raises the errors of `open_source`."""
    kind = _kind_of(spec)
    if mode != CameraMode() and not kind.takes_mode:
        raise OptionError(
            "--width, --height, --fps, --focus, --lock-exposure, --lock-white-balance and --pixel-format work only "
            f"with cameras, and '{without_secrets(spec)}' is not a camera; leave them out"
        )
    return kind.opener(spec, mode)


def _kind_of(spec: str) -> _Kind:
    """Returns the first kind that matches. Raises SourceError if no kind matches."""
    if not spec:
        # an empty path would mean the current folder
        raise SourceError(f"the name of the source is empty. Known: {KNOWN}.")
    for kind in _KINDS:
        if kind.matches(spec):
            return kind
    if os.path.lexists(spec):
        raise SourceError(
            f"'{without_secrets(spec)}' is neither a file nor a folder: named pipes, sockets and broken links "
            "cannot be read; give the path of a file or folder"
        )
    if "://" not in spec and (Path(spec).suffix or "/" in spec):
        raise SourceError(f"there is no file or folder '{without_secrets(spec)}'; check the path")
    raise SourceError(f"Unknown source '{without_secrets(spec)}'. Known: {KNOWN}.")


def _paced(source: FrameSource, spec: str) -> FrameSource:
    if not isinstance(source, VideoFile):
        source.close()
        raise OptionError(
            f"--realtime is for videos, and '{without_secrets(spec)}' is not a video; leave out --realtime"
        )
    return PacedVideo(source)


def _open_demo(spec: str, mode: CameraMode) -> FrameSource:
    # imported here, because only the demo needs it, and painting takes a moment
    from dermedge.edge.sources.demo import Demo

    return Demo()


def _open_picamera2(spec: str, mode: CameraMode) -> FrameSource:
    # imported here, because its package exists only on a Raspberry Pi
    from dermedge.edge.sources.picamera import PiCamera

    return PiCamera(mode)


def _anew(
    open_one: Callable[[str, CameraMode], FrameSource],
) -> Callable[[str, CameraMode], Callable[[], FrameSource]]:
    """Returns a `_Kind.opener` for sources that ``open_one`` opens, both at the start and after each outage."""
    return partial(partial, open_one)


# The first kind that matches is used.
_KINDS = (
    _Kind(lambda spec: spec == "demo", _anew(_open_demo)),
    _Kind(lambda spec: spec == "picamera2", _anew(_open_picamera2), takes_mode=True),
    _Kind(lambda spec: " ! " in spec, _anew(open_gstreamer)),
    _Kind(lambda spec: spec.lower().startswith(_STREAMS), _anew(open_stream)),
    _Kind(is_device, CameraOpener, takes_mode=True),
    # os.path is used, because Path raises an error if the name is too long for a file
    _Kind(os.path.isdir, _anew(lambda spec, mode: open_folder(Path(spec)))),
    _Kind(
        lambda spec: is_photo_file(Path(spec)) and os.path.isfile(spec),
        _anew(lambda spec, mode: PhotoFiles([Path(spec)])),
    ),
    _Kind(os.path.isfile, _anew(lambda spec, mode: VideoFile(Path(spec)))),
)

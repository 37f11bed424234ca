"""Prepares the frames on which models are timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError, PictureError
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.edge.printable import printable
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.photo_files import PhotoFiles
from dermedge.edge.sources.redact import without_secrets

__all__ = [
    "FRAMES",
    "FRAME_HEIGHT",
    "FRAME_WIDTH",
    "GENERATED",
    "Frames",
    "camera_frame",
    "frames_of_photos",
    "frames_of_source",
]

# The usual frame size of a Raspberry Pi camera or a webcam, in pixels.
FRAME_WIDTH, FRAME_HEIGHT = 640, 480
# Number of frames that are used in rotation. With this many frames, the fastest processor caches no longer hold a frame
# when it is used again. This is realistic, because the caches do not hold a new camera frame either.
FRAMES = 16
GENERATED = "demo"

Frames = list[NDArray[np.uint8]]


def frames_of_source(
    spec: str | None, say: Callable[[str], object] = lambda line: None
) -> tuple[Frames, str]:
    """Returns at most FRAMES frames of a source, and a description of these frames.

    From a folder of photos, evenly spaced photos of the sorted list of files are used. From any other source, the first
    frames are used.

    Args:
        spec: a source for `open_source`; None if the user named no source. There is no default source, because dermedge
            ships no photos. Generated frames are used only if the source is `GENERATED`.
        say: a function that is called with a line of text for each photo that is left out.

    Raises:
        OptionError: no source is given.
        SourceError, PictureError: the source cannot be read.
    """
    if spec is None:
        raise OptionError(
            "there are no frames to measure on; name a photo, a folder of photos, a video or a camera with --source, "
            f"or use generated frames with --source {GENERATED}"
        )
    size = f"{FRAME_WIDTH}x{FRAME_HEIGHT}"
    with open_source(spec) as source:
        # a folder may be called demo or 0, which are names of other sources; open_source then opens the other source
        if isinstance(source, PhotoFiles) and os.path.isdir(spec):
            paths = find_photo_files(Path(spec))
            frames = frames_of_photos(paths, say)
            return frames, f"{len(frames)} of {len(paths)} photos of --source resized to {size}"
        frames = [camera_frame(frame.image_bgr) for frame in islice(iter(source.read, None), FRAMES)]
    if spec == GENERATED:
        return frames, f"{len(frames)} generated frames of {size}, not photos"
    return frames, f"{len(frames)} frames of '{without_secrets(spec)}' resized to {size}"


def frames_of_photos(paths: Sequence[Path], say: Callable[[str], object] = lambda line: None) -> Frames:
    """Returns at most FRAMES frames, which are made from evenly spaced photos of the list ``paths``.

    Photos that cannot be decoded are left out. ``say`` is called with a line of text for each of them.

    Raises:
        PictureError: none of the photos can be decoded.
    """
    places = np.linspace(0, len(paths) - 1, min(FRAMES, len(paths)), dtype=int)
    frames: Frames = []
    unreadable: list[PictureError] = []
    for at in places:
        try:
            frames.append(camera_frame(read_picture(paths[at])))
        except PictureError as error:
            unreadable.append(error)
    if unreadable and not frames:
        raise unreadable[0]
    for left_out in unreadable:
        say(printable(f"photo left out: {left_out}"))
    return frames


def camera_frame(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops and resizes an image to the size of a camera frame, 640x480 pixels.

    The largest centred part with an aspect ratio of 4:3 is cut out and resized. The result is used to measure latency.
    It is never used to measure accuracy.

    Args:
        image_bgr: uint8 [h, w, 3] of any size.

    Returns:
        uint8 [480, 640, 3], contiguous.
    """
    height, width = image_bgr.shape[:2]
    cut_width = max(1, min(width, height * FRAME_WIDTH // FRAME_HEIGHT))
    cut_height = max(1, min(height, width * FRAME_HEIGHT // FRAME_WIDTH))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = image_bgr[top : top + cut_height, left : left + cut_width]
    way = cv2.INTER_AREA if cut_width > FRAME_WIDTH else cv2.INTER_LINEAR
    return cv2.resize(cut, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=way)  # type: ignore[return-value]

"""What the models are shown while they are timed: frames as a camera delivers them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import OptionError
from dermedge.edge.photos import find_pictures, read_picture
from dermedge.edge.sources.camera import without_password
from dermedge.edge.sources.open import open_source

# What a Raspberry Pi camera or webcam is usually asked for.
FRAME_WIDTH, FRAME_HEIGHT = 640, 480
# Shown in turn: enough that a frame has left the first caches when it comes again, as a camera's has.
FRAMES = 16
GENERATED = "demo"

Frames = list[NDArray[np.uint8]]


def frames_of_source(spec: str | None) -> tuple[Frames, str]:
    """At most FRAMES frames of a source, and their origin in words.

    Of a folder, pictures spread evenly over it; of all else, the first frames.

    Args:
        spec: as `open_source` takes it; nothing stands for a source, since no picture ships,
            and drawn ones are taken only where they are named.

    Raises:
        OptionError: there is no source.
        SourceError, PictureError: it cannot be read.
    """
    if spec is None:
        raise OptionError(
            "nothing to show to the models: give photos with --data or --source (a picture, a folder, a "
            f"video, a camera), or take drawn frames with --source {GENERATED}"
        )
    shape = f"{FRAME_WIDTH}x{FRAME_HEIGHT}"
    if Path(spec).is_dir() and (paths := find_pictures(Path(spec))):
        frames = frames_of_pictures(paths)
        return frames, f"{len(frames)} of {len(paths)} pictures of --source brought to {shape}"
    with closing(open_source(spec)) as source:
        frames = [camera_frame(frame.image_bgr) for frame in islice(iter(source.read, None), FRAMES)]
    if spec == GENERATED:
        return frames, f"{len(frames)} generated frames of {shape}, not photos"
    return frames, f"{len(frames)} frames of '{without_password(spec)}' brought to {shape}"


def frames_of_pictures(paths: Sequence[Path]) -> Frames:
    """At most FRAMES frames of pictures, spread evenly over them.

    Raises:
        PictureError: one cannot be read.
    """
    chosen = np.linspace(0, len(paths) - 1, min(FRAMES, len(paths)), dtype=int)
    return [camera_frame(read_picture(paths[at])) for at in chosen]


def camera_frame(picture_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture as a camera of 640x480 pixels would deliver it.

    The largest centred part of the frame's shape, 4:3, is cut out and enlarged or reduced to fill the
    frame; no border is added. Only times are taken on it, never accuracy.

    Args:
        picture_bgr: uint8 [h, w, 3] of any size.

    Returns:
        uint8 [480, 640, 3], contiguous.
    """
    height, width = picture_bgr.shape[:2]
    cut_width = max(1, min(width, height * FRAME_WIDTH // FRAME_HEIGHT))
    cut_height = max(1, min(height, width * FRAME_HEIGHT // FRAME_WIDTH))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    cut = picture_bgr[top : top + cut_height, left : left + cut_width]
    way = cv2.INTER_AREA if cut_width > FRAME_WIDTH else cv2.INTER_LINEAR
    return cv2.resize(cut, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=way)  # type: ignore[return-value]

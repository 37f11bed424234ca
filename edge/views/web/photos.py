"""Answers `POST /predict`: receives one photo, and returns the answer in the JSON format of `dermedge predict`.

A second classifier classifies the photos, so that the live loop never waits. The second classifier is opened when the
first photo arrives, and classifies one photo at a time. The quality gate checks photos in the same way as the frames of
the live loop.
"""

from __future__ import annotations

import asyncio
import io
import logging
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import imagesize
import numpy as np
import python_multipart
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from dermedge.edge.errors import PictureError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.photos import decode_photo
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.quality import HINTS
from dermedge.edge.sources.frame import Frame, FrameSource
from dermedge.edge.views.photo_json import PHOTO_KEYS, model_to_json, photo_to_json
from dermedge.edge.views.web.guard import PrintableJSON, read_body, without_foreign_pages

__all__ = ["MOST_BYTES", "MOST_PHOTOS", "MOST_PIXELS", "PhotoClassifier", "PhotoService"]

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
# The largest number of photos that are received or classified at the same time. Further photos are refused, so that
# photos cannot fill the memory.
MOST_PHOTOS = 4
# A form may have at most this many fields besides the photo. The server ignores these fields.
_MOST_FIELDS = 16
_FORM = "multipart/form-data"
# A body that consists of a photo must have one of these media types, or any image/ type. The format of the photo is
# recognized from the first bytes, not from the media type.
_PLAIN_TYPES = ("", "application/octet-stream")
_NAMELESS = "photo"
# Each entry is an offset, and the bytes that a file of one photo format has at this offset. The entries are for JPEG,
# PNG, GIF, BMP, TIFF (one entry for each byte order), JPEG 2000, WebP, and HEIC or AVIF.
_SIGNATURES = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF8"),
    (0, b"BM"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (4, b"jP  \r\n\x87\n"),
    (8, b"WEBP"),
    (4, b"ftyp"),
)


# the parser logs a warning for a damaged form, and the warning would appear in the middle of the live view
logging.getLogger(python_multipart.__name__).setLevel(logging.ERROR)


class PhotoClassifier:
    """Classifies photos with a separate classifier, one photo at a time. Several threads may use it.

    Args:
        open_classifier: the function that opens the classifier. It is called when the first photo arrives.
        confidence: the probability, 0 to 1, below which an answer counts as uncertain.
        sets: whether each answer has a prediction set.
    """

    def __init__(
        self, open_classifier: Callable[[], Classifier], confidence: float = 0.0, sets: bool = False
    ) -> None:
        self._open = open_classifier
        self._confidence = confidence
        self._sets = sets
        self._lock = threading.Lock()
        self._classifier: Classifier | None = None

    def classify(self, content: bytes, name: str) -> dict[str, Any]:
        """Returns the answer for one photo.

        Args:
            content: the bytes of the photo's file.
            name: the file name, which becomes ``path`` in the answer.

        Returns:
            The values of `photo_to_json`, and two more values. ``defect`` is the reason why the quality gate rejected
                the photo, or None. ``hint`` tells the user what helps against the defect, or is empty. For a rejected
                photo, the values of the answer are None.

        Raises:
            PictureError: if the photo cannot be decoded.
        """
        with self._lock:
            image = decode_photo(np.frombuffer(content, np.uint8), name)
            classifier = self._classifier = self._classifier or self._open()
            with Pipeline(_OnePhoto(image, name), classifier, self._confidence, sets=self._sets) as results:
                result = next(results)
        if result.classification is not None:
            return photo_to_json(result.classification, classifier) | {"defect": None, "hint": ""}
        keys = (*PHOTO_KEYS, "set") if self._sets else PHOTO_KEYS
        hint = HINTS[result.defect] if result.defect else ""
        rejected = {"path": name, **dict.fromkeys(keys), **model_to_json(classifier)}
        return rejected | {"defect": result.defect, "hint": hint}

    def close(self) -> None:
        """Closes the classifier if it is open."""
        with self._lock:
            if self._classifier is not None:
                self._classifier.close()
                self._classifier = None


class PhotoService:
    """Answers `POST /predict`: checks the request, reads the photo, and classifies the photo in a thread."""

    def __init__(self, classifier: PhotoClassifier) -> None:
        self._classifier = classifier
        self._photos = 0

    async def answer(self, request: Request) -> Response:
        """Returns the response to a request. Raises HTTPException if the request or the photo is refused."""
        without_foreign_pages(request)
        if self._photos >= MOST_PHOTOS:
            raise HTTPException(
                503,
                f"{MOST_PHOTOS} photos are already being classified, which is the limit; try again in a second",
                {"Retry-After": "1"},
            )
        self._photos += 1
        try:
            name, content = await _photo_of(request)
            _check_header(content)
            return PrintableJSON(await asyncio.to_thread(self._classifier.classify, content, name))
        except PictureError as error:
            raise HTTPException(400, str(error)) from error
        finally:
            self._photos -= 1


class _OnePhoto(FrameSource):
    """A source whose only frame is a photo."""

    is_live = False

    def __init__(self, image_bgr: NDArray[np.uint8], name: str) -> None:
        self._frame: Frame | None = Frame(image_bgr, 0, time.monotonic(), name)

    def read(self) -> Frame | None:
        frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        self._frame = None


class _FormInMemory(MultiPartParser):
    """Parses a form like Starlette's parser, but keeps files in memory and never writes them to the disk."""

    spool_max_size = MOST_BYTES + 1


async def _photo_of(request: Request) -> tuple[str, bytes]:
    """Returns the file name and the bytes of the photo in a request. Raises HTTPException if the request is refused."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    is_photo = kind in _PLAIN_TYPES or kind.startswith("image/")
    content = await read_body(request, MOST_BYTES)
    if kind == _FORM:
        return await _photo_of_form(request, content)
    if not is_photo:
        raise HTTPException(
            415,
            f"the body has the type '{kind}'; send the bytes of a photo as image/jpeg or another image/ type, or a "
            f"form as {_FORM}",
        )
    return _NAMELESS, content


async def _photo_of_form(request: Request, content: bytes) -> tuple[str, bytes]:
    """Returns the name and the bytes of the only file in a form.

    Raises:
        HTTPException: if the form cannot be read, or if the number of files in the form is not one.
    """

    async def stream() -> AsyncIterator[bytes]:
        yield content

    parser = _FormInMemory(request.headers, stream(), max_files=2, max_fields=_MOST_FIELDS)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        # ValueError: the client names a character set, and the name of the file is not valid in it
        reason = getattr(error, "message", error)
        raise HTTPException(400, f"the form cannot be read ({reason}); send one photo as {_FORM}") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(400, f"the form has {len(files) or 'no'} files; send one photo per request")
        name = (files[0].filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        return name or _NAMELESS, await files[0].read()
    finally:
        await form.close()


def _check_header(content: bytes) -> None:
    """Raises HTTPException if the bytes are not a photo, or if their header states more than `MOST_PIXELS` pixels."""
    if not content:
        raise HTTPException(400, "the body is empty; send the bytes of a photo")
    if not any(content.startswith(mark, offset) for offset, mark in _SIGNATURES):
        raise HTTPException(
            415,
            "the body is not a photo; send JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, HEIC or AVIF",
        )
    width, height = _size_of(content)
    if width * height > MOST_PIXELS:
        raise HTTPException(
            413,
            f"the photo has {width} x {height} pixels, and the limit is {MOST_PIXELS // 1_000_000} million; send a "
            f"smaller photo",
        )


def _size_of(content: bytes) -> tuple[int, int]:
    """Returns the width and height in pixels that the header of a photo states.

    Raises:
        HTTPException: if the header is damaged or states no size.
    """
    try:
        width, height = imagesize.get(io.BytesIO(content))
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise HTTPException(
            400, f"the header of the photo is damaged ({error}); send another photo"
        ) from error
    if width <= 0 or height <= 0:
        raise HTTPException(400, "the header of the photo is damaged (it states no size); send another photo")
    return width, height

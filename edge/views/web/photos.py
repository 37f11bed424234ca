"""`POST /predict`: receives one photo, and returns the answer of `dermedge predict` as JSON.

Photos have a classifier of their own, which handles one photo at a time on one thread, so that the live loop never
waits for it. The first photo opens it. Photos pass the quality gate as the frames of the loop do.
"""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import imagesize
import numpy as np
import python_multipart  # noqa: F401 - starlette's parser of forms needs it
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dermedge.edge.errors import PictureError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.photos import decode_photo
from dermedge.edge.pipeline import Pipeline
from dermedge.edge.quality import HINTS
from dermedge.edge.sources.frame import Frame, FrameSource
from dermedge.edge.views.photo_json import PHOTO_KEYS, photo_to_json
from dermedge.edge.views.web.guard import read_body, without_foreign_pages

__all__ = ["MOST_BYTES", "MOST_PHOTOS", "MOST_PIXELS", "PhotoClassifier", "PhotoService"]

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
# At most this many photos are received or classified at once. More are refused, so that they do not fill the memory.
MOST_PHOTOS = 4
# A form has one photo, and may have a few other fields, which are ignored.
_MOST_FIELDS = 16
_FORM = "multipart/form-data"
# The allowed media types of the body; the format is read from the photo itself.
_PLAIN_TYPES = ("", "application/octet-stream")
_NAMELESS = "photo"
# (offset, bytes) by which the formats are recognized: JPEG, PNG, GIF, BMP, TIFF, JPEG 2000, WebP, and HEIC and AVIF.
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


class PhotoClassifier:
    """Classifies photos with a classifier of its own, for one thread at a time.

    Args:
        open_classifier: opens the classifier; it is called with the first photo.
        confidence: as in `Pipeline`.
        sets: as in `Pipeline`.
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
            content: content of the photo's file.
            name: becomes ``path`` in the answer.

        Returns:
            The values of `photo_to_json`, and ``defect`` and ``hint``: why the quality gate rejected the photo, and
                what the user can do. For a rejected photo, label and probabilities are None.

        Raises:
            PictureError: it cannot be decoded.
        """
        with self._lock:
            image = decode_photo(np.frombuffer(content, np.uint8), name)
            classifier = self._classifier = self._classifier or self._open()
            with Pipeline(_OnePhoto(image, name), classifier, self._confidence, sets=self._sets) as results:
                result = next(results)
        if result.classification is not None:
            return photo_to_json(result.classification) | {"defect": None, "hint": ""}
        keys = (*PHOTO_KEYS, "set") if self._sets else PHOTO_KEYS
        hint = HINTS[result.defect] if result.defect else ""
        return {"path": name, **dict.fromkeys(keys), "defect": result.defect, "hint": hint}

    def close(self) -> None:
        """Closes the classifier, if a photo has opened it."""
        with self._lock:
            if self._classifier is not None:
                self._classifier.close()
                self._classifier = None


class PhotoService:
    """Answers `POST /predict`: checks a request, reads its photo, and classifies it in a thread."""

    def __init__(self, classifier: PhotoClassifier) -> None:
        self._classifier = classifier
        self._photos = 0

    async def answer(self, request: Request) -> Response:
        """Returns the response; raises HTTPException."""
        without_foreign_pages(request)
        if self._photos >= MOST_PHOTOS:
            raise HTTPException(
                503, f"{MOST_PHOTOS} photos are being classified; try again", {"Retry-After": "1"}
            )
        self._photos += 1
        try:
            name, content = await _photo_of(request)
            _check_header(content)
            return JSONResponse(await asyncio.to_thread(self._classifier.classify, content, name))
        except PictureError as error:
            raise HTTPException(400, str(error)) from error
        finally:
            self._photos -= 1


class _OnePhoto(FrameSource):
    """A photo as a source of one frame."""

    is_live = False

    def __init__(self, image_bgr: NDArray[np.uint8], name: str) -> None:
        self._frame: Frame | None = Frame(image_bgr, 0, time.monotonic(), name)

    def read(self) -> Frame | None:
        frame, self._frame = self._frame, None
        return frame

    def close(self) -> None:
        self._frame = None


class _FormInMemory(MultiPartParser):
    """Starlette's form parser, which here writes no files to the disk."""

    spool_max_size = MOST_BYTES + 1


async def _photo_of(request: Request) -> tuple[str, bytes]:
    """Returns the name and content of the photo in a request; raises HTTPException."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    is_photo = kind in _PLAIN_TYPES or kind.startswith("image/")
    content = await read_body(request, MOST_BYTES)
    if kind == _FORM:
        return await _photo_of_form(request, content)
    if not is_photo:
        raise HTTPException(
            415,
            f"the body is '{kind}'; send the photo's bytes as image/jpeg or another image/ type, or a form as {_FORM}",
        )
    return _NAMELESS, content


async def _photo_of_form(request: Request, content: bytes) -> tuple[str, bytes]:
    """Returns the name and content of the only file in a form; raises HTTPException."""

    async def stream() -> AsyncIterator[bytes]:
        yield content

    parser = _FormInMemory(request.headers, stream(), max_files=2, max_fields=_MOST_FIELDS)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise HTTPException(400, f"the form cannot be read: {getattr(error, 'message', error)}") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(400, f"the form has {len(files) or 'no'} files; send one photo per request")
        name = (files[0].filename or "").replace("\\", "/").rsplit("/", 1)[-1]
        return name or _NAMELESS, await files[0].read()
    finally:
        await form.close()


def _check_header(content: bytes) -> None:
    """Raises HTTPException if the header of a photo shows that it is too large, or not a photo."""
    if not content:
        raise HTTPException(400, "the body is empty; send the bytes of a photo")
    if not any(content.startswith(mark, offset) for offset, mark in _SIGNATURES):
        raise HTTPException(
            415,
            "the body is not a photo; JPEG, PNG, WebP, TIFF, BMP, GIF, JPEG 2000, HEIC and AVIF are read",
        )
    width, height = _size_of(content)
    if width * height > MOST_PIXELS:
        raise HTTPException(
            413, f"the photo has {width} x {height} pixels; {MOST_PIXELS // 1_000_000} million are the limit"
        )


def _size_of(content: bytes) -> tuple[int, int]:
    """Returns the width and height in pixels that the header states; raises HTTPException if it states none."""
    try:
        width, height = imagesize.get(io.BytesIO(content))
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise HTTPException(400, f"the header of the photo is damaged: {error}") from error
    if width <= 0 or height <= 0:
        raise HTTPException(400, "the header of the photo is damaged: it states no size")
    return width, height

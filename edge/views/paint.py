"""Paints results on frames with OpenCV: label, probabilities, latency and, on request, the heat map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.preprocess import Region
from dermedge.edge.printable import printable
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.sources.frame import Frame
from dermedge.edge.states import State
from dermedge.edge.views.colours import Colour, colour_of
from dermedge.edge.views.text import (
    DISCLAIMER,
    answer_title,
    hint_line,
    latency_line,
    name_line,
    nearest_line,
    notes_line,
    rate_line,
    rows_that_fit,
    title_of,
    with_legend,
)

__all__ = ["LEGIBLE_SIZE", "LOST_LIGHT", "paint_classification", "paint_frame", "paint_result"]

# The smallest width and height of a painted frame in pixels. Smaller frames are enlarged, so that text is legible.
LEGIBLE_SIZE = (480, 320)
# While the camera is lost, the last frame is darkened by this factor, so that nobody mistakes it for a live one.
LOST_LIGHT = 0.35
# The longer side of a frame is enlarged to at most this many pixels, although this distorts a very narrow frame.
# Otherwise, a frame of 1 x 6,000 pixels would take gigabytes of memory.
_MOST_SIDE = 8192

_WHITE: Colour = (245, 245, 245)
_GREY: Colour = (205, 205, 205)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# The sizes of text and lines are chosen for frames of this size in pixels. For other frames, they are scaled.
_LAYOUT_WIDTH, _LAYOUT_HEIGHT = 640, 480
_LEAST_SCALE = 0.85  # at a smaller scale, text would be illegible
_PANEL_OPACITY = 0.62
_UNSEEN_LIGHT = 0.75
_HEAT_OPACITY = 0.55


def paint_classification(classification: Classification, heat: bool = False) -> NDArray[np.uint8]:
    """Returns the frame of a classification, with the answer painted on it.

    Args:
        heat: whether to paint the heat map. It is not painted if the model has no heat map.

    Returns:
        A new uint8 array [height, width, 3] in BGR order. The array has the size of the frame. But if the frame is
        narrower or lower than `LEGIBLE_SIZE`, the array is enlarged to at least this width and height.
    """
    image, scale = _canvas(classification.frame.image_bgr)
    _paint_crop(image, classification, heat)
    _paint_panel(image, classification, scale)
    header = _paint_header(image, answer_title(classification), classification, classification.fps, scale)
    notes = ", ".join(filter(None, (nearest_line(classification), notes_line(classification))))
    _paint_notes(image, with_legend(notes, classification), scale, top=header)
    return image


def paint_result(result: FrameResult, heat: bool = False) -> NDArray[np.uint8]:
    """Returns the newest frame with the reticle, the state and the hint painted on it.

    If there is an answer, the answer is painted too.

    Args:
        heat: whether to paint the heat map. It is not painted if the model has no heat map.

    Returns:
        A new uint8 array [height, width, 3] in BGR order, enlarged if it would be smaller than `LEGIBLE_SIZE`. Before
        the first frame, the image is black.
    """
    image, scale = _frame_and_reticle(result, heat)
    if result.shown is not None:
        _paint_panel(image, result.shown, scale)
    else:
        _paint_footer(image, "", scale)
    header = _paint_header(image, title_of(result), result.answer, result.fps, scale, result.temperature_c)
    _paint_notes(image, with_legend(hint_line(result), result.shown), scale, top=header)
    return image


def paint_frame(result: FrameResult, heat: bool = False) -> NDArray[np.uint8]:
    """Returns the newest frame with the reticle but without text, for a view that shows the text beside the frame.

    The arguments and the returned array are the same as for `paint_result`.
    """
    return _frame_and_reticle(result, heat)[0]


def _frame_and_reticle(result: FrameResult, heat: bool) -> tuple[NDArray[np.uint8], float]:
    """Returns two values: a copy of the newest frame with the reticle, and the scale factor for text and lines."""
    blank = np.zeros((LEGIBLE_SIZE[1], LEGIBLE_SIZE[0], 3), np.uint8)
    image, scale = _canvas(result.frame.image_bgr if result.frame else blank)
    if result.shown is not None:
        _paint_crop(image, result.shown, heat)
    else:
        _dim_unread(image, result)
    if result.crop is not None and result.frame is not None:
        _paint_reticle(image, _part(image, result.frame, result.crop), _colour_of_state(result), scale)
    return image, scale


def _canvas(frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Returns two values: a copy of a frame, and the scale factor for text and lines.

    A frame smaller than `LEGIBLE_SIZE` is enlarged.
    """
    image = _enlarge(frame_bgr)
    return image, max(min(image.shape[0] / _LAYOUT_HEIGHT, image.shape[1] / _LAYOUT_WIDTH), _LEAST_SCALE)


def _paint_panel(image: NDArray[np.uint8], classification: Classification, scale: float) -> None:
    """Paints the footer, and above the footer the bars of the classes."""
    footer = _paint_footer(image, latency_line(classification), scale)
    _paint_bars(image, classification, scale, bottom=image.shape[0] - footer)


def _paint_crop(image: NDArray[np.uint8], classification: Classification, heat: bool) -> None:
    """Darkens the frame outside the crop. Paints the heat map if ``heat`` is true and the model has a heat map."""
    crop = _part(image, classification.frame, classification.crop)
    _dim_outside(image, crop)
    heat_cells = heat_map(classification.prediction) if heat else None
    if heat_cells is not None:
        _paint_heat(image[crop], heat_cells)


def _dim_unread(image: NDArray[np.uint8], result: FrameResult) -> None:
    """Darkens the frame outside the crop. This function is for results without probabilities.

    While the camera is lost, the whole frame is darkened, so that nobody mistakes the old frame for a live one.
    """
    if result.state is State.CAMERA_LOST:
        image[...] = cv2.convertScaleAbs(image, alpha=LOST_LIGHT)
    elif result.crop is not None and result.frame is not None:
        _dim_outside(image, _part(image, result.frame, result.crop))


def _colour_of_state(result: FrameResult) -> Colour:
    """Returns the colour of the answered class, or white while there is no answer."""
    return colour_of(result.answer.prediction.index) if result.answer else _WHITE


def _paint_reticle(image: NDArray[np.uint8], crop: tuple[slice, slice], colour: Colour, scale: float) -> None:
    """Paints the reticle, which is a circle. The user should place the lesion in this circle."""
    rows, columns = crop
    centre = ((columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2)
    radius = min(rows.stop - rows.start, columns.stop - columns.start) // 2 - round(2 * scale)
    cv2.circle(image, centre, max(radius, 1), colour, max(1, round(1.5 * scale)), cv2.LINE_AA)


def _enlarge(frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a copy of a frame. A frame smaller than `LEGIBLE_SIZE` is enlarged."""
    height, width = frame_bgr.shape[:2]
    factor = max(1.0, LEGIBLE_SIZE[0] / width, LEGIBLE_SIZE[1] / height)
    if factor == 1:
        return frame_bgr.copy()
    most = max(_MOST_SIDE, width, height)
    size = (min(round(width * factor), most), min(round(height * factor), most))
    return cv2.resize(frame_bgr, size, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _part(image: NDArray[np.uint8], frame: Frame, crop: Region) -> tuple[slice, slice]:
    """Returns the rows and columns of the crop in the painted image. This image may be larger than the frame."""
    down, across = (image.shape[axis] / frame.image_bgr.shape[axis] for axis in (0, 1))
    top, height = round(down * crop.top), round(down * crop.height)
    left, width = round(across * crop.left), round(across * crop.width)
    return slice(top, top + height), slice(left, left + width)


def _paint_heat(crop: NDArray[np.uint8], cells: NDArray[np.float32]) -> None:
    """Blends the heat map over the crop. The higher the value of the heat map, the less transparent is its colour."""
    height, width = crop.shape[:2]
    heat = np.clip(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (_HEAT_OPACITY * heat)[..., None]
    crop[...] = (crop * (1 - opacity) + colours * opacity).astype(np.uint8)


def _dim_outside(image: NDArray[np.uint8], crop: tuple[slice, slice]) -> None:
    """Darkens the image outside the crop."""
    kept = image[crop].copy()
    image[...] = cv2.convertScaleAbs(image, alpha=_UNSEEN_LIGHT)
    image[crop] = kept


def _paint_header(
    image: NDArray[np.uint8],
    title: str,
    classification: Classification | None,
    fps: float | None,
    scale: float,
    temperature_c: float | None = None,
) -> int:
    """Paints title, frame rate and temperature along the upper edge; returns the height of the header in pixels."""
    height = round(40 * scale)
    _panel(image, 0, 0, image.shape[1], height)
    if classification is not None:
        colour = colour_of(classification.prediction.index)
        cv2.rectangle(image, (0, 0), (round(6 * scale), height - 1), colour, -1)
    base = round(27 * scale)
    _text(image, title, (round(18 * scale), base), 0.72 * scale, _WHITE, bold=True)
    _text_right(image, rate_line(fps, temperature_c), base, 0.52 * scale, _WHITE)
    return height


def _paint_notes(image: NDArray[np.uint8], text: str, scale: float, top: int) -> None:
    """Paints the notes in small letters in a panel below the title, on as many lines as the notes need."""
    if not text:
        return
    left, right, size, row = round(18 * scale), round(10 * scale), 0.46 * scale, round(18 * scale)
    lines = _note_lines(text, size, image.shape[1] - left - right)
    width = max(_text_width(line, size) for line in lines)
    _panel(image, 0, top, left + width + right, top + row * len(lines) + round(4 * scale))
    for number, line in enumerate(lines):
        _text(image, line, (left, top + round(14 * scale) + row * number), size, _WHITE)


def _note_lines(text: str, size: float, width: int) -> list[str]:
    """Splits a text into lines of at most ``width`` pixels.

    The text consists of notes with commas between them. A note itself is never split. A note that is wider than
    ``width`` gets its own line.
    """
    lines: list[str] = []
    for note in text.split(", "):
        longer = f"{lines[-1]}, {note}" if lines else note
        if lines and _text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(note)
    return lines


def _paint_footer(image: NDArray[np.uint8], text: str, scale: float) -> int:
    """Paints ``text`` and the disclaimer along the lower edge; returns the height of the footer in pixels."""
    height = round(24 * scale)
    top = image.shape[0] - height
    _panel(image, 0, top, image.shape[1], image.shape[0])
    base = top + round(16 * scale)
    _text(image, text, (round(8 * scale), base), 0.4 * scale, _WHITE)
    _text_right(image, DISCLAIMER, base, 0.4 * scale, _GREY)
    return height


def _paint_bars(image: NDArray[np.uint8], classification: Classification, scale: float, bottom: int) -> None:
    """Paints the bars of the most probable classes in a panel at the left edge, as many bars as fit.

    The lower edge of the panel is at the image row ``bottom``.
    """
    row, pad, size = round(19 * scale), round(8 * scale), 0.42 * scale
    probabilities = classification.prediction.probabilities
    indices = rows_that_fit(probabilities, max(1, image.shape[0] // 2 // row))
    names = max(_text_width(name_line(classification, index), size) for index in indices)
    bar = round(84 * scale)
    right = pad + names + pad + bar + pad + _text_width("100%", size) + pad
    top = bottom - row * len(indices) - pad
    _panel(image, 0, top, right, bottom)
    for position, index in enumerate(indices):
        base = top + pad // 2 + row * position + round(14 * scale)
        chosen = index == classification.prediction.index
        colour = _WHITE if chosen else _GREY
        _text(image, name_line(classification, index), (pad, base), size, colour)
        left = 2 * pad + names
        upper, lower = base - round(9 * scale), base
        cv2.rectangle(image, (left, upper), (left + bar, lower), (70, 70, 70), -1)
        length = round(bar * probabilities[index])
        if length:
            cv2.rectangle(image, (left, upper), (left + length, lower), colour_of(index), -1)
        _text(image, f"{probabilities[index]:.0%}", (left + bar + pad, base), size, colour)


def _panel(image: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> None:
    """Darkens a rectangle, so that text on it is legible on any skin."""
    region = image[max(top, 0) : bottom, left:right]
    region[...] = cv2.convertScaleAbs(region, alpha=1 - _PANEL_OPACITY)


def _text(
    image: NDArray[np.uint8],
    text: str,
    origin: tuple[int, int],
    size: float,
    colour: Colour,
    bold: bool = False,
) -> None:
    # OpenCV crashes on text that is not valid UTF-8
    cv2.putText(
        image, printable(text), origin, _FONT, size, colour, 2 if bold and size > 0.5 else 1, cv2.LINE_AA
    )


def _text_right(image: NDArray[np.uint8], text: str, base: int, size: float, colour: Colour) -> None:
    """Paints a text that ends a little before the right edge."""
    origin = (image.shape[1] - _text_width(text, size) - round(16 * size), base)
    _text(image, text, origin, size, colour)


def _text_width(text: str, size: float) -> int:
    (width, _), _ = cv2.getTextSize(printable(text), _FONT, size, 1)
    return width

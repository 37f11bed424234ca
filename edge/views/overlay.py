"""A classification drawn on its frame: label, probabilities, latency and, if asked, where the evidence lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.model.prediction import Prediction
from dermedge.edge.results import UNCERTAIN, Classification, FrameResult
from dermedge.edge.sources.frame import Frame
from dermedge.edge.states import ANSWERED, State

Colour = tuple[int, int, int]

# Okabe and Ito's colours, that the colour-blind can tell apart, blue first; none of them says "danger".
PALETTE: tuple[Colour, ...] = (
    (0, 159, 230),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (178, 114, 0),
    (0, 94, 213),
    (167, 121, 204),
)
WHITE: Colour = (245, 245, 245)
GREY: Colour = (205, 205, 205)
# Before the names of the classes of a prediction set.
NOT_RULED_OUT = "* "
DISCLAIMER = "not a medical device"
FONT = cv2.FONT_HERSHEY_SIMPLEX
# Smaller pictures are enlarged to this width or height, for text to be legible.
LEGIBLE_SIZE = (480, 320)
# The layout is made for pictures of this size, and scaled for others.
LAYOUT_WIDTH, LAYOUT_HEIGHT = 640, 480
LEAST_SCALE = 0.85  # smaller letters cannot be read
PANEL_OPACITY = 0.62
UNSEEN_LIGHT = 0.75
LOST_LIGHT = 0.35
HEAT_OPACITY = 0.55
# Evidence, in logits, that is at least drawn as full heat: less would make noise glow.
FULL_HEAT = 2.0


def colour_of(index: int) -> Colour:
    """A class's colour, blue first."""
    return PALETTE[index % len(PALETTE)]


def heat_map(prediction: Prediction) -> NDArray[np.float32] | None:
    """Where in the seen square the evidence for the predicted class lies, or None without evidence.

    A cell's heat is the class's evidence less the mean of the other classes': the mean over the cells is
    the class's lead in logits, so that the map is what was decided on, and nothing else.

    Returns:
        float32 [h, w], one value a cell, 0 (none, or against it) to 1 (the hottest cell, or `FULL_HEAT`).
    """
    evidence = prediction.evidence
    if evidence is None:
        return None
    winner = prediction.index
    others = np.delete(evidence, winner, axis=-1).mean(axis=-1)
    lead = np.maximum(evidence[..., winner] - others, 0)
    return (lead / max(float(lead.max()), FULL_HEAT)).astype(np.float32)


def paint_classification(classification: Classification, heat: bool = False) -> NDArray[np.uint8]:
    """The reading's frame with what was decided written over it.

    Args:
        heat: whether to colour where the evidence lies, where the model tells.

    Returns:
        uint8 BGR of the frame's size, or enlarged to about `LEGIBLE_SIZE`; a fresh array.
    """
    image, scale = _canvas(classification.frame.image_bgr)
    _paint_classification(image, classification, scale, heat)
    header = _paint_header(image, answer_line(classification), classification, classification.fps, scale)
    _paint_notes(image, with_legend(notes_line(classification), classification), scale, top=header)
    return image


def paint_result(result: FrameResult, heat: bool = False) -> NDArray[np.uint8]:
    """The newest frame with the reticle, the state and the hint, and the answer where there is one.

    Args:
        heat: as that of `paint_classification`.

    Returns:
        As `paint_classification` does; a dark picture before the first frame.
    """
    blank = np.zeros((LEGIBLE_SIZE[1], LEGIBLE_SIZE[0], 3), np.uint8)
    image, scale = _canvas(result.frame.image_bgr if result.frame else blank)
    if result.classification is not None:
        _paint_classification(image, result.classification, scale, heat)
    else:
        _dim_unread(image, result)
        _paint_footer(image, "", scale)
    if result.crop is not None and result.frame is not None:
        _paint_reticle(image, _part(image, result.frame, result.crop), colour_of_state(result), scale)
    answered = result.classification if result.state in ANSWERED else None
    header = _paint_header(image, title_of(result), answered, result.fps, scale, result.temperature_c)
    _paint_notes(image, with_legend(hint_line(result), result.classification), scale, top=header)
    return image


def _canvas(frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """A legible copy of a frame to draw on, and the scale of its layout."""
    image = _enlarge(frame_bgr)
    return image, max(min(image.shape[0] / LAYOUT_HEIGHT, image.shape[1] / LAYOUT_WIDTH), LEAST_SCALE)


def _paint_classification(
    image: NDArray[np.uint8], classification: Classification, scale: float, heat: bool
) -> None:
    """What the network sees, where its evidence lies, the bars and the footer."""
    seen = _part(image, classification.frame, classification.crop)
    _dim_outside(image, seen)
    heat_cells = heat_map(classification.prediction) if heat else None
    if heat_cells is not None:
        _paint_heat(image[seen], heat_cells)
    footer = _paint_footer(image, latency_line(classification), scale)
    _paint_bars(image, classification, scale, bottom=image.shape[0] - footer)


def _dim_unread(image: NDArray[np.uint8], result: FrameResult) -> None:
    """Darkens what the network would not see, and all of an old picture, lest it be taken for a live one."""
    if result.state is State.CAMERA_LOST:
        image[...] = cv2.convertScaleAbs(image, alpha=LOST_LIGHT)
    elif result.crop is not None and result.frame is not None:
        _dim_outside(image, _part(image, result.frame, result.crop))


def colour_of_state(result: FrameResult) -> Colour:
    """White where a person has something to do, else that of the answered class, blue first."""
    if result.state in ANSWERED and result.classification is not None:
        return colour_of(result.classification.prediction.index)
    return WHITE


def _paint_reticle(image: NDArray[np.uint8], seen: tuple[slice, slice], colour: Colour, scale: float) -> None:
    """The circle that the lesion belongs into."""
    rows, columns = seen
    centre = ((columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2)
    radius = (rows.stop - rows.start) // 2 - round(2 * scale)
    cv2.circle(image, centre, max(radius, 1), colour, max(1, round(1.5 * scale)), cv2.LINE_AA)


def _enlarge(frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy, enlarged until it is legible."""
    height, width = frame_bgr.shape[:2]
    factor = max(1.0, LEGIBLE_SIZE[0] / width, LEGIBLE_SIZE[1] / height)
    if factor == 1:
        return frame_bgr.copy()
    size = (round(width * factor), round(height * factor))
    return cv2.resize(frame_bgr, size, interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _part(image: NDArray[np.uint8], frame: Frame, seen: tuple[int, int, int]) -> tuple[slice, slice]:
    """Rows and columns of the drawn, maybe enlarged, frame that the network sees."""
    factor = image.shape[0] / frame.image_bgr.shape[0]
    top, left, side = (round(factor * one) for one in seen)
    return slice(top, top + side), slice(left, left + side)


def _paint_heat(seen: NDArray[np.uint8], cells: NDArray[np.float32]) -> None:
    """Blends the heat over what the network sees, the more the hotter, so that cold skin stays as it is."""
    height, width = seen.shape[:2]
    heat = np.clip(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (HEAT_OPACITY * heat)[..., None]
    seen[...] = (seen * (1 - opacity) + colours * opacity).astype(np.uint8)


def _dim_outside(image: NDArray[np.uint8], seen: tuple[slice, slice]) -> None:
    """Darkens what the network does not see."""
    kept = image[seen].copy()
    image[...] = cv2.convertScaleAbs(image, alpha=UNSEEN_LIGHT)
    image[seen] = kept


def _paint_header(
    image: NDArray[np.uint8],
    title: str,
    classification: Classification | None,
    fps: float | None,
    scale: float,
    temperature_c: float | None = None,
) -> int:
    """The title, and rate and temperature, along the upper edge; returns its height in pixels."""
    height = round(40 * scale)
    _panel(image, 0, 0, image.shape[1], height)
    if classification is not None:
        colour = colour_of(classification.prediction.index)
        cv2.rectangle(image, (0, 0), (round(6 * scale), height - 1), colour, -1)
    base = round(27 * scale)
    _text(image, title, (round(18 * scale), base), 0.72 * scale, WHITE, bold=True)
    _text_right(image, rate_line(fps, temperature_c), base, 0.52 * scale, WHITE)
    return height


def _paint_notes(image: NDArray[np.uint8], text: str, scale: float, top: int) -> None:
    """What there is to say besides the title, small, in a panel of its own below it."""
    if not text:
        return
    left, size = round(18 * scale), 0.46 * scale
    _panel(image, 0, top, left + _text_width(text, size) + round(10 * scale), top + round(22 * scale))
    _text(image, text, (left, top + round(14 * scale)), size, WHITE)


def _paint_footer(image: NDArray[np.uint8], text: str, scale: float) -> int:
    """What it took, and what it is not, along the lower edge; returns its height in pixels."""
    height = round(24 * scale)
    top = image.shape[0] - height
    _panel(image, 0, top, image.shape[1], image.shape[0])
    base = top + round(16 * scale)
    _text(image, text, (round(8 * scale), base), 0.4 * scale, WHITE)
    _text_right(image, DISCLAIMER, base, 0.4 * scale, GREY)
    return height


def answer_line(classification: Classification) -> str:
    """The label with its probability."""
    return f"{classification.label}  {classification.prediction.probability:.0%}"


def title_of(result: FrameResult) -> str:
    """The answer, or what the device does to find one."""
    answered = result.classification if result.state in ANSWERED else None
    return answer_line(answered) if answered else result.state


def rate_line(fps: float | None, temperature_c: float | None) -> str:
    """Frames a second, and the processor's temperature where it is known."""
    parts = ["" if fps is None else f"{fps:.1f} fps"]
    if temperature_c is not None:
        parts.insert(0, f"{temperature_c:.0f} C")  # OpenCV's letters have no degree sign
    return "  ".join(parts).strip()


def hint_line(result: FrameResult) -> str:
    """What to do, and what the decision says beside the label of an answer; often nothing."""
    notes = notes_line(result.classification) if result.classification and result.state in ANSWERED else ""
    return ", ".join(filter(None, (notes, result.hint)))


def notes_line(classification: Classification) -> str:
    """What the decision says beside the label: uncertain, and the alert of a class; often nothing."""
    notes = []
    if classification.is_uncertain and classification.label != UNCERTAIN:
        notes.append(UNCERTAIN)
    if classification.prediction.alert:
        notes.append(f"{classification.prediction.alert} alert")
    return ", ".join(notes)


def set_line(chosen: Sequence[str]) -> str:
    """A prediction set as sets are written."""
    return f"{{{', '.join(chosen)}}}"


def with_legend(text: str, classification: Classification | None) -> str:
    """A line beside the bars of a classification, with what `NOT_RULED_OUT` means where sets were asked for."""
    legend = (
        f"{NOT_RULED_OUT}not ruled out"
        if classification and classification.prediction_set is not None
        else ""
    )
    return ", ".join(filter(None, (text, legend)))


def name_line(classification: Classification, index: int) -> str:
    """A class's name as it stands beside its bar: with `NOT_RULED_OUT` where the prediction set has it."""
    label = classification.labels[index]
    return f"{NOT_RULED_OUT}{label}" if label in (classification.prediction_set or ()) else label


def latency_line(classification: Classification, with_capture: bool = True) -> str:
    """The latency split in one line, in milliseconds."""
    timing = classification.prediction.timing
    capture = f"capture {classification.capture_ms:.1f}  " if with_capture else ""
    return (
        f"ms: {capture}pre {timing.preprocess_ms:.1f}  "
        f"invoke {timing.invoke_ms:.1f}  post {timing.postprocess_ms:.1f}"
    )


def rows_that_fit(probabilities: Sequence[float], count: int) -> list[int]:
    """Indices of the ``count`` most probable classes, in the model's order, so that bars do not jump."""
    return sorted(sorted(range(len(probabilities)), key=lambda index: -probabilities[index])[:count])


def _paint_bars(image: NDArray[np.uint8], classification: Classification, scale: float, bottom: int) -> None:
    """One bar a class, in a panel in the lower left corner that ends at ``bottom``."""
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
        colour = WHITE if chosen else GREY
        _text(image, name_line(classification, index), (pad, base), size, colour)
        left = 2 * pad + names
        upper, lower = base - round(9 * scale), base
        cv2.rectangle(image, (left, upper), (left + bar, lower), (70, 70, 70), -1)
        length = round(bar * probabilities[index])
        if length:
            cv2.rectangle(image, (left, upper), (left + length, lower), colour_of(index), -1)
        _text(image, f"{probabilities[index]:.0%}", (left + bar + pad, base), size, colour)


def _panel(image: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> None:
    """Darkens a rectangle, so that text over it is legible on any skin."""
    region = image[max(top, 0) : bottom, left:right]
    region[...] = cv2.convertScaleAbs(region, alpha=1 - PANEL_OPACITY)


def _text(
    image: NDArray[np.uint8],
    text: str,
    origin: tuple[int, int],
    size: float,
    colour: Colour,
    bold: bool = False,
) -> None:
    cv2.putText(image, text, origin, FONT, size, colour, 2 if bold and size > 0.5 else 1, cv2.LINE_AA)


def _text_right(image: NDArray[np.uint8], text: str, base: int, size: float, colour: Colour) -> None:
    """Text that ends a little before the right edge."""
    origin = (image.shape[1] - _text_width(text, size) - round(16 * size), base)
    _text(image, text, origin, size, colour)


def _text_width(text: str, size: float) -> int:
    (width, _), _ = cv2.getTextSize(text, FONT, size, 1)
    return width


def encode(image_bgr: NDArray[np.uint8], suffix: str) -> bytes:
    """A picture file's content, in the format that ``suffix`` names, such as ``.png``."""
    encoded: Any = cv2.imencode(suffix, image_bgr)
    return encoded[1].tobytes()

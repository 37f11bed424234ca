"""Shows results in a terminal: the frame in half-block characters, and the answer beside or above the frame."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from itertools import zip_longest
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.printable import printable
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State
from dermedge.edge.views.colours import colour_of
from dermedge.edge.views.paint import LOST_LIGHT
from dermedge.edge.views.systemd import is_service
from dermedge.edge.views.text import (
    DISCLAIMER,
    answer_line,
    hint_line,
    latency_line,
    name_line,
    notes_line,
    rate_line,
    rows_that_fit,
    set_line,
    title_of,
    with_legend,
)

__all__ = ["TerminalView", "half_blocks", "plain_line", "render"]

# The shortest time between two updates of the terminal. One update is about 40 kB of text. A slow connection or a
# Raspberry Pi could not process 30 updates a second.
_DRAW_INTERVAL_S = 1 / 15
_LINE_INTERVAL_S = 1.0
_PANEL_COLUMNS = 42
_MAX_BARS = 9
_MAX_NOTE_LINES, _LEAST_NOTE_WIDTH = 3, 8
_MIN_IMAGE_COLUMNS = 24
_FALLBACK_SIZE = (80, 24)
# A black image, which is shown before the first frame.
_BLANK = np.zeros((3, 4, 3), np.uint8)

# These escape codes open the alternate screen, hide the cursor, turn line wrapping off, and clear the screen.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"
# These escape codes begin and end a synchronized update. A terminal that supports synchronized updates draws the whole
# update in one step.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_RESET, _BOLD, _DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class TerminalView:
    """Draws results on the alternate screen of the terminal, and restores the normal screen at the exit.

    If standard output is not an interactive terminal, the view prints a plain line about once a second. In a systemd
    service, it prints a plain line only when the state or the answer changes, at most once a second. For each photo of
    a folder, it always prints one plain line.
    """

    def __init__(self) -> None:
        self._live = _is_interactive()
        self._draws = False
        self._changes_only = is_service()
        self._said: tuple[str, str] | None = None
        self._due = 0.0

    def __enter__(self) -> TerminalView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._draws:
            _write(_LEAVE)

    def show(self, result: FrameResult) -> bool:
        now = time.monotonic()
        if result.is_of_photo:
            print(plain_line(result), flush=True)
        elif now < self._due:
            return True
        elif self._live:
            self._due = now + _DRAW_INTERVAL_S
            self._draw(result)
        elif not self._changes_only or self._is_changed(result):
            self._due = now + _LINE_INTERVAL_S
            print(plain_line(result), flush=True)
        return True

    def _draw(self, result: FrameResult) -> None:
        """Draws a result on the alternate screen. The first result opens the alternate screen."""
        if not self._draws:
            self._draws = True
            _write(_ENTER)
        columns, rows = _terminal_size()
        _write(_BEGIN + _HOME + render(result, columns, rows) + _CLEAR_BELOW + _END)

    def finish(self) -> None:
        pass

    def _is_changed(self, result: FrameResult) -> bool:
        before, self._said = self._said, result.meaning
        return self._said != before


def plain_line(result: FrameResult) -> str:
    """Returns a result as one line of plain text."""
    frame, shown = result.frame, result.shown
    parts = [
        f"frame {frame.number}" if frame else "",
        answer_line(result.answer) if result.answer else result.state,
        notes_line(result.answer) if result.answer else "",
        printable(result.hint),
        f"set {set_line(shown.prediction_set)}" if shown and shown.prediction_set is not None else "",
        rate_line(result.fps, result.temperature_c),
        f"age {result.classification.frame_age_ms:.0f} ms" if result.classification else "",
        f"dropped {result.counts.dropped}",
        printable(frame.name) if frame else "",
    ]
    return "  ".join(filter(None, parts))


def render(result: FrameResult, columns: int, rows: int) -> str:
    """Returns a result as coloured text: at most ``rows`` lines of at most ``columns`` character cells."""
    image = _image_of(result)
    columns -= 1  # in a full line, _CLEAR_LINE would erase the last character
    if columns < _PANEL_COLUMNS + _MIN_IMAGE_COLUMNS:
        panel = _compact_lines(result, columns)[:rows]
        lines = panel + half_blocks(image, columns, rows - len(panel))
    else:
        room = columns - _PANEL_COLUMNS
        panel = _panel_lines(result, _PANEL_COLUMNS - 2)
        drawn = half_blocks(image, room, rows)
        blank = " " * _fit(image, room, rows)[0]
        lines = [
            f"{left or blank}{_RESET}  {right or ''}" for left, right in zip_longest(drawn, panel[:rows])
        ]
    return "\r\n".join(line + _RESET + _CLEAR_LINE for line in lines)


def _image_of(result: FrameResult) -> NDArray[np.uint8]:
    """Returns the newest frame, darkened while the camera is lost. Before the first frame, the image is black."""
    if result.frame is None:
        return _BLANK
    if result.state is State.CAMERA_LOST:
        return np.asarray(cv2.convertScaleAbs(result.frame.image_bgr, alpha=LOST_LIGHT), np.uint8)
    return result.frame.image_bgr


def half_blocks(image_bgr: NDArray[np.uint8], columns: int, rows: int) -> list[str]:
    """Returns an image as lines of half-block characters, scaled to fit into ``columns`` x ``rows`` character cells.

    Each cell shows two pixels, one above the other. A colour code is written only where the colour changes.
    The lowest two bits of each colour value are cleared, so that the colour changes less often.

    Args:
        image_bgr: uint8 array [height, width, 3] in BGR order.
    """
    if rows < 1:
        return []
    across, down = _fit(image_bgr, columns, rows)
    small = np.asarray(cv2.resize(image_bgr, (across, 2 * down), interpolation=cv2.INTER_AREA), np.uint8)
    pixels = (small[..., ::-1] & 0xFC).tolist()
    return [_half_block_line(*pair) for pair in zip(pixels[::2], pixels[1::2], strict=True)]


def _half_block_line(upper: list[list[int]], lower: list[list[int]]) -> str:
    """Returns one line of character cells, which shows two rows of pixels. Each pixel is [red, green, blue]."""
    cells: list[str] = []
    top_before: list[int] | None = None
    bottom_before: list[int] | None = None
    for top, bottom in zip(upper, lower, strict=True):
        if top != top_before:
            cells.append(_foreground(*top))
        if bottom != bottom_before:
            cells.append(f"\x1b[48;2;{bottom[0]};{bottom[1]};{bottom[2]}m")
        cells.append("▀")
        top_before, bottom_before = top, bottom
    return "".join(cells)


def _fit(image_bgr: NDArray[np.uint8], columns: int, rows: int) -> tuple[int, int]:
    """Returns how many columns and rows of character cells the image fills. A cell is two pixels high."""
    height, width = image_bgr.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    return max(1, int(width * scale)), max(1, int(height * scale / 2))


def _panel_lines(result: FrameResult, columns: int) -> list[str]:
    """Returns state, label, probabilities, frame rate and latencies as lines of at most ``columns`` characters."""
    figures: list[tuple[str, str] | None] = [
        ("frames a second", "-" if result.fps is None else f"{result.fps:.1f}"),
        ("dropped", str(result.counts.dropped)),
        ("not classified", str(sum(result.counts.rejected.values()))),
    ]
    if result.temperature_c is not None:
        figures.append(("processor", f"{result.temperature_c:.0f} °C"))
    if result.classification is not None:
        timing = result.classification.prediction.timing
        figures += [
            ("frame age", f"{result.classification.frame_age_ms:.1f} ms"),
            None,
            ("capture", f"{result.classification.capture_ms:.1f} ms"),
            ("preprocess", f"{timing.preprocess_ms:.1f} ms"),
            ("invoke", f"{timing.invoke_ms:.1f} ms"),
            ("postprocess", f"{timing.postprocess_ms:.1f} ms"),
            ("end to end", f"{result.classification.end_to_end_ms:.1f} ms"),
        ]
    name = printable(result.frame.name) if result.frame else ""
    return [
        *_head(result, columns),
        "",
        *(f"{_DIM}{one[0]:<17}{_RESET}{one[1]:>10}" if one else "" for one in figures),
        "",
        f"{_DIM}{_cut(name, columns)}{_RESET}",
        f"{_DIM}{_cut(f'{DISCLAIMER}; Ctrl-C stops', columns)}{_RESET}",
    ]


def _compact_lines(result: FrameResult, columns: int) -> list[str]:
    """Returns the most important lines of the panel, so that a small terminal has room for the frame."""
    figures = [f"{rate_line(result.fps, None) or '- fps'}, {result.counts.dropped} dropped"]
    if result.classification is not None:
        figures[0] += f", age {result.classification.frame_age_ms:.0f} ms"
        figures.append(latency_line(result.classification))
        if len(figures[-1]) > columns:
            figures[-1] = latency_line(result.classification, with_capture=False)
    return [
        *_head(result, columns),
        *(f"{_DIM}{_cut(line, columns)}{_RESET}" for line in (*figures, DISCLAIMER)),
    ]


def _head(result: FrameResult, columns: int) -> list[str]:
    """Returns the upper lines of the panel: title, notes, hint for the user, and bars of the most probable classes."""
    shown = result.shown
    notes = textwrap.wrap(
        with_legend(hint_line(result), shown),
        max(columns - 2, _LEAST_NOTE_WIDTH),
        max_lines=_MAX_NOTE_LINES,
        placeholder=" …",
    )
    colour = _foreground(*colour_of(shown.prediction.index)[::-1]) if shown else ""
    return [
        f"{colour}█{_RESET} {_BOLD}{_cut(title_of(result), columns - 2)}{_RESET}",
        *(f"  {_DIM}{line}{_RESET}" for line in notes or [""]),
        *(_bars(shown, columns) if shown else []),
    ]


def _bars(classification: Classification, columns: int) -> list[str]:
    """Returns one line for each of the most probable classes, with the name, a bar and the percentage.

    The length of a bar is rounded to an eighth of a character cell.
    """
    probabilities = classification.prediction.probabilities
    indices = rows_that_fit(probabilities, _MAX_BARS)
    names = min(max(len(name_line(classification, index)) for index in indices), columns // 2 + 5)
    room = max(columns - names - 6, 1)
    lines = []
    for index in indices:
        eighths = round(8 * room * probabilities[index])
        bar = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        style = _BOLD if index == classification.prediction.index else _DIM
        lines.append(
            f"{style}{_cut(name_line(classification, index), names):<{names}}{_RESET} "
            f"{_foreground(*colour_of(index)[::-1])}{bar:<{room}}{_RESET}{probabilities[index]:>5.0%}"
        )
    return lines


def _foreground(red: int, green: int, blue: int) -> str:
    return f"\x1b[38;2;{red};{green};{blue}m"


def _cut(text: str, columns: int) -> str:
    """Shortens a text to at most ``columns`` characters. Cuts off the beginning, because paths differ at the end."""
    return text if len(text) <= columns else "…" + text[len(text) - columns + 1 :]


def _terminal_size() -> tuple[int, int]:
    """Returns the current numbers of columns and rows of the terminal.

    The size is read at each update, because the user may resize the terminal at any time.
    """
    size = os.get_terminal_size(sys.stdout.fileno())
    return (size.columns, size.lines) if size.columns and size.lines else _FALLBACK_SIZE


def _is_interactive() -> bool:
    """Tells whether the view may draw on the alternate screen.

    Standard output must be a terminal that supports Unicode, TERM must not be dumb, and NO_COLOR must not be set.
    """
    asked_plain = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    is_unicode = sys.stdout.encoding.lower().replace("-", "").startswith("utf")
    return sys.stdout.isatty() and is_unicode and not asked_plain


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()

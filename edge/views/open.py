"""The views by name; each is imported only when it is opened."""

from __future__ import annotations

from collections.abc import Callable

from dermedge.edge.views.view import View

__all__ = ["VIEWS", "open_best", "open_jsonlines", "open_terminal", "open_window"]


def open_window() -> View:
    """Returns a window.

    Raises:
        OptionError: this OpenCV or this machine has no screen.
    """
    from dermedge.edge.views.window import WindowView

    return WindowView()


def open_terminal() -> View:
    """Returns the terminal, or one plain line a second if standard output is not one, or should be plain."""
    from dermedge.edge.views.terminal import TerminalView

    return TerminalView()


def open_best() -> View:
    """Returns a window if that is possible, else the terminal."""
    from dermedge.edge.views.window import why_no_window

    return open_terminal() if why_no_window() else open_window()


def open_jsonlines(is_live: bool = False) -> View:
    """JSON lines: one JSON object a result.

    Args:
        is_live: whether a reader that is too slow misses results, as a slow viewer misses frames.
    """
    from dermedge.edge.views.jsonlines import JsonLinesView

    return JsonLinesView(is_live)


VIEWS: dict[str, Callable[[], View]] = {
    "auto": open_best,
    "window": open_window,
    "terminal": open_terminal,
}

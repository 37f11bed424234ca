"""Opens views by their names. A view is imported only when it is opened."""

from __future__ import annotations

from collections.abc import Callable

from dermedge.edge.views.view import View

__all__ = ["VIEWS", "open_best", "open_jsonlines", "open_terminal", "open_window"]


def open_window() -> View:
    """Returns a window.

    Raises:
        OptionError: this OpenCV has no windows, or this machine has no screen.
    """
    from dermedge.edge.views.window import WindowView

    return WindowView()


def open_terminal() -> View:
    """Returns the view for the terminal.

    It prints one plain line a second if standard output is no terminal, or if plain text is asked for.
    """
    from dermedge.edge.views.terminal import TerminalView

    return TerminalView()


def open_best() -> View:
    """Returns a window if that is possible, else the terminal."""
    from dermedge.edge.views.window import why_no_window

    return open_terminal() if why_no_window() else open_window()


def open_jsonlines(is_live: bool = False) -> View:
    """Returns the view that prints one JSON object for each result.

    Args:
        is_live: whether results are skipped if the reader is too slow.
    """
    from dermedge.edge.views.jsonlines import JsonLinesView

    return JsonLinesView(is_live)


VIEWS: dict[str, Callable[[], View]] = {
    "auto": open_best,
    "window": open_window,
    "terminal": open_terminal,
}

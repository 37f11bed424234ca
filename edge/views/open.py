"""Opens views by name. The module of a view is imported only when the view is opened."""

from __future__ import annotations

from collections.abc import Callable

from dermedge.edge.views.view import View

__all__ = ["VIEWS", "open_best", "open_jsonlines", "open_terminal", "open_window"]


def open_window() -> View:
    """Returns the view that shows results in a window.

    Raises:
        OptionError: if the installed OpenCV cannot open windows, or if this machine has no screen.
    """
    from dermedge.edge.views.window import WindowView

    return WindowView()


def open_terminal() -> View:
    """Returns the view for the terminal.

    The view prints plain lines, about one per second, in two cases: standard output is not a terminal, or the user
    asked for plain text with the environment variable NO_COLOR or with TERM=dumb.
    """
    from dermedge.edge.views.terminal import TerminalView

    return TerminalView()


def open_best() -> View:
    """Returns the window view if a window can be opened, and the terminal view otherwise."""
    from dermedge.edge.views.window import why_no_window

    return open_terminal() if why_no_window() else open_window()


def open_jsonlines(is_live: bool = False) -> View:
    """Returns the view that prints one JSON object for each result.

    Args:
        is_live: whether the frames come from a live source, such as a camera. While the reader of a pipe is too slow,
            the view skips results of a live source. For all other sources, it prints every result.
    """
    from dermedge.edge.views.jsonlines import JsonLinesView

    return JsonLinesView(is_live)


VIEWS: dict[str, Callable[[], View]] = {
    "auto": open_best,
    "window": open_window,
    "terminal": open_terminal,
}

"""How results are shown: a window, a terminal, JSON lines, or several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

from dermedge.edge.results import FrameResult


class View(Protocol):
    """Shows results from entry to exit, and leaves the screen as it was."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, result: FrameResult) -> bool:
        """Shows a result; False when the person asked to stop."""

    def finish(self) -> None:
        """Called when a source has ended by itself: a window stays until it is closed."""


class Several:
    """Views that show the same results; one that says stop stops all."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        self._entered = ExitStack()

    def __enter__(self) -> Several:
        with ExitStack() as entered:
            for view in self._views:
                entered.enter_context(view)
            self._entered = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.__exit__(kind, error, trace)

    def show(self, result: FrameResult) -> bool:
        going_on = [view.show(result) for view in self._views]
        return all(going_on)

    def finish(self) -> None:
        for view in self._views:
            view.finish()


def open_window() -> View:
    """A window.

    Raises:
        OptionError: this OpenCV or this machine has no screen.
    """
    from dermedge.edge.views.window import WindowView

    return WindowView()


def open_terminal() -> View:
    """The terminal, or a plain line a second where standard output is none, or is asked to be plain."""
    from dermedge.edge.views.terminal import TerminalView

    return TerminalView()


def open_best() -> View:
    """A window where that is possible, else the terminal."""
    from dermedge.edge.views.window import why_no_window

    return open_terminal() if why_no_window() else open_window()


def open_jsonlines() -> View:
    """One JSON object a result."""
    from dermedge.edge.views.jsonlines import JsonLinesView

    return JsonLinesView()


VIEWS: dict[str, Callable[[], View]] = {
    "auto": open_best,
    "window": open_window,
    "terminal": open_terminal,
}

"""The protocol that all views follow, and a view that passes each result to several views."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

from dermedge.edge.results import FrameResult

__all__ = ["Several", "View"]


class View(Protocol):
    """Shows results as long as the ``with`` block runs.

    At the end of the block, a window is closed, and the previous content of the terminal is restored.
    """

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, result: FrameResult) -> bool:
        """Shows a result. Returns False if the user asked to stop, and True otherwise."""

    def finish(self) -> None:
        """Reacts to the end of the source. The window view, for example, waits until the user closes the window."""


class Several:
    """Shows the same results in several views. If the user asks one view to stop, all views stop."""

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

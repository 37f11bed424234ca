"""The protocol of all views, and a view that shows results in several others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

from dermedge.edge.results import FrameResult

__all__ = ["Several", "View"]


class View(Protocol):
    """Shows results from entry to exit, and then leaves the screen as it was."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, result: FrameResult) -> bool:
        """Shows a result; returns False if the user asked to stop."""

    def finish(self) -> None:
        """Is called when the source has ended: a window then stays until the user closes it."""


class Several:
    """Views that show the same results; if one asks to stop, all stop."""

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

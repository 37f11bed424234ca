"""Several views that show the same results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

import pytest

from dermedge.edge.results import FrameResult
from dermedge.edge.views.view import Several


class Told:
    """A view that writes each call into a list that all views share."""

    def __init__(self, name: str, calls: list[str], goes_on: bool = True, opens: bool = True) -> None:
        self.name, self.calls, self.goes_on, self.opens = name, calls, goes_on, opens

    def __enter__(self) -> Told:
        if not self.opens:
            raise OSError(self.name)
        self.calls.append(f"{self.name} opens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.calls.append(f"{self.name} closes")

    def show(self, result: FrameResult) -> bool:
        self.calls.append(f"{self.name} shows {result.hint}")
        return self.goes_on

    def finish(self) -> None:
        self.calls.append(f"{self.name} finishes")


@pytest.mark.parametrize("answers", [(True, True), (True, False), (False, True), (False, False)])
def test_each_view_gets_each_call_and_one_that_stops_stops_all(
    answers: Sequence[bool], make_result: Callable[..., FrameResult]
) -> None:
    calls: list[str] = []
    with Several([Told(name, calls, goes_on) for name, goes_on in zip("ab", answers, strict=True)]) as views:
        assert views.show(make_result(hint="it")) is (answers == (True, True))
        views.finish()
    assert calls == [
        *("a opens", "b opens"),
        *("a shows it", "b shows it"),
        *("a finishes", "b finishes"),
        *("b closes", "a closes"),
    ]


def test_if_a_view_cannot_open_those_before_it_close() -> None:
    calls: list[str] = []
    with pytest.raises(OSError, match="b"), Several([Told("a", calls), Told("b", calls, opens=False)]):
        pass
    assert calls == ["a opens", "a closes"]

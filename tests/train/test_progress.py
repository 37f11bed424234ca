"""The line that shows how far a long task is, and how long it will take."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from dermedge.train import progress
from dermedge.train.progress import progress_line


class Clock:
    """A clock that is set by hand, in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Standard error, as a terminal."""

    is_there = True

    def isatty(self) -> bool:
        return self.is_there

    def taken(self) -> str:
        """What was printed since the last call."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made)
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    # pytest sets the real standard error anew for each test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=made))
    return made


@pytest.mark.parametrize(
    ("spent_s", "done", "line"),
    [
        # 20 of 100 steps took 20 seconds, so the other 80 take 80 seconds.
        (20, 20, "reading: 20 %, 80 s left"),
        # Half of the steps took 89 or 150 seconds, and the other half takes as long. From 90 seconds on,
        # minutes are shown.
        (89, 50, "reading: 50 %, 89 s left"),
        (150, 50, "reading: 50 %, 2 min left"),
        # The time left is 6 seconds, and then 4 seconds, which are too few to be shown.
        (294, 98, "reading: 98 %, 6 s left"),
        (196, 98, "reading: 98 %"),
        (50, 0, "reading: 0 %"),
        (500, 100, "reading: 100 %"),
    ],
)
def test_the_time_left_is_that_of_the_steps_left_at_the_speed_so_far(
    clock: Clock, terminal: Terminal, spent_s: float, done: int, line: str
) -> None:
    show = progress_line("reading")
    clock.now += spent_s
    show(done, 100)
    told = terminal.taken()
    # The line is written again from its beginning, and covers what it showed before. After the last step, it stays.
    assert told.startswith("\r")
    assert told[1:].rstrip() == line
    assert len(told.rstrip("\n")) == 79
    assert told.endswith("\n") == (done == 100)


def test_some_fifty_of_many_steps_are_shown_and_the_last_one(clock: Clock, terminal: Terminal) -> None:
    show = progress_line("reading")
    for done in range(1, 1022):
        show(done, 1021)
    lines = terminal.taken().split("\r")[1:]
    assert 50 <= len(lines) <= 52
    assert lines[-1].startswith("reading: 100 %")
    for done in range(1, 8):
        show(done, 7)
    assert len(terminal.taken().split("\r")[1:]) == 7


def test_nothing_is_shown_where_no_terminal_is(terminal: Terminal) -> None:
    terminal.is_there = False
    progress_line("reading")(1, 1)
    assert terminal.taken() == ""

"""The line on a terminal that tells what is being measured."""

from __future__ import annotations

import sys

import pytest

from dermedge.benchmarks.status_line import print_above_status, show_status, status_cleared

BLANK = "\r" + 78 * " " + "\r"


def test_a_terminal_shows_one_line_that_is_overwritten_and_cleared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show_status("half of it")
    print_above_status("a line")
    with pytest.raises(KeyError), status_cleared():
        raise KeyError
    said = capsys.readouterr()
    assert said.err == "\rhalf of it" + 68 * " " + BLANK + "a line\n" + BLANK
    assert said.out == ""


def test_a_long_name_or_a_control_code_does_not_leave_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show_status("start and memory: \n" + 80 * "a" + ".tflite")
    [line] = capsys.readouterr().err.removeprefix("\r").splitlines()
    assert len(line) == 78
    assert line.startswith(r"start and memory: \n")
    assert line.endswith("a.tflite")


def test_a_file_gets_no_status_but_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    with status_cleared():
        show_status("half of it")
        print_above_status("a line")
    assert capsys.readouterr().err == "a line\n"

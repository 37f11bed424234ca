"""What every `python -m benchmarks.X` does with bad input and Ctrl-C."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import dermedge.benchmarks.lab
from dermedge.benchmarks.command import run_command, show_progress
from dermedge.edge.errors import OptionError

# Processes that measurements start; nobody types their arguments.
WORKERS = {"counted", "many_photos", "memory", "peer_worker", "viewer"}
COMMANDS = sorted(
    path.stem
    for path in Path(dermedge.benchmarks.lab.__path__[0]).glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8") and path.stem not in WORKERS
)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_is_not_known_is_one_line_and_status_2(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--nonsense"])
    # else runpy warns that it runs anew what is imported already
    monkeypatch.delitem(sys.modules, f"dermedge.benchmarks.lab.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"dermedge.benchmarks.lab.{name}", run_name="__main__")
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    [line] = said.err.splitlines()
    assert line.startswith("dermedge: error: ")
    assert line.endswith(f"; see python -m dermedge.benchmarks.lab.{name} --help")


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run_command(interrupted) == 130
    assert capsys.readouterr().err == "dermedge: stopped\n"


def test_the_line_of_progress_does_not_stay_before_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def fails() -> int:
        show_progress("half of it")
        raise OptionError("no such thing")

    assert run_command(fails) == 2
    assert capsys.readouterr().err.rpartition("\r")[2] == "dermedge: error: no such thing\n"

"""`python -m dermedge.benchmarks.lab`: the list of experiments, bad input, Ctrl-C and the line of progress."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import dermedge.benchmarks.lab
from dermedge.benchmarks.lab.cli import EXPERIMENTS, main
from dermedge.benchmarks.status_line import show_status
from dermedge.edge.errors import OptionError

FOLDER = Path(dermedge.benchmarks.lab.__path__[0])


def test_every_module_with_a_main_is_an_experiment_that_is_listed() -> None:
    with_main = {
        path.stem
        for path in FOLDER.glob("*.py")
        if "\ndef main(argv" in path.read_text(encoding="utf-8") and path.stem != "cli"
    }
    assert with_main == {name.replace("-", "_") for name in EXPERIMENTS}


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_list_names_each_experiment_and_what_it_is_for(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, purpose in EXPERIMENTS.items():
        assert [line.split(None, 1) for line in lines if line.split()[:1] == [name]] == [[name, purpose]]


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dermedge.benchmarks.lab"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "growth" in done.stdout


def test_an_unknown_experiment_is_one_line_that_names_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["peer"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("dermedge: error: unknown experiment 'peer'. Known: anchors, calibration, ")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_unknown_option_is_one_line_and_status_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--nonsense"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("dermedge: error: ")
    assert line.endswith(f"ee python -m dermedge.benchmarks.lab {name} --help")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"dermedge.benchmarks.lab.{name.replace('-', '_')}").main(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m dermedge.benchmarks.lab {name} ")


@pytest.fixture
def as_experiment(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Puts a function in the place of the experiment `card`."""

    def put(run: Callable[[], int]) -> None:
        stand_in = ModuleType("card")

        def main_of(argv: Sequence[str]) -> int:
            return run()

        stand_in.main = main_of  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "dermedge.benchmarks.lab.card", stand_in)

    return put


def test_ctrl_c_is_status_130(
    as_experiment: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    as_experiment(interrupted)
    assert main(["card"]) == 130
    assert capsys.readouterr().err == "dermedge: stopped\n"


def test_the_line_of_progress_is_gone_before_an_error(
    as_experiment: Callable[[Callable[[], int]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def fails() -> int:
        show_status("half of it")
        raise OptionError("no such thing")

    as_experiment(fails)
    assert main(["card"]) == 2
    assert capsys.readouterr().err.rpartition("\r")[2] == "dermedge: error: no such thing\n"

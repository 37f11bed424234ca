"""Functions and programs in child processes: their results, and the messages of their failures."""

from __future__ import annotations

import os
import sys
from math import hypot
from pathlib import Path

import pytest

from dermedge.benchmarks.child import call_in_child, run_program
from dermedge.edge.errors import MissingExtra, OptionError, ToolError
from dermedge.edge.model.runtime import RUNTIMES, choose_runtime, installed_runtimes
from dermedge.edge.photos import read_picture


def test_a_function_runs_in_another_process_and_its_result_comes_back() -> None:
    assert call_in_child(hypot, 3.0, 4.0) == 5.0
    assert call_in_child(os.getpid) != os.getpid()


def test_a_child_finds_our_packages_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call_in_child(choose_runtime) == choose_runtime()


def test_a_child_imports_no_module_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the user')\n")
    monkeypatch.chdir(tmp_path)
    assert call_in_child(choose_runtime) == choose_runtime()


def test_our_errors_come_back_as_they_were_raised() -> None:
    with pytest.raises(OptionError, match="unknown runtime 'onnx'"):
        call_in_child(choose_runtime, "onnx")
    [absent] = set(RUNTIMES) - set(installed_runtimes())
    with pytest.raises(MissingExtra, match="this command needs "):
        call_in_child(choose_runtime, absent)


def test_a_child_that_dies_is_one_line() -> None:
    with pytest.raises(ToolError, match=r"^a child process failed: status 7$"):
        call_in_child(os._exit, 7)


def test_a_foreign_error_of_a_child_is_one_line() -> None:
    with pytest.raises(ToolError, match=r"^a child process failed: TypeError: .*$"):
        call_in_child(read_picture, 1, 2, 3)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; print('a\\nb', file=sys.stderr); sys.exit(3)", r"^it failed: b$"),
        ("import sys; sys.exit(3)", r"^it failed: status 3$"),
        ("import time; time.sleep(60)", r"^it did not end within 0.5 s, and was stopped; "),
    ],
)
def test_a_program_that_fails_says_its_last_line(program: str, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        run_program([sys.executable, "-c", program], "it", timeout_s=0.5 if "sleep" in program else None)


def test_a_program_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^it cannot be started: No such file or directory; "):
        run_program([tmp_path / "absent"], "it")


def test_a_program_reads_its_content_and_its_environment() -> None:
    program = "import os, sys; print(sys.stdin.read(), os.environ['COLOUR'], 'PATH' in os.environ)"
    done = run_program([sys.executable, "-c", program], "it", environment={"COLOUR": "red"}, content=b"text")
    assert done.stdout == "text red True\n"

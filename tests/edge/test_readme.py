"""The examples of README.md are run as they are written."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

import dermedge
from dermedge.edge.model.shipped import DEFAULT_MODEL
from dermedge.edge.states import State

README = Path(dermedge.__file__).resolve().parents[1] / "README.md"


def example(heading: str) -> str:
    """The indented code below a heading."""
    section = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [text] = [one for one in section if one.startswith(f"{heading}\n")]
    return textwrap.dedent("".join(re.findall(r"^(?: {4}.*)?\n", text, flags=re.MULTILINE)))


def test_the_example_of_the_python_api_tells_a_state_for_each_frame(
    capsys: pytest.CaptureFixture[str], model_path: Path
) -> None:
    code = example("From Python")
    assert len(code.strip().splitlines()) <= 12
    exec(compile(code.replace("models/dermedge-192.tflite", str(DEFAULT_MODEL)), str(README), "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 60
    assert all(line.startswith(tuple(State)) for line in said)
    assert any(line.startswith("answer") for line in said)


def test_everything_that_the_package_offers_is_there() -> None:
    assert [name for name in dermedge.__all__ if not hasattr(dermedge, name)] == []

"""Every JavaScript file of dermedge can be parsed, also one that only an experiment in a browser loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import dermedge

PACKAGE = Path(dermedge.__file__).resolve().parent
SCRIPTS = sorted(path for room in ("edge", "benchmarks") for path in (PACKAGE / room).resolve().rglob("*.js"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_can_be_parsed(node: str, script: Path) -> None:
    command = [node, "--input-type=module", "--check"]
    checked = subprocess.run(command, input=script.read_bytes(), capture_output=True, timeout=60)
    assert checked.returncode == 0, checked.stderr.decode()


def test_the_scripts_of_all_pages_are_found() -> None:
    assert {"worker.js", "measure.js", "page.js"} <= {script.name for script in SCRIPTS}

"""axe-core finds nothing on the pages and reports. Those of the phone app are in test_browser.py."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.benchmarks.lab.screenshots import SIZES, THEMES, pages

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def found(
    node: str, chromium: str, labelled_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What axe.mjs saw on each page that `lab screenshots` photographs."""
    seen: dict[str, Any] = {}
    for name, address in pages(tmp_path_factory.mktemp("pages"), labelled_set, []):
        told = json.dumps({"program": chromium, "name": name, "address": address, "widths": list(SIZES)})
        done = subprocess.run(
            [node, str(HERE / "axe.mjs"), told], capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        seen |= json.loads(done.stdout)
    assert len(seen) == 5 * len(SIZES) * len(THEMES)
    return seen


def test_axe_finds_nothing(found: dict[str, Any]) -> None:
    breaches = [f"{name}: {text[:300]}" for name, one in found.items() for text in one["violations"]]
    assert not breaches, "\n".join(breaches)


def test_no_page_is_wider_than_the_window(found: dict[str, Any]) -> None:
    wider = {name: one["overflow"] for name, one in found.items() if one["overflow"] > 0}
    assert not wider, wider

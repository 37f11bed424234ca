"""The latencies that README.md and the model card quote are those of the models that ship."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.card import CARD
from dermedge.benchmarks.lab.quoted_results import is_shipped
from dermedge.benchmarks.lab.readme import README
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED

RESULTS = ROOT / "benchmarks" / "results"
LINK = re.compile(r"benchmarks/results/([\w./-]+)")


def quoted_results() -> list[Path]:
    """The results of `dermedge benchmark` behind the tables and links of README.md and of the model card."""
    links = [name for page in (README, CARD) for name in LINK.findall(page.read_text(encoding="utf-8"))]
    folders = {(RESULTS / name).parent for name in links}
    linked = {folder / "results.json" for folder in folders}
    return sorted(path for path in {*linked, *(RESULTS / "machines").glob("*.json")} if path.is_file())


def other_models(path: Path) -> list[str]:
    """Returns the rows of a result that have the name of a shipped model, but were measured on another file."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    measured = ((row["model"].removesuffix(" --tta"), row["sha256"]) for row in rows)
    return [name for name, sha256 in measured if name in SHIPPED and not is_shipped(name, sha256)]


def test_something_is_quoted() -> None:
    assert {path.parent.name for path in quoted_results()} > {"machines"}


@pytest.mark.parametrize("path", quoted_results(), ids=lambda path: str(path.relative_to(RESULTS)))
def test_a_quoted_result_measured_the_models_that_ship(path: Path) -> None:
    assert not other_models(path), f"measure again: {json.loads(path.read_text())['command']}"


def test_another_model_of_the_same_name_is_noticed(tmp_path: Path) -> None:
    name = next(iter(SHIPPED))
    path = tmp_path / "results.json"
    right = {"model": name, "sha256": digest(SHIPPED[name])}
    others = [{"model": f"{name} --tta", "sha256": "0" * 64}, {"model": "cnn160-int8", "sha256": "1" * 64}]
    path.write_text(json.dumps({"rows": [right, *others]}))
    assert other_models(path) == [name]

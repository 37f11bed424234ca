"""The latencies that README.md and the model card quote are those of the models that ship."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.card import CARD
from dermedge.benchmarks.lab.readme import README
from dermedge.edge.model.manifest import digest, read_manifest
from dermedge.edge.model.shipped import SHIPPED

RESULTS = ROOT / "benchmarks" / "results"
# SHA-256 of a file that was measured before its manifest told the digest of its network -> that digest.
MEASURED_BEFORE = {
    "98a3361d7a9c80266587f1a3b02e95b46d8a1252e5d629a0ee8c92445cad026e": (
        "1e7ad787172376446e9cb8f8e61197734f63e80ccc2ce7beb2b322ac1596f537"
    ),
    "6ebf7231f2f6f0bf7f70e302b83d36a2b0a2658f169beda4777766a0131fc06f": (
        "4e5a9a67fe6d91f5dbb5befe20355204196f51fb2ba1a0f5b52f4c5e68c8f5d6"
    ),
}
LINK = re.compile(r"benchmarks/results/([\w./-]+)")


def quoted_results() -> list[Path]:
    """The results of `dermedge benchmark` behind the tables and links of README.md and of the model card."""
    links = [name for page in (README, CARD) for name in LINK.findall(page.read_text(encoding="utf-8"))]
    folders = {(RESULTS / name).parent for name in links}
    linked = {folder / "results.json" for folder in folders}
    return sorted(path for path in {*linked, *(RESULTS / "machines").glob("*.json")} if path.is_file())


def other_models(path: Path) -> list[str]:
    """Rows of a result that have the name of a shipped model, but were measured on another file."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    measured = ((row["model"].removesuffix(" --tta"), row["sha256"]) for row in rows)
    return [name for name, sha256 in measured if name in SHIPPED and not is_shipped(name, sha256)]


def is_shipped(name: str, sha256: str) -> bool:
    """Whether a file of this digest has the network of a shipped model."""
    manifest = read_manifest(SHIPPED[name])
    assert manifest is not None
    return sha256 == digest(SHIPPED[name]) or MEASURED_BEFORE.get(sha256) == manifest.network_sha256


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

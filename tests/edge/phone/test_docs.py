"""What docs/ says of the manifest is all of it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from dermedge.edge.model.manifest import MANIFEST_VERSION, Manifest

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_key_of_the_manifest_is_explained() -> None:
    text = (DOCS / "manifest.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert explained == {one.name for one in fields(Manifest)}
    assert f"| `version` | version of the manifest: {MANIFEST_VERSION} |" in text


@pytest.mark.parametrize("name", ["android", "ios"])
def test_what_was_not_built_says_so(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert "**Not built here**" in text
    assert "not a medical device" in text

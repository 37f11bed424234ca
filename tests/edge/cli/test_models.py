"""`dermedge models` lists what ships, as the manifests say it."""

from __future__ import annotations

import json

import pytest

from dermedge import cli
from dermedge.edge.model.manifest import read_manifest
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED


def test_each_model_has_a_row_that_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    note = " ".join(lines)
    assert "The accuracies were measured on the validation photos." in note
    assert "The licence applies to the weights; the licence of the code is Apache-2.0." in note
    for name, path in SHIPPED.items():
        [row] = [line for line in lines if line.startswith(name)]
        assert f"{path.stat().st_size / 1e6:.2f}" in row
        assert ("(default)" in row) is (path == DEFAULT_MODEL)
        manifest = read_manifest(path)
        assert manifest is not None
        assert row.endswith(str(manifest.licence))


def test_json_tells_the_same_and_where_the_files_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["name"]: one["file"] for one in found} == {name: str(path) for name, path in SHIPPED.items()}
    for one in found:
        manifest = read_manifest(one["file"])
        assert manifest is not None
        assert one["labels"] == list(manifest.labels)
        assert one["balanced_accuracy"] == manifest.metrics["val_balanced_accuracy"]

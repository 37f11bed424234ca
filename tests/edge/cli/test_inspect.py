"""`dermedge inspect` as a user meets it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")

from dermedge import cli
from dermedge.edge.cli.inspect import as_text, inspect_model
from dermedge.edge.model.flatbuffer import Operator
from dermedge.edge.model.manifest import attach, read_manifest, strip


def test_text_and_json_tell_the_same_of_the_shipped_model(
    model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(model_path)]) == 0
    text = capsys.readouterr().out
    assert cli.main(["inspect", "--json", model_path.stem]) == 0
    values = json.loads(capsys.readouterr().out)
    manifest = read_manifest(model_path)
    assert manifest is not None
    assert values["sha256"] == hashlib.sha256(model_path.read_bytes()).hexdigest()
    assert values["bytes"] == model_path.stat().st_size
    assert values["precision"]["int8"]["share"] == 1
    assert sum(row["macs"] for row in values["operators"]) == values["macs"] > 0
    assert values["left_in_float"] == []
    assert values["manifest"]["temperature"] == manifest.temperature
    assert tuple(values["labels"]) == manifest.labels
    [pixels] = values["inputs"]
    assert (pixels["dtype"], pixels["shape"], pixels["zero_point"]) == ("uint8", [1, 192, 192, 3], 128)
    for part in (
        values["sha256"],
        "uint8 [1, 192, 192, 3]  0.0078431377 * (q - 128)",
        "int8 100.0%",
        *manifest.labels,
        f"{manifest.licence}",
        f"{manifest.temperature}",
    ):
        assert part in text
    [convolutions] = [line.split() for line in text.splitlines() if " CONV_2D " in line]
    [row] = [one for one in values["operators"] if one["name"] == "CONV_2D"]
    assert convolutions == [str(row["count"]), "CONV_2D", f"{row['share']:.1%}", "int8"]


def test_operators_in_float_are_named_where_the_rest_is_integer(model_path: Path) -> None:
    inspection = inspect_model(model_path)
    softmax = Operator("SOFTMAX", "odds", "float32", 0)
    mixed = replace(
        inspection, graph=replace(inspection.graph, operators=(*inspection.graph.operators, softmax))
    )
    assert mixed.left_in_float == (softmax,)
    assert "  left in float  SOFTMAX, which computes 'odds'" in as_text(mixed)
    alone = replace(mixed, manifest=None, graph=replace(mixed.graph, operators=(softmax,)))
    assert alone.left_in_float == (), "a float model is not an integer one with parts in float"


def test_the_output_that_tells_the_view_is_named(
    make_view_model: Callable[..., Path],
    make_network: Callable[..., bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make_view_model(temperature=4.0, thresholds={"none": 0.25})
    assert cli.main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  view           'close_up' is the probability that the photo is a close-up" in lines
    values = '{"close-up": {"temperature": 4.0, "thresholds": {"none": 0.25}}}'
    assert f"  views          {values}" in lines
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(make_network(dtype="uint8", quantization=(1 / 16, 0), tells_view=True))
    for one, name in ((path, "close_up"), (foreign, None)):
        assert cli.main(["inspect", str(one), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["view_output"], len(told["outputs"])) == (name, 3)


def test_a_golden_test_is_named_and_not_spelled_out(
    make_golden: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["inspect", str(make_golden())]) == 0
    [told] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  golden")]
    assert "the outputs for 12 generated images" in told
    assert len(told) < 110


def test_a_file_without_a_manifest_is_told_too(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(strip(model_path.read_bytes()))
    assert cli.main(["inspect", str(path)]) == 0
    assert "  manifest       none; no classes are named" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_what_is_no_model_is_one_line(
    content: bytes | None, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(model_path.read_bytes()[:100_000] if content is None else content)
    assert cli.main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert "bad.tflite'" in line


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(tmp_path / "gone.tflite")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "gone.tflite' does not exist; `dermedge models` lists" in line


def test_escape_codes_in_labels_never_reach_a_terminal(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(model_path)
    assert manifest is not None
    labels = ("\x1b]0;owned\x07", "\x9b2J", *manifest.labels[2:])
    path = tmp_path / "escape\x1b[31m.tflite"
    path.write_bytes(
        attach(model_path.read_bytes(), replace(manifest, labels=labels, thresholds={}, views={}))
    )
    assert cli.main(["inspect", str(path)]) == 0
    assert cli.main(["inspect", str(tmp_path / "gone\x1b[31m.tflite")]) == 2
    told = capsys.readouterr()
    assert "\\x1b]0;owned" in told.out
    assert "\\x1b[31m" in told.err
    assert all(line.isprintable() for line in (told.out + told.err).splitlines())


def test_a_damaged_network_is_refused_and_a_missing_digest_is_told(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(model_path)
    assert manifest is not None
    content = bytearray(attach(model_path.read_bytes(), manifest))
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 0
    assert "network_sha256" in capsys.readouterr().out
    content[1_000_000] ^= 1
    path.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 2
    assert "m.tflite' is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "asked", "said"),
    [
        ({}, [], "not stated; to run the file, give --normalization (pixels, unit"),
        ({}, ["--normalization", "unit"], "unit, from --normalization: mean 0, std 255"),
        ({"normalization": ((127.5,), (127.5,))}, [], "the metadata states mean 127.5, std 127.5"),
        ({"normalization": ((1, 2, 3), (4, 5, 6))}, [], "the metadata states mean 1, 2, 3, std 4, 5, 6"),
        ({"normalization": ((1, 2, 1), (4, 5, 5))}, [], "the metadata states mean 1, 2, 1, std 4, 5, 5"),
        (
            {"dtype": "uint8", "quantization": (1 / 128, 128)},
            [],
            "the uint8 input holds pixel values from 0 to 255",
        ),
        (
            {"dtype": "int8", "quantization": (1 / 128, 0)},
            [],
            "the int8 input holds pixel values minus 128",
        ),
        (
            {"dtype": "uint8", "quantization": None},
            ["--normalization", "symmetric"],
            "not stated; the uint8 input holds pixel values",
        ),
    ],
)
def test_the_normalization_of_a_foreign_file_is_told(
    make_network: Callable[..., bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    asked: list[str],
    said: str,
) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(make_network(**options))
    assert cli.main(["inspect", str(path), *asked]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "head           softmax" in out


def test_every_line_has_its_name(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(model_path)]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert model_path.name in first
    names = [line[2:17].strip() for line in lines if line[2:3].isalpha()]
    assert names[:9] == ["size", "SHA-256", "input", *["output"] * 3, "view", "normalization", "operators"]
    assert names[9:12] == ["precision", "metadata", "labels"]

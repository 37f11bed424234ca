"""Short real runs of the benchmark and of the runtime's own tool; no test checks their speed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import dermedge.benchmarks.lab.official
from dermedge.benchmarks.frames import frames_of_source
from dermedge.benchmarks.lab import cli as lab
from dermedge.benchmarks.lab.official import (
    RUN_LENGTH,
    added_by_measuring,
    main,
    tool_ms,
)
from dermedge.benchmarks.lab.ratio_interval import RatioInterval, ratio_of
from dermedge.edge.errors import ToolError


@pytest.fixture(autouse=True)
def litert() -> None:
    pytest.importorskip("ai_edge_litert", reason="its tool is not installed")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dermedge.benchmarks.lab.official,
        "RUN_LENGTH",
        replace(RUN_LENGTH, warmup_runs=1, num_runs=4, max_secs=0.2),
    )
    monkeypatch.setattr(dermedge.benchmarks.lab.official, "BLOCKS", 4)


def test_the_command_runs_the_real_tool_and_writes_both_ratios(
    short: None, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--source", "demo", "--pairs", "2", "--output", str(tmp_path / "out")]
    assert main([str(model_path), *options]) == 0
    text = capsys.readouterr().out
    content = json.loads((tmp_path / "out/official.json").read_text())
    assert content["schema"] == "dermedge-official/1"
    assert [pair["tool_ms"] > 0 and pair["ours_ms"] > 0 for pair in content["pairs"]] == [True, True]
    assert (content["to_tool"]["n"], content["measuring_to_bare"]["n"]) == (2, 4)
    assert f"{content['to_tool']['median']:.4f}" in text
    assert "litert-benchmark" in (tmp_path / "out/official.md").read_text()
    assert max(map(len, text.splitlines())) <= 100


def test_a_bar_is_met_missed_or_undecided_by_the_whole_interval() -> None:
    assert RatioInterval(1.0, 0.96, 1.04, 9).verdict(0.95, 1.05) == "met"
    assert RatioInterval(1.1, 1.06, 1.2, 9).verdict(0.95, 1.05) == "missed"
    assert RatioInterval(1.0, 0.94, 1.04, 9).verdict(0.95, 1.05).startswith("undecided")


def test_the_measuring_is_compared_block_by_block_with_a_bare_loop(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dermedge.benchmarks.lab.official, "_bare_s", lambda classifier, frames: 2.0)
    monkeypatch.setattr(dermedge.benchmarks.lab.official, "_look_s", lambda: 0.02)
    monkeypatch.setattr(dermedge.benchmarks.lab.official, "LOOK_EVERY_S", 2.0)
    monkeypatch.setattr(dermedge.benchmarks.lab.official, "warm_up", lambda *arguments: None)

    class Taken:
        secs = 2.5

    monkeypatch.setattr(dermedge.benchmarks.lab.official, "take_rounds", lambda *arguments: Taken)
    frames, _ = frames_of_source("demo")
    assert added_by_measuring(model_path, frames, 1, lambda text: None, blocks=3) == ratio_of([1.26] * 3)


def test_a_tool_that_fails_is_one_line(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    with pytest.raises(ToolError, match=r"litert-benchmark on .* failed: ") as caught:
        tool_ms(damaged, 1)
    assert "\n" not in str(caught.value)

    def hangs(*arguments: object, **options: object) -> None:
        raise subprocess.TimeoutExpired("tool", 1)

    monkeypatch.setattr(subprocess, "run", hangs)
    with pytest.raises(ToolError, match="did not end within"):
        tool_ms(model_path, 1)


def test_pairs_are_kept_when_a_later_one_fails(
    short: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[float | ToolError] = [3.0, ToolError("it died")]

    def answer(*arguments: object) -> float:
        found = answers.pop(0)
        if isinstance(found, ToolError):
            raise found
        return found

    monkeypatch.setattr(dermedge.benchmarks.lab.official, "tool_ms", answer)
    monkeypatch.setattr(dermedge.benchmarks.lab.official, "_ours_ms", lambda *arguments: 3.3)
    assert main(["--source", "demo"]) == 0
    text = capsys.readouterr().out
    assert "ended early: it died" in text
    assert "1.1000" in text
    answers[:] = [ToolError("it died")]
    assert lab.main(["official", "--source", "demo"]) == 2
    assert capsys.readouterr().err == "dermedge: error: it died\n"

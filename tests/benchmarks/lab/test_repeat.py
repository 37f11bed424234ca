"""Agreement of runs: the counts on made-up runs, and the command on short real runs; no test checks times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import dermedge.benchmarks.lab.repeat
from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.lab import cli as lab
from dermedge.benchmarks.lab.repeat import RepeatedRun, RunAgreement, agreement, main
from dermedge.benchmarks.lab.single_run import measure_in_new_process
from dermedge.benchmarks.latency import Measurement, Spread, latency
from dermedge.edge.errors import ModelError
from dermedge.edge.model.prediction import Timing

COOL = Conditions(None, None, None, None, None)
MEASURED = Measurement(
    (latency([Timing(0.5, 3.0, 0.1)] * 40, cpu_ms=1),), 64, True, 1.0, 0.001, None, (COOL, COOL)
)


def made_up(low: float, high: float, *faults: str) -> RepeatedRun:
    middle = (low + high) / 2
    return RepeatedRun(Spread(middle, low, high, high, high, None, 100), faults)


def test_pairs_agree_where_their_intervals_touch_and_noisy_runs_promise_nothing() -> None:
    found = agreement([made_up(1, 2), made_up(2, 3), made_up(4, 5), made_up(0, 9, "noisy: why")])
    assert (found.pairs, found.promised, found.agreed, found.agreed_of_all) == (6, 3, 1, 4)
    assert found.verdict == "missed"


def test_the_bar_is_nineteen_of_twenty_good_pairs() -> None:
    assert RunAgreement(190, 100, 95, 95).verdict == "met"
    assert RunAgreement(190, 100, 94, 190).verdict == "missed"
    assert RunAgreement(190, 0, 0, 190).verdict.startswith("not tested")


def test_the_command_measures_in_new_processes_and_writes_what_it_prints(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--source", "demo", "--runs", "2", "--secs", "0.1", "--output", str(tmp_path / "out")]
    assert main([str(model_path), *options]) == 0
    text = capsys.readouterr().out
    content = json.loads((tmp_path / "out/repeat.json").read_text())
    assert content["schema"] == "dermedge-repeat/1"
    assert content["model"] == model_path.name
    assert len(content["runs"]) == 2
    assert content["agreement"]["pairs"] == 1
    assert f"{content['runs'][1]['total']['median']:.3f}" in text
    assert "limit: 19 of 20" in (tmp_path / "out/repeat.md").read_text()
    assert max(map(len, text.splitlines())) <= 100


def test_runs_are_kept_when_a_later_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [MEASURED, replace(MEASURED, is_steady=False), ModelError("it died")]

    def measured(*arguments: object) -> Measurement:
        answer = answers.pop(0)
        if isinstance(answer, ModelError):
            raise answer
        return answer

    monkeypatch.setattr(dermedge.benchmarks.lab.repeat, "measure_in_new_process", measured)
    assert main(["--source", "demo"]) == 0
    text = capsys.readouterr().out
    assert "ended early: it died" in text
    assert "1 of 2 runs are not good" in text
    answers[:] = [ModelError("it died")]
    assert lab.main(["repeat", "--source", "demo"]) == 2
    assert capsys.readouterr().err == "dermedge: error: it died\n"


def test_ctrl_c_before_two_runs_is_one_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object) -> Measurement:
        raise KeyboardInterrupt

    monkeypatch.setattr(dermedge.benchmarks.lab.repeat, "measure_in_new_process", interrupted)
    assert lab.main(["repeat", "--source", "demo"]) == 130
    assert capsys.readouterr().err == "dermedge: stopped\n"


def test_a_model_that_does_not_run_is_one_line(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    with pytest.raises(ModelError, match="damaged"):
        measure_in_new_process(damaged, [], 1, dermedge.benchmarks.lab.repeat.RunLength())

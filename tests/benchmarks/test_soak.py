"""A shortened soak: its windows, the results that are kept when it is stopped, and its plot."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

import dermedge.benchmarks.cli
import dermedge.benchmarks.soak
from dermedge import cli
from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.soak import SERIES, SoakRun, SoakWindow, save_plot, to_text, window
from dermedge.edge.model.runtime import choose_runtime


@pytest.fixture
def found() -> SoakRun:
    """Twenty windows in which memory grows by one MB each, and nothing else moves."""
    windows = tuple(
        SoakWindow(
            30.0 * n + 15, 8.0 + 0.1 * (n % 3), 12.0, 100.0 - n % 2, 70.0 + n, None, None, 0.01, 3000, 30
        )
        for n in range(20)
    )
    machine = describe_machine(choose_runtime())
    return SoakRun("2026-11-25", "dermedge", machine, "alpha", 1, "photos/", 10, 30.0, False, windows)


def test_a_window_tells_of_all_frames_and_times_those_that_reached_the_network() -> None:
    made = window([8.0, 8.0, None], 2, 4, 0.1, Conditions(50, 900, None, None, None))
    assert (made.at_s, made.latency_ms, made.fps, made.frames, made.rejected) == (3, 8, 1.5, 3, 1)
    assert (made.temperature_c, made.clock_mhz, made.others_cores) == (50, 900, 0.1)
    assert window([None], 0, 1, None, Conditions(*[None] * 5)).latency_ms is None


def test_what_grows_is_called_a_drift_and_what_does_not_is_not(found: SoakRun) -> None:
    lines = {line.split(",")[0].split("  ")[0]: line for line in to_text(found).splitlines()}
    assert lines["memory"].split()[-1] == "rises"
    assert lines["end to end"].endswith("none found")
    assert "not measured" in lines["temperature"]
    assert "A series drifts if p is below 0.0125, which" in " ".join(to_text(found).split())


def test_what_falls_is_called_a_drift_too(found: SoakRun) -> None:
    windows = tuple(replace(one, fps=100.0 - n, memory_mb=70.0) for n, one in enumerate(found.windows))
    directions = {line.split(",")[0]: line for line in to_text(replace(found, windows=windows)).splitlines()}
    assert directions[SERIES["fps"][0]].split()[-1] == "falls"
    assert directions[SERIES["memory_mb"][0]].endswith("none found")


def test_others_on_the_machine_are_said(found: SoakRun) -> None:
    assert "noisy" not in to_text(found)
    busy = replace(found, windows=tuple(replace(one, others_cores=0.8) for one in found.windows))
    assert "noisy: other processes kept 0.80 cores busy" in to_text(busy)


def test_the_plot_has_a_panel_a_series(found: SoakRun, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the device's environment has no matplotlib")
    save_plot(found, tmp_path / "soak.svg")
    drawn = (tmp_path / "soak.svg").read_text()
    assert all(drawn.count("<!-- " + title) == 1 for title, _ in SERIES.values())
    save_plot(found, tmp_path / "soak.png")
    assert cv2.imread(str(tmp_path / "soak.png")).std() > 5


def test_each_panel_names_its_unit_although_one_before_it_was_not_measured(
    found: SoakRun, tmp_path: Path, saved_figures: list[Any]
) -> None:
    windows = tuple(replace(one, latency_ms=None) for one in found.windows)
    save_plot(replace(found, windows=windows), tmp_path / "soak.png")
    [figure] = saved_figures
    assert [axes.get_ylabel() for axes in figure.axes] == [unit for _, unit in SERIES.values()]
    panels = dict(zip(SERIES, figure.axes, strict=True))
    assert not panels["latency_ms"].lines
    minutes, memory = panels["memory_mb"].lines[0].get_data()
    # the middles of windows of half a minute
    assert list(minutes) == [0.25 + 0.5 * n for n in range(20)]
    assert list(memory) == [70.0 + n for n in range(20)]
    assert figure.axes[-1].get_xlabel() == "minutes"


def test_a_stopped_soak_says_after_how_many_minutes(found: SoakRun) -> None:
    # 20 windows of 30 seconds
    assert "stopped after 10.0 of 10 minutes" in to_text(replace(found, stopped=True))


def test_a_soak_is_kept_window_by_window_and_after_ctrl_c(
    model_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []

    def press(text: str) -> None:
        told.append(text)
        if text.startswith("soak") and len(told) == 3:
            assert len((tmp_path / "out" / "soak.csv").read_text().splitlines()) == 4
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(dermedge.benchmarks.soak, "MIN_WINDOW_S", 0.01)
    monkeypatch.setattr(dermedge.benchmarks.soak, "MAX_WINDOW_S", 0.05)
    monkeypatch.setattr(dermedge.benchmarks.cli, "show_status", press)
    arguments = [str(model_path), "--source", "demo", "--soak", "5", "--output", str(tmp_path / "out")]
    assert cli.main(["benchmark", *arguments]) == 130
    assert "stopped after" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "soak.csv").open()))
    kept = json.loads((tmp_path / "out" / "soak.json").read_text())
    assert len(rows) == len(kept["windows"]) == 3
    assert kept["schema"] == "dermedge-soak/1"
    assert kept["stopped"] is True
    assert kept["drifts"]["fps"] is None  # of three windows
    assert float(rows[0]["fps"]) > 0


def test_a_soak_that_is_over_ends_with_status_0(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dermedge.benchmarks.soak, "MIN_WINDOW_S", 0.01)
    arguments = [str(model_path), "--source", "demo", "--soak", "0.005", "--json"]
    assert cli.main(["benchmark", *arguments]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert kept["stopped"] is False
    assert kept["minutes"] == 0.005


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--soak", "1", "--num-threads", "1,2", "--source", "demo"], "one model with one number"),
        (["--soak", "1", "--data", "photos"], "--data"),
        (["--soak", "0", "--source", "demo"], "'0' is not a number above 0"),
        (["--soak", "1"], "--source demo"),
        (["--soak", "1", "--source", "gone.mp4"], "there is no file or folder 'gone.mp4'"),
    ],
)
def test_what_a_soak_cannot_do_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", *arguments]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("INFO:")]
    assert said in line

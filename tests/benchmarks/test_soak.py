"""A shortened soak: its windows, the results that are kept when it is stopped, and its plot."""

from __future__ import annotations

import csv
import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import dermedge.benchmarks.cli
import dermedge.benchmarks.soak
from dermedge import cli
from dermedge.benchmarks.conditions import Conditions
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.soak import SERIES, SoakRun, SoakWindow, save_plot, soak, to_json, to_text, window
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.results import FrameResult


@pytest.fixture
def found() -> SoakRun:
    """Twenty windows. The memory grows by one MB from window to window, and nothing else has a trend."""
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


def test_in_a_short_run_a_series_that_was_measured_has_too_few_windows(found: SoakRun) -> None:
    lines = to_text(replace(found, windows=found.windows[:3])).splitlines()
    [memory] = [line for line in lines if line.startswith("memory")]
    assert memory.endswith("too few windows to test")
    assert "not measured" not in memory
    assert next(line for line in lines if "not measured" in line).startswith("temperature")


def test_what_falls_is_called_a_drift_too(found: SoakRun) -> None:
    windows = tuple(replace(one, fps=100.0 - n, memory_mb=70.0) for n, one in enumerate(found.windows))
    directions = {line.split(",")[0]: line for line in to_text(replace(found, windows=windows)).splitlines()}
    assert directions[SERIES["fps"][0]].split()[-1] == "falls"
    assert directions[SERIES["memory_mb"][0]].endswith("none found")


@pytest.mark.parametrize(("first", "then", "direction"), [(50.0, 50.5, "rises"), (50.5, 50.0, "falls")])
def test_a_series_of_few_levels_drifts_in_its_own_direction(
    found: SoakRun, first: float, then: float, direction: str
) -> None:
    # A sensor with steps of half a degree shows the second level more and more often. Most pairs of values are equal.
    second = np.random.default_rng(0).random(60) < np.linspace(0, 1, 60)
    windows = tuple(
        replace(found.windows[0], at_s=30.0 * n, temperature_c=then if is_second else first)
        for n, is_second in enumerate(second)
    )
    soaked = replace(found, windows=windows)
    drift = soaked.drifts()["temperature_c"]
    assert drift is not None
    assert (drift.change, drift.p_value < 0.0125) == (0, True)
    [line] = [line for line in to_text(soaked).splitlines() if line.startswith("temperature")]
    assert line.split()[-1] == direction
    assert json.loads(to_json(soaked))["drifts"]["temperature_c"]["rises"] == drift.rises


def test_control_codes_in_names_are_written_out(found: SoakRun) -> None:
    text = to_text(replace(found, model="\x1b[31malpha", source="\x1b[2J"))
    assert "\x1b" not in text
    assert r"source: \x1b[2J; the quality gate" in text


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


def test_a_name_in_the_plot_is_no_formula(found: SoakRun, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the device's environment has no matplotlib")
    save_plot(replace(found, model="$x^y^z$", source="$a^b^c$\x1b"), tmp_path / "soak.svg")
    assert r"<!-- $x^y^z$, 1 thread(s), $a^b^c$\x1b -->" in (tmp_path / "soak.svg").read_text()


def test_each_panel_names_its_unit_although_one_before_it_was_not_measured(
    found: SoakRun, tmp_path: Path, saved_figures: list[Any]
) -> None:
    windows = tuple(replace(one, latency_ms=None) for one in found.windows)
    save_plot(replace(found, windows=windows), tmp_path / "soak.png")
    [figure] = saved_figures
    assert [axes.get_ylabel() for axes in figure.axes] == [unit for _, unit in SERIES.values()]
    panels = dict(zip(SERIES, figure.axes, strict=True))
    empty = panels["latency_ms"]
    assert not empty.lines
    assert empty.get_title(loc="left") == f"{SERIES['latency_ms'][0]}: not measured"
    assert list(empty.get_yticks()) == []
    assert all(figure.axes[0].get_shared_x_axes().joined(figure.axes[0], axes) for axes in figure.axes[1:])
    minutes, memory = panels["memory_mb"].lines[0].get_data()
    # each window takes half a minute, and its point is drawn at its middle
    assert list(minutes) == [0.25 + 0.5 * n for n in range(20)]
    assert list(memory) == [70.0 + n for n in range(20)]
    assert figure.axes[-1].get_xlabel() == "minutes"


def test_a_stopped_soak_says_after_how_many_minutes(found: SoakRun) -> None:
    # the run has 20 windows of 30 seconds, which are 10 minutes
    assert "stopped after 10.0 of 10 minutes" in to_text(replace(found, stopped=True))
    # if less than one frame arrives in a second, the windows take longer than the duration that was asked for
    slow = tuple(replace(one, at_s=45.0 * n + 22.5) for n, one in enumerate(found.windows[:4]))
    assert "stopped after 3.0 of 10 minutes" in to_text(replace(found, stopped=True, windows=slow))


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
    assert kept["drifts"]["fps"] is None  # three windows are too few for a drift
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
        (["--soak", "1", "--source", "demo", "--max-secs=60"], "sets the duration; leave out --max-secs"),
        (["--soak", "inf", "--source", "demo"], "'inf' is not a number above 0"),
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


def test_windows_begin_after_the_warm_up_and_each_has_its_own_frames(
    make_result: Callable[[], FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a simulated clock, a frame comes every 0.4 s, so three frames fill a window of one second."""
    clock, made = [100.0], []

    def results(open_again: object, classifier: object) -> Iterator[tuple[FrameResult, float]]:
        for number in range(100):
            clock[0] += 0.4
            answered = make_result()
            yield (
                (replace(answered, classification=None) if number < 8 or number == 12 else answered),
                clock[0],
            )

    class Company:
        def __init__(self) -> None:
            made.append(self)

        def busy_cores(self) -> float:
            return float(made.index(self))

    monkeypatch.setattr(dermedge.benchmarks.soak, "results", results)
    monkeypatch.setattr(dermedge.benchmarks.soak, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(dermedge.benchmarks.soak, "OtherProcesses", Company)
    monkeypatch.setattr(dermedge.benchmarks.soak, "resident_bytes", lambda: 93_160_000)
    classifier = SimpleNamespace(runtime=choose_runtime(), path=Path("alpha.tflite"), num_threads=3)
    kept: list[int] = []
    said: list[str] = []
    found = soak(
        classifier,  # type: ignore[arg-type]
        lambda: None,  # type: ignore[arg-type,return-value]
        0.05,
        "a source",
        "a command",
        lambda run: kept.append(len(run.windows)),
        said.append,
    )
    assert datetime.fromisoformat(found.created).utcoffset() == timedelta(0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found.created)
    # The run takes three seconds. They end during the third window, which ends after 3.6 s.
    assert (kept, found.stopped, found.window_s) == ([1, 2, 3], False, 1.0)
    assert said == [f"soak: {minutes} of 0.05 minutes" for minutes in ("0.0", "0.0", "0.1")]
    assert (found.model, found.num_threads, found.source, found.command) == (
        "alpha",
        3,
        "a source",
        "a command",
    )
    assert [one.at_s for one in found.windows] == pytest.approx([0.6, 1.8, 3.0])
    assert [one.fps for one in found.windows] == pytest.approx([2.5] * 3)
    assert [(one.frames, one.rejected) for one in found.windows] == [(3, 0), (3, 1), (3, 0)]
    assert [one.latency_ms for one in found.windows] == [8.0] * 3
    assert [one.others_cores for one in found.windows] == [0.0, 1.0, 2.0]
    assert {one.memory_mb for one in found.windows} == {93.16}


@pytest.mark.parametrize(("minutes", "window_s"), [(0.5, 1.0), (10.0, 10.0), (30.0, 30.0), (600.0, 30.0)])
def test_a_run_has_sixty_windows_of_one_to_thirty_seconds(
    minutes: float, window_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(
        dermedge.benchmarks.soak,
        "_windows",
        lambda again, one, secs: asked.append(secs) or (one for one in ()),
    )
    classifier = SimpleNamespace(runtime=choose_runtime(), path=Path("alpha.tflite"), num_threads=1)
    soak(classifier, lambda: None, minutes, "", "", lambda run: None)  # type: ignore[arg-type,return-value]
    assert asked == [window_s]


def test_a_window_has_the_median_and_the_99th_percentile() -> None:
    made = window([*range(1, 101), 1000], 0, 10, None, Conditions(*[None] * 5))
    assert (made.latency_ms, made.p99_ms, made.fps) == (51, 100, 10.1)


def test_one_busy_window_is_told_with_the_median_of_all(found: SoakRun) -> None:
    first, *others = found.windows
    text = " ".join(to_text(replace(found, windows=(replace(first, others_cores=0.5), *others))).split())
    assert "noisy: other processes kept 0.01 cores busy, and up to 0.50 in one window" in text
    assert "the quality gate rejected 600 of 60000 frames" in text
    assert "for 10.0 minutes: 60000 frames, 20 windows of 30 s." in text


def test_the_trend_goes_through_the_middle_and_a_tiny_change_looks_small(
    found: SoakRun, tmp_path: Path, saved_figures: list[Any]
) -> None:
    save_plot(found, tmp_path / "soak.png")
    panels = dict(zip(SERIES, saved_figures[0].axes, strict=True))
    _, trend = panels["memory_mb"].lines
    # the trend goes from 70 to 89 MB, and the axis has a margin of a tenth of this range at both ends
    assert [list(one) for one in trend.get_data()] == [[0.25, 9.75], pytest.approx([70.0, 89.0])]
    assert panels["memory_mb"].get_ylim() == pytest.approx((70 - 1.9, 89 + 1.9))
    # The rates are 99 and 100 frames a second. The axis covers at least a tenth of the largest value, which is 10.
    assert panels["fps"].get_ylim() == pytest.approx((94.5, 104.5))
    assert panels["memory_mb"].get_title(loc="left").startswith("memory: +19.00 MB [+19.00, +19.00], p = ")
    assert panels["memory_mb"].get_title(loc="left").endswith("drift: rises")


def test_every_option_of_a_soak_is_passed_on(
    found: SoakRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[Any] = []

    class Opened:
        def __init__(self, *given: Any, **options: Any) -> None:
            opened.append((*given, options))

        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    def run(
        classifier: Any, again: Any, minutes: float, source: str, command: str, keep: Any, show: Any
    ) -> SoakRun:
        keep(found)
        assert len((tmp_path / "out" / "soak.csv").read_text().splitlines()) == 21
        opened.append((minutes, source, command.startswith("dermedge benchmark a.tflite")))
        return found

    monkeypatch.setattr(dermedge.benchmarks.cli, "Classifier", Opened)
    monkeypatch.setattr(dermedge.benchmarks.soak, "soak", run)
    monkeypatch.setattr(dermedge.benchmarks.soak, "save_plot", lambda found, path: path.touch())
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    options = ["--labels", str(tmp_path / "labels.txt"), "--normalization", "unit", "--num-threads", "3"]
    options += ["--source", "rtsp://me:secret@camera/1", "--soak", "0.5", "--runtime", choose_runtime()]
    files = ["--output", str(tmp_path / "out"), "--plot", str(tmp_path / "soak.png")]
    assert cli.main(["benchmark", "a.tflite", *options, *files]) == 0
    assert opened == [
        (Path("a.tflite"), ("one", "two"), 3, choose_runtime(), {"normalization": "unit"}),
        (0.5, "rtsp://camera/1", True),
    ]
    said = capsys.readouterr()
    written = [tmp_path / "out" / "soak.csv", tmp_path / "out" / "soak.json", tmp_path / "soak.png"]
    assert said.err.splitlines() == [f"wrote {path}" for path in written]
    assert "The whole loop of alpha for 10.0 minutes" in said.out

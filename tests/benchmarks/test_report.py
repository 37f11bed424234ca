"""The same report as table, CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dermedge.benchmarks.report import SCHEMA, BenchmarkReport, save, to_csv, to_json, to_markdown, to_text
from dermedge.edge.errors import StorageError


def test_the_table_fits_a_terminal_and_shortened_names_keep_their_ends(report: BenchmarkReport) -> None:
    lines = to_text(report).splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("a-") and "omega " in line for line in lines)


def test_the_table_states_frame_ratio_overhead_interval_and_disclaimer(report: BenchmarkReport) -> None:
    text = to_text(report)
    assert "640x480" in text
    alphas = [line.split() for line in text.splitlines() if line.startswith("alpha ")]
    assert alphas[0][-2:] == ["1.00", "noisy"]
    assert alphas[1][-2:] == ["160", "int8-qat"]
    assert alphas[1][-7:-2] == ["12.5%", "4.50", "12.5", "[12.1,", "12.9]"]
    assert "0.750 [0.600, 0.850]" in text
    assert "not a medical device" in text


def test_what_was_not_measured_is_said_so(report: BenchmarkReport) -> None:
    bare = replace(report, data=None, rows=tuple(replace(row, accuracy=None) for row in report.rows))
    text = to_text(bare)
    assert "photos: not measured" in text
    alphas = [line.split() for line in text.splitlines() if line.startswith("alpha ")]
    assert alphas[4][1:] == ["not", "measured"] * 3
    assert "Recall" not in text
    row = next(csv.DictReader(io.StringIO(to_csv(bare))))
    assert (row["accuracy"], row["photos"]) == ("", "")
    assert json.loads(to_json(bare))["rows"][0]["accuracy"] is None


def test_the_whole_loop_is_told_with_its_parts_and_its_rate(report: BenchmarkReport) -> None:
    alphas = [line.split() for line in to_text(report).splitlines() if line.startswith("alpha ")]
    assert alphas[2][1:] == ["1", "50", "8.00", "8.00", "3.00", "0.50", "3.00", "0.50", "1.00", "0%"]
    row = next(csv.DictReader(io.StringIO(to_csv(report))))
    assert (row["loop_fps"], row["loop_capture_ms"], row["loop_end_to_end_ms"]) == ("50.0", "3.0", "8.0")
    gone = replace(report, rows=tuple(replace(row, loop=None) for row in report.rows))
    alphas = [line.split() for line in to_text(gone).splitlines() if line.startswith("alpha ")]
    assert alphas[2][2:] == [*["not", "measured"] * 8, "100%"]
    assert next(csv.DictReader(io.StringIO(to_csv(gone))))["loop_fps"] == ""


def test_a_run_that_is_noisy_or_throttled_says_so_and_why(report: BenchmarkReport) -> None:
    text = to_text(replace(report, faults=("throttled: the clock fell from 2400 to 600 MHz",)))
    assert next(line for line in text.splitlines() if line.startswith("alpha ")).endswith(" throttled")
    assert "throttled: the clock fell from 2400 to 600 MHz" in text
    assert "alpha, 1 thread, noisy: " in text


def test_the_state_of_the_machine_is_told_before_during_and_after(report: BenchmarkReport) -> None:
    text = " ".join(to_text(report).split())
    assert "governor performance, clock 2400 (2400 to 2400) 2400 MHz, temperature 45 (45 to 61) 61 °C" in text
    assert "throttling none" in text
    silent = replace(report.conditions[0], temperature_c=None, throttling=None)
    text = " ".join(to_text(replace(report, conditions=(silent,) * 3, meter=None)).split())
    assert "temperature not measured, throttling not measured" in text
    assert "energy: not measured" in text


def test_csv_has_one_line_a_row_with_units_in_its_head(report: BenchmarkReport) -> None:
    alpha, omega = csv.DictReader(io.StringIO(to_csv(report)))
    assert float(alpha["invoke_median_ms"]) == 4.0
    assert float(omega["invoke_ratio"]) == 2.0
    assert float(alpha["balanced_accuracy_low"]) == 0.6
    assert float(alpha["recall_melanoma"]) == 0.9
    assert alpha["recall_dermatofibroma"] == omega["peak_mb"] == ""


def test_pandas_reads_the_csv(report: BenchmarkReport) -> None:
    pandas = pytest.importorskip("pandas", reason="the device's environment has no pandas")
    frame = pandas.read_csv(io.StringIO(to_csv(report)))
    assert frame["total_p99_ms"].dtype == float
    assert frame["peak_mb"].isna().tolist() == [False, True]


def test_json_holds_every_value_under_a_versioned_schema(report: BenchmarkReport) -> None:
    content = json.loads(to_json(report))
    assert content.pop("schema") == SCHEMA
    assert "not a medical device" in content.pop("disclaimer")
    assert [row.pop("invoke_ratio") for row in content["rows"]] == [1.0, 2.0]
    assert [row.pop("overhead") for row in content["rows"]] == [0.125, 0.0625]
    assert [row.pop("mark") for row in content["rows"]] == ["noisy", "noisy"]
    assert content == json.loads(json.dumps(asdict(report)))


def test_markdown_has_a_table_for_each_of_the_terminals(report: BenchmarkReport) -> None:
    text = to_markdown(report)
    run_length = [line for line in text.splitlines() if line.startswith("| ---")]
    assert len(run_length) == 6
    assert "| melanoma | 0.900 | 0.900 |" in text


def test_a_folder_gets_all_four_files_and_nothing_else(report: BenchmarkReport, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "results"
    written = save(report, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in written)
    assert sorted(path.name for path in written) == [
        "results.csv",
        "results.html",
        "results.json",
        "results.md",
    ]


def test_a_folder_that_cannot_be_made_is_one_line(report: BenchmarkReport, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        save(report, tmp_path / "file" / "results")

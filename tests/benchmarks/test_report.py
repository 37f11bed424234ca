"""The same report as table, CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dermedge.benchmarks.page import to_html
from dermedge.benchmarks.profile import OpTime, Profile
from dermedge.benchmarks.report import (
    SCHEMA,
    BenchmarkReport,
    row_name,
    save,
    tables,
    to_csv,
    to_json,
    to_markdown,
    to_text,
)
from dermedge.edge.errors import StorageError

CSV_OF_ALPHA = {
    "model": "alpha",
    "path": "models/alpha.tflite",
    "quantization": "int8-qat",
    "input_px": "160",
    "num_threads": "1",
    "size_bytes": "2700000",
    "load_ms": "7",
    "first_ms": "4",
    "peak_mb": "73.5",
    "steady_mb": "70.25",
    "model_mb": "13.25",
    "total_median_ms": "4.5",
    "total_low_ms": "2.5",
    "total_high_ms": "6.5",
    "total_p90_ms": "6.1",
    "total_p99_ms": "6.46",
    "total_p999_ms": "",
    "preprocess_median_ms": "0.4",
    "preprocess_low_ms": "0.4",
    "preprocess_high_ms": "0.4",
    "preprocess_p90_ms": "0.4",
    "preprocess_p99_ms": "0.4",
    "preprocess_p999_ms": "",
    "invoke_median_ms": "4.0",
    "invoke_low_ms": "2.0",
    "invoke_high_ms": "6.0",
    "invoke_p90_ms": "5.6",
    "invoke_p99_ms": "5.96",
    "invoke_p999_ms": "",
    "postprocess_median_ms": "0.1",
    "postprocess_low_ms": "0.1",
    "postprocess_high_ms": "0.1",
    "postprocess_p90_ms": "0.1",
    "postprocess_p99_ms": "0.1",
    "postprocess_p999_ms": "",
    "loop_capture_ms": "3.0",
    "loop_preprocess_ms": "0.5",
    "loop_invoke_ms": "3.0",
    "loop_postprocess_ms": "0.5",
    "loop_rest_ms": "1.0",
    "loop_end_to_end_ms": "8.0",
    "loop_fps": "50.0",
    "loop_rejected": "0.0",
    "runs": "5",
    "invoke_ratio": "1.0",
    "overhead": "0.125",
    "drift": "1.0",
    "cpu_ms": "4.5",
    "energy_mj": "12.5",
    "energy_mj_low": "12.1",
    "energy_mj_high": "12.9",
    "mark": "noisy",
    "accuracy": "0.8",
    "accuracy_low": "0.7",
    "accuracy_high": "0.9",
    "balanced_accuracy": "0.75",
    "balanced_accuracy_low": "0.6",
    "balanced_accuracy_high": "0.85",
    "melanoma_sensitivity": "0.65",
    "melanoma_sensitivity_low": "0.5",
    "melanoma_sensitivity_high": "0.8",
    "photos": "40",
    "lesions": "30",
    "recall_melanoma": "0.9",
    "recall_nevus": "0.6",
    "recall_dermatofibroma": "",
}
ROWS_OF_ALPHA = (
    "| model | threads | median | 95 % interval | p90 | p99 | p99.9 | ratio | run |",
    "| alpha | 1 | 4.50 | [2.50, 6.50] | 6.10 | 6.46 | not measured | 1.00 | noisy |",
    "| model | threads | pre | invoke | post | outside | cpu ms | energy mJ | input px | weights |",
    "| alpha | 1 | 0.40 | 4.00 | 0.100 | 12.5% | 4.50 | 12.5 [12.1, 12.9] | 160 | int8-qat |",
    "| model | threads | frames/s | end to end | p99 | capture | pre | invoke | post | rest | rejected |",
    "| alpha | 1 | 50 | 8.00 | 8.00 | 3.00 | 0.50 | 3.00 | 0.50 | 1.00 | 0% |",
    "| model | threads | load ms | first ms | file MB | model MB | peak MB | steady MB |",
    "| alpha | 1 | 7.0 | 4.0 | 2.70 | 13.2 | 73.5 | 70.2 |",
    "| model | accuracy | balanced accuracy | melanoma |",
    "| alpha | 0.800 [0.700, 0.900] | 0.750 [0.600, 0.850] | 0.650 [0.500, 0.800] |",
    "| class | 1 | 2 |",
    "| melanoma | 0.900 | 0.900 |",
    "| nevus | 0.600 | 0.600 |",
)
# The titles of the tables begin with these words.
TITLES = (
    "Latency in ms from a 640x480 frame to the decision. The models were me",
    "Time of each step. pre, invoke, post: median ms of preprocessing, netw",
    "The whole loop of dermedge run, medians in ms. The models run one afte",
    "Start, size and memory, medians over 3 processes. peak MB: the highest",
    "Accuracy on 40 photos of 30 lesions, with 95 % confidence intervals th",
)


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


@pytest.mark.parametrize("write", [to_text, to_markdown, to_html], ids=lambda write: write.__name__)
def test_control_codes_in_names_are_written_out(
    write: Callable[[BenchmarkReport], str], report: BenchmarkReport
) -> None:
    code = "\x1b[2J"
    rows = tuple(replace(row, model=f"{code}{row.model}") for row in report.rows)
    text = write(replace(report, rows=rows, frames=f"16 frames of '{code}'", data=code, source=code))
    assert "\x1b" not in text
    assert r"16 frames of '\x1b[2J'" in html.unescape(text)


def test_what_was_not_measured_is_said_so(report: BenchmarkReport) -> None:
    bare = replace(report, data=None, rows=tuple(replace(row, accuracy=None) for row in report.rows))
    text = to_text(bare)
    assert "photos: not measured" in text
    assert len(tables(bare)) == len(tables(report)) - 2
    assert "Accuracy" not in text
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


def test_every_column_of_the_csv_has_its_value(report: BenchmarkReport) -> None:
    alpha = next(csv.DictReader(io.StringIO(to_csv(report))))
    assert alpha.pop("runtime") == report.machine.runtime
    assert alpha == CSV_OF_ALPHA
    assert list(alpha) == list(CSV_OF_ALPHA)


def test_every_table_has_its_title_head_and_cells(report: BenchmarkReport) -> None:
    lines = to_markdown(report).splitlines()
    assert lines[0] == "# Benchmark, 2026-11-23"
    assert [line for line in lines if line in ROWS_OF_ALPHA] == list(ROWS_OF_ALPHA)
    assert [line[:70].rstrip() for line in lines if line.startswith(TITLES)] == list(TITLES)
    assert (
        "- protocol: 64 warm-up runs, then 5 measured runs in 10.5 s; "
        "a round took 0.4% longer than the predictions in it" in lines
    )


def test_recall_is_shown_for_at_most_twenty_classes(report: BenchmarkReport) -> None:
    for classes in (20, 21):
        recall = {f"class {number}": 0.5 for number in range(classes)}
        scored = replace(report.rows[0], accuracy=replace(report.rows[0].accuracy, recall=recall))  # type: ignore[type-var]
        text = to_markdown(replace(report, rows=(scored,)))
        assert ("Recall of each class. 1 = alpha." in text) is (classes == 20)
        assert text.count("| class ") == (21 if classes == 20 else 0)


def test_accuracy_is_told_once_a_model_and_threads_are_counted(report: BenchmarkReport) -> None:
    first = report.rows[0]
    both = replace(report, rows=(first, replace(first, num_threads=2)))
    text = to_markdown(both)
    assert text.count("| alpha | 2 |") == 4
    assert text.count("| alpha | 0.800 [0.700, 0.900]") == 1
    assert row_name(both.rows[0]) == "alpha, 1 thread"
    assert row_name(both.rows[1]) == "alpha, 2 threads"


def test_a_profile_sums_kinds_and_names_the_ten_slowest_ops(report: BenchmarkReport) -> None:
    ops = tuple(
        OpTime(number, "CONV_2D", (1, 8, 8, 4), 2_000_000, 0.1 * (number + 1)) for number in range(11)
    )
    others = (OpTime(11, "ADD", (1, 4), 0, 0.4), OpTime(12, "CUSTOM", (1, 4), 0, None))
    profiled = replace(report.rows[0], profile=Profile((*ops, *others), 10.0, 7))
    lines = to_markdown(replace(report, rows=(profiled,))).splitlines()
    # the convolutions take 6.6 ms, and the addition takes 0.4 ms
    assert (
        "Ops of alpha, 1 thread, each timed by itself. The medians add up to 7.00 ms, which is 70% of the median of "
        "the whole network, 10.00 ms. The ops and the whole network were timed alternately, 7 times each. 1 of 13 ops "
        "could not be timed."
    ) in lines
    at = lines.index("| op | ms | share | MMAC | GMAC/s |")
    assert lines[at + 2 : at + 5] == [
        "| CONV_2D x 11 | 6.600 | 94.3% | 22.00 | 3.3 |",
        "| ADD x 1 | 0.400 | 5.7% | 0.00 | - |",
        "| CUSTOM x 1 | not measured | - | 0.00 | - |",
    ]
    at = lines.index("The slowest ops of alpha, 1 thread. op: index, kind and output shape.")
    slowest = [line for line in lines[at + 4 :] if line.startswith("| ")]
    assert len(slowest) == 10
    assert slowest[0] == "| 10 CONV_2D [1, 8, 8, 4] | 1.100 | 15.7% | 2.00 | 1.8 |"
    assert slowest[-1].startswith("| 2 CONV_2D [1, 8, 8, 4] | 0.300 ")


def test_photos_that_cannot_be_decoded_are_counted(report: BenchmarkReport) -> None:
    text = to_markdown(replace(report, unreadable=("a", "b")))
    assert "- photos that could not be decoded and are not scored: 2\n" in text
    assert "could not be decoded" not in to_markdown(report)

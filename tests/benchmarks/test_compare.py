"""Two results side by side, with a verdict."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dermedge import cli
from dermedge.benchmarks.compare import compare
from dermedge.benchmarks.report import BenchmarkReport, to_json


def results(report: BenchmarkReport, factor: float = 1.0, mark: str = "good") -> dict[str, Any]:
    """Returns the report as a result. Its medians are multiplied by ``factor``; the intervals are 1 % to each side."""
    content: dict[str, Any] = json.loads(to_json(report))
    for row in content["rows"]:
        total = row["latency"]["total"]
        total["median"] *= factor
        total |= {"low": 0.99 * total["median"], "high": 1.01 * total["median"]}
        row["mark"] = mark
    return content


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, "no difference beyond noise"),
        (1.015, "no difference beyond noise"),
        (1.1, "slower"),
        (0.9, "faster"),
    ],
)
def test_a_difference_counts_where_the_intervals_are_apart(
    report: BenchmarkReport, factor: float, verdict: str
) -> None:
    changes = compare(results(report), results(report, factor))
    assert [change.verdict for change in changes] == [verdict] * 2
    assert changes[0].ratio == pytest.approx(factor)
    assert changes[0].low < factor < changes[0].high


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.5, 0.4, 0.55, "worse"),
        (0.95, 0.9, 0.99, "better"),
        (0.5, 0.4, 0.65, "no difference beyond noise"),
        # The accuracy of the report is 0.75, with the interval from 0.6 to 0.85. Intervals that touch are not apart.
        (0.5, 0.4, 0.6, "no difference beyond noise"),
        (0.9, 0.85, 0.95, "no difference beyond noise"),
    ],
)
def test_accuracy_is_better_or_worse_where_the_intervals_are_apart(
    report: BenchmarkReport, value: float, low: float, high: float, verdict: str
) -> None:
    after = results(report)
    after["rows"][0]["accuracy"]["balanced_accuracy"] = {"value": value, "low": low, "high": high}
    changes = compare(results(report), after)
    assert changes[0].accuracy == f"0.750 and {value:.3f}: {verdict}"
    assert changes[1].accuracy.endswith("no difference beyond noise")
    after["rows"][0]["accuracy"] = None
    assert compare(results(report), after)[0].accuracy == "not measured"


def test_times_whose_intervals_touch_do_not_differ(report: BenchmarkReport) -> None:
    before, after = results(report), results(report)
    before["rows"][0]["latency"]["total"] |= {"median": 10.0, "low": 9.0, "high": 11.0}
    for median, low, high, verdict in (
        (12.0, 11.0, 13.0, "no difference beyond noise"),
        (12.0, 11.1, 13.0, "slower"),
        (8.0, 7.0, 9.0, "no difference beyond noise"),
        (8.0, 7.0, 8.9, "faster"),
    ):
        after["rows"][0]["latency"]["total"] |= {"median": median, "low": low, "high": high}
        [change, _] = compare(before, after)
        assert change.verdict == verdict
        assert (change.low, change.high) == pytest.approx((low / 11, high / 9))


def test_both_disturbed_runs_are_named(report: BenchmarkReport) -> None:
    [change, _] = compare(results(report, mark="noisy"), results(report, mark="throttled"))
    assert change.verdict == "none: A is noisy and B is throttled"


def test_of_a_disturbed_run_nothing_is_concluded(report: BenchmarkReport) -> None:
    [change, _] = compare(results(report), results(report, 2.0, mark="throttled"))
    assert change.verdict == "none: B is throttled"


def test_only_what_both_measured_is_compared(report: BenchmarkReport) -> None:
    first = replace(report, rows=report.rows[:1])
    assert [change.model for change in compare(results(first), results(report))] == ["alpha"]
    more_threads = replace(report, rows=(replace(report.rows[0], num_threads=4),))
    assert compare(results(first), results(more_threads)) == []


def test_results_without_a_common_model_are_one_line(
    report: BenchmarkReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text(to_json(report))
    (tmp_path / "b.json").write_text(json.dumps({**results(report), "rows": []}))
    assert cli.main(["benchmark", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "no model was measured with the same number of threads" in line


def test_the_command_tells_times_accuracy_and_another_file(
    report: BenchmarkReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    after = results(report, 1.5)
    after["rows"][0]["sha256"] = "1" * 64
    after["rows"][0]["accuracy"]["balanced_accuracy"] = {"value": 0.95, "low": 0.9, "high": 0.99}
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, content in zip(paths, (results(report), after), strict=True):
        path.write_text(json.dumps(content))
    assert cli.main(["benchmark", "compare", *map(str, paths)]) == 0
    text = capsys.readouterr().out
    assert "slower" in text
    assert "alpha: the model files of A and B differ" in text
    assert "alpha: balanced accuracy 0.750 and 0.950: better" in text
    assert "not a medical device" in text
    assert cli.main(["benchmark", "compare", *map(str, paths), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "slower"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        ("no json", "not JSON"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        ("[]", "has the schema 'None'"),
        ('{"schema": "dermedge-benchmark/1"}', "measure again"),
        ('{"schema": "dermedge-benchmark/2", "rows": []}', "the value 'created' is missing"),
        ('{"schema": "dermedge-benchmark/2"}', "it has no list of rows"),
    ],
)
def test_a_file_that_is_no_result_is_one_line_and_status_2(
    content: str | None,
    said: str,
    report: BenchmarkReport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, other = tmp_path / "good.json", tmp_path / "other.json"
    good.write_text(to_json(report))
    if content is not None:
        other.write_text(content)
    assert cli.main(["benchmark", "compare", str(good), str(other)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["rows", 0], "text"),
        (["rows", 0, "num_threads"], None),
        (["rows", 0, "mark"], None),
        (["rows", 0, "latency"], None),
        (["rows", 0, "latency", "total", "median"], "4.5"),
        (["rows", 0, "latency", "total", "low"], 0),
        (["rows", 0, "latency", "total", "high"], float("nan")),
        (["rows", 0, "accuracy", "recall"], None),
        (["rows", 0, "accuracy", "balanced_accuracy", "value"], None),
        (["rows", 0, "accuracy", "balanced_accuracy", "low"], float("nan")),
        (["rows", 0, "accuracy", "balanced_accuracy", "high"], 75.0),
        (["machine"], None),
        (["created"], None),
        (["faults"], None),
    ],
    ids=str,
)
def test_a_damaged_value_is_named(
    path: list[str | int],
    value: object,
    report: BenchmarkReport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content: Any = results(report)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    (tmp_path / "good.json").write_text(to_json(report))
    files = [str(tmp_path / name) for name in ("good.json", "damaged.json")]
    assert cli.main(["benchmark", "compare", *files]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(
        r"damaged\.json' is damaged, because the value '[\w.]+' is missing or wrong; measure", line
    )
    assert value == "text" or str(path[-1]) in line


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_result_that_windows_has_saved_again_is_read(
    encoding: str, report: BenchmarkReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # PowerShell writes `dermedge benchmark --json > results.json` in UTF-16
    (tmp_path / "results.json").write_text(to_json(report), encoding=encoding)
    assert cli.main(["benchmark", "compare", *[str(tmp_path / "results.json")] * 2]) == 0
    assert "alpha" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"recall": {"melanoma": 0.9, "nevus": 0.6}}, "classes"),
        ({"photos": 41}, "photos"),
        ({"lesions": 31}, "photos"),
    ],
)
def test_accuracies_on_other_photos_or_classes_are_not_compared(
    changed: dict[str, Any], reason: str, report: BenchmarkReport
) -> None:
    after = results(report)
    after["rows"][0]["accuracy"] |= {"balanced_accuracy": {"value": 0.5, "low": 0.4, "high": 0.55}, **changed}
    [first, second] = compare(results(report), after)
    assert first.accuracy == f"0.750 and 0.500: not compared, because the {reason} differ"
    assert second.accuracy.endswith("no difference beyond noise")


def test_control_codes_in_a_result_of_another_machine_are_written_out(
    report: BenchmarkReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = results(report)
    content["machine"]["cpu"] = content["rows"][0]["model"] = "\x1b]0;title\x07"
    (tmp_path / "a.json").write_text(json.dumps(content))
    content["rows"][0]["sha256"] = "1" * 64
    (tmp_path / "b.json").write_text(json.dumps(content))
    assert cli.main(["benchmark", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    text = capsys.readouterr().out
    assert not {"\x1b", "\x07"} & set(text)
    assert r"A: 2026-11-23, \x1b]0;title\x07" in text


def test_the_table_of_a_comparison_names_its_columns(
    report: BenchmarkReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, factor in (("a.json", 1.0), ("b.json", 1.1)):
        content = results(report, factor)
        content["rows"] = content["rows"][:1]
        (tmp_path / name).write_text(json.dumps(content))
    assert cli.main(["benchmark", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    [head] = [line for line in lines if line.startswith("model ")]
    assert re.split("  +", head) == [
        "model",
        "threads",
        "A ms",
        "B ms",
        "B / A",
        "at least",
        "at most",
        "verdict",
    ]
    [row] = [line for line in lines if line.startswith("alpha ")]
    # The interval of the first median is 4.455 to 4.545 ms, that of the second is 4.9005 to 4.9995 ms. So the lowest
    # ratio is 4.9005 / 4.545, and the highest is 4.9995 / 4.455.
    assert re.split("  +", row) == ["alpha", "1", "4.50", "4.95", "1.100", "1.078", "1.122", "slower"]
    assert "alpha: balanced accuracy 0.750 and 0.750: no difference beyond noise" in lines

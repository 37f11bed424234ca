"""The benchmark as a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from dermedge.benchmarks.latency import latency
from dermedge.benchmarks.page import answer, to_html
from dermedge.benchmarks.page_plots import accuracy_plot, bar_widths, latency_bars
from dermedge.benchmarks.report import BenchmarkReport, tables
from dermedge.edge.model.prediction import Timing
from dermedge.train.evaluation.metrics import Score


@pytest.fixture
def apart(report: BenchmarkReport) -> BenchmarkReport:
    """The report with intervals of the median that are 0.2 ms wide, so that those of the two models are apart."""
    rows = []
    for row in report.rows:
        total = row.latency.total
        total = replace(total, low=total.median - 0.1, high=total.median + 0.1)
        rows.append(replace(row, latency=replace(row.latency, total=total)))
    return replace(report, rows=tuple(rows))


def with_scores(report: BenchmarkReport, *values: float) -> BenchmarkReport:
    """The report with one balanced accuracy for each row."""
    rows = []
    for row, value in zip(report.rows, values, strict=True):
        assert row.accuracy
        score = Score(value, value - 0.1, value + 0.05)
        rows.append(replace(row, accuracy=replace(row.accuracy, balanced_accuracy=score)))
    return replace(report, rows=tuple(rows))


def test_the_page_has_all_tables_the_disclaimer_and_needs_no_network(report: BenchmarkReport) -> None:
    page = to_html(report)
    assert page.count("<table>") == len(tables(report))
    assert "not a medical device" in page
    assert not re.search(r"(src|href)=", page)


def test_a_name_cannot_be_markup(report: BenchmarkReport) -> None:
    rows = (replace(report.rows[0], model="<script>x</script>"), *report.rows[1:])
    page = to_html(replace(report, rows=rows))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_opens_with_the_fastest_and_the_most_accurate_model(apart: BenchmarkReport) -> None:
    # the medians are 0.4 + 4 + 0.1 = 4.5 ms and 0.4 + 8 + 0.1 = 8.5 ms
    told = answer(with_scores(apart, 0.7, 0.8))
    assert told.startswith("The fastest is alpha, 1 thread: 4.50 ms")
    assert "1.9 times as fast as a-model" in told
    assert "omega has the highest balanced accuracy, 0.800 (95 % 0.700 to 0.850)." in told
    page = to_html(apart)
    assert page.index('class="answer"') < page.index("<h2>")


def test_equal_models_are_not_called_faster_or_slower(apart: BenchmarkReport) -> None:
    alpha, other = (replace(row, accuracy=None) for row in apart.rows)
    copy = replace(alpha, model="copy")
    told = answer(replace(apart, rows=(alpha, copy)))
    assert told.startswith("No model is faster than the others beyond noise: alpha, 1 thread, takes 4.50 ms")
    assert told.endswith(" from frame to decision.")
    told = answer(replace(apart, rows=(alpha, copy, other)))
    assert told.startswith("One of the fastest is alpha, 1 thread: 4.50 ms")
    assert "1.9 times as fast as a-model" in told


def test_a_model_that_is_best_in_both_and_one_alone_are_told_so(report: BenchmarkReport) -> None:
    told = answer(with_scores(report, 0.8, 0.7))
    assert told.endswith("; its balanced accuracy is 0.800 (95 % 0.700 to 0.850), the highest.")
    alone = answer(replace(report, rows=(replace(report.rows[0], accuracy=None),)))
    assert re.fullmatch(
        r"alpha, 1 thread, takes 4\.50 ms \(95 % [\d.]+ to [\d.]+\) from frame to decision\.", alone
    )


def test_each_bar_is_as_long_as_the_figure_at_its_end(report: BenchmarkReport) -> None:
    found = re.findall(r'width: ([\d.]+)%"></i><span>([\d.]+) ms', latency_bars(report.rows))
    assert len(found) == 2 * len(report.rows)
    lengths = [float(width) / float(ms) for width, ms in found]
    assert lengths == pytest.approx([lengths[0]] * len(found), rel=0.01)
    [*_, (_, of_slowest)] = bar_widths(report.rows)
    assert of_slowest == 72
    assert max(float(width) for width, _ in found) == 72


def test_a_point_of_the_plot_lies_at_its_figures(report: BenchmarkReport) -> None:
    plot = accuracy_plot(with_scores(report, 0.7, 0.8)).partition("<ol>")[0]
    svg = ElementTree.fromstring(plot)
    (x1, y1), (x2, y2) = ((float(one.attrib["cx"]), float(one.attrib["cy"])) for one in svg.iter("circle"))
    # The horizontal axis goes from 0 ms at x = 48 to 1.08 * 8.5 = 9.18 ms at x = 346. The vertical axis goes from 0.58
    # at y = 226 to 0.87 at y = 30.
    assert (x1, x2) == pytest.approx((48 + 298 * 4.5 / 9.18, 48 + 298 * 8.5 / 9.18), abs=0.06)
    assert (y1, y2) == pytest.approx((226 - 196 * 0.12 / 0.29, 226 - 196 * 0.22 / 0.29), abs=0.06)
    intervals = [one for one in svg.iter("line") if one.attrib["class"] == "interval"]
    lengths = [float(one.attrib["y1"]) - float(one.attrib["y2"]) for one in intervals]
    assert lengths == pytest.approx([196 * 0.15 / 0.29] * 2, abs=0.2)
    across = [float(one.attrib[end]) for one in intervals for end in ("x1", "x2")]
    assert across == pytest.approx([x1, x1, x2, x2], abs=0.06)


def test_a_model_that_is_slower_and_worse_is_an_open_point(report: BenchmarkReport) -> None:
    kinds = re.findall(r'<circle class="(\w+)"', accuracy_plot(with_scores(report, 0.8, 0.7)))
    assert kinds == ["filled", "open"]


def test_without_scores_there_is_no_plot_of_accuracy(report: BenchmarkReport) -> None:
    rows = tuple(replace(row, accuracy=None) for row in report.rows)
    assert accuracy_plot(replace(report, rows=rows)) == ""
    assert "<svg" not in to_html(replace(report, rows=rows))


def test_a_disturbed_run_warns_above_its_figures(report: BenchmarkReport) -> None:
    assert "Do not rely on" in to_html(report).split("<h2>")[0]


def test_one_disturbed_row_is_enough_for_the_warning(report: BenchmarkReport) -> None:
    quiet = replace(report.rows[0], latency=latency([Timing(0.4, 4.0, 0.1)] * 40, cpu_ms=4.5))
    assert "Do not rely on" not in to_html(replace(report, rows=(quiet, quiet)))
    assert "Do not rely on" in to_html(replace(report, rows=(quiet, report.rows[1]))).split("<h2>")[0]


def test_one_model_alone_is_not_the_highest_of_many(report: BenchmarkReport) -> None:
    told = answer(replace(report, rows=report.rows[:1]))
    assert told.endswith("; its balanced accuracy is 0.750 (95 % 0.600 to 0.850).")


def test_the_same_model_with_more_threads_is_still_the_most_accurate(apart: BenchmarkReport) -> None:
    slow = replace(apart.rows[0], num_threads=2, latency=apart.rows[1].latency)
    told = answer(replace(apart, rows=(slow, apart.rows[0])))
    assert told.startswith("The fastest is alpha, 1 thread: 4.50 ms")
    assert "1.9 times as fast as alpha, 2 threads; its balanced accuracy is 0.750" in told


def test_the_axes_have_round_numbers_at_their_places_and_each_point_is_named(report: BenchmarkReport) -> None:
    plot, _, names = accuracy_plot(with_scores(report, 0.7, 0.8)).partition("<ol>")
    svg = ElementTree.fromstring(plot)
    texts = {one.text: one.attrib for one in svg.iter("text")}
    # A quarter of 9.18 ms is 2.3 ms, and the next round number is 2.5. The axis begins at x = 48 and is 298 wide.
    across = {text: 48 + 298 * float(text) / 9.18 for text in ("0", "2.5", "5", "7.5")}
    assert {text: float(texts[text]["x"]) for text in across} == pytest.approx(across, abs=0.06)
    # The points and intervals cover 0.578 to 0.862. A quarter of this range is 0.07, and the next round number is 0.1.
    up = {text: 226 - 196 * (float(text) - 0.58) / 0.29 + 4 for text in ("0.6", "0.7", "0.8")}
    assert {text: float(texts[text]["y"]) for text in up} == pytest.approx(up, abs=0.3)
    assert [texts[text]["text-anchor"] for text in (*across, *up)] == ["middle"] * 4 + ["end"] * 3
    grid = [one.attrib for one in svg.iter("line") if one.attrib["class"] == "grid"]
    lines = [tuple(float(one[end]) for end in ("x1", "x2", "y1", "y2")) for one in grid]
    # a line crosses the whole plot at each number of an axis
    assert lines == [
        *(pytest.approx((48, 346, y - 4, y - 4), abs=0.3) for y in up.values()),
        *(pytest.approx((x, x, 30, 226), abs=0.06) for x in across.values()),
    ]
    assert set(texts) - {"1", "2", "median ms, frame to decision", "balanced accuracy"} == {*across, *up}
    last = report.rows[1].model
    assert names == f"<li>alpha, 1 thread: 0.700, 4.50 ms</li><li>{last}, 1 thread: 0.800, 8.50 ms</li></ol>"


def test_the_numbers_of_the_axes_are_written_out(report: BenchmarkReport) -> None:
    slow = latency([Timing(0.4, 2800.0, 0.1)] * 5, cpu_ms=4.5)
    rows = []
    for row, value in zip(report.rows, (0.985, 0.987), strict=True):
        assert row.accuracy
        score = Score(value, value - 0.003, value + 0.003)
        rows.append(replace(row, latency=slow, accuracy=replace(row.accuracy, balanced_accuracy=score)))
    numbers = re.findall(r">([\d.e+]+)</text>", accuracy_plot(replace(report, rows=tuple(rows))))
    assert numbers[:-2] == ["0.9825", "0.985", "0.9875", "0.99", "0", "1000", "2000", "3000"]


def test_the_axis_of_accuracy_ends_at_one(report: BenchmarkReport) -> None:
    svg = ElementTree.fromstring(accuracy_plot(with_scores(report, 0.95, 0.95)).partition("<ol>")[0])
    intervals = [one for one in svg.iter("line") if one.attrib["class"] == "interval"]
    assert [float(one.attrib["y2"]) for one in intervals] == [30, 30]


def test_the_axis_of_accuracy_begins_at_zero_and_needs_no_range(report: BenchmarkReport) -> None:
    def intervals(score: Score) -> list[list[float]]:
        rows = [
            replace(row, accuracy=replace(row.accuracy, balanced_accuracy=score))
            for row in report.rows
            if row.accuracy
        ]
        plot = accuracy_plot(replace(report, rows=tuple(rows))).partition("<ol>")[0]
        svg = ElementTree.fromstring(plot)
        ends = [one for one in svg.iter("line") if one.attrib["class"] == "interval"]
        return [[float(one.attrib[end]) for one in ends] for end in ("y1", "y2")]

    # the axis goes from 0 at y = 226, and not from -0.04, to 0.54 at y = 30
    lows, highs = intervals(Score(0.2, 0.0, 0.5))
    assert lows == [226, 226]
    assert highs == pytest.approx([226 - 196 * 0.5 / 0.54] * 2, abs=0.06)
    # if all scores are equal, their points lie in the middle of the axis
    assert intervals(Score(0.7, 0.7, 0.7)) == [[128, 128], [128, 128]]

"""The benchmark as a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from dermedge.benchmarks.page import answer, to_html
from dermedge.benchmarks.page_plots import accuracy_plot, bar_widths, latency_bars
from dermedge.benchmarks.report import BenchmarkReport, tables
from dermedge.train.evaluation.metrics import Score


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


def test_the_page_opens_with_the_fastest_and_the_most_accurate_model(report: BenchmarkReport) -> None:
    # medians of 4.5 and 8.5 ms: 0.4 + 4 + 0.1 and 0.4 + 8 + 0.1
    told = answer(with_scores(report, 0.7, 0.8))
    assert told.startswith("The fastest is alpha, 1 thread: 4.50 ms")
    assert "1.9 times as fast as a-model" in told
    assert "omega has the highest balanced accuracy, 0.800 (95 % 0.700 to 0.850)." in told
    page = to_html(report)
    assert page.index('class="answer"') < page.index("<h2>")


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
    # from 0 at x = 36 to 1.08 * 8.5 ms at 346; from 0.58 at y = 226 to 0.87 at 30
    assert (x1, x2) == pytest.approx((36 + 310 * 4.5 / 9.18, 36 + 310 * 8.5 / 9.18), abs=0.06)
    assert (y1, y2) == pytest.approx((226 - 196 * 0.12 / 0.29, 226 - 196 * 0.22 / 0.29), abs=0.06)
    intervals = [one for one in svg.iter("line") if one.attrib["class"] == "interval"]
    lengths = [float(one.attrib["y1"]) - float(one.attrib["y2"]) for one in intervals]
    assert lengths == pytest.approx([196 * 0.15 / 0.29] * 2, abs=0.2)


def test_a_model_that_is_slower_and_worse_is_an_open_point(report: BenchmarkReport) -> None:
    kinds = re.findall(r'<circle class="(\w+)"', accuracy_plot(with_scores(report, 0.8, 0.7)))
    assert kinds == ["filled", "open"]


def test_without_scores_there_is_no_plot_of_accuracy(report: BenchmarkReport) -> None:
    rows = tuple(replace(row, accuracy=None) for row in report.rows)
    assert accuracy_plot(replace(report, rows=rows)) == ""
    assert "<svg" not in to_html(replace(report, rows=rows))


def test_a_disturbed_run_warns_above_its_figures(report: BenchmarkReport) -> None:
    assert "Do not rely on" in to_html(report).split("<h2>")[0]

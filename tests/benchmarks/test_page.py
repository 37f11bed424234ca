"""The benchmark as a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from dermedge.benchmarks.page import latency_svg, to_html
from dermedge.benchmarks.report import BenchmarkReport, tables


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


def test_the_longest_bar_is_the_slowest_models(report: BenchmarkReport) -> None:
    svg = ElementTree.fromstring(latency_svg(report.rows))
    to_p99, to_median, *of_second = [float(one.attrib["width"]) for one in svg.iter("rect")]
    assert to_median < to_p99 < of_second[0] == 500


def test_a_disturbed_run_warns_above_its_figures(report: BenchmarkReport) -> None:
    assert "Do not rely on" in to_html(report).split("<figure")[0]

"""The report as one HTML page without external files."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

from dermedge import DISCLAIMER
from dermedge.benchmarks.report import BenchmarkReport, ModelResult, notes, tables
from dermedge.benchmarks.verdict import GOOD
from dermedge.edge.text_table import TextTable

__all__ = ["latency_svg", "to_html"]

_BAR_HEIGHT, _BAR_GAP, _NAMES_WIDTH, _PLOT_WIDTH = 14, 14, 260, 500
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>dermedge: benchmark of $date</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; }
.wide { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; opacity: .75; padding-bottom: .3rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid #8886; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.warning { border-left: 4px solid #e07a1f; padding: .4rem .8rem; }
svg { width: 100%; min-width: 36rem; height: auto; }
figure { margin: 0; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
</style>
</head>
<body>
<h1>Benchmark, $date</h1>
<p class="warning"><b>$disclaimer</b></p>
$doubt
<figure class="wide">$plot<figcaption>Frame to decision in ms: dark from 0 to the median, light on to the 99th
percentile.</figcaption></figure>
$tables
<ul>
$notes
</ul>
</body>
</html>
""")
_DOUBT = '<p class="warning">Do not rely on figures marked noisy or throttled; the reasons are below.</p>'


def to_html(report: BenchmarkReport) -> str:
    """The page: a plot of the latencies, and the tables and notes of the terminal report."""
    return _PAGE.substitute(
        date=escape(report.created[:10]),
        disclaimer=escape(DISCLAIMER),
        doubt="" if all(report.mark(row) == GOOD for row in report.rows) else _DOUBT,
        plot=latency_svg(report.rows),
        tables="\n".join(map(_table, tables(report))),
        notes="\n".join(f"<li>{escape(line)}</li>" for line in notes(report)),
    )


def latency_svg(rows: Sequence[ModelResult]) -> str:
    """A bar for each result: dark to its median, light to its 99th percentile."""
    scale = _PLOT_WIDTH / max(row.latency.total.p99 for row in rows)
    step = _BAR_HEIGHT + _BAR_GAP
    width, height = _NAMES_WIDTH + _PLOT_WIDTH + 70, step * len(rows)
    bars = []
    for number, row in enumerate(rows):
        total, top = row.latency.total, number * step
        middle = top + _BAR_HEIGHT - 3
        name = f"{row.model}, {row.num_threads} thread{'s' if row.num_threads > 1 else ''}"
        bars.append(
            f'<text x="{_NAMES_WIDTH - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_NAMES_WIDTH}" y="{top}" width="{total.p99 * scale:.1f}" height="{_BAR_HEIGHT}" '
            'fill="#2f8fd0" fill-opacity=".35"/>'
            f'<rect x="{_NAMES_WIDTH}" y="{top}" width="{total.median * scale:.1f}" height="{_BAR_HEIGHT}" '
            'fill="#2f8fd0"/>'
            f'<text x="{_NAMES_WIDTH + total.p99 * scale + 6:.1f}" y="{middle}">{total.median:.2f}</text>'
        )
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(bars)}</svg>'


def _table(table: TextTable) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in table.rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(table.title)}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )

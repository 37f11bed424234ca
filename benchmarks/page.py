"""Writes the report of a benchmark as one HTML page that needs no other file."""

from __future__ import annotations

from html import escape
from string import Template

from dermedge import DISCLAIMER
from dermedge.benchmarks.page_plots import accuracy_plot, latency_bars, scored_rows
from dermedge.benchmarks.report import BenchmarkReport, ModelResult, notes, row_name, tables
from dermedge.benchmarks.verdict import GOOD
from dermedge.edge.printable import printable_lines
from dermedge.edge.text_table import TextTable

__all__ = ["answer", "to_html"]

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>dermedge: benchmark of $date</title>
<style>
:root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --text: #1d1f21; --soft: #5d6468;
  --line: #dcdedc; --blue: #0072b2; --pale: #9cc9e4; --inverse: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #16181a; --card: #1f2224; --text: #e6e7e8;
  --soft: #a2a9ad; --line: #383d40; --blue: #56b4e9; --pale: #2c5f80; --inverse: #10181d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 0 0 .6rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
  margin: 1rem 0; }
.answer { font-size: 1.2rem; margin: .2rem 0; }
section > :last-child { margin-bottom: 0; }
.warning { border-left: 4px solid #e07a1f; padding: .4rem .8rem; background: var(--card); }
.soft, caption { color: var(--soft); }
.wide { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .35rem .9rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
.latency { margin: .9rem 0; }
.bar { display: flex; align-items: center; gap: .5rem; margin: .15rem 0; }
.bar i { flex: none; height: .9rem; border-radius: 0 3px 3px 0; background: var(--blue); }
.bar.tail i { height: .5rem; background: var(--pale); }
.bar span { white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar.tail span { color: var(--soft); font-size: .85rem; }
.plot { width: 100%; max-width: 32rem; height: auto; display: block; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2rem; }
.plot text { fill: var(--text); font: 12px system-ui, sans-serif; }
.plot .grid { stroke: var(--line); }
.plot .interval { stroke: var(--blue); stroke-width: 2; }
.plot circle { stroke: var(--blue); stroke-width: 2; fill: var(--card); }
.plot circle.filled { fill: var(--blue); }
.plot text.filled { fill: var(--inverse); }
@media (max-width: 30rem) { body { padding: .5rem; } section { padding: .7rem; } }
</style>
</head>
<body>
<main>
<h1>Benchmark, $date</h1>
<p class="warning"><b>$disclaimer</b></p>
<section>
<p class="answer">$answer</p>
$doubt
<p class="soft">$machine</p>
</section>
$plot
<section>
<h2>How long a frame takes</h2>
$bars
<p class="soft">From the frame to the decision. The wide bar ends at the median, and the narrow bar at the 99th
percentile.</p>
</section>
$tables
<section>
<h2>How it was measured</h2>
<ul>
$notes
</ul>
</section>
</main>
</body>
</html>
""")
_PLOT = Template("""<section>
<h2>Accuracy against latency</h2>
<div class="beside">$plot</div>
<p class="soft">Models higher up are more accurate, and models further left are faster. Lines are 95 % confidence
intervals. If a mark is filled, every other model is slower or less accurate.</p>
</section>""")
_DOUBT = (
    '<p class="warning">Do not rely on results that are marked noisy or throttled. The reasons are below.</p>'
)


def to_html(report: BenchmarkReport) -> str:
    """Returns the page: the result in one sentence, the plots, and the tables and notes of the terminal report."""
    plot = accuracy_plot(report)
    page = _PAGE.substitute(
        date=escape(report.created[:10]),
        answer=escape(answer(report)),
        disclaimer=escape(DISCLAIMER),
        doubt="" if all(report.mark(row) == GOOD for row in report.rows) else _DOUBT,
        machine=escape(f"Measured on {report.machine.cpu} with {report.machine.runtime}."),
        plot=_PLOT.substitute(plot=plot) if plot else "",
        bars=latency_bars(report.rows),
        tables="\n".join(map(_table, tables(report))),
        notes="\n".join(f"<li>{escape(line)}</li>" for line in notes(report)),
    )
    return printable_lines(page)


def answer(report: BenchmarkReport) -> str:
    """Returns one sentence that names the fastest model and, if photos were scored, the most accurate model.

    A model counts as slower only if its confidence interval lies above that of the fastest model.
    """
    fastest = min(report.rows, key=lambda row: row.latency.total.median)
    slower = [row for row in report.rows if row.latency.total.low > fastest.latency.total.high]
    if not slower:
        equal = "No model is faster than the others beyond noise: " if len(report.rows) > 1 else ""
        first = f"{equal}{row_name(fastest)}, takes {_latency(fastest)} from frame to decision"
    else:
        slowest = max(slower, key=lambda row: row.latency.total.median)
        times = slowest.latency.total.median / fastest.latency.total.median
        which = "The fastest" if len(slower) == len(report.rows) - 1 else "One of the fastest"
        first = (
            f"{which} is {row_name(fastest)}: {_latency(fastest)} from frame to decision, "
            f"{times:.1f} times as fast as {row_name(slowest)}"
        )
    return f"{first}{_best(report, fastest)}."


def _best(report: BenchmarkReport, fastest: ModelResult) -> str:
    """Returns the part of the sentence of `answer` that states the accuracy.

    The part is an empty string if no photos were scored.
    """
    scored = scored_rows(report)
    if not scored:
        return ""
    best, score = max(scored, key=lambda one: one[1].value)
    figure = f"{score.value:.3f} (95 % {score.low:.3f} to {score.high:.3f})"
    if best.model == fastest.model:
        return f"; its balanced accuracy is {figure}" + (", the highest" if len(report.rows) > 1 else "")
    return f"; {best.model} has the highest balanced accuracy, {figure}"


def _latency(row: ModelResult) -> str:
    total = row.latency.total
    return f"{total.median:.2f} ms (95 % {total.low:.2f} to {total.high:.2f})"


def _table(table: TextTable) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for cells in table.rows
    )
    name, _, explained = table.title.partition(". ")
    return (
        f'<section>\n<h2>{escape(name.rstrip("."))}</h2>\n<p class="soft">{escape(explained)}</p>\n'
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n</section>"
    )

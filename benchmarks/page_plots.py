"""Makes the plots of the page of a benchmark, as HTML and SVG that need no other file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from dermedge.benchmarks.plot import pareto_front
from dermedge.benchmarks.report import BenchmarkReport, ModelResult, row_name

if TYPE_CHECKING:
    from dermedge.train.evaluation.metrics import Score

__all__ = ["accuracy_plot", "bar_widths", "latency_bars", "scored_rows"]

# The width of the longest bar in per cent of the page. The remaining width is for the label of the bar.
_LONGEST_BAR = 72.0
_WIDTH, _HEIGHT = 360, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 30, 44
_RADIUS = 9
# Empty margins of the plot. _MARGIN: above and below the confidence intervals, as a fraction of the range of accuracy.
# _FREE: to the right of the slowest model, as a fraction of the latency of this model.
_MARGIN, _FREE = 0.08, 0.08
_TICKS = 4
_NICE_STEPS = (1, 2, 2.5, 5, 10)


def bar_widths(rows: Sequence[ModelResult]) -> list[tuple[float, float]]:
    """Returns two bar widths in per cent for each row: one for the median latency, and one for the 99th percentile.

    All bars have the same scale, which begins at 0.
    """
    longest = max(row.latency.total.p99 for row in rows)
    return [
        (row.latency.total.median / longest * _LONGEST_BAR, row.latency.total.p99 / longest * _LONGEST_BAR)
        for row in rows
    ]


def latency_bars(rows: Sequence[ModelResult]) -> str:
    """Returns two bars for each row: one for the median latency, and one for the 99th percentile.

    The milliseconds are written at the end of each bar.
    """
    blocks = []
    for row, (to_median, to_p99) in zip(rows, bar_widths(rows), strict=True):
        total = row.latency.total
        blocks.append(
            f'<div class="latency"><div class="name">{escape(row_name(row))}</div>'
            + _bar("median", to_median, f"{total.median:.2f} ms")
            + _bar("tail", to_p99, f"{total.p99:.2f} ms")
            + "</div>"
        )
    return "\n".join(blocks)


def scored_rows(report: BenchmarkReport) -> list[tuple[ModelResult, Score]]:
    """Returns the rows whose accuracy was measured, each with the balanced accuracy."""
    return [(row, row.accuracy.balanced_accuracy) for row in report.rows if row.accuracy]


def accuracy_plot(report: BenchmarkReport) -> str:
    """Returns a plot of balanced accuracy with 95 % confidence intervals against the median latency.

    Each point has the number that the model has in the list below the plot. A filled point is on the Pareto front.
    Returns an empty string if no photos were scored.
    """
    scored = scored_rows(report)
    if not scored:
        return ""
    front = pareto_front([(row.latency.total.median, score.value) for row, score in scored])
    across, up = _scales(scored)
    places = [(across.at(row.latency.total.median), score) for row, score in scored]
    points = [
        *(_interval(x, up, score) for x, score in places),
        *(
            _point(number, x, up.at(score.value), number - 1 in front)
            for number, (x, score) in enumerate(places, 1)
        ),
    ]
    names = "".join(
        f"<li>{escape(row_name(row))}: {score.value:.3f}, {row.latency.total.median:.2f} ms</li>"
        for row, score in scored
    )
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Balanced accuracy against latency">{_axes(across, up)}{"".join(points)}</svg>\n'
        f"<ol>{names}</ol>"
    )


class _Scale:
    """Maps values to positions along an axis of the plot."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high, self._start, self._end = low, high, start, end

    def at(self, value: float) -> float:
        """Returns the position at which a value is drawn, in SVG units."""
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Returns about `_TICKS` round values within the axis."""
        rough = (self._high - self._low) / _TICKS
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * one for one in _NICE_STEPS if power * one >= rough * 0.999)
        first = math.ceil(self._low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self._high / step + 1e-9) + 1)]


def _scales(scored: Sequence[tuple[ModelResult, Score]]) -> tuple[_Scale, _Scale]:
    slowest = max(row.latency.total.median for row, _ in scored)
    low, high = min(score.low for _, score in scored), max(score.high for _, score in scored)
    room = max(high - low, 0.01) * _MARGIN
    return (
        _Scale(0, slowest * (1 + _FREE), _LEFT, _WIDTH - _RIGHT),
        _Scale(max(0, low - room), min(1, high + room), _HEIGHT - _BOTTOM, _TOP),
    )


def _axes(across: _Scale, up: _Scale) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{up.at(tick):.1f}" y2="{up.at(tick):.1f}"/>'
        f'<text x="{_LEFT - 7}" y="{up.at(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        for tick in up.ticks()
    ]
    lines += [
        f'<line class="grid" x1="{across.at(tick):.1f}" x2="{across.at(tick):.1f}" y1="{_TOP}" y2="{bottom}"/>'
        f'<text x="{across.at(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:.6g}</text>'
        for tick in across.ticks()
    ]
    middle = (_LEFT + right) / 2
    lines.append(
        f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">median ms, frame to decision</text>'
    )
    lines.append('<text x="4" y="14">balanced accuracy</text>')
    return "".join(lines)


def _interval(x: float, up: _Scale, score: Score) -> str:
    low, high = up.at(score.low), up.at(score.high)
    return f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'


def _point(number: int, x: float, y: float, is_filled: bool) -> str:
    kind = "filled" if is_filled else "open"
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
        f'<text class="{kind}" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{number}</text>'
    )


def _bar(kind: str, width: float, label: str) -> str:
    return f'<div class="bar {kind}"><i style="width: {width:.2f}%"></i><span>{label}</span></div>'

"""Holds and writes the results of the experiment `growth`: series of measurements and their power laws."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dermedge.benchmarks.lab.power_law import PowerLaw, fit
from dermedge.benchmarks.machine import describe_machine
from dermedge.benchmarks.plot import plain_axes
from dermedge.edge.files import write_beside, write_text
from dermedge.edge.text_table import NOT_MEASURED, TextTable, csv_of

__all__ = ["GrowthPoint", "GrowthResult", "machine_line", "save", "table"]

_PANEL_INCHES = 4.4
_DPI = 130
# The factor by which the axes extend beyond the points.
_MARGIN = 1.15
_COLOUR, _FIT_COLOUR = "#0072b2", "#444444"


@dataclass(frozen=True)
class GrowthPoint:
    """One measured cost.

    Attributes:
        series: name of the series, such as ``inference by input size``.
        x: value of the quantity that was varied.
        cost: measured value.
        low: lower end of the 95 % confidence interval of the cost. It equals ``cost`` if the interval is not known.
        high: upper end of the 95 % confidence interval of the cost. It equals ``cost`` if the interval is not known.
        unit: unit of the cost.
    """

    series: str
    x: float
    cost: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True)
class GrowthResult:
    """The result of one command.

    Attributes:
        name: name of the command. The result files have this name, too.
        title: title of the page.
        points: points of all series. The points of a series are ordered by rising x.
        x_names: for each series, the name of the quantity that was varied.
        notes: notes on the measurements, one line each.
        fitted: whether power laws are fitted.
        from_zero: whether the cost axes begin at 0, so that a constant cost looks flat.
    """

    name: str
    title: str
    points: tuple[GrowthPoint, ...]
    x_names: dict[str, str]
    notes: tuple[str, ...]
    fitted: bool = True
    from_zero: bool = False

    def of(self, series: str) -> list[GrowthPoint]:
        """Returns the points of one series."""
        return [point for point in self.points if point.series == series]

    def law(self, series: str) -> PowerLaw | None:
        """Returns the power law of one series; None if the series has too few points, or if no laws are fitted."""
        points = self.of(series)
        return fit([one.x for one in points], [one.cost for one in points]) if self.fitted else None


def machine_line() -> str:
    """Returns one line that names this machine, its TFLite runtime, and today's date."""
    machine = describe_machine("litert")
    return f"{machine.cpu}, {machine.cores} cores, {machine.runtime}, {datetime.now(UTC):%Y-%m-%d}"


def table(found: GrowthResult) -> TextTable:
    """Returns a table with a row for each series.

    A row shows the first point and the last point. If power laws are fitted, the row also shows the power law.
    """
    rows = []
    for series in found.x_names:
        points = found.of(series)
        ends = (
            f"{_figure(one.cost)} {one.unit}".rstrip() + f" at {one.x:g}" for one in (points[0], points[-1])
        )
        rows.append((series, *(_law_cells(found.law(series)) if found.fitted else ()), *ends))
    law_head = ("exponent", "95 % interval", "R²") if found.fitted else ()
    meaning = " exponent: exponent of the power law that is fitted to the logarithms." if found.fitted else ""
    return TextTable(f"{found.title}.{meaning}", ("series", *law_head, "first", "last"), tuple(rows))


def save(found: GrowthResult, folder: Path) -> None:
    """Writes NAME.csv, NAME.md and NAME.png into a folder, each file atomically.

    Raises:
        StorageError: a file cannot be written.
    """
    points = csv_of(list(GrowthPoint.__dataclass_fields__), map(asdict, found.points))
    write_text(folder / f"{found.name}.csv", points)
    notes = "\n".join(f"- {note}" for note in found.notes)
    page = [f"# {found.title}", table(found).to_markdown(), notes, f"![{found.title}]({found.name}.png)"]
    write_text(folder / f"{found.name}.md", "\n\n".join(page) + "\n")
    _save_plot(found, folder / f"{found.name}.png")


def _figure(cost: float) -> str:
    """Formats a number with three significant digits. From 1000 on, all digits before the decimal point are kept."""
    return f"{cost:.3g}" if cost < 1000 else f"{cost:.0f}"


def _law_cells(law: PowerLaw | None) -> tuple[str, ...]:
    if law is None:
        return (NOT_MEASURED,) * 3
    # adding 0.0 turns -0.0 into 0.0; a rounded -0.001 is -0.0
    exponent, low, high = (round(one, 2) + 0.0 for one in (law.exponent, law.low, law.high))
    return f"{exponent:.2f}", f"[{low:.2f}, {high:.2f}]", f"{law.r_squared:.3f}"


def _save_plot(found: GrowthResult, path: Path) -> None:
    """Plots each series with its power law. Each series has its own panel.

    Raises:
        StorageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    columns = min(2, len(found.x_names))
    rows = -(-len(found.x_names) // columns)
    size = (_PANEL_INCHES * columns, 0.75 * _PANEL_INCHES * rows + 0.4)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, series in zip(panels, found.x_names, strict=False):
        _plot_series(axes, found, series)
    for axes in panels[len(found.x_names) :]:
        axes.set_visible(False)
    figure.supxlabel(machine_line(), fontsize=7, color="#666666")
    with write_beside(path) as part:
        figure.savefig(part)


def _plot_series(axes: Any, found: GrowthResult, series: str) -> None:
    points, law = found.of(series), found.law(series)
    x = [point.x for point in points]
    for point in points:
        axes.plot([point.x] * 2, [point.low, point.high], color=_COLOUR, linewidth=1.5, alpha=0.6)
    axes.plot(x, [point.cost for point in points], "o", color=_COLOUR, markersize=5)
    _scale_axes(axes, found, points)
    if law:
        line = np.geomspace(x[0], x[-1], 50)
        axes.plot(line, [law(at) for at in line], "--", color=_FIT_COLOUR, linewidth=1)
    axes.set_xticks(x, [f"{at:g}" for at in x])
    axes.tick_params(labelsize=7, which="both")
    axes.set_xlabel(found.x_names[series], fontsize=8)
    axes.set_ylabel(points[0].unit, fontsize=8)
    axes.set_title(f"{series}\n{law}" if law else series, loc="left", fontsize=8)
    plain_axes(axes, which="both")


def _scale_axes(axes: Any, found: GrowthResult, points: list[GrowthPoint]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    highest = max(one.high for one in points) * _MARGIN
    if found.fitted:
        axes.set(xscale="log", yscale="log")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:.3g}"))
        # The y axis extends beyond the points by the factor _MARGIN. With matplotlib's default limits, a nearly
        # constant cost would fill the whole height, and would not look flat.
        axes.set_ylim(min(one.low for one in points) / _MARGIN, highest)
    elif found.from_zero:
        axes.set_ylim(0, highest)
    axes.xaxis.set_minor_locator(NullLocator())

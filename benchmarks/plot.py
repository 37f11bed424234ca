"""Plots accuracy and melanoma sensitivity against latency, with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermedge import DISCLAIMER
from dermedge.benchmarks.frames import FRAME_HEIGHT, FRAME_WIDTH
from dermedge.benchmarks.memory import BYTES_PER_MB
from dermedge.benchmarks.report import BenchmarkReport, ModelResult
from dermedge.edge.errors import MissingExtra, OptionError
from dermedge.edge.files import write_beside
from dermedge.edge.printable import printable

if TYPE_CHECKING:
    from dermedge.train.evaluation.metrics import Score

__all__ = ["PLAIN_TEXT", "check_plot", "pareto_front", "plain_axes", "save_plot", "spread_out"]

_SUFFIXES = (".png", ".svg", ".pdf")
_WIDTH_INCHES, _PANEL_INCHES = 8.0, 4.2
_DPI = 150
# The area of a marker in square points, per MB of the model file.
_AREA_PER_MB = 60
# The latency axis is logarithmic if the slowest model takes more than this many times as long as the fastest model.
_LOGARITHMIC_FROM = 8
_MIN_AREA = 25
# The minimum vertical distance between two model names, as a fraction of the height of the axes.
_NAME_SPACING = 0.07
# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
# Settings of matplotlib. Dollar signs in the names of models and sources would otherwise start a formula.
PLAIN_TEXT: Any = {"text.parse_math": False}


def check_plot(path: Path) -> None:
    """Checks before a long run that the plot can be written.

    Raises:
        MissingExtra: matplotlib is not installed.
        OptionError: the suffix of the file is not .png, .svg or .pdf.
    """
    if util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "benchmark")
    if path.suffix.lower() not in _SUFFIXES:
        raise OptionError(
            f"'{path}' does not name a format for --plot; give a file name that ends in {', '.join(_SUFFIXES)}"
        )


def save_plot(report: BenchmarkReport, path: Path) -> None:
    """Plots scores against the median latency from frame to decision, with the Pareto front.

    One panel shows the balanced accuracy, and one panel the sensitivity for melanoma, with 95 % confidence intervals. A
    model is on the Pareto front if every other model is slower or has a lower score. The markers of the models on the
    Pareto front are filled. The area of a marker is in proportion to the file size.

    Raises:
        StorageError: the file cannot be written.
    """
    from matplotlib import rc_context

    with rc_context(PLAIN_TEXT), write_beside(path) as part:
        _figure(report).savefig(part, bbox_inches="tight", pad_inches=0.15)


def _figure(report: BenchmarkReport) -> Any:
    from matplotlib.figure import Figure

    panels = {title: scores for title, scores in _panels(report.rows).items() if any(scores)}
    figure = Figure(figsize=(_WIDTH_INCHES, _PANEL_INCHES * len(panels)), dpi=_DPI, layout="constrained")
    for axes, (title, scores) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True
    ):
        _plot_panel(axes, report.rows, scores)
        axes.set_ylabel(f"{title},\nwith 95 % interval")
    axes.set_xlabel(f"median latency from a {FRAME_WIDTH}x{FRAME_HEIGHT} frame to the decision, ms")
    figure.suptitle(
        "Score against latency. Dashed line and filled markers: Pareto front. Area of a marker: file size",
        fontsize=10,
    )
    foot = f"{report.machine.cpu}, {report.machine.runtime}; {report.data}. {DISCLAIMER}"
    figure.supxlabel(printable(foot), fontsize=7, color="#666666")
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Returns the indices of the (cost, score) points on the Pareto front, ordered by rising cost.

    A point is on the Pareto front if every other point has a higher cost or a lower score. Of several equal points,
    either all or none are on the Pareto front.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        last = points[front[-1]] if front else None
        if last is None or points[index] == last or points[index][1] > last[1]:
            front.append(index)
    return front


def _panels(rows: Sequence[ModelResult]) -> dict[str, list[Score | None]]:
    scored = [row.accuracy for row in rows]
    melanoma = [one.melanoma_sensitivity if one else None for one in scored]
    return {
        "balanced accuracy": [one.balanced_accuracy if one else None for one in scored],
        "melanoma sensitivity at 90 % specificity": melanoma,
    }


def _plot_panel(axes: Any, rows: Sequence[ModelResult], scores: Sequence[Score | None]) -> None:
    """Plots one panel: the models that have a score, the Pareto front, and the names of the models."""
    points = {index: (rows[index].latency.total.median, score) for index, score in enumerate(scores) if score}
    indices = list(points)
    plain = [(latency_ms, score.value) for latency_ms, score in points.values()]
    front = [indices[at] for at in pareto_front(plain)]
    for index, (latency_ms, score) in points.items():
        colour = _COLOURS[index % len(_COLOURS)]
        axes.plot([latency_ms] * 2, [score.low, score.high], color=colour, linewidth=1.5, alpha=0.6)
        area = max(_MIN_AREA, _AREA_PER_MB * rows[index].size_bytes / BYTES_PER_MB)
        fill = colour if index in front else "white"
        axes.scatter(latency_ms, score.value, area, fill, edgecolors=colour, linewidths=1.4, zorder=3)
    steps = [points[index] for index in front]
    axes.step(
        [latency_ms for latency_ms, _ in steps],
        [score.value for _, score in steps],
        "--",
        where="post",
        color="#444444",
        linewidth=1,
    )
    from matplotlib.ticker import LogLocator

    fastest, slowest = (choose(latency_ms for latency_ms, _ in points.values()) for choose in (min, max))
    if slowest > _LOGARITHMIC_FROM * fastest:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlim(fastest / 1.3, slowest * 1.3)
    else:
        axes.set_xlim(0, 1.15 * slowest)
    axes.margins(y=0.12)
    _write_names(axes, rows, points)
    plain_axes(axes)
    axes.set_axisbelow(True)


def plain_axes(axes: Any, which: str = "major") -> None:
    """Draws a light grid at the ticks, and removes the lines at the top and the right of the axes.

    Args:
        axes: the axes of a matplotlib figure.
        which: the ticks that get a grid line: ``major``, ``minor`` or ``both``.
    """
    axes.grid(color="#e8e8e8", linewidth=0.8, which=which)
    axes.spines[["top", "right"]].set_visible(False)


def _write_names(axes: Any, rows: Sequence[ModelResult], points: Mapping[int, tuple[float, Score]]) -> None:
    """Writes the names of the models in a column to the right of the axes. A thin line leads from a name to its point.

    Names beside the points would overlap, because good models lie close together.
    """
    bottom, top = axes.get_ylim()
    order = sorted(points, key=lambda index: points[index][1].value)
    wanted = [(points[index][1].value - bottom) / (top - bottom) for index in order]
    several = len({row.num_threads for row in rows}) > 1
    spacing = min(_NAME_SPACING, 1 / len(order))
    for index, height in zip(order, spread_out(wanted, spacing), strict=True):
        row, (latency_ms, score) = rows[index], points[index]
        threads = f", {row.num_threads} threads" if several else ""
        size_mb = row.size_bytes / BYTES_PER_MB
        axes.annotate(
            f"{printable(row.model)}{threads}: {score.value:.3f}, {latency_ms:.1f} ms, {size_mb:.1f} MB",
            (latency_ms, score.value),
            xytext=(1.02, height),
            textcoords="axes fraction",
            color=_COLOURS[index % len(_COLOURS)],
            fontsize=8,
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": _COLOURS[index % len(_COLOURS)],
                "alpha": 0.3,
                "relpos": (0, 0.5),
            },
        )


def spread_out(heights: Sequence[float], spacing: float) -> list[float]:
    """Spreads the labels of a plot vertically, so that they do not overlap. Returns the new heights of the labels.

    A label is moved up until it is at least ``spacing`` above the label below it. If the highest label then lies above
    the plot, all labels are moved down by the same distance.

    Args:
        heights: heights of the labels, in increasing order. 0 is the bottom and 1 is the top of the plot.
        spacing: the minimum distance between two labels, in the same unit.
    """
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + spacing) if moved else height)
    excess = max(0.0, moved[-1] - 1) if moved else 0.0
    return [height - excess for height in moved]

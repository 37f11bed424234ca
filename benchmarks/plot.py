"""The picture of a benchmark: balanced accuracy against latency. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.frames import FRAME_HEIGHT, FRAME_WIDTH
from benchmarks.report import Report, Row
from dermedge import DISCLAIMER
from edge.errors import MissingExtra, OptionError
from edge.files import write_beside

if TYPE_CHECKING:
    from train.metrics import Score

SUFFIXES = (".png", ".svg", ".pdf")
SIZE_INCHES = (8.0, 5.0)
DPI = 150
# Area of a marker in square points for a file of one MB.
AREA_PER_MB = 60
MIN_AREA = 25
BYTES_PER_MB = 1e6
# Between two names, as a share of the height of the axes.
NAME_SPACING = 0.1
# Okabe and Ito's colours, which colour-blind people can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def check_plot(path: Path) -> None:
    """What can be known before a long run.

    Raises:
        MissingExtra: matplotlib is not installed.
        OptionError: the file's suffix is not one of SUFFIXES.
    """
    if util.find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", "benchmark")
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"--plot is '{path}'; its name must end in {', '.join(SUFFIXES)}")


def save_plot(report: Report, path: Path) -> None:
    """Draws median end-to-end latency across, balanced accuracy and its interval up, file size as area.

    Raises:
        StorageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    points = [
        (row.latency.total.median, row.accuracy.balanced_accuracy) for row in report.rows if row.accuracy
    ]
    for index, (row, (latency_ms, score)) in enumerate(zip(report.rows, points, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot([latency_ms] * 2, [score.low, score.high], color=colour, linewidth=1.5, alpha=0.6)
        area = max(MIN_AREA, AREA_PER_MB * row.size_bytes / BYTES_PER_MB)
        axes.scatter(latency_ms, score.value, area, colour, edgecolors="white", zorder=3)
    axes.set_xlim(0, 1.15 * max(latency_ms for latency_ms, _ in points))
    axes.margins(y=0.12)
    _write_names(axes, report.rows, points)
    axes.set_xlabel(f"median latency end to end, ms per {FRAME_WIDTH}x{FRAME_HEIGHT} frame")
    axes.set_ylabel("balanced accuracy with 95 % interval")
    axes.set_title("Accuracy against latency (area of a marker: size of the file)", loc="left", fontsize=11)
    axes.grid(color="#e8e8e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    foot = f"{report.machine.cpu}, {report.machine.runtime}. {DISCLAIMER}"
    figure.supxlabel(foot, fontsize=7, color="#666666")
    with write_beside(path) as part:
        figure.savefig(part, bbox_inches="tight", pad_inches=0.15)


def _write_names(axes: Any, rows: Sequence[Row], points: Sequence[tuple[float, Score]]) -> None:
    """The models' names in a column right of the axes, each joined to its point by a thin line.

    Beside the points they would cover each other: good models are alike.
    """
    bottom, top = axes.get_ylim()
    order = sorted(range(len(rows)), key=lambda index: points[index][1].value)
    wanted = [(points[index][1].value - bottom) / (top - bottom) for index in order]
    several = len({row.num_threads for row in rows}) > 1
    for index, height in zip(order, spread_out(wanted, NAME_SPACING), strict=True):
        row, (latency_ms, score) = rows[index], points[index]
        threads = f", {row.num_threads} threads" if several else ""
        size_mb = row.size_bytes / BYTES_PER_MB
        axes.annotate(
            f"{row.model}{threads}\n{score.value:.3f}, {latency_ms:.1f} ms, {size_mb:.1f} MB",
            (latency_ms, score.value),
            xytext=(1.02, height),
            textcoords="axes fraction",
            color=COLOURS[index % len(COLOURS)],
            fontsize=8,
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": COLOURS[index % len(COLOURS)], "alpha": 0.3},
        )


def spread_out(heights: Sequence[float], spacing: float) -> list[float]:
    """Ascending heights moved apart to ``spacing`` or more, by as little at the lower end as suffices."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + spacing) if moved else height)
    excess = max(0.0, moved[-1] - 1) if moved else 0.0
    return [height - excess for height in moved]

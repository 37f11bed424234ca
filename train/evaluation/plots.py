"""Plots the training curves and augmented photos of a run, and the curves of an evaluation."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dermedge.edge.files import write_beside
from dermedge.edge.printable import printable
from dermedge.train.evaluation.metrics import Bin, Floats, Score

__all__ = [
    "EMPHASIS",
    "INK",
    "LINE_COLOURS",
    "SVG_STYLE",
    "Curve",
    "as_svg",
    "plot_history",
    "plot_images",
    "reliability_svg",
    "risk_coverage_svg",
    "roc_svg",
    "stress_svg",
]

_STAGE_COLOURS = {"float": "#1f6f8b", "qat": "#c8553d"}

# These colours stand out on white and on black, and colour-blind people can tell them apart. They are based on the
# palette of Okabe and Ito.
LINE_COLOURS = ("#2f8fd0", "#e07a1f", "#1f9e77", "#c264a5", "#8c8c3f", "#7a7ae0", "#5b9aa0", "#b07050")
EMPHASIS = "#e0442f"
# The colour of text and axes in plots. An HTML page replaces this colour by the text colour of its light or dark
# design.
INK = "#808182"
SVG_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dermedge",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "text.parse_math": False,  # dollar signs in class names would otherwise start a formula
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_SIDE_INCHES = 4.4
# A curve is drawn with at most this many points, because more would not be visible.
_MOST_POINTS = 300


def plot_history(history: Sequence[dict[str, str]], path: Path) -> None:
    """Plots the losses and the validation accuracies over the epochs of both stages.

    The accuracy on the training photos is not shown. It cannot be compared with the validation accuracy, because the
    training photos are augmented and blended.

    Args:
        history: rows of ``history.csv``, one for each epoch.
        path: image file to write.

    Raises:
        StorageError: the file cannot be written.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for stage, colour in _STAGE_COLOURS.items():
        rows = [(at, row) for at, row in enumerate(history, 1) if row["stage"] == stage]
        for axes, key, style, name in (
            (left, "loss", "--", "training, augmented and blended"),
            (left, "val_loss", "-", "validation"),
            (right, "val_accuracy", "--", "accuracy"),
            (right, "val_balanced_accuracy", "-", "balanced accuracy"),
        ):
            points = [(at, float(row[key])) for at, row in rows if row.get(key)]
            if points:
                epochs, values = zip(*points, strict=True)
                axes.plot(
                    epochs, values, style, marker="o", markersize=3, color=colour, label=f"{stage} {name}"
                )
    for axes, title in ((left, "cross-entropy"), (right, "validation")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        # Without validation photos, the right plot has no lines, and Matplotlib would warn about an empty legend.
        if axes.lines:
            axes.legend(fontsize=8, frameon=False)
    _save(figure, path)


def plot_images(images: NDArray[np.uint8], titles: Sequence[str], path: Path, columns: int = 8) -> None:
    """Writes one image file that shows images in rows and columns.

    Args:
        images: uint8 [n, s, s, 3] RGB.
        titles: title above each image.
        path: image file to write.
        columns: number of images in a row.

    Raises:
        StorageError: the file cannot be written.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    for place, (image, title) in enumerate(zip(images, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.axis("off")
        axes.imshow(image)
        # dollar signs in class names would otherwise start a formula
        axes.set_title(printable(title), fontsize=6, parse_math=False)
    _save(figure, path)


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Attributes:
        name: name in the legend.
        x: float64 [n], horizontal coordinates.
        y: float64 [n], vertical coordinates.
        emphasised: whether the line is highlighted.
    """

    name: str
    x: Floats
    y: Floats
    emphasised: bool = False


def roc_svg(curves: Sequence[Curve]) -> str:
    """Returns a plot of the sensitivity against the false positive rate, with one curve for each class, as SVG."""
    with rc_context(SVG_STYLE):
        figure, axes = _square("1 - specificity", "sensitivity")
        axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
        _draw_curves(axes, curves)
        axes.legend(loc="lower right")
        return as_svg(figure)


def risk_coverage_svg(curves: Sequence[Curve]) -> str:
    """Returns a plot of the share of wrong answers against the share of answered photos, as SVG.

    There is one curve for each model.
    """
    with rc_context(SVG_STYLE):
        figure, axes = _square("coverage (share of answered photos)", "risk (share of wrong answers)")
        _draw_curves(axes, curves)
        axes.set_ylim(0, max(0.05, 1.1 * max(float(curve.y.max()) for curve in curves)))
        axes.legend(loc="upper left")
        return as_svg(figure)


def reliability_svg(curves: Mapping[str, Sequence[Bin]]) -> str:
    """Returns a plot of the accuracy of each bin against the mean confidence of the bin, as SVG.

    There is one curve for each key of ``curves``. The area of a point shows how many photos are in the bin.
    """
    with rc_context(SVG_STYLE):
        figure, axes = _square("mean confidence", "accuracy")
        axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
        for (name, bins), colour in zip(curves.items(), LINE_COLOURS, strict=False):
            photos = sum(one.photos for one in bins)
            # leaves out bins with a single photo, whose accuracy can only be 0 or 1
            bins = [one for one in bins if one.photos > 1]
            x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
            axes.plot(x, y, color=colour, linewidth=1.4, label=_legend_name(name))
            axes.scatter(
                x, y, [12 + 400 * one.photos / photos for one in bins], colour, alpha=0.55, linewidths=0
            )
        axes.legend(loc="upper left")
        return as_svg(figure)


def stress_svg(rows: Sequence[str], models: Sequence[tuple[str, Sequence[Score]]]) -> str:
    """Returns a plot of the change of the balanced accuracy under each perturbation, with confidence intervals, as SVG.

    Args:
        rows: name of each row: a perturbation with its severity.
        models: for each model, the name and the change of the balanced accuracy in each row.
    """
    with rc_context(SVG_STYLE):
        height = 0.9 + 0.14 * len(rows) * (1 + len(models))
        figure = Figure(figsize=(4.8, height), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1)
        for place, (name, scores) in enumerate(models):
            y = np.arange(len(rows)) + (place + 1) / (len(models) + 1) - 0.5
            colour = LINE_COLOURS[place % len(LINE_COLOURS)]
            axes.hlines(
                y, [s.low for s in scores], [s.high for s in scores], color=colour, linewidth=1.4, alpha=0.6
            )
            axes.plot([s.value for s in scores], y, "o", color=colour, markersize=4, label=_legend_name(name))
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("change of balanced accuracy")
        axes.grid(axis="x")
        figure.legend(loc="outside upper left", ncols=2)
        return as_svg(figure)


def _square(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid()
    return figure, axes


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> None:
    for place, curve in enumerate(curves):
        chosen = np.unique(np.linspace(0, len(curve.x) - 1, _MOST_POINTS).astype(int))
        axes.plot(
            curve.x[chosen],
            curve.y[chosen],
            color=EMPHASIS if curve.emphasised else LINE_COLOURS[place % len(LINE_COLOURS)],
            linewidth=2.4 if curve.emphasised else 1.2,
            zorder=3 if curve.emphasised else 2,
            label=_legend_name(curve.name),
        )


def _legend_name(name: str) -> str:
    """Returns a name that a legend shows. Matplotlib leaves out a name that starts with an underscore."""
    return f"\u200b{printable(name)}" if name.startswith("_") else printable(name)


def as_svg(figure: Figure) -> str:
    """Returns the <svg> element of a figure, for use in an HTML page.

    Axes and text get the text colour of the page.
    """
    text = io.StringIO()
    with _missing_glyphs_ignored():
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    drawing = text.getvalue()
    return drawing[drawing.index("<svg") :].replace(INK, "currentColor")


def _save(figure: Figure, path: Path) -> None:
    with write_beside(path) as part, _missing_glyphs_ignored():
        figure.savefig(part, dpi=110)


@contextmanager
def _missing_glyphs_ignored() -> Iterator[None]:
    """Hides Matplotlib's warnings that its font lacks a character of a class name, such as a Chinese one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield

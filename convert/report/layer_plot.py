"""Plot the quantization error of every layer."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dermedge.convert.accept.layer_errors import LayerError, decibels
from dermedge.convert.report.layer_advice import short_name
from dermedge.train.evaluation.plots import EMPHASIS, INK, LINE_COLOURS, SVG_STYLE, as_svg

__all__ = ["layers_svg"]

_LAYERS_NAMED = 5
# The axis of the plot reaches from -_MOST_DB to _MOST_DB, in dB. A ratio outside of this range is plotted at the nearer
# end. For example, a layer without error has an infinite ratio.
_MOST_DB = 80


def layers_svg(layers: Sequence[LayerError]) -> str:
    """Return a plot of the signal-to-noise ratio after each operator, and of the error that the operator itself adds.

    The plot is an SVG document. The operators that contribute most to the error of the network are named.
    """
    with rc_context(SVG_STYLE):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        axes = figure.subplots()
        positions = range(len(layers))
        after = [_clipped(layer.sqnr_db) for layer in layers]
        own = [_clipped(decibels(1, layer.introduced)) for layer in layers]
        axes.plot(positions, own, "o", color=LINE_COLOURS[1], markersize=3, label="own error of the operator")
        axes.plot(positions, after, color=LINE_COLOURS[0], linewidth=1.4, label="after the operator")
        in_float = [at for at in positions if layers[at].in_float]
        left = [after[at] for at in in_float]
        axes.plot(in_float, left, "s", color=INK, fillstyle="none", label="left in float")
        _name_worst(axes, layers, own)
        axes.set(xlabel="operator, in running order", ylabel="signal to quantization noise, dB")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        figure.legend(loc="outside lower left", ncols=2)
        return as_svg(figure)


def _name_worst(axes: Axes, layers: Sequence[LayerError], own: Sequence[float]) -> None:
    """Mark the layers that contribute most to the error of the network with numbers, and name them in the legend."""
    worst = sorted(range(len(layers)), key=lambda at: layers[at].contribution, reverse=True)[:_LAYERS_NAMED]
    for number, at in enumerate((at for at in worst if layers[at].contribution > 0), 1):
        label = f"{number}  {layers[at].kind}  {short_name(layers[at].name)}"
        axes.plot([at], [own[at]], "o", color=EMPHASIS, markersize=6, label=label)
        axes.annotate(str(number), (at, own[at]), (5, -3), textcoords="offset points", color=EMPHASIS)


def _clipped(value_db: float) -> float:
    return min(max(value_db, -_MOST_DB), _MOST_DB)

"""Pictures of a run: its curves, its augmented photos, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.files import write_beside

STAGE_COLOURS = {"float": "#1f6f8b", "qat": "#c8553d"}


def plot_history(history: Sequence[dict[str, str]], path: Path) -> None:
    """Loss and balanced accuracy over the epochs of both stages; raises StorageError."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for stage, colour in STAGE_COLOURS.items():
        rows = [(at, row) for at, row in enumerate(history, 1) if row["stage"] == stage]
        if not rows:
            continue
        epochs = [at for at, _ in rows]
        for axes, key, style, name in (
            (left, "loss", "--", "training"),
            (left, "val_loss", "-", "validation"),
            (right, "accuracy", "--", "training accuracy"),
            (right, "val_balanced_accuracy", "-", "validation balanced accuracy"),
        ):
            values = [float(row[key]) for _, row in rows]
            axes.plot(epochs, values, style, marker="o", markersize=3, color=colour, label=f"{stage} {name}")
    for axes, title in ((left, "cross-entropy"), (right, "accuracy")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
    _save(figure, path)


def plot_confusion(
    matrix: NDArray[np.int64], labels: Sequence[str], path: Path, title: str = "confusion matrix"
) -> None:
    """Row the true class, column the predicted one; colour the share of the row; raises StorageError."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.8 * len(labels)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [label.replace(" ", "\n", 1) for label in labels]
    axes.set_xticks(range(len(labels)), names, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), names, fontsize=8)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    for row, column in np.ndindex(matrix.shape):
        text = f"{matrix[row, column]}\n{shares[row, column]:.0%}"
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    _save(figure, path)


def plot_pictures(pictures: NDArray[np.uint8], titles: Sequence[str], path: Path, columns: int = 8) -> None:
    """A sheet of uint8 [n, s, s, 3] RGB pictures with a title each; raises StorageError."""
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.7 * rows), layout="constrained")
    for place, (picture, title) in enumerate(zip(pictures, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.axis("off")
        axes.imshow(picture)
        axes.set_title(title, fontsize=6)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with write_beside(path) as part:
        figure.savefig(part, dpi=110)

"""Every plot is drawn as it was, with the same colours, lines, axes, legends and places.

After a change that is meant, pin the drawings anew: PIN_PLOTS=1 pytest tests/train/evaluation/test_plots.py
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib.figure import Figure

from dermedge.train.evaluation import plots
from dermedge.train.evaluation.metrics import Bin, Score
from dermedge.train.evaluation.plots import (
    Curve,
    as_svg,
    plot_history,
    plot_images,
    reliability_svg,
    risk_coverage_svg,
    roc_svg,
    stress_svg,
)

PINNED = Path(__file__).with_name("plots.zip")
# A coordinate may differ by this many points on another processor.
ROUNDING = 0.02
STEPS = np.linspace(0, 1, 1001)
CURVES = [Curve("plain", STEPS, STEPS**0.5), Curve("$x$ critical", STEPS, STEPS**0.25, True)]
HISTORY = [
    {
        "stage": "float" if epoch < 3 else "qat",
        "loss": f"{1 / (epoch + 1)}",
        "val_loss": f"{1.5 / (epoch + 1)}",
        "val_accuracy": f"{0.1 * epoch}",
        **({"val_balanced_accuracy": f"{0.08 * epoch}"} if epoch < 3 else {}),
    }
    for epoch in range(6)
]


@pytest.fixture(scope="module")
def drawings() -> dict[str, str]:
    """Name -> the SVG of each kind of plot."""
    made = {
        "roc": roc_svg(CURVES),
        "risk and coverage": risk_coverage_svg(CURVES),
        "low risk": risk_coverage_svg([Curve("plain", STEPS, STEPS / 100)]),
        "reliability": reliability_svg(
            {"cold": [Bin(10, 0.55, 0.6), Bin(1, 0.7, 1.0), Bin(30, 0.95, 0.9)], "hot": [Bin(41, 0.8, 0.8)]}
        ),
        "stress": stress_svg(
            ["blur, weak", "blur, strong"],
            [(name, [Score(-0.1, -0.2, 0.0), Score(-0.3, -0.5, -0.1)]) for name in ("first", "other")],
        ),
    }
    figures: list[Figure] = []
    images = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
        plot_history(HISTORY, Path("history.png"))
        plot_images(images, ["a", "b", "c"], Path("photos.png"), columns=2)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermedge"}):
        made |= {name: as_svg(figure) for name, figure in zip(("history", "photos"), figures, strict=True)}
    return made


def test_every_plot_is_drawn_as_it_was(drawings: dict[str, str]) -> None:
    if os.environ.get("PIN_PLOTS"):
        with zipfile.ZipFile(PINNED, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, drawing in {"matplotlib": matplotlib.__version__, **drawings}.items():
                archive.writestr(zipfile.ZipInfo(name), drawing, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(PINNED) as archive:
        pinned = {name: archive.read(name).decode() for name in archive.namelist()}
    if pinned.pop("matplotlib") != matplotlib.__version__:
        pytest.skip("drawn with another Matplotlib")
    assert set(pinned) == set(drawings)
    for name, drawing in drawings.items():
        (texts, numbers), (found_texts, found) = split(pinned[name]), split(drawing)
        assert found_texts == texts, name
        assert np.abs(np.array(found) - np.array(numbers)).max() <= ROUNDING, name


def split(drawing: str) -> tuple[list[str], list[float]]:
    """The text between the numbers of a drawing, and the numbers."""
    parts = re.split(r"(?<![\w#])(-?\d+\.?\d*)", drawing)
    return parts[::2], [float(number) for number in parts[1::2]]


def test_names_of_classes_are_no_formulas_and_ink_is_that_of_the_page(drawings: dict[str, str]) -> None:
    assert "$x$ critical" in drawings["roc"]
    assert "currentColor" in drawings["roc"]
    assert plots.INK not in drawings["roc"]
    assert all(drawing.startswith("<svg") for drawing in drawings.values())


def test_the_history_of_a_run_without_validation_photos_is_plotted_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_history(
            [{"stage": "float", "epoch": "1", "loss": "0.5", "val_loss": ""}], tmp_path / "history.png"
        )
    assert (tmp_path / "history.png").is_file()


def test_a_name_of_a_class_above_a_photo_is_no_formula(tmp_path: Path) -> None:
    names = ["a$_$", "$x_$", "\x07", "caf\udce9"]
    plots.plot_images(np.zeros((4, 8, 8, 3), np.uint8), names, tmp_path / "photos.png")
    assert (tmp_path / "photos.png").is_file()


def test_names_of_any_script_are_drawn_without_a_warning_and_no_name_is_left_out(tmp_path: Path) -> None:
    names = ["\u540d\u524d", "_other"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_images(np.zeros((2, 8, 8, 3), np.uint8), names, tmp_path / "photos.png")
        curves = [Curve(name, STEPS, STEPS) for name in names]
        made = [roc_svg(curves), risk_coverage_svg(curves)]
        made.append(stress_svg(["blur"], [(name, [Score(0, 0, 0)]) for name in names]))
    assert all(name in drawing for name in names for drawing in made)


def test_a_plot_is_written_as_an_image(tmp_path: Path) -> None:
    path = tmp_path / "history.png"
    plot_history(HISTORY, path)
    content = path.read_bytes()
    # The plot has 10 by 4 inches, at 110 dots per inch.
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")) == (1100, 440)
    assert list(tmp_path.iterdir()) == [path]


def test_the_epochs_of_a_short_history_are_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    plot_history(HISTORY[:3], Path("history.png"))
    for axes in figures[0].axes:
        ticks = np.array(axes.get_xticks())
        assert {1, 2, 3} <= set(ticks.tolist())
        assert (ticks == ticks.round()).all()

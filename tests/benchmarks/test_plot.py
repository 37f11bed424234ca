"""The plot, where matplotlib is installed, and the layout of its names, which needs none."""

from __future__ import annotations

from dataclasses import replace
from importlib import util
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermedge.benchmarks.latency import latency
from dermedge.benchmarks.plot import check_plot, pareto_front, save_plot, spread_out
from dermedge.benchmarks.report import BenchmarkReport
from dermedge.edge.errors import MissingExtra, OptionError
from dermedge.edge.model.prediction import Timing
from dermedge.train.evaluation.metrics import Score


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_plot_is_written_whole_in_the_format_of_its_name(
    report: BenchmarkReport, tmp_path: Path, suffix: str
) -> None:
    pytest.importorskip("matplotlib", reason="the device's environment has no matplotlib")
    target = tmp_path / f"plot{suffix}"
    save_plot(report, target)
    assert target.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")
    assert list(tmp_path.iterdir()) == [target]
    if suffix == ".png":
        image = cv2.imread(str(target))
        assert image.std() > 5
        # two panels of 8 x 4.2 inches at 150 dots per inch have 1200 x 1260 pixels; names of models may need more room
        assert image.shape[:2] == pytest.approx((1260, 1200), rel=0.15)


def test_a_name_is_no_formula(report: BenchmarkReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the device's environment has no matplotlib")
    rows = (replace(report.rows[0], model="$x^y^z$\x1b"), *report.rows[1:])
    save_plot(replace(report, rows=rows, data="$a^b^c$"), tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text()
    # the name of the model is written once in each of the two panels
    assert drawn.count(r"<!-- $x^y^z$\x1b: ") == 2
    assert "; $a^b^c$. For research" in drawn


def test_a_missing_matplotlib_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"matplotlib.*install.*\[benchmark\]'"):
        check_plot(Path("plot.png"))


@pytest.mark.parametrize("name", ["plot.png", "plot.svg", "plot.pdf", "PLOT.SVG"])
def test_a_known_format_is_accepted_before_the_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    check_plot(Path(name))


def test_an_unknown_format_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    with pytest.raises(OptionError, match=r"plot\.gif.*\.png"):
        check_plot(Path("plot.gif"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_on_the_pareto_front_are_those_that_none_beats(points: list[tuple[int, int]]) -> None:
    beaten = {
        index
        for index, (cost, worth) in enumerate(points)
        if any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points)
    }
    front = pareto_front(points)
    assert set(front) == set(range(len(points))) - beaten
    assert [points[index][0] for index in front] == sorted(points[index][0] for index in front)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8).map(sorted))
def test_names_never_overlap_and_keep_the_order_of_their_points(heights: list[float]) -> None:
    moved = spread_out(heights, 0.1)
    assert len(moved) == len(heights)
    assert all(upper - lower > 0.1 - 1e-9 for lower, upper in pairwise(moved))
    assert all(height <= 1 + 1e-9 for height in moved)


def test_names_that_are_far_apart_stay_beside_their_points() -> None:
    assert spread_out([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]


def test_each_model_has_its_colour_and_its_interval(
    report: BenchmarkReport, tmp_path: Path, saved_figures: list[Any]
) -> None:
    save_plot(report, tmp_path / "plot.png")
    [figure] = saved_figures
    above, below = figure.axes
    assert [axes.get_ylabel() for axes in (above, below)] == [
        "balanced accuracy,\nwith 95 % interval",
        "melanoma sensitivity at 90 % specificity,\nwith 95 % interval",
    ]
    assert below.get_xlabel() == "median latency from a 640x480 frame to the decision, ms"
    # the melanoma sensitivity of both models is 0.65, with an interval from 0.5 to 0.8
    assert [list(line.get_ydata()) for line in below.lines[:2]] == [[0.5, 0.8]] * 2
    assert [one.get_offsets().tolist() for one in below.collections[:2]] == [[[4.5, 0.65]], [[8.5, 0.65]]]
    intervals = [(line.get_color(), *line.get_data()) for line in above.lines[:2]]
    # The medians are 4.5 and 8.5 ms. Both models have the accuracy 0.75, with an interval from 0.6 to 0.85.
    assert [(colour, list(x), list(y)) for colour, x, y in intervals] == [
        ("#0072b2", [4.5, 4.5], [0.6, 0.85]),
        ("#d55e00", [8.5, 8.5], [0.6, 0.85]),
    ]
    faces = [marker.get_facecolor()[0].tolist()[:3] for marker in above.collections[:2]]
    # the faster model is on the front and filled, the slower one is white
    assert faces[0] == pytest.approx((0, 0x72 / 255, 0xB2 / 255))
    assert faces[1] == [1, 1, 1]


def test_the_front_is_a_step_and_a_marker_is_as_large_as_its_file(
    report: BenchmarkReport, tmp_path: Path, saved_figures: list[Any]
) -> None:
    """There are three models. The first is slow and good, the second is fast and bad.

    The third is slower than the second, and not better, so it is not on the front.
    """
    first = report.rows[0]
    rows = []
    for name, ms, value, megabytes in (("good", 36.0, 0.9, 4), ("fast", 4.0, 0.6, 1), ("bad", 9.0, 0.5, 0.1)):
        assert first.accuracy
        scored = replace(first.accuracy, balanced_accuracy=Score(value, value - 0.1, value + 0.05))
        timed = latency([Timing(0, ms, 0)] * 9, cpu_ms=1)
        rows.append(
            replace(first, model=name, latency=timed, accuracy=scored, size_bytes=int(megabytes * 1e6))
        )
    # a model without scores has no point
    save_plot(replace(report, rows=(replace(first, accuracy=None), *rows)), tmp_path / "plot.png")
    above, _ = saved_figures[0].axes
    *_, step = above.lines
    assert (step.get_drawstyle(), step.get_linestyle()) == ("steps-post", "--")
    assert [list(one) for one in step.get_data()] == [[4, 36], [0.6, 0.9]]
    # the area of a marker is 60 pt² per megabyte of the model file, and at least 25 pt²
    assert [one.get_sizes().tolist() for one in above.collections[:3]] == [[240], [60], [25]]
    filled = [one.get_facecolor()[0].tolist()[:3] != [1, 1, 1] for one in above.collections[:3]]
    assert filled == [True, True, False]
    # the largest latency, 36 ms, is more than 8 times the smallest, 4 ms, so that the axis is logarithmic
    assert above.get_xscale() == "log"
    assert above.get_xlim() == pytest.approx((4 / 1.3, 36 * 1.3))
    names = {one.get_text(): one.get_position() for one in above.texts}
    assert list(names) == [
        "bad: 0.500, 9.0 ms, 0.1 MB",
        "fast: 0.600, 4.0 ms, 1.0 MB",
        "good: 0.900, 36.0 ms, 4.0 MB",
    ]
    assert [x for x, _ in names.values()] == [1.02] * 3
    save_plot(replace(report, rows=tuple(rows[1:])), tmp_path / "plot.png")
    above = saved_figures[1].axes[0]
    assert (above.get_xscale(), above.get_xlim()) == ("linear", pytest.approx((0, 1.15 * 9)))


def test_a_logarithmic_axis_has_plain_numbers_and_a_name_stands_at_the_height_of_its_point(
    report: BenchmarkReport, tmp_path: Path, saved_figures: list[Any]
) -> None:
    rows = []
    for row, ms, score in zip(
        report.rows, (4, 40), (Score(0.75, 0.6, 0.85), Score(0.5, 0.45, 0.6)), strict=True
    ):
        assert row.accuracy
        scored = replace(row.accuracy, balanced_accuracy=score)
        rows.append(replace(row, latency=latency([Timing(0, ms, 0)] * 9, cpu_ms=1), accuracy=scored))
    save_plot(replace(report, rows=tuple(rows)), tmp_path / "plot.png")
    [figure] = saved_figures
    above = figure.axes[0]
    low, high = above.get_xlim()
    shown = [at for at in above.xaxis.get_majorticklocs() if low <= at <= high]
    assert shown == pytest.approx([5, 10, 20, 50])
    assert [above.xaxis.get_major_formatter()(at, 0) for at in shown] == ["5", "10", "20", "50"]
    assert above.xaxis.get_minor_formatter()(30, 0) == ""
    assert above.get_xgridlines()[0].get_visible()
    assert above.get_ygridlines()[0].get_visible()
    # The intervals reach from 0.45 to 0.85. The axis has a margin of 12 % of this range, 0.048, at both ends.
    assert above.get_ylim() == pytest.approx((0.402, 0.898))
    heights = [one.get_position()[1] for one in above.texts]
    assert heights == pytest.approx([(0.5 - 0.402) / 0.496, (0.75 - 0.402) / 0.496])
    assert figure.get_suptitle() == (
        "Score against latency. Dashed line and filled markers: Pareto front. Area of a marker: file size"
    )


def test_names_at_the_upper_edge_are_moved_down_together() -> None:
    assert spread_out([0.95, 0.96, 0.97], 0.1) == pytest.approx([0.8, 0.9, 1.0])
    assert spread_out([0.1, 0.15], 0.1) == pytest.approx([0.1, 0.2])

"""Disturbances keep a frame's shape, are reproducible, and grow with their severity."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dermedge.train.evaluation.stress import (
    PERTURBATIONS,
    add_hairs,
    add_ink,
    blur,
    compress,
    perturbed,
    rotate,
    scale_light,
)

RNG = np.random.default_rng(3)
# The frame shows a spot with an edge, off the middle, and a little texture.
Y, X = np.mgrid[:240, :320]
SPOT = 90 * ((X - 140) ** 2 + (Y - 100) ** 2 < 60**2) + RNG.normal(0, 4, X.shape)
FRAME = np.stack([150 - SPOT + shade for shade in (0, 20, 60)], axis=-1).astype(np.uint8)
STEPS = [(name, step) for name, kind in PERTURBATIONS.items() for step in range(len(kind.severities))]


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_disturbed_frame_is_a_fresh_frame_of_the_same_form_and_alike_each_time(
    name: str, step: int
) -> None:
    before = FRAME.copy()
    changed = perturbed(FRAME, name, step, seed=1)
    assert (changed.shape, changed.dtype) == (FRAME.shape, np.uint8)
    assert np.array_equal(FRAME, before)
    assert not np.array_equal(changed, FRAME)
    assert np.array_equal(changed, perturbed(FRAME, name, step, seed=1))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_greater_severity_changes_more(name: str) -> None:
    def change(step: int) -> float:
        return float(
            np.mean(
                [np.abs(perturbed(FRAME, name, step, seed) - FRAME.astype(float)).mean() for seed in range(5)]
            )
        )

    changes = [change(step) for step in range(len(PERTURBATIONS[name].severities))]
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


@pytest.mark.parametrize("name", ["hairs", "ink strokes"])
def test_strokes_lie_elsewhere_on_another_photo(name: str) -> None:
    assert not np.array_equal(perturbed(FRAME, name, 0, seed=1), perturbed(FRAME, name, 0, seed=2))


@pytest.mark.parametrize("name", ["hairs", "ink strokes"])
def test_a_stronger_severity_keeps_the_strokes_of_a_milder_one(name: str) -> None:
    white = np.full((200, 300, 3), 255, np.uint8)
    for seed in range(3):
        covered = [(perturbed(white, name, step, seed) < 255).any(axis=2) for step in range(3)]
        assert not (covered[0] & ~covered[1]).any()
        assert not (covered[1] & ~covered[2]).any()
        assert covered[0].sum() < covered[1].sum() < covered[2].sum()


def test_a_quarter_turn_of_a_square_loses_nothing() -> None:
    square = FRAME[:240, :240]
    assert np.array_equal(rotate(square, 90, RNG), np.rot90(square))


def test_a_blur_is_in_thousandths_of_the_shorter_side() -> None:
    block = np.zeros((250, 400, 3), np.uint8)
    block[115:136, 190:211] = 255
    # The standard deviation of the blur is 16 thousandths of 250 pixels, which are 4. The variance of the
    # block of 21 pixels without blur is (21^2 - 1) / 12.
    weight = blur(block, 16, RNG).astype(float)[..., 0]
    rows, columns = np.indices(weight.shape)
    for axis, middle in ((rows, 125), (columns, 200)):
        spread = (weight * (axis - middle) ** 2).sum() / weight.sum()
        assert (spread - 440 / 12) ** 0.5 == pytest.approx(4, abs=0.15)


def test_light_is_multiplied_and_cut_off() -> None:
    levels = np.array([[[10, 100, 200]]], np.uint8)
    assert scale_light(levels, 1.5, RNG).tolist() == [[[15, 150, 255]]]
    assert scale_light(levels, 0.5, RNG).tolist() == [[[5, 50, 100]]]


def test_compression_has_the_quality_that_was_asked_for() -> None:
    for quality in (10, 50):
        content = cv2.imencode(".jpg", FRAME, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        assert np.array_equal(compress(FRAME, quality, RNG), cv2.imdecode(content, cv2.IMREAD_COLOR))


def test_a_rotation_is_anticlockwise_in_degrees_about_the_centre() -> None:
    dot = np.zeros((201, 201, 3), np.uint8)
    # The dot is 60 pixels right of the centre.
    dot[99:102, 159:162] = 255
    rows, columns = np.nonzero(rotate(dot, 30, RNG)[..., 0] > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx((100 + 60 * np.cos(np.pi / 6), 100 - 30), abs=0.7)


def test_the_corners_of_a_rotated_frame_are_filled_by_reflection() -> None:
    assert (rotate(np.full((100, 150, 3), 200, np.uint8), 45, RNG) == 200).all()


def strokes(frame: np.ndarray, changed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that a stroke covers wholly."""
    return np.nonzero(np.abs(changed.astype(int) - frame).max(axis=2) > 100)


@pytest.mark.parametrize(
    ("draw", "colour_bgr", "width"), [(add_hairs, (28, 32, 42), 0.006), (add_ink, (120, 45, 70), 0.02)]
)
def test_strokes_have_their_colour_width_and_number(
    draw: object, colour_bgr: tuple[int, int, int], width: float
) -> None:
    white = np.full((400, 600, 3), 255, np.uint8)
    for seed in range(6):
        one = draw(white, 1, np.random.default_rng(seed))  # type: ignore[operator]
        rows, columns = strokes(white, one)
        if len(rows) < 50:
            continue
        assert np.median(one[rows, columns], axis=0).tolist() == list(colour_bgr)
        # The strokes lie within the square of 400 pixels at the centre. They are as wide as ``width`` says.
        assert columns.min() >= 100 - 60
        assert columns.max() <= 500 + 60
        covered = len(rows) / np.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert 0.7 * width * 400 < covered < 2 * width * 400 + 2
    covered_by = [float((white - draw(white, n, np.random.default_rng(1))).sum()) for n in (0, 2, 6, 20)]  # type: ignore[operator]
    assert covered_by[0] == 0 < covered_by[1] < covered_by[2] < covered_by[3]


def test_ink_lies_in_a_ring_about_the_middle_of_the_centre_square() -> None:
    white = np.full((400, 600, 3), 255, np.uint8)
    angles = []
    for seed in range(20):
        rows, columns = strokes(white, add_ink(white, 1, np.random.default_rng(seed)))
        distances = np.hypot(rows - 200, columns - 300)
        # The radii are 0.36 to 0.46 of 400 pixels. The limits are wider, because a curve bends towards the
        # middle and has a width.
        assert distances.min() > 0.33 * 400
        assert distances.max() < 0.48 * 400
        angles.append(np.arctan2(np.mean(rows) - 200, np.mean(columns) - 300))
    quadrants = {(angle > 0, abs(angle) > np.pi / 2) for angle in angles}
    assert len(quadrants) == 4


def test_the_list_of_disturbances() -> None:
    assert {
        name: (one.severities, one.unit.format(one.severities[0])) for name, one in PERTURBATIONS.items()
    } == {
        "blur": ((4, 8, 16), "4/1000 of the side"),
        "brighter": ((1.15, 1.3, 1.6), "1.15 times"),
        "darker": ((0.8, 0.6, 0.4), "0.8 times"),
        "JPEG": ((50, 25, 10), "quality 50"),
        "rotation": ((15, 45, 90), "15°"),
        "hairs": ((4, 12, 30), "4"),
        "ink strokes": ((1, 2, 4), "1"),
    }
    for name, expected in (("brighter", 1.6), ("darker", 0.4)):
        assert np.array_equal(perturbed(FRAME, name, 2, 0), scale_light(FRAME, expected, RNG))

"""The quality gate: a drawn lesion for each defect, laws of the measures, and real photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dermedge.edge import quality
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.edge.preprocess import to_input
from dermedge.edge.quality import GRID, HINTS, Defect, Measures, QualityGate, judge

Image = NDArray[np.uint8]
GOOD = Measures(
    light=190,
    clipped=0,
    glare=0,
    contrast=50,
    area=0.3,
    offset=0.1,
    cut=0,
    sharpness=8,
    texture=6,
    speed=0.05,
)


def defect_of(image: Image, size: int = 192) -> Defect | None:
    return QualityGate().check(to_input(image, size), None)


def lesion(centre: tuple[float, float] = (0.5, 0.5), radius: float = 0.25) -> Image:
    """Returns a spot on skin, uint8 [480, 640, 3] BGR.

    The centre and the radius are fractions of the side of the middle square. (0.5, 0.5) is the middle of the image.
    """
    image = np.full((480, 640, 3), (158, 180, 222), np.uint8)
    x, y = int(80 + 480 * centre[0]), int(480 * centre[1])
    cv2.circle(image, (x, y), int(480 * radius), (60, 80, 120), -1, cv2.LINE_AA)
    # Skin and lesion have structures that are a few pixels wide. A lens in focus shows such structures.
    rng = np.random.default_rng(0)
    grain = cv2.resize(rng.normal(0, 9, (160, 213)), (640, 480), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + grain[..., None], 0, 255).astype(np.uint8)


def test_a_sharp_lesion_in_the_middle_is_worth_an_answer() -> None:
    assert defect_of(lesion()) is None


def with_spots(image: Image) -> Image:
    image = image.copy()
    for x in (280, 340, 380):
        cv2.circle(image, (x, 220), 20, (255, 255, 255), -1)
    return image


@pytest.mark.parametrize(
    ("spoil", "defect"),
    [
        (lambda image: np.zeros_like(image), Defect.BLACK),
        (lambda image: image // 16, Defect.BLACK),
        (lambda image: image // 5, Defect.DARK),
        (lambda image: cv2.convertScaleAbs(image, alpha=2.5), Defect.BRIGHT),
        (lambda image: np.full_like(image, 255), Defect.BRIGHT),
        (with_spots, Defect.GLARE),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 12), Defect.BLURRED),
        (lambda image: np.full_like(image, 128), Defect.ABSENT),
    ],
)
def test_a_spoilt_picture_is_named_by_what_spoils_it(spoil: Callable[[Image], Image], defect: Defect) -> None:
    assert defect_of(spoil(lesion())) == defect


@pytest.mark.parametrize(
    ("centre", "radius", "defect"),
    [
        ((0.5, 0.5), 0.04, Defect.SMALL),
        ((0.88, 0.5), 0.09, Defect.OFF_CENTRE),
        ((0.5, 0.95), 0.3, Defect.CUT),
        ((3, 3), 0.1, Defect.ABSENT),
    ],
)
def test_a_lesion_in_the_wrong_place_is_told(
    centre: tuple[float, float], radius: float, defect: Defect
) -> None:
    assert defect_of(lesion(centre, radius)) == defect


def test_dark_corners_of_a_lens_are_no_lesion() -> None:
    image = lesion()
    y, x = np.mgrid[:480, :640]
    image[np.hypot(x - 320, y - 240) > 235] = 5
    assert defect_of(image) is None


def test_a_hand_that_moves_is_told_and_one_that_holds_still_is_not() -> None:
    gate = QualityGate()
    assert gate.check(to_input(lesion(), 192), 0.0) is None
    assert gate.check(to_input(lesion((0.502, 0.5)), 192), 0.033) is None
    moved = np.roll(lesion(), 20, axis=1)
    assert gate.check(to_input(moved, 192), 0.066) == Defect.MOVING


@pytest.mark.parametrize("gap_s", [0.0, -1.0, 5.0])
def test_frames_that_are_not_right_after_each_other_say_nothing_of_motion(gap_s: float) -> None:
    gate = QualityGate()
    gate.measure(to_input(lesion(), 192), 10.0)
    assert gate.measure(to_input(lesion((0.3, 0.5)), 192), 10.0 + gap_s).speed is None


def test_pictures_that_stand_alone_have_no_motion() -> None:
    gate = QualityGate()
    gate.measure(to_input(lesion(), 192), None)
    assert gate.measure(to_input(lesion((0.3, 0.5)), 192), None).speed is None


@pytest.mark.parametrize("size", [GRID, 97, 128, 160, 192, 224, 384])
def test_networks_of_any_size_and_cameras_of_any_have_their_pictures_judged_alike(size: int) -> None:
    image = lesion()
    large = cv2.resize(image, (1280, 960), interpolation=cv2.INTER_LINEAR)
    assert defect_of(image, size) is None
    assert defect_of(large, size) is None
    assert defect_of(cv2.GaussianBlur(image, (0, 0), 12), size) == Defect.BLURRED
    assert defect_of(lesion((0.5, 0.5), 0.04), size) == Defect.SMALL


@pytest.mark.parametrize("size", [GRID, 191])
def test_noise_and_plain_pictures_are_judged_too(size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    assert QualityGate().check(noise, None) in {None, *Defect}
    for level in range(0, 256, 15):
        assert QualityGate().check(np.full_like(noise, level), None) in Defect, level


def test_every_defect_has_a_hint() -> None:
    assert HINTS.keys() == set(Defect)
    assert all(HINTS[defect] for defect in Defect)


@given(st.sampled_from(["light", "contrast", "area", "sharpness", "texture"]), st.floats(0, 1))
def test_less_of_what_must_not_be_low_never_mends_a_picture(name: str, factor: float) -> None:
    worse = replace(GOOD, **{name: factor * getattr(GOOD, name)})
    if judge(worse) is None:
        assert judge(replace(GOOD, **{name: (1 + factor) / 2 * getattr(GOOD, name)})) is None


@given(st.sampled_from(["clipped", "glare", "offset", "speed"]), st.floats(0, 2), st.floats(0, 2))
def test_more_of_what_must_not_be_high_never_mends_a_picture(name: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if judge(replace(GOOD, **{name: high})) is None:
        assert judge(replace(GOOD, **{name: low})) is None


def test_real_photos_pass_and_their_degraded_copies_do_not(real_data: Path) -> None:
    """The test takes a few photos of each source. `python -m dermedge.benchmarks.lab quality` takes many."""
    paths = find_photo_files(real_data / "ham10000")[:60] + find_photo_files(real_data / "isic2017")[:60]
    photos = [read_picture(path) for path in paths]
    passed = [photo for photo in photos if defect_of(photo) is None]
    assert len(passed) > 0.85 * len(photos)
    for degrade, least in (
        (lambda photo: cv2.GaussianBlur(photo, (0, 0), 0.02 * min(photo.shape[:2])), 0.97),
        (lambda photo: photo // 5, 0.97),
        (lambda photo: cv2.convertScaleAbs(photo, alpha=2.5), 0.9),
    ):
        caught = sum(defect_of(degrade(photo)) is not None for photo in passed)
        assert caught >= least * len(passed)


def test_the_middle_of_the_reticle_is_that_of_the_image() -> None:
    # In a row of 4, the pixels lie 3/4, 1/4, 1/4 and 3/4 of the radius from the middle. The expected values are 16
    # times the sum of two squares of these, such as 9 + 9 = 18.
    radii = quality._squared_radii(4)
    assert (radii * 16).tolist() == [[18, 10, 10, 18], [10, 2, 2, 10], [10, 2, 2, 10], [18, 10, 10, 18]]
    assert np.array_equal(quality._squared_radii(9), quality._squared_radii(9)[::-1, ::-1])


def test_the_light_is_the_level_above_which_lie_few_pixels() -> None:
    counts = [0.0] * 64
    counts[63], counts[62], counts[50] = 3.0, 4.0, 10.0
    # A bin holds 4 grey levels. The lightest bin has 3 pixels, the two lightest bins have 7, and the bins from level
    # 200 on have 17.
    for lighter, level in (
        (2.0, 252.0),
        (3.0, 248.0),
        (6.0, 248.0),
        (7.0, 200.0),
        (16.0, 200.0),
        (17.0, 0.0),
    ):
        assert quality._light(counts, lighter) == level, lighter

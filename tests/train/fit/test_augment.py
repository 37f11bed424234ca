"""Each change of a training image does what its name says, by values computed by hand."""

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.train.fit.augment import (
    augment,
    balance_white,
    blur,
    compress,
    cover,
    draw_hairs,
    motion_matrix,
    move,
    shrink,
    vary_colour,
    vary_light,
)
from dermedge.train.fit.recipe import Augmentation

NONE = Augmentation(
    rotation_degrees=(0, 0),
    zoom=(1, 1),
    shift=0,
    mirror_share=0,
    exposure=(1, 1),
    gain=0,
    contrast=(1, 1),
    saturation=(1, 1),
    hue_degrees=0,
    blur_share=0,
    hair_share=0,
    patch_share=0,
    jpeg_share=0,
)
SIDE = 33
NO_SHIFT = np.zeros(2)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(side: int = SIDE) -> NDArray[np.uint8]:
    return rng(5).integers(0, 256, (side, side, 3), dtype=np.uint8)


def smooth(side: int = SIDE) -> NDArray[np.uint8]:
    return cv2.GaussianBlur(noise(side), (0, 0), 2)


def flat(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), (red, green, blue), np.uint8)


def to(matrix: NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    moved = matrix @ (x, y, 1)
    return round(float(moved[0]), 9), round(float(moved[1]), 9)


def test_without_any_change_the_image_stays_as_it_is() -> None:
    assert np.array_equal(augment(noise(), rng(), NONE), noise())


def test_equal_states_give_equal_variations_and_others_do_not() -> None:
    varied = {augment(noise(), rng(seed)).tobytes() for seed in range(8)}
    assert len(varied) == 8
    assert np.array_equal(augment(noise(), rng(3)), augment(noise(), rng(3)))
    assert augment(noise(), rng(3)).shape == noise().shape


def test_rotation_is_in_degrees_anticlockwise_about_the_centre() -> None:
    matrix = motion_matrix(101, 90, 1, NO_SHIFT, mirrored=False)
    assert to(matrix, 50, 50) == (50, 50)
    # A point right of the centre is now above it.
    assert to(matrix, 70, 50) == (50, 30)
    third = motion_matrix(101, 30, 1, NO_SHIFT, mirrored=False)
    x, y = to(third, 70, 50)
    assert (x, y) == (pytest.approx(50 + 20 * 3**0.5 / 2), pytest.approx(40))


def test_zoom_is_about_the_centre() -> None:
    matrix = motion_matrix(101, 0, 1.5, NO_SHIFT, mirrored=False)
    assert to(matrix, 50, 50) == (50, 50)
    assert to(matrix, 60, 40) == (65, 35)


def test_a_shift_is_in_pixels_along_x_and_y() -> None:
    assert to(motion_matrix(101, 0, 1, np.array([7.0, -3.0]), mirrored=False), 10, 20) == (17, 17)


def test_a_mirror_swaps_the_first_and_the_last_column() -> None:
    matrix = motion_matrix(101, 0, 1, NO_SHIFT, mirrored=True)
    assert to(matrix, 0, 20) == (100, 20)
    assert to(matrix, 50, 20) == (50, 20)
    mirrored = move(noise(), rng(), replace(NONE, mirror_share=1.0))
    assert np.array_equal(mirrored, noise()[:, ::-1])


def test_a_quarter_turn_moves_pixels_exactly() -> None:
    turned = move(noise(), rng(), replace(NONE, rotation_degrees=(90, 90)))
    assert np.array_equal(turned, np.rot90(noise()))


def test_shifts_are_parts_of_the_side_along_both_axes() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[50, 50] = 255
    places = []
    for seed in range(200):
        moved = move(image, rng(seed), replace(NONE, shift=0.2)).sum(axis=2).astype(float)
        rows, columns = np.indices(moved.shape)
        places.append([(moved * axis).sum() / moved.sum() for axis in (rows, columns)])
    shifts = np.array(places) - 50
    # Only one pixel is not 0. It is more than 20 pixels from every border, so a reflection at the border does not show
    # it twice.
    assert np.abs(shifts).max() <= 20.5
    assert (shifts.min(axis=0) < -16).all()
    assert (shifts.max(axis=0) > 16).all()
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.25, "rows and columns are shifted independently"


def test_what_lies_beyond_the_border_is_a_reflection() -> None:
    small = move(noise(), rng(), replace(NONE, zoom=(0.5, 0.5)))
    assert (small.reshape(-1, 3).mean(axis=0) > 100).all(), "no black border"


def test_exposure_multiplies_all_levels_and_clips_them() -> None:
    lighter = vary_light(flat(10, 100, 200), rng(), replace(NONE, exposure=(1.5, 1.5)))
    assert lighter[0, 0].tolist() == [15, 150, 255]
    darker = vary_light(flat(10, 100, 200), rng(), replace(NONE, exposure=(0.5, 0.5)))
    assert darker[0, 0].tolist() == [5, 50, 100]


def test_contrast_spreads_levels_about_mid_gray_and_clips_them() -> None:
    strong = vary_light(flat(28, 128, 228), rng(), replace(NONE, contrast=(2, 2)))
    assert strong[0, 0].tolist() == [0, 128, 255]
    weak = vary_light(flat(28, 128, 228), rng(), replace(NONE, contrast=(0.5, 0.5)))
    assert weak[0, 0].tolist() == [78, 128, 178]


def test_gains_differ_by_channel_and_stay_within_their_range() -> None:
    levels = np.array(
        [vary_light(flat(200, 200, 200), rng(s), replace(NONE, gain=0.1))[0, 0] for s in range(300)]
    )
    assert levels.min() in (180, 181)
    assert levels.max() in (218, 219, 220)
    assert len({tuple(one) for one in levels.tolist()}) > 200
    assert np.abs(np.corrcoef(levels.T)[np.triu_indices(3, 1)]).max() < 0.2, (
        "a tint of its own for each channel"
    )


@pytest.mark.parametrize("colour", [(200, 80, 60), (60, 200, 80), (90, 60, 180)])
def test_hue_turns_by_degrees_and_saturation_is_scaled(colour: tuple[int, int, int]) -> None:
    how = replace(NONE, hue_degrees=40.0, saturation=(0.5, 0.5))
    before = colorsys.rgb_to_hsv(*(level / 255 for level in colour))
    turns = []
    for seed in range(100):
        varied = vary_colour(flat(*colour), rng(seed), how)[0, 0]
        hue, saturation, value = colorsys.rgb_to_hsv(*(float(level) / 255 for level in varied))
        turns.append((hue - before[0] + 0.5) % 1 * 360 - 180)
        assert saturation == pytest.approx(before[1] / 2, abs=0.02)
        assert value == pytest.approx(before[2], abs=0.01)
    assert -43 < min(turns) < -33
    assert 33 < max(turns) < 43


def test_saturation_is_clipped_and_red_stays_red() -> None:
    pure = vary_colour(flat(250, 20, 30), rng(), replace(NONE, saturation=(10, 10)))[0, 0]
    assert pure[0] == 250
    assert pure[1] == 0
    assert pure[2] <= 10


def test_white_balance_takes_a_tint_and_keeps_the_mean_light() -> None:
    gray = np.repeat(smooth()[..., :1], 3, axis=2).astype(np.float32) * 0.6
    tinted = (gray * (1.3, 1.0, 0.7)).astype(np.uint8)
    balanced = balance_white(tinted).astype(int)
    assert np.abs(balanced - balanced.mean(axis=2, keepdims=True)).max() <= 2
    assert balanced.mean() == pytest.approx(tinted.mean(), rel=0.03)
    assert balance_white(flat(255, 1, 1)).max() <= 255


def test_white_balance_of_a_channel_that_is_black_everywhere_stays_finite() -> None:
    with np.errstate(all="raise"):
        balanced = balance_white(flat(100, 100, 0))
    # One is added to all levels. The channels of 101, 101 and 1 all become their mean of 67.7. Then one is
    # subtracted again.
    assert np.abs(balanced.astype(int) - 66).max() <= 1


def test_shrinking_takes_fine_detail_and_keeps_the_size() -> None:
    how = replace(NONE, shrink_pixels=16)
    fine = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)
    spreads = [shrink(image, rng(seed), how).std() for seed in range(40)]
    assert shrink(image, rng(), how).shape == image.shape
    assert min(spreads) < 5
    assert max(spreads) > 20
    # The sampled sizes include the old one.
    assert any(
        np.array_equal(shrink(image, rng(seed), replace(how, shrink_pixels=60)), image) for seed in range(40)
    )
    # At its own size, the image does not change.
    assert np.array_equal(shrink(image, rng(), replace(how, shrink_pixels=64)), image)
    assert np.array_equal(shrink(noise(16), rng(), how), noise(16))


def test_blur_has_the_width_that_was_asked_for() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    image[20, 20, 2] = 0
    blurred = blur(image, rng(), replace(NONE, blur_sigma=(1.5, 1.5))).astype(float)
    rows, _ = np.indices(blurred.shape[:2])
    weight = blurred[..., 0]
    assert ((weight * (rows - 20) ** 2).sum() / weight.sum()) ** 0.5 == pytest.approx(1.5, abs=0.15)
    assert blurred[..., 2].max() == 0


def test_hairs_are_dark_lines_and_their_number_is_bounded() -> None:
    white = np.full((96, 96, 3), 255, np.uint8)
    covered = [
        (draw_hairs(white, rng(s), replace(NONE, max_hairs=3)) < 200).any(axis=2).mean() for s in range(40)
    ]
    assert 0 < np.mean(covered) < 0.1
    assert max(covered) < 0.15
    hair = draw_hairs(white, rng(1), NONE)
    dark = hair[(hair < 200).all(axis=2)]
    assert (dark[:, 0] >= dark[:, 2]).all(), "brown, not blue"
    assert white.min() == 255, "the image that was given stays as it is"
    single = [
        np.count_nonzero(draw_hairs(white, rng(seed), replace(NONE, max_hairs=1)) < 255) for seed in range(40)
    ]
    several = [
        np.count_nonzero(draw_hairs(white, rng(seed), replace(NONE, max_hairs=2)) < 255) for seed in range(40)
    ]
    assert sum(two > one for one, two in zip(single, several, strict=True)) > 8, (
        "the largest number comes too"
    )


def test_a_patch_is_a_square_of_one_colour() -> None:
    image = noise(40)
    covered = cover(image, rng(), replace(NONE, patch=(0.25, 0.25)))
    rows, columns = np.nonzero((covered != image).any(axis=2))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert (height, width) == (10, 10)
    inside = covered[rows.min() : rows.min() + 10, columns.min() : columns.min() + 10].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) == 1
    assert np.array_equal(image, noise(40))


def test_patches_lie_anywhere_and_have_any_colour() -> None:
    black = np.zeros((40, 40, 3), np.uint8)
    patches = [cover(black, rng(seed), replace(NONE, patch=(0.25, 0.25))) for seed in range(200)]
    corners = np.array([[axis.min() for axis in np.nonzero(one.any(axis=2))] for one in patches])
    colours = np.array([one.reshape(-1, 3).max(axis=0) for one in patches])
    # a patch of 10 pixels begins in one of the first 30 rows and columns
    assert corners.min() <= 1
    assert corners.max() in (28, 29)
    # Rows, columns and the three channels are sampled independently.
    for values in (corners, colours):
        correlations = np.corrcoef(values.T)[np.triu_indices(values.shape[1], 1)]
        assert np.abs(correlations).max() < 0.25
    assert colours.min() < 10
    assert colours.max() > 245


def test_compression_keeps_the_colours_in_their_order() -> None:
    for quality in ((90, 91), (90, 90)):
        packed = compress(flat(220, 120, 20), rng(), replace(NONE, jpeg_quality=quality))
        assert np.abs(packed.astype(int) - (220, 120, 20)).max() <= 3
    image = smooth()
    losses = [
        np.abs(compress(image, rng(), replace(NONE, jpeg_quality=ends)).astype(int) - image).mean()
        for ends in ((90, 91), (10, 11))
    ]
    assert losses[0] < losses[1]


def test_the_upper_end_of_the_jpeg_quality_is_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    qualities = []
    encode = cv2.imencode

    def record(suffix: str, image: NDArray[np.uint8], options: list[int]) -> tuple[bool, NDArray[np.uint8]]:
        qualities.append(options[1])
        return encode(suffix, image, options)

    monkeypatch.setattr("dermedge.train.fit.augment.cv2.imencode", record)
    for seed in range(60):
        compress(noise(8), rng(seed), replace(NONE, jpeg_quality=(30, 33)))
    assert set(qualities) == {30, 31, 32}


@pytest.mark.parametrize("name", ["white_balance", "shrink", "blur", "hair", "patch", "jpeg"])
def test_a_share_is_the_part_of_the_images_that_are_changed(name: str) -> None:
    tinted = (smooth(48) * np.array([1.0, 0.7, 0.5])).astype(np.uint8)
    how = replace(NONE, **{f"{name}_share": 0.3}, shrink_pixels=16, blur_sigma=(1.0, 1.5))
    changed = [not np.array_equal(augment(tinted, rng(seed), how), tinted) for seed in range(300)]
    assert 0.2 < np.mean(changed) < 0.4


def test_mirrored_is_half_of_the_images_by_default() -> None:
    how = replace(NONE, mirror_share=Augmentation().mirror_share)
    mirrored = [np.array_equal(augment(noise(), rng(s), how), noise()[:, ::-1]) for s in range(200)]
    assert 0.4 < np.mean(mirrored) < 0.6

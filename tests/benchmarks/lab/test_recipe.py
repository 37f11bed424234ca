"""The experiments behind the training recipe: rows that are trained, resumed and compared."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge.benchmarks.lab import recipe
from dermedge.benchmarks.lab.recipe import VARIANTS, RecipeVariant, main
from dermedge.edge.errors import OptionError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, hue in (("melanoma", 90), ("nevus", 160)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(20):
            picture = np.clip(rng.normal(hue, 60, (64, 64, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "set" / label / f"{index}.png"), picture)
    return tmp_path / "set"


def test_rows_differ_in_what_they_say_and_are_not_trained_again(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"architecture": "cnn", "size": 32, "weights": "none"}
    rows = {
        "base": RecipeVariant("the recipe", small),
        "seed-1": RecipeVariant("another seed", small | {"seed": 1}),
        "evenly": RecipeVariant("evenly", small, {"dermedge.train.fit.batches.CLASS_POWER": 0.0}),
        "taught": RecipeVariant("taught", small, teachers=("base",)),
    }
    monkeypatch.setattr(recipe, "VARIANTS", rows)
    command = [str(tmp_path / "out"), "--data", str(photos), "--epochs", "1", "--photos-per-epoch", "32"]
    with pytest.raises(OptionError, match="taught by 'base', which is not there yet"):
        main([*command, "--rows", "taught"])
    assert main([*command, "--rows", "seed-1"]) == 0
    first = (tmp_path / "out" / "seed-1.json").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "out" / "seed-1.json").stat().st_mtime_ns == first
    table = capsys.readouterr().out
    assert "standard deviation over 2 seeds" in table
    lines = (tmp_path / "out" / "experiments.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["row", "base", "seed-1", "evenly", "taught"]
    trained = json.loads((tmp_path / "out" / "taught" / "config.json").read_text())
    assert trained["teachers"] == [str(tmp_path / "out" / "base")]
    low, value, high = (
        json.loads((tmp_path / "out" / "base.json").read_text())["figures"]["brier"][i] for i in (1, 0, 2)
    )
    assert 0 < low <= value <= high < 2


def test_an_unknown_row_and_a_start_that_is_not_there_are_one_line(tmp_path: Path) -> None:
    command = [str(tmp_path / "out"), "--data", str(tmp_path)]
    with pytest.raises(OptionError, match=r"no row 'bigger'\. There are: base, seed-1"):
        main([*command, "--rows", "bigger"])
    with pytest.raises(OptionError, match=r"'cnn=absent\.h5' is not ARCH=FILE"):
        main([*command, "--weights", "cnn=absent.h5"])


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_row_puts_in_place_of_the_recipe_is_there(name: str) -> None:
    import importlib

    for constant in VARIANTS[name].constants:
        module, _, attribute = constant.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)
    assert set(VARIANTS[name].teachers) <= set(VARIANTS)


def test_shades_of_gray_takes_a_tint_out_half_of_the_time() -> None:
    tinted = np.full((32, 32, 3), (200, 120, 80), np.uint8)
    spread = [
        float(np.ptp(recipe._half_gray(tinted, np.random.default_rng(seed)).mean(axis=(0, 1))))
        for seed in range(24)
    ]
    assert 4 <= sum(one < 45 for one in spread) <= 20

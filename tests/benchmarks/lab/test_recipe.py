"""The experiments behind the training recipe: rows that are trained, resumed and compared."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge.benchmarks.lab import recipe
from dermedge.benchmarks.lab.recipe import VARIANTS, RecipeVariant, main
from dermedge.edge.errors import OptionError
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.run_folder import Config, RunFolder


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
        "evenly": RecipeVariant("evenly", small, Recipe(class_power=0.0)),
        "taught": RecipeVariant("taught", small, teachers=("base",)),
    }
    monkeypatch.setattr(recipe, "VARIANTS", rows)
    command = [str(tmp_path / "out"), "--data", str(photos), "--epochs", "1", "--photos-per-epoch", "32"]
    with pytest.raises(OptionError, match="needs the network of the row 'base', which has not been trained"):
        main([*command, "--rows", "taught"])
    assert main([*command, "--rows", "seed-1"]) == 0
    first = (tmp_path / "out" / "seed-1.json").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "out" / "seed-1.json").stat().st_mtime_ns == first
    table = capsys.readouterr().out
    assert "standard deviation over 2 seeds" in table
    lines = (tmp_path / "out" / "experiments.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["row", "base", "seed-1", "evenly", "taught"]
    assert RunFolder(tmp_path / "out" / "evenly").config().recipe == Recipe(class_power=0.0)
    assert RunFolder(tmp_path / "out" / "base").config().recipe == Recipe()
    trained = json.loads((tmp_path / "out" / "taught" / "config.json").read_text())
    assert trained["teachers"] == [str(tmp_path / "out" / "base")]
    low, value, high = (
        json.loads((tmp_path / "out" / "base.json").read_text())["figures"]["brier"][i] for i in (1, 0, 2)
    )
    assert 0 < low <= value <= high < 2


def test_an_unknown_row_and_a_start_that_is_not_there_are_one_line(tmp_path: Path) -> None:
    command = [str(tmp_path / "out"), "--data", str(tmp_path)]
    with pytest.raises(OptionError, match=r"no row 'bigger'\. Known: base, seed-1"):
        main([*command, "--rows", "bigger"])
    with pytest.raises(OptionError, match=r"'cnn=absent\.h5' is not ARCH=FILE"):
        main([*command, "--weights", "cnn=absent.h5"])


def test_every_row_differs_from_the_recipe_and_from_every_other() -> None:
    assert VARIANTS["base"] == RecipeVariant(VARIANTS["base"].what)
    changes = [(dict(one.config), one.recipe, one.teachers) for one in VARIANTS.values()]
    assert all(one not in changes[:at] for at, one in enumerate(changes))
    for variant in VARIANTS.values():
        assert set(variant.config) <= {one.name for one in fields(Config)}
        assert set(variant.teachers) <= set(VARIANTS)

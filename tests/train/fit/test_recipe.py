"""What a run varies is read, checked and kept with the run."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dermedge.edge.errors import OptionError
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.fit.recipe import Augmentation, Recipe, read_recipe, recipe_from_json
from dermedge.train.fit.run_folder import Config, RunFolder

CONFIG = Config(
    architecture="cnn",
    classes=("a", "b"),
    size=32,
    weights="none",
    epochs=1,
    qat_epochs=0,
    photos_per_epoch=10,
    batch_size=2,
    learning_rate=1e-3,
    qat_learning_rate=1e-5,
    seed=0,
    data=("photos",),
    data_digest="",
    command="",
)
OTHER = Recipe(mixup=0, classes_first=False, augmentation=Augmentation(zoom=(1, 1), jpeg_quality=(50, 60)))


def saved(tmp_path: Path, recipe: Recipe) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create(replace(CONFIG, recipe=recipe), Catalogue((), ("a", "b"), {}))
    return run


def test_a_run_keeps_its_recipe(tmp_path: Path) -> None:
    assert saved(tmp_path, OTHER).config().recipe == OTHER


def test_a_run_of_before_there_were_recipes_has_the_default_one(tmp_path: Path) -> None:
    run = saved(tmp_path, OTHER)
    path = run.path / "config.json"
    values = json.loads(path.read_text())
    del values["recipe"]
    path.write_text(json.dumps(values))
    assert run.config().recipe == Recipe()


def test_fields_of_other_versions_are_ignored_in_a_run() -> None:
    values = json.loads(json.dumps(asdict(OTHER)))
    values["augmentation"]["rain_share"] = 0.5
    del values["class_power"]
    assert recipe_from_json({**values, "lookahead": True}) == OTHER


def test_a_file_names_what_differs_from_the_default(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text('{"mixup": 0.4, "augmentation": {"zoom": [1, 2]}}')
    assert read_recipe(path) == Recipe(mixup=0.4, augmentation=Augmentation(zoom=(1, 2)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read the recipe"),
        ("[]", "the recipe of '.*' must be a JSON object"),
        ('{"augmentation": 1}', "the augmentation of '.*' must be a JSON object"),
        ('{"mixup": -0.1}', "'mixup' of the recipe is -0.1; it must be a number from 0 to 10"),
        ('{"mixup": NaN}', "'mixup' of the recipe is NaN"),
        ('{"mixup": true}', "'mixup' of the recipe is true"),
        ('{"logit_adjustment": 1}', "'logit_adjustment' of the recipe is 1; it must be true or false"),
        ('{"mixups": 1}', "'mixups' is no field of the recipe in '.*'. Known: class_power,"),
        ('{"augmentation": {"rain": 1}}', "'rain' is no field of the augmentation"),
        ('{"augmentation": {"zoom": [2, 1]}}', "two numbers from 0.1 to 10, in order"),
        ('{"augmentation": {"zoom": 2}}', "two numbers"),
        ('{"augmentation": {"max_hairs": 1.5}}', "a whole number from 1 to 100"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        read_recipe(path)


def test_a_recipe_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"gone\.json"):
        read_recipe(tmp_path / "gone.json")

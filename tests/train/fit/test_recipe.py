"""The recipe of a run is read, checked and stored with it."""

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


def test_the_default_recipe_is_that_of_the_runs_that_hold_none() -> None:
    assert asdict(Recipe()) == {
        "class_power": 0.5,
        "stratum_power": 0.5,
        "lesion_power": 1.0,
        "classes_first": True,
        "logit_adjustment": True,
        "label_smoothing": 0.05,
        "mixup": 0.2,
        "teacher_share": 0.5,
        "train_batch_norms": False,
        "frozen_blocks": 0,
        "ema_decay": 0.0,
        "augmentation": {
            "rotation_degrees": (0, 360),
            "zoom": (0.75, 1.5),
            "shift": 0.1,
            "mirror_share": 0.5,
            "exposure": (0.65, 1.2),
            "gain": 0.08,
            "contrast": (0.8, 1.25),
            "saturation": (0.75, 1.25),
            "hue_degrees": 6,
            "white_balance_share": 0.0,
            "shrink_share": 0.0,
            "shrink_pixels": 64,
            "blur_share": 0.3,
            "blur_sigma": (0.3, 1.5),
            "hair_share": 0.2,
            "max_hairs": 6,
            "patch_share": 0.3,
            "patch": (0.1, 0.35),
            "jpeg_share": 0.2,
            "jpeg_quality": (15, 70),
        },
    }


@pytest.mark.parametrize(
    ("field", "least", "most", "below", "above"),
    [
        *(
            (name, 0, 1, -0.01, 1.01)
            for name in ("class_power", "stratum_power", "lesion_power", "teacher_share")
        ),
        ("label_smoothing", 0, 0.5, -0.01, 0.51),
        ("mixup", 0, 10, -0.01, 10.1),
        ("frozen_blocks", 0, 100, -1, 1.5),
        ("ema_decay", 0, 0.9999, -0.01, 1.0),
        *(
            (f"augmentation.{name}", 0, 1, -0.01, 1.01)
            for name in ("shift", "mirror_share", "gain", "white_balance_share", "shrink_share", "blur_share")
        ),
        *(
            (f"augmentation.{name}", 0, 1, -0.01, 1.01)
            for name in ("hair_share", "patch_share", "jpeg_share")
        ),
        ("augmentation.hue_degrees", 0, 180, -1, 181),
        ("augmentation.shrink_pixels", 8, 1024, 7, 1025),
        ("augmentation.max_hairs", 1, 100, 0, 101),
        ("augmentation.rotation_degrees", (-360, -360), (360, 360), (-361, 0), (0, 361)),
        ("augmentation.zoom", (0.1, 0.1), (10, 10), (0.09, 1), (1, 10.1)),
        *(
            (f"augmentation.{name}", (0, 0), (10, 10), (-0.1, 1), (1, 10.1))
            for name in ("exposure", "contrast")
        ),
        ("augmentation.saturation", (0, 0), (10, 10), (-0.1, 1), (1, 10.1)),
        ("augmentation.blur_sigma", (0.01, 0.01), (50, 50), (0.0, 1), (1, 51)),
        ("augmentation.patch", (0, 0), (0.9, 0.9), (-0.1, 0.5), (0.5, 0.91)),
        ("augmentation.jpeg_quality", (1, 1), (101, 101), (0, 50), (50, 102)),
    ],
)
def test_bounds_belong_to_what_is_allowed(
    field: str, least: object, most: object, below: object, above: object
) -> None:
    name = field.rpartition(".")[2]
    kind = Augmentation if "." in field else Recipe
    for value in (least, most):
        assert getattr(kind(**{name: value}), name) == value  # type: ignore[arg-type]
    for value in (below, above):
        with pytest.raises(OptionError, match=f"'{name}' of the recipe is"):
            kind(**{name: value})  # type: ignore[arg-type]


def test_fields_of_other_versions_are_ignored_in_a_run() -> None:
    values = json.loads(json.dumps(asdict(OTHER)))
    values["augmentation"]["rain_share"] = 0.5
    del values["class_power"]
    assert recipe_from_json({**values, "lookahead": True}) == OTHER


def test_a_file_names_what_differs_from_the_default(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text('{"mixup": 0.4, "augmentation": {"zoom": [1, 2]}}')
    assert read_recipe(path) == Recipe(mixup=0.4, augmentation=Augmentation(zoom=(1, 2)))
    path.write_text('{"mixup": 0.4}', encoding="utf-8-sig")
    assert read_recipe(path) == Recipe(mixup=0.4), "editors of Windows write a byte order mark"


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
        ('{"mixups": 1}', "'mixups' in '.*' is not a field of the recipe. Known: class_power,"),
        ('{"augmentation": {"rain": 1}}', "'rain' in '.*' is not a field of the augmentation"),
        ('{"augmentation": {"zoom": [2, 1]}}', "two numbers from 0.1 to 10, the smaller one first"),
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


def test_a_parent_that_is_still_there_is_not_taken_for_another_of_its_name(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder / "start").mkdir(parents=True)
    run = RunFolder(tmp_path / "second" / "run")
    start = str(tmp_path / "first" / "start")
    run.create(replace(CONFIG, weights=start, teachers=(start,)), Catalogue((), ("a", "b"), {}))
    assert (run.config().weights, run.config().teachers) == (start, (start,))
    # The folder beside the run is used only if the recorded one is gone.
    (tmp_path / "first" / "start").rmdir()
    assert run.config().weights == str(tmp_path / "second" / "start")


@pytest.mark.parametrize(
    ("weights", "trained", "frozen"),
    [
        ("none", False, False),
        ("imagenet", False, True),
        ("imagenet", True, False),
        ("start.tflite", False, True),
    ],
)
def test_batch_norms_are_frozen_where_weights_are_given_and_the_recipe_does_not_train_them(
    weights: str, trained: bool, frozen: bool
) -> None:
    config = replace(CONFIG, weights=weights, recipe=Recipe(train_batch_norms=trained))
    assert config.freezes_batch_norms is frozen


def test_each_stage_has_its_number_of_epochs() -> None:
    config = replace(CONFIG, epochs=5, qat_epochs=3)
    assert (config.stage_epochs("float"), config.stage_epochs("qat")) == (5, 3)


def test_a_history_has_each_epoch_of_each_stage_once_and_the_last_one_counts(tmp_path: Path) -> None:
    run = saved(tmp_path, OTHER)
    assert run.history() == []
    for stage, epoch, loss in (
        ("float", 1, 0.5),
        ("float", 2, 0.4),
        ("qat", 1, 0.3),
        ("float", 2, 0.2),
        ("qat", 2, 0.1),
    ):
        run.add_history({"stage": stage, "epoch": epoch, "loss": loss})
    assert [(row["stage"], row["epoch"], row["loss"]) for row in run.history()] == [
        ("float", "1", "0.5"),
        ("qat", "1", "0.3"),
        ("float", "2", "0.2"),
        ("qat", "2", "0.1"),
    ]


def test_of_several_checkpoints_the_named_one_stays(tmp_path: Path) -> None:
    run = saved(tmp_path, OTHER)
    for name in ("float-001", "float-002", "qat-001"):
        (run.path / "checkpoints" / name).mkdir(parents=True)
    run.keep_checkpoint("checkpoints/float-002")
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == ["float-002"]
    run.keep_checkpoint("")
    assert list((run.path / "checkpoints").iterdir()) == []

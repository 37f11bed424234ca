"""Each option of `dermedge train` reaches the setting that it names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dermedge import cli
from dermedge.edge.errors import DataError, OptionError
from dermedge.train.cli import train
from dermedge.train.cli.train import parser
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.fit.recipe import Recipe
from dermedge.train.fit.run_folder import Config, RunFolder, RunProgress

PHOTOS = tuple(
    Photo(
        f"/p/{split} {label} {at}.png",
        f"{split} {label} {at}",
        "",
        f"{split} {label} {at}",
        label,
        label,
        "s",
        split,
    )
    for label in ("a", "b")
    for split, count in (("train", 5), ("val", 2), ("test", 1))
    for at in range(count)
)
CATALOGUE = Catalogue(PHOTOS, ("b", "a"), {}, 4)
OPTIONS = (
    "--data one two --arch cnn --imgsz 64 --epochs 3 --photos-per-epoch 50 --qat-epochs 4 --batch 6 --lr 0.25 "
    "--qat-lr 0.125 --seed 9 --teacher first second"
)


def settings(options: str, weights: str = "start", averaged: tuple[str, ...] = ()) -> Config:
    given = parser().parse_args(options.split())
    return train._config(given, CATALOGUE, (weights, averaged), Recipe(mixup=0.5), "the command")


def test_every_setting_comes_from_its_own_option() -> None:
    assert settings(OPTIONS, "start", ("more",)) == Config(
        architecture="cnn",
        classes=("b", "a"),
        size=64,
        weights="start",
        epochs=3,
        qat_epochs=4,
        photos_per_epoch=50,
        batch_size=6,
        learning_rate=0.25,
        qat_learning_rate=0.125,
        seed=9,
        data=("one", "two"),
        data_digest=CATALOGUE.digest,
        command="the command",
        teachers=("first", "second"),
        validated="",
        averaged=("more",),
        recipe=Recipe(mixup=0.5),
    )


def test_defaults_of_a_run_and_its_plan_on_the_training_photos(capsys: pytest.CaptureFixture[str]) -> None:
    # Ten photos are in train. Ten epochs of 640 samples reach the minimum of 6,400 samples.
    found = settings("--data one")
    assert (found.epochs, found.photos_per_epoch, found.qat_epochs, found.batch_size) == (10, 640, 2, 32)
    assert (found.learning_rate, found.qat_learning_rate, found.seed, found.size) == (3e-4, 1e-5, 0, 192)
    assert (found.architecture, found.teachers) == ("efficientnet_lite0_trunk", ())
    assert (
        "10 epochs of 640 photos, in total 640 times the number of training photos (10)"
        in capsys.readouterr().out
    )
    # random weights learn at a higher rate
    assert settings("--data one", "none").learning_rate == 1e-3
    # without --photos-per-epoch, an epoch has as many samples as there are photos in train
    assert settings("--data one --epochs 2").photos_per_epoch == 10
    capsys.readouterr()
    assert settings("--data one --epochs 0").epochs == 0
    assert capsys.readouterr().out == "", "no plan for a stage that is left out"


def test_the_photos_are_catalogued_as_the_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def build(paths: list[Path], **named: Any) -> Catalogue:
        asked.update(named, paths=paths)
        return CATALOGUE

    monkeypatch.setattr(train, "build_catalogue", build)
    words = "--data one two --seed 9 --labels-from parent --groups-from table --keep-parts"
    given = parser().parse_args([*words.split(), "--classes", 'nevus, "a, b"'])
    assert train._catalogue(given, tmp_path / "runs" / "mine") == CATALOGUE
    del asked["progress"], asked["say"]
    assert asked == {
        "paths": [Path("one"), Path("two")],
        "seed": 9,
        "cache": tmp_path / "runs" / ".cache",
        "classes": ["nevus", "a, b"],
        "labels_from": "parent",
        "groups_from": "table",
        "keep_parts": True,
    }
    plain = parser().parse_args(["--data", "one"])
    train._catalogue(plain, tmp_path / "run")
    chosen = [asked[name] for name in ("seed", "classes", "labels_from", "groups_from", "keep_parts")]
    assert chosen == [0, None, "auto", "auto", False]


@pytest.mark.parametrize(
    ("words", "classes"),
    [
        ("--weights {run}", ("b", "a")),
        ("--weights {run} {other}", ("b", "a")),
        ("--weights imagenet --teacher {run} {other}", ("b", "a")),
        ("--weights {other} --teacher {run}", ("a", "b")),
        ("--weights {run} --classes a,b", ["a", "b"]),
        ("--weights none", None),
        ("--weights start.tflite", None),
    ],
)
def test_the_classes_of_the_first_parent_are_learned_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, classes: object
) -> None:
    asked: list[object] = []

    def build(paths: list[Path], **named: Any) -> Catalogue:
        asked.append(named["classes"])
        return CATALOGUE

    monkeypatch.setattr(train, "build_catalogue", build)
    runs = {"run": ("b", "a"), "other": ("a", "b")}
    for name, names in runs.items():
        config = replace(settings("--data one"), classes=names)
        RunFolder(tmp_path / name).create(config, replace(CATALOGUE, classes=names))
    words = words.format(**{name: tmp_path / name for name in runs})
    train._catalogue(parser().parse_args(["--data", "x", *words.split()]), tmp_path / "new")
    assert asked == [classes]


def test_a_source_that_is_tested_is_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("one", "train"), ("two", "val"), ("three", "train"), ("three", "test")]
    photos = tuple(
        Photo(f"/p/{label}{at}.png", f"{label}{at}", "", f"{label}{at}", label, label, source, split)
        for label in ("a", "b")
        for at, (source, split) in enumerate(rows)
    )
    # Another photo of one lesion comes from the tested source.
    photos += (replace(photos[0], path="/p/more.png", source="two"), replace(photos[0], path="/p/again.png"))
    photos += (Photo("/p/b9.png", "b9", "", "b9", "b", "b", "one", "train"),)
    photos += (Photo("/p/a9.png", "a9", "", "a9", "a", "a", "one", "train"),)
    monkeypatch.setattr(
        train, "build_catalogue", lambda *given, **named: Catalogue(photos, ("a", "b"), {"why": 3})
    )
    made = train._catalogue(parser().parse_args(["--data", "x", "--test-source", "two"]), tmp_path / "run")
    assert {(photo.source, photo.split) for photo in made.photos} == {
        ("one", "train"),
        ("two", "test"),
        ("three", "train"),
    }
    # The printed counts are those after the change.
    told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "photos train val test",
        "a 2 0 2",
        "b 3 0 1",
        "left out: 3 (why)",
        "left out: 2 (of lesions or persons that are also in 'two')",
        "left out: 2 (in the original test split, which --test-source does not use)",
    ]


@pytest.mark.parametrize("weights", ["dermedge-128", "mine.tflite"])
def test_the_folded_batch_norms_of_a_file_are_not_trained(tmp_path: Path, weights: str) -> None:
    pytest.importorskip("tf_keras")
    trained = Recipe(train_batch_norms=True)
    with pytest.raises(OptionError, match=f"the batch norms of '{weights}' cannot be trained"):
        train._check_batch_norms(weights, trained)
    # The second run starts from the first one, which started from the file.
    for number, start in enumerate((weights, str(tmp_path / "0"))):
        RunFolder(tmp_path / str(number)).create(replace(settings("--data one"), weights=start), CATALOGUE)
    with pytest.raises(OptionError, match=r"the batch norms of '.*1' cannot be trained"):
        train._check_batch_norms(str(tmp_path / "1"), trained)
    train._check_batch_norms(weights, Recipe())
    train._check_batch_norms("imagenet", trained)


def test_a_new_run_and_a_refit_check_the_batch_norms_before_they_read_photos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tf_keras")
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"train_batch_norms": true}')
    RunFolder(tmp_path / "run").create(
        replace(settings("--data one"), recipe=Recipe(train_batch_norms=True)), CATALOGUE
    )
    start = ["--weights", "dermedge-128", "--output", str(tmp_path / "new")]
    for words in (
        ["--data", str(tmp_path), "--recipe", str(recipe)],
        ["--refit", str(tmp_path / "run")],
    ):
        assert cli.main(["train", *words, *start]) == 2
        assert "they are folded into the weights of a .tflite" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_class_without_a_training_photo_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {"a": ("train", "val", "test"), "b": ("val", "test", "test")}
    photos = tuple(
        Photo(f"{label}{at}.jpg", f"{label}{at}", "", f"{label}{at}", label, label, "s", split)
        for label, parts in splits.items()
        for at, split in enumerate(parts)
    )
    monkeypatch.setattr(train, "build_catalogue", lambda *given, **named: Catalogue(photos, ("a", "b"), {}))
    options = parser().parse_args(["--data", "x", "--keep-parts"])
    with pytest.raises(DataError, match=r"the class 'b' has no photo in train, .* move photos of this class"):
        train._catalogue(options, tmp_path / "run")
    # A cross-validation also trains on the photos of val.
    options = parser().parse_args(["--data", "x", "--keep-parts", "--folds", "2"])
    assert train._catalogue(options, tmp_path / "run").photos == photos


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--resume one --refit two", "--resume and --refit cannot be combined"),
        ("--epochs 3", "there is nothing to train on"),
        ("--resume one --seed 3", "cannot be combined with --seed;"),
        ("--refit one --classes a,b", "cannot be combined with --classes;"),
        ("--data . --seed -1", "--seed is -1; it must be from 0 to 4294967295"),
        ("--data . --seed 4294967296", "--seed is 4294967296; it must be from 0 to 4294967295"),
        ("--data nosuch", "--data is 'nosuch', which does not exist"),
        ("--data . --strategy multi-worker", "--strategy multi-worker needs --output RUN"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(words: str, message: str) -> None:
    argv = words.split()
    with pytest.raises(OptionError, match=message):
        train._check_options(parser().parse_args(argv), argv)


@pytest.mark.parametrize(
    "words",
    [
        "--resume one --data . --strategy mirrored",
        "--refit one --data . --output two --weights three --strategy single",
        "--data . --strategy multi-worker --output one",
        "--strategy multi-worker --resume one",
        "--data . --seed 4294967295",
    ],
)
def test_options_that_fit_together_are_not_refused(words: str) -> None:
    argv, refusals = words.split(), []
    try:
        train._check_options(parser().parse_args(argv), argv)
    except OptionError as error:
        refusals.append(str(error))
    assert refusals == []


def test_a_log_file_shows_each_line_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.log"
    with path.open("w") as log, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", log)
        with pytest.raises(OptionError, match="there is nothing to train on"):
            train.main([])
        print("float epoch   1/3")
        assert path.read_text() == "float epoch   1/3\n"


def test_the_help_is_parted_by_headings() -> None:
    headings = re.findall(r"^([a-z ,]+):$", parser().format_help(), re.MULTILINE)
    assert [heading for heading in headings if heading not in ("options", "examples")] == [
        "photos and run",
        "network",
        "training",
        "recipe",
        "teachers, tests and devices",
    ]


@pytest.mark.parametrize("chief", [True, False])
def test_the_chief_prepares_the_run_and_all_workers_wait_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chief: bool
) -> None:
    pytest.importorskip("tensorflow")
    from dermedge.train.fit import distribution

    steps: list[str] = []

    def prepare(options: object, command: str, strategy: object, guard: object) -> Path:
        steps.append(f"prepare {command}")
        return tmp_path / "prepared"

    monkeypatch.setitem(distribution.STRATEGIES, "mirrored", lambda: "strategy")
    monkeypatch.setattr(distribution, "is_chief", lambda strategy: chief)
    monkeypatch.setattr(distribution, "wait_for_all", lambda strategy: steps.append(f"wait {strategy}"))
    monkeypatch.setattr(train, "_prepare", prepare)
    monkeypatch.setattr(train, "_train_all", lambda path, strategy, guard: steps.append(f"train {path.name}"))
    argv = ["--data", str(tmp_path), "--strategy", "mirrored", "--output", str(tmp_path / "given")]
    assert train.main(argv) == 0
    prepared = [f"prepare dermedge train {' '.join(argv)}"] * chief
    assert steps == [*prepared, "wait strategy", f"train {'prepared' if chief else 'given'}", "wait strategy"]


def test_a_finished_run_is_not_trained_again_and_a_worker_assists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow")
    from dermedge.train.fit import distribution, folds

    runs = [RunFolder(tmp_path / f"fold-{number}") for number in (1, 2)]
    for run in runs:
        run.create(settings(OPTIONS), CATALOGUE)
    runs[0].save_progress(RunProgress(finished=True))
    capsys.readouterr()
    steps: list[str] = []
    monkeypatch.setattr(train, "_train", lambda run, *others: steps.append(f"train {run.path.name}"))
    monkeypatch.setattr(train, "_assist", lambda run, strategy: steps.append(f"assist {run.path.name}"))
    monkeypatch.setattr(folds, "report_folds", lambda path, found: steps.append(f"report {len(found)} folds"))
    guard: Any = None
    for chief in (True, False):
        monkeypatch.setattr(distribution, "is_chief", lambda strategy, chief=chief: chief)
        train._train_all(tmp_path, guard, guard)
    assert steps == ["train fold-2", "report 2 folds", "assist fold-1", "assist fold-2"]
    assert "fold-1' is already finished" in capsys.readouterr().out
    # A single run has no folds to report.
    steps.clear()
    monkeypatch.setattr(distribution, "is_chief", lambda strategy: True)
    train._train_all(runs[1].path, guard, guard)
    assert steps == ["train fold-2"]


def test_a_start_that_the_network_refuses_leaves_no_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise, the next try with the same --output would be refused, because its folder exists."""
    pytest.importorskip("tf_keras")
    monkeypatch.setattr(train, "_catalogue", lambda options, path: CATALOGUE)
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"frozen_blocks": 17}')
    refused = replace(settings("--data one --arch cnn"), weights="none", recipe=Recipe(frozen_blocks=17))
    RunFolder(tmp_path / "run").create(refused, CATALOGUE)
    new = tmp_path / "new"
    for words in (
        ["--data", str(tmp_path), "--arch", "cnn", "--imgsz", "64", "--recipe", str(recipe)],
        ["--refit", str(tmp_path / "run")],
    ):
        assert cli.main(["train", *words, "--output", str(new)]) == 2
        assert "'frozen_blocks' of the recipe is 17" in capsys.readouterr().err
        assert not new.exists()

"""A run continues after a stop, a kill or a move.

It notices photos that were replaced, and reacts to every Ctrl-C.
"""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.train.cli import train as train_cli
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.fit import training
from dermedge.train.fit.run_folder import Config, RunFolder
from dermedge.train.fit.run_networks import trained_network

OPTIONS = ["--arch", "cnn", "--imgsz", "32", "--epochs", "3", "--qat-epochs", "0", "--batch", "12"]
RECIPE = {
    "ema_decay": 0.9,
    "classes_first": False,
    "lesion_power": 0.5,
    "mixup": 0.4,
    "logit_adjustment": False,
    "augmentation": {"shrink_share": 0.5, "shrink_pixels": 16, "white_balance_share": 0.3},
}


def start(data: Path, run: Path, *more: str) -> int:
    return cli.main(["train", "--data", str(data), "--output", str(run), *OPTIONS, *more])


def weights(run: Path) -> list[np.ndarray]:
    return trained_network(RunFolder(run), "float").get_weights()


def are_equal(one: Path, other: Path) -> bool:
    rows = [
        [(row["epoch"], row["loss"], row["val_loss"]) for row in RunFolder(run).history()]
        for run in (one, other)
    ]
    pairs = zip(weights(one), weights(other), strict=True)
    return rows[0] == rows[1] and all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    path.write_text(json.dumps(RECIPE))
    return path


@pytest.fixture(scope="module")
def whole_run(labelled_set: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a recipe of its own. It was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert start(labelled_set, run, "--recipe", str(recipe)) == 0
    return run


def stop_after(monkeypatch: pytest.MonkeyPatch, epochs: int, error: BaseException) -> None:
    """Makes the checkpoint of a later epoch fail after its weights and history were written."""
    save = RunFolder.save_checkpoint

    def fail(self: RunFolder, checkpoint: object, progress: object) -> object:
        if progress.epoch > epochs:  # type: ignore[attr-defined]
            raise error
        return save(self, checkpoint, progress)  # type: ignore[arg-type]

    monkeypatch.setattr(RunFolder, "save_checkpoint", fail)


def test_a_killed_run_that_moved_with_its_photos_ends_as_one_that_did_not(
    whole_run: Path,
    recipe: Path,
    labelled_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    name = labelled_set.name
    shutil.copytree(labelled_set, first / name)
    with monkeypatch.context() as patched:
        stop_after(patched, 1, SystemExit(9))
        with pytest.raises(SystemExit):
            start(first / name, first / "runs" / "one", "--recipe", str(recipe))
    first.rename(second)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = second / "runs" / "one"
    assert cli.main(["train", "--resume", str(run)]) == 2
    assert "now with --data FOLDER" in capsys.readouterr().err
    assert cli.main(["train", "--resume", str(run), "--data", str(tmp_path / "nosuch")]) == 2
    assert "nosuch', which does not exist" in capsys.readouterr().err
    assert cli.main(["train", "--resume", str(run), "--data", str(second / name)]) == 0
    assert are_equal(run, whole_run)
    # The next command finds the photos without being told again.
    assert cli.main(["evaluate", str(run), "--output", str(tmp_path / "scores")]) == 0


def test_the_average_is_what_a_run_by_a_recipe_ends_with(whole_run: Path) -> None:
    run = RunFolder(whole_run)
    assert run.config().recipe.ema_decay == 0.9
    assert run.config().recipe.augmentation.shrink_pixels == 16
    assert float(run.history()[-1]["val_balanced_accuracy"]) > 0.4


def test_replaced_photos_stop_the_resumed_training(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(labelled_set, photos)
    with monkeypatch.context() as patched:
        stop_after(patched, 1, KeyboardInterrupt())
        assert start(photos, run) == 130
    replaced = next(Path(photo.path) for photo in RunFolder(run).photos() if photo.split == "train")
    cv2.imwrite(str(replaced), np.full((48, 64, 3), 7, np.uint8))
    before = RunFolder(run).progress()
    capsys.readouterr()
    assert cli.main(["train", "--resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert "changed since the catalogue was made: 1 photo" in error
    assert replaced.name in error
    assert RunFolder(run).progress() == before


def test_missing_data_is_told_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("weights are loaded, and photos are read, too early")

    monkeypatch.setattr("dermedge.train.fit.networks.build_network", fail)
    monkeypatch.setattr(train_cli, "build_catalogue", fail)
    assert start(tmp_path / "nosuch", tmp_path / "run") == 2
    assert f"--data is '{tmp_path / 'nosuch'}', which does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def swallowing(function: Callable[..., object]) -> Callable[..., object]:
    """Returns the function so that it first receives Ctrl-C, and loses it."""

    def interrupted(*arguments: object, **named: object) -> object:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        return function(*arguments, **named)

    return interrupted


def test_ctrl_c_that_is_lost_in_the_catalogue_still_stops(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_cli, "build_catalogue", swallowing(train_cli.build_catalogue))
    before = signal.getsignal(signal.SIGINT)
    assert start(labelled_set, tmp_path / "run") == 130
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGINT) == before


def test_ctrl_c_that_is_lost_in_an_epoch_stops_after_it(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training.Trainer, "_validate", swallowing(training.Trainer._validate))
    assert start(labelled_set, tmp_path / "run") == 130
    assert f"dermedge train --resume '{tmp_path / 'run'}'" in capsys.readouterr().out
    assert RunFolder(tmp_path / "run").progress().epoch == 1


def test_too_little_memory_is_one_line(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: training.Trainer) -> None:
        raise MemoryError("Unable to allocate 9.00 GiB")

    monkeypatch.setattr(training.Trainer, "fit", fail)
    assert start(labelled_set, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "has too little memory (Unable to allocate 9.00 GiB)" in error
    assert "--batch or --imgsz" in error
    assert error.count("\n") == 1


def test_chance_level_is_told_in_the_last_line(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    paths = sorted(labelled_set.rglob("*.png"))
    for number, path in enumerate(paths):
        label = ("one", "two", "three")[number % 3]
        (photos / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, photos / label)
    assert start(photos, tmp_path / "run") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(
        "warning: the network may be no better than random guessing: its validation balanced "
    )


def test_runs_that_moved_together_find_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("teacher", "start", "validated"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    config = Config(
        "cnn", ("a", "b"), 32, "runs/start", 1, 0, 1, 1, 1.0, 1.0, 0, (), "", "",
        teachers=("runs/teacher",), validated="runs/validated", averaged=("runs/start",),
    )  # fmt: skip
    RunFolder(tmp_path / "runs" / "one").create(config, Catalogue((), ("a", "b"), {}))
    for folder in ("runs", "moved"):
        if folder == "moved":
            (tmp_path / "runs").rename(tmp_path / "moved")
        read = RunFolder(tmp_path / folder / "one").config()
        assert read == replace(
            config,
            weights=str(tmp_path / folder / "start"),
            teachers=(str(tmp_path / folder / "teacher"),),
            validated=str(tmp_path / folder / "validated"),
            averaged=(str(tmp_path / folder / "start"),),
        )

"""Training runs, resumes exactly, and refuses what it cannot do. The photos are generated, so it takes seconds."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.edge.errors import DataError, StorageError
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.fit import training
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.run_networks import trained_network

OPTIONS = ["--arch", "cnn", "--imgsz", "32", "--epochs", "2", "--qat-epochs", "3", "--batch", "12"]


def start(data: Path, run: Path, *more: str) -> int:
    return cli.main(["train", "--data", str(data), "--output", str(run), *OPTIONS, *more])


def weights(run: Path, stage: str) -> list[np.ndarray]:
    return trained_network(RunFolder(run), stage).get_weights()


def test_a_run_folder_holds_config_history_weights_and_plots(trained_run: Path) -> None:
    names = {path.relative_to(trained_run).as_posix() for path in trained_run.rglob("*") if path.is_file()}
    assert names == {
        "catalogue.csv",
        "config.json",
        "data.json",
        "float_weights.h5",
        "history.csv",
        "plots/augmented.png",
        "plots/history.png",
        "progress.json",
        "qat_weights.h5",
    }
    history = RunFolder(trained_run).history()
    assert [(row["stage"], row["epoch"]) for row in history] == [
        *(("float", str(epoch)) for epoch in range(1, 6)),
        ("qat", "1"),
        ("qat", "2"),
    ]
    assert float(history[-1]["val_balanced_accuracy"]) > 0.8
    assert json.loads((trained_run / "config.json").read_text())["classes"] == ["blue", "brown", "red"]


@pytest.fixture(scope="module")
def whole_run(labelled_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert start(labelled_set, run) == 0
    return run


# test_resume.py tests a stop within the float stage.
@pytest.mark.parametrize("stop_after", [4])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    whole_run: Path,
    labelled_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop_after: int,
) -> None:
    calls = 0
    fit_epoch = training.Trainer._fit_epoch

    def stop(self: training.Trainer, *arguments: object) -> dict[str, object]:
        nonlocal calls
        calls += 1
        if calls > stop_after:
            raise KeyboardInterrupt
        return fit_epoch(self, *arguments)

    monkeypatch.setattr(training.Trainer, "_fit_epoch", stop)
    assert start(labelled_set, tmp_path / "run") == 130
    assert "--resume" in capsys.readouterr().out
    monkeypatch.undo()
    assert cli.main(["train", "--resume", str(tmp_path / "run")]) == 0
    whole, stopped = RunFolder(whole_run).history(), RunFolder(tmp_path / "run").history()
    for key in ("stage", "epoch", "loss", "val_loss", "learning_rate"):
        assert [row[key] for row in stopped] == [row[key] for row in whole]
    for stage in ("float", "qat"):
        pairs = zip(weights(whole_run, stage), weights(tmp_path / "run", stage), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_finished_run_says_so(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--resume", str(trained_run)]) == 0
    assert "is already finished. Convert it with: dermedge convert" in capsys.readouterr().out


def test_a_refit_learns_from_the_validation_photos_too_by_the_same_recipe(
    trained_run: Path, refitted_run: Path
) -> None:
    first, second = RunFolder(trained_run), RunFolder(refitted_run)
    splits = {photo.path: photo.split for photo in first.photos()}
    assert {photo.path: photo.split for photo in second.photos()} == {
        path: "train" if split == "val" else split for path, split in splits.items()
    }
    assert "val" in splits.values()
    assert second.config() == replace(
        first.config(),
        validated=str(trained_run),
        command=second.config().command,
        data_digest=second.config().data_digest,
    )
    assert "val_loss" in first.history()[0]
    assert all("val_loss" not in row and float(row["loss"]) > 0 for row in second.history())
    assert any(
        not np.array_equal(one, other)
        for one, other in zip(weights(trained_run, "float"), weights(refitted_run, "float"), strict=True)
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train --refit {run} --output {new}", "has no validation photos that --refit could add"),
        (
            "train --data {data} --arch cnn --imgsz 32 --weights {run} --output {new}",
            "in the validation or test split of this run",
        ),
        (
            "train --data {data} --arch cnn --imgsz 32 --teacher {run} --output {new}",
            "in the validation or test split of this run",
        ),
        ("evaluate {run}", "catalogue.csv', split val"),
        ("train --refit {validated} --weights nowhere.h5 --output {new}", "nowhere.h5"),
        ("train --refit nowhere --output {new}", "'nowhere' is not a run folder"),
    ],
)
def test_a_refit_that_cannot_be_and_what_one_has_learned_are_refused(
    trained_run: Path,
    refitted_run: Path,
    labelled_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    said: str,
) -> None:
    new = tmp_path / "run"
    places = {"run": refitted_run, "validated": trained_run, "new": new, "data": labelled_set}
    words = [word.format(**places) for word in command.split()]
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err
    assert not new.exists()


def test_a_lesion_in_two_splits_stops_the_training(trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "leaking"
    run.mkdir()
    for name in ("config.json", "progress.json"):
        (run / name).write_text((trained_run / name).read_text())
    photos = RunFolder(trained_run).photos()
    leak = next(photo for photo in photos if photo.split == "train")
    Catalogue((*photos, replace(leak, split="test")), ("blue", "brown", "red"), {}).save(
        run / "catalogue.csv"
    )
    with pytest.raises(DataError, match="one lesion or person in several splits"):
        training.Trainer(RunFolder(run))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arch", "resnet"], "unknown architecture 'resnet'. Known: cnn, mobilenet_v2"),
        (["--imgsz", "8"], "--imgsz is 8"),
        (["--imgsz", "100000"], "--imgsz is 100000; it must be from 32 to 1024"),
        (["--teacher", "nowhere"], "'nowhere' is not a run folder"),
        (["--classes", "brown,purple"], "no photo shows the class 'purple'"),
        (["--weights", "nowhere.h5"], "nowhere.h5"),
        (["--epochs", "0"], "the weights must come from a finished run"),
        (["--lr", "nan"], "'nan' is not a number above 0"),
        (["--optimizer", "sgd"], "--optimizer"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_no_folder(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert start(labelled_set, tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("dermedge: error:") == 1
    assert not (tmp_path / "run").exists()


def test_an_existing_folder_is_not_overwritten_and_no_photo_is_read_first(
    trained_run: Path, labelled_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained_run / "progress.json").read_text()
    assert start(labelled_set, trained_run) == 2
    told = capsys.readouterr()
    assert "exists already" in told.err
    assert told.out == ""
    assert (trained_run / "progress.json").read_text() == before


def test_a_run_that_cannot_be_written_leaves_no_folder(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: str) -> None:
        raise StorageError(f"cannot write '{path}': the disk is full")

    monkeypatch.setattr("dermedge.train.fit.run_folder.write_text", full)
    assert start(labelled_set, tmp_path / "run") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_cannot_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", "--resume", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--resume {run} --epochs 20 --lr=1e-4", "cannot be combined with --epochs, --lr;"),
        ("--resume {run} --output {new}", "; leave out --output"),
        ("--refit {run} --imgsz 160 --output {new}", "cannot be combined with --imgsz;"),
    ],
)
def test_options_that_a_run_has_decided_on_are_refused(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    new = tmp_path / "run"
    assert cli.main(["train", *words.format(run=trained_run, new=new).split()]) == 2
    assert said in capsys.readouterr().err
    assert not new.exists()


def test_a_class_with_two_photos_is_refused(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("blue", "red"):
        (tmp_path / "set" / name).mkdir(parents=True)
        count = 20 if name == "blue" else 2
        for photo in sorted((labelled_set / name).iterdir())[:count]:
            (tmp_path / "set" / name / photo.name).write_bytes(photo.read_bytes())
    assert start(tmp_path / "set", tmp_path / "run") == 2
    assert "class 'red' has 2 photos" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["float", "qat"])
def test_a_run_is_evaluated_on_its_validation_split(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    command = ["evaluate", str(trained_run), "--stage", stage, "--output", str(tmp_path / "scores")]
    assert cli.main(command) == 0
    values = json.loads((tmp_path / "scores" / "evaluation.json").read_text())
    last = [row for row in RunFolder(trained_run).history() if row["stage"] == stage][-1]
    told = float(last["val_balanced_accuracy"])
    figures = values["models"][0]["figures"]
    assert figures["balanced_accuracy"]["value"] == pytest.approx(told, abs=1e-4)
    assert re.search(rf"balanced accuracy.* {told:.3f}\b", capsys.readouterr().out)
    assert (tmp_path / "scores" / "evaluation.html").stat().st_size > 5000

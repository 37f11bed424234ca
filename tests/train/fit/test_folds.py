"""Cross-validation: folds that share no lesion, and figures over all of them."""

import json
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.train.fit import folds
from dermedge.train.fit.folds import runs_below
from dermedge.train.fit.run_folder import RunFolder

OPTIONS = ["--arch", "cnn", "--imgsz", "32", "--epochs", "3", "--qat-epochs", "0", "--batch", "12"]


def test_every_photo_outside_the_test_split_is_held_out_once(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cv"
    command = ["train", "--data", str(labelled_set), "--output", str(path), *OPTIONS, "--folds", "3"]
    assert cli.main(command) == 0
    runs = runs_below(path)
    assert [run.path.name for run in runs] == ["fold-1", "fold-2", "fold-3"]
    held_out = [photo.path for run in runs for photo in run.photos() if photo.split == "val"]
    tested = {photo.path for run in runs for photo in run.photos() if photo.split == "test"}
    assert len(held_out) == len(set(held_out))
    assert len(held_out) + len(tested) == 60
    assert not tested & set(held_out)
    told = json.loads((path / "cross-validation.json").read_text())
    pooled = told["figures"]["balanced_accuracy"]["pooled"]
    assert 0.5 < pooled["low"] <= pooled["value"] <= pooled["high"] <= 1
    assert len(told["figures"]["balanced_accuracy"]["folds"]) == 3
    assert "3 folds" in capsys.readouterr().out
    # resumed when all is done: the figures again, and no training
    history = runs[0].history_path.stat().st_mtime_ns
    assert cli.main(["train", "--resume", str(path)]) == 0
    assert runs[0].history_path.stat().st_mtime_ns == history


def test_folds_are_scored_by_the_last_stage(trained_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    load = folds.trained_network

    def record(run: RunFolder, stage: str) -> object:
        asked.append(stage)
        return load(run, stage)

    monkeypatch.setattr(folds, "trained_network", record)
    run = RunFolder(trained_run)
    together, (alone,) = folds.pooled_figures([run])
    assert asked == ["qat"]
    last = float(run.history()[-1]["val_balanced_accuracy"])
    assert together["balanced_accuracy"].value == pytest.approx(last, abs=1e-4)
    assert alone["balanced_accuracy"].value == pytest.approx(last, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        ("1", "--folds is 1; it must be 2 or more"),
        ("17", "--folds is 17, but the class 'blue' has only 16 lesions outside the test split"),
    ],
)
def test_too_few_folds_and_too_many_are_refused(
    count: str, message: str, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", str(labelled_set), "--output", str(tmp_path / "cv"), *OPTIONS]
    assert cli.main([*command, "--folds", count]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cv").exists()

"""Cross-validation: folds that share no lesion, and figures over all of them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.data.splits import with_fold
from dermedge.train.fit import folds
from dermedge.train.fit.folds import create_folds, report_folds, runs_below
from dermedge.train.fit.run_folder import Config, RunFolder, RunProgress

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
    # The training is complete. So --resume reports the figures again, and trains nothing.
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


MELANOMA, NEVUS, NONE = LABELS = "melanoma", "nevus", "none of these"
CONFIG = Config(
    "cnn", LABELS, 32, "none", 1, 0, 10, 2, 1e-3, 1e-5, 7, ("photos",), "", "dermedge train"
)  # fmt: skip


def photo(name: str, label: str, split: str, group: str = "") -> Photo:
    diagnosis = "basal cell carcinoma" if label == NONE else label
    return Photo(f"/photos/{name}.png", name, "", group or name, diagnosis, label, "clinic", split)


# Each row has the name of the photo, its class, the classes from the largest logit to the smallest, and the lesion.
FIRST_FOLD = (
    ("m1", MELANOMA, (MELANOMA, NEVUS, NONE), "lesion"),
    ("m2", MELANOMA, (NEVUS, MELANOMA, NONE), "lesion"),
    ("n1", NEVUS, (NEVUS, MELANOMA, NONE), ""),
    ("o1", NONE, (NONE, NEVUS, MELANOMA), ""),
)
SECOND_FOLD = (
    ("m3", MELANOMA, (NONE, MELANOMA, NEVUS), ""),
    ("n2", NEVUS, (MELANOMA, NEVUS, NONE), ""),
    ("n3", NEVUS, (NONE, NEVUS, MELANOMA), ""),
    ("o2", NONE, (NONE, MELANOMA, NEVUS), ""),
)


def finished_folds(folder: Path) -> list[RunFolder]:
    """Two finished runs. Each also holds a training photo and a test photo, which no network here can answer."""
    runs = []
    for number, held_out in enumerate((FIRST_FOLD, SECOND_FOLD), 1):
        run = RunFolder(folder / f"fold-{number}")
        photos = [photo(name, label, "val", group) for name, label, _, group in held_out]
        others = [photo("learned", NEVUS, "train"), photo("kept", NEVUS, "test")]
        run.create(CONFIG, Catalogue((*photos, *others), LABELS, {}))
        run.save_progress(RunProgress(finished=True))
        runs.append(run)
    return runs


def answer_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the networks of the runs by the logits of `FIRST_FOLD` and `SECOND_FOLD`."""
    ranks = {name: order for name, _, order, _ in (*FIRST_FOLD, *SECOND_FOLD)}
    monkeypatch.setattr(folds, "trained_network", lambda run, stage: stage)
    monkeypatch.setattr(folds, "cached_pixels", lambda paths, size, cache: paths)
    monkeypatch.setattr(
        folds,
        "predict_logits",
        lambda stage, paths: np.array([[-ranks[path.stem].index(one) for one in LABELS] for path in paths]),
    )


def test_the_report_of_the_folds_is_on_all_held_out_photos_and_worked_out_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_by_name(monkeypatch)
    told: list[str] = []
    report_folds(tmp_path, finished_folds(tmp_path), told.append)
    report = json.loads((tmp_path / "cross-validation.json").read_text())
    assert report["command"] == "dermedge train"
    found = report["figures"]
    # The recalls of melanoma, nevus and none are 1/2, 1 and 1 in the first fold, 0, 0 and 1 in the second
    # one, and 1/3, 1/3 and 1 in both together.
    balanced = found["balanced_accuracy"]
    assert balanced["pooled"]["value"] == pytest.approx(5 / 9)
    assert [one["value"] for one in balanced["folds"]] == pytest.approx([5 / 6, 1 / 3])
    # If only the named classes count, the recalls of melanoma and nevus are 1/2 and 1 in the first fold, 1
    # and 1/2 in the second one, and 2/3 and 2/3 in both together.
    named = found["balanced_accuracy_named"]
    assert named["pooled"]["value"] == pytest.approx(2 / 3)
    assert [one["value"] for one in named["folds"]] == pytest.approx([3 / 4, 3 / 4])
    # Half of the 8 answers are right. Two photos show one lesion, so the 8 photos count as 8^2 / (2^2 + 6) =
    # 6.4 photos.
    accuracy = found["accuracy"]["pooled"]
    half = 1.96 / (1 + 1.96**2 / 6.4) * math.sqrt(0.25 / 6.4 + 1.96**2 / (4 * 6.4**2))
    assert [accuracy[end] for end in ("low", "value", "high")] == pytest.approx(
        [0.5 - half, 0.5, 0.5 + half], abs=1e-4
    )
    # The standard deviation of 5/6 and 1/3 is half of their difference.
    line = next(line for line in told if line.startswith("balanced accuracy  "))
    assert "0.556 [" in line
    assert line.endswith("standard deviation over the folds 0.250")
    assert told[0].startswith("2 folds;")


def test_a_figure_that_a_fold_lacks_is_left_out_of_the_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_by_name(monkeypatch)
    told: list[str] = []
    runs = finished_folds(tmp_path)
    for run in runs[1:]:
        # No photo of another lesion is left, so this fold has no AUROC of declining.
        photos = tuple(photo for photo in run.photos() if photo.label != NONE)
        Catalogue(photos, LABELS, {}).save(run.catalogue_path)
    report_folds(tmp_path, runs, told.append)
    found = json.loads((tmp_path / "cross-validation.json").read_text())["figures"]
    assert found["decline_auroc_other"]["folds"][1] is None
    line = next(line for line in told if line.startswith("decline auroc other"))
    assert line.endswith("standard deviation over the folds not measured")
    assert "nan" not in "".join(told)


def test_folds_that_were_not_all_made_are_no_cross_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    create = RunFolder.create

    def note(self: RunFolder, *given: object) -> None:
        create(self, *given)  # type: ignore[arg-type]
        made.append(self.path)
        assert runs_below(tmp_path / "cv") == [], "a kill at this moment leaves no folds"

    monkeypatch.setattr(RunFolder, "create", note)
    photos = tuple(photo(f"{label} {number}", label, "train") for label in LABELS for number in range(6))
    runs = create_folds(tmp_path / "cv", CONFIG, Catalogue(photos, LABELS, {}), 3)
    assert len(made) == 3
    assert [run.path for run in runs] == [tmp_path / "cv" / f"fold-{number}" for number in (1, 2, 3)]
    assert [run.progress() for run in runs] == [RunProgress()] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["cv"]


def test_an_unfinished_fold_is_named_and_the_report_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_by_name(monkeypatch)
    runs = finished_folds(tmp_path)
    runs[1].save_progress(RunProgress(epoch=1))
    with pytest.raises(DataError, match=r"fold-2' is not finished; .*--resume"):
        report_folds(tmp_path, runs)
    assert not (tmp_path / "cross-validation.json").exists()


def test_each_fold_has_its_own_split_by_the_seed_and_its_own_digest(tmp_path: Path) -> None:
    photos = tuple(
        photo(f"{label} {number}", label, "test" if number == 0 else "train")
        for label in LABELS
        for number in range(9)
    )
    catalogue = Catalogue(photos, LABELS, {})
    runs = create_folds(tmp_path / "cv", CONFIG, catalogue, 3, b"four")
    assert [run.learned_before() for run in runs] == [b"four"] * 3
    for fold, run in enumerate(runs):
        # The seed in the settings is 7.
        expected = replace(catalogue, photos=with_fold(photos, fold, 3, 7))
        assert run.photos() == expected.photos
        assert run.config() == replace(CONFIG, data_digest=expected.digest)
    assert len({run.config().data_digest for run in runs}) == 3


def test_the_runs_of_ten_folds_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("fold-10", "fold-2", "fold-1", "fold-old", "other"):
        (tmp_path / name).mkdir()
    assert [run.path.name for run in runs_below(tmp_path)] == ["fold-1", "fold-2", "fold-10"]

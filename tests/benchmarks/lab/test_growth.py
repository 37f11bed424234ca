"""Small runs of `dermedge.benchmarks.lab.growth`: its measurements and its files."""

from __future__ import annotations

import csv
from importlib import util
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the device's environment has no TensorFlow")
pytest.importorskip("matplotlib")
import dermedge.benchmarks.lab.growth
from dermedge import Classifier
from dermedge.benchmarks.child import call_in_child
from dermedge.benchmarks.lab.growth import main
from dermedge.benchmarks.lab.growth_result import GrowthPoint, GrowthResult, table
from dermedge.benchmarks.lab.synthetic_photos import make_photos
from dermedge.benchmarks.lab.training_costs import first_start
from dermedge.benchmarks.latency import RunLength
from dermedge.edge.errors import DataError, DermedgeError, MissingExtra, StorageError
from dermedge.edge.photos import find_photo_files, read_picture
from dermedge.train.data.duplicates import equal_files, read_prints
from dermedge.train.data.scoring import labelled_photos
from dermedge.train.fit.run_folder import RunFolder

TWICE = GrowthResult(
    "made-up",
    "A made-up growth",
    tuple(GrowthPoint("time by size", x, 2.0 * x, 1.9 * x, 2.1 * x, "ms") for x in (1, 2, 4)),
    {"time by size": "size"},
    (),
)


def points(folder: Path, name: str) -> dict[str, list[tuple[float, float]]]:
    """Returns the points (x, cost) of each series of a CSV."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader((folder / f"{name}.csv").open()):
        found.setdefault(row["series"], []).append((float(row["x"]), float(row["cost"])))
    return found


def test_the_table_tells_the_law_and_both_ends() -> None:
    [row] = table(TWICE).rows
    assert row == ("time by size", "1.00", "[1.00, 1.00]", "1.000", "2 ms at 1", "8 ms at 4")


@pytest.mark.parametrize("name", dermedge.benchmarks.lab.growth._COMMANDS)
def test_the_help_of_a_command_says_what_it_measures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    purpose, _ = dermedge.benchmarks.lab.growth._COMMANDS[name]
    assert f"{purpose[0].upper()}{purpose[1:]}." in " ".join(capsys.readouterr().out.split())


def test_latency_is_measured_of_networks_that_it_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dermedge.benchmarks.lab.growth, "_RUN_LENGTH", RunLength(1, 3, 0.01, 5))
    monkeypatch.setattr(dermedge.benchmarks.lab.growth, "SIZE", 32)
    monkeypatch.setattr(dermedge.benchmarks.lab.growth, "SMALL_SIZE", 32)
    options = ["--source", "demo", "--arch", "cnn", "--sizes", "32,48", "--widths", "1,2"]
    assert main(["latency", *options, "--output", str(tmp_path / "out")]) == 0
    found = points(tmp_path / "out", "latency")
    assert [x for x, _ in found["inference by input size"]] == [32, 48]
    sizes_mb = [cost for _, cost in found["file size by width"]]
    # the number of weights grows with the square of the width
    assert 2 * sizes_mb[0] < sizes_mb[1]
    assert found["inference by threads"][0][0] == 1
    text = capsys.readouterr().out
    assert "random weights" in text
    assert "file size by width" in (tmp_path / "out" / "latency.md").read_text()
    assert cv2.imread(str(tmp_path / "out" / "latency.png")).std() > 5


def test_training_is_timed_on_photos_of_a_catalogue(trained_run: Path, tmp_path: Path) -> None:
    catalogue = RunFolder(trained_run).catalogue_path
    options = ["--data", str(catalogue), "--counts", "32,36", "--output", str(tmp_path)]
    assert main(["training", *options]) == 0
    [(x, secs), _] = points(tmp_path, "training")["an epoch by photos"]
    assert x == 32
    assert secs > 0


def test_the_audit_is_timed_on_drawn_photos(labelled_set: Path, tmp_path: Path) -> None:
    assert main(["audit", str(labelled_set), "--counts", "10,20,40", "--output", str(tmp_path)]) == 0
    assert [x for x, _ in points(tmp_path, "audit")["audit by photos"]] == [10, 20, 40]


@pytest.fixture
def few_real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to 24 photos of each of three classes.

    Generated photos cannot be used, because variations of drawn circles would be duplicates of one another.
    """
    folder = tmp_path_factory.mktemp("few")
    for name in ("basal cell carcinoma", "dermatofibroma", "nevus"):
        (folder / name).mkdir()
        for photo in find_photo_files(real_data / "kaggle9" / "Train" / name)[:24]:
            (folder / name / photo.name).symlink_to(photo)
    return folder


def test_a_training_on_many_photos_is_measured_beside_one_on_few(few_real: Path, tmp_path: Path) -> None:
    options = ["--counts", "80,40", "--photos-per-epoch", "64", "--output", str(tmp_path)]
    assert main(["photos", str(few_real), *options]) == 0
    found = points(tmp_path, "photos")
    assert list(found) == list(dermedge.benchmarks.lab.growth.PHOTO_SERIES)
    assert all([x for x, _ in series] == [40, 80] for series in found.values())
    assert all(cost > 0 for series in found.values() for _, cost in series)
    few_mb, many_mb = (cost for _, cost in found["cache on disk"])
    # The cache holds the photos of train and val, with 128 x 128 pixels of 3 bytes each. These are less than all
    # photos, and more than half of them.
    assert few_mb < 40 * 128 * 128 * 3 / 1e6 < 2 * few_mb
    assert few_mb < many_mb < 80 * 128 * 128 * 3 / 1e6 < 2 * many_mb
    assert {path.name for path in tmp_path.iterdir()} == {"photos.csv", "photos.md", "photos.png"}


def test_photos_that_the_disk_does_not_hold_are_not_made(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dermedge.benchmarks.lab.synthetic_photos.disk_usage", lambda folder: SimpleNamespace(free=1e6)
    )
    with pytest.raises(
        StorageError, match=r"2000 photos .* need \d+ MB, but .* has only 1 MB free; give smaller"
    ):
        main(["photos", str(labelled_set), "--counts", "2000", "--output", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_is_stopped_leaves_no_photos(
    labelled_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(function: object, photos: Path, run: Path, photos_per_epoch: int) -> None:
        assert len(list(photos.rglob("*.jpg"))) == 40
        raise KeyboardInterrupt

    monkeypatch.setattr("dermedge.benchmarks.lab.growth.call_in_child", stop)
    with pytest.raises(KeyboardInterrupt):
        main(["photos", str(labelled_set), "--counts", "40", "--output", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*nowhere"):
        call_in_child(first_start, tmp_path / "nowhere", tmp_path / "run", 64)


def test_made_photos_are_of_a_camera_and_all_different(real_data: Path, tmp_path: Path) -> None:
    originals = labelled_photos(real_data, ["none of these"])[::100]
    paths = make_photos(originals, tmp_path / "many", 2 * len(originals))
    assert {read_picture(path).shape for path in paths} == {(450, 600, 3)}
    assert equal_files(read_prints(paths)) == []
    fewer = make_photos(originals, tmp_path / "few", 10)
    assert [path.read_bytes() for path in fewer] == [path.read_bytes() for path in paths[:10]]
    assert {path.parent.name for path in paths} == {photo.entry.diagnosis for photo in originals}


def test_accuracy_is_that_of_the_given_files_by_their_sizes(model_path: Path, tmp_path: Path) -> None:
    with Classifier(model_path) as classifier:
        labels, size = classifier.labels[:2], classifier.input_size
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for label in labels:
        (tmp_path / "photos" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "photos" / label / "1.png"), noise)
    options = [str(model_path), "--data", str(tmp_path / "photos"), "--output", str(tmp_path / "out")]
    assert main(["accuracy", *options]) == 0
    found = points(tmp_path / "out", "accuracy")
    assert [x for x, _ in found["balanced accuracy by input size"]] == [size]
    assert "exponent" not in (tmp_path / "out" / "accuracy.md").read_text()


def test_a_package_that_lacks_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"install.*\[benchmark\]'"):
        main(["audit", "photos", "--output", "out"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latency", "--output", "out"], "--source demo"),
        (["latency", "--sizes", "big", "--output", "out"], "'big' is not a list of positive numbers"),
        (["photos", "nowhere", "--output", "out"], "there is no file or folder 'nowhere'"),
        (["audit", "nowhere", "--output", "out"], "'nowhere' is not a folder with photos"),
        (
            ["audit", "{photos}", "--counts", "5000", "--output", "out"],
            "60 photos, fewer than 5000",
        ),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], said: str, labelled_set: Path) -> None:
    with pytest.raises(DermedgeError, match=said):
        main([one.format(photos=labelled_set) for one in arguments])

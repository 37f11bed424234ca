"""The whole way from photos to training, int8, device, benchmark and report, on generated and on real photos."""

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.edge.photos import find_photo_files

# With this number of photos, the network becomes better than chance on its proof set. A network that is not better is
# not delivered.
PHOTOS_PER_CLASS = 20


def travel(
    data: Path, run: Path, training: list[str], capsys: pytest.CaptureFixture[str]
) -> dict[str, object]:
    """Trains, converts, predicts, runs and benchmarks by the command line; returns the output."""
    assert cli.main(["train", "--data", str(data), "--output", str(run), *training]) == 0
    files = {kind: run / f"{kind}.tflite" for kind in ("float32", "int8")}
    for kind, target in files.items():
        assert cli.main(["convert", str(run), f"--{kind}", "--output", str(target)]) == 0
    table, model = run / "predictions.csv", ["--model", str(files["int8"])]
    assert cli.main(["predict", str(data), *model, "--format", "csv", "--output", str(table)]) == 0
    capsys.readouterr()
    assert cli.main(["run", "--source", str(data), *model, "--json", "--max-frames", "5"]) == 0
    decisions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    bench = ["--data", str(run / "catalogue.csv"), "--split", "val", "--num-runs", "20", "--warmup-runs", "5"]
    results = run / "bench"
    plot = ["--plot", str(run / "bench.png"), "--output", str(results)]
    assert cli.main(["benchmark", *map(str, files.values()), *bench, *plot]) == 0
    scored = ["--data", str(run / "catalogue.csv"), "--split", "val", "--output", str(run / "scores")]
    assert cli.main(["evaluate", *map(str, files.values()), *scored]) == 0
    with table.open(newline="") as handle:
        predictions = list(csv.DictReader(handle))
    return {
        "predictions": predictions,
        "decisions": decisions,
        "benchmark": json.loads((results / "results.json").read_text()),
        "evaluation": json.loads((run / "scores" / "evaluation.json").read_text()),
    }


def test_generated_photos_become_a_model_that_knows_them(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = ["--arch", "cnn", "--imgsz", "32", "--epochs", "5", "--qat-epochs", "1", "--batch", "12"]
    said = travel(labelled_set, tmp_path / "run", training, capsys)
    predictions = said["predictions"]
    right = [row["label"] == Path(row["path"]).parent.name for row in predictions]
    assert sum(right) / len(right) > 0.9
    assert len(said["decisions"]) == 5
    assert {"frame", "label", "probability", "probabilities"} <= said["decisions"][0].keys()
    assert len(said["benchmark"]["rows"]) == 2
    assert (tmp_path / "run" / "bench.png").stat().st_size > 5000
    float32, int8 = said["evaluation"]["models"]
    assert [one["facts"]["quantization"] for one in (float32, int8)] == ["float32", "int8-qat"]
    assert float32["figures"]["accuracy"]["value"] > 0.9
    assert said["evaluation"]["comparisons"][0]["agreement"]["value"] > 0.9
    measured = {row["model"]: row["accuracy"]["accuracy"] for row in said["benchmark"]["rows"]}
    assert measured == {one["name"]: one["figures"]["accuracy"] for one in (float32, int8)}


def test_real_photos_travel_the_same_road(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = ("melanoma", "nevus", "dermatofibroma", "squamous cell carcinoma")
    folders = [
        *(real_data / "kaggle9" / "Train" / name for name in classes),
        real_data / "not_a_lesion" / "clothing",
    ]
    photos = [photo for folder in folders for photo in find_photo_files(folder)[:PHOTOS_PER_CLASS]]
    for photo in photos:
        target = tmp_path / "few" / photo.parent.name / photo.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, target)
    weights = real_data.parent / "weights" / "efficientnet_lite0_trunk_imagenet.h5"
    if not weights.is_file():
        pytest.skip("no pretrained weights beside the real photos")
    network = ["--weights", str(weights), "--imgsz", "96"]
    training = [*network, "--epochs", "4", "--qat-epochs", "1", "--batch", "8"]
    said = travel(tmp_path / "few", tmp_path / "run", training, capsys)
    assert len(said["predictions"]) == len(photos)
    assert list(said["decisions"][0]["probabilities"]) == [
        "melanoma",
        "dermatofibroma",
        "nevus",
        "squamous cell carcinoma",
        "none of these",
    ]

"""`dermedge predict` as a user meets it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dermedge import cli
from dermedge.edge.model.manifest import read_manifest
from dermedge.edge.model.shipped import FIVE_CLASSES_MODEL


def predict(model: Path, *arguments: object) -> int:
    return cli.main(["predict", "--model", str(model), *map(str, arguments)])


def test_a_folder_becomes_a_table_with_a_row_a_picture(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(model_path, pictures) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["photo", "answer", "probability", "alert"]
    names = [row.split()[0] for row in rows if not row.startswith(" ")]
    assert [name.endswith(end) for name, end in zip(names, ("b.png", "c.jpg"), strict=True)] == [True, True]
    assert max(map(len, [header, *rows])) <= 80


def test_all_adds_each_class_to_the_table(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(model_path, pictures, "--all") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["photo", "label", "probability"]
    assert "dermatofibroma" in header
    assert first.startswith(str(pictures / "b.png"))
    assert second.startswith(str(pictures / "deeper" / "c.jpg"))
    assert predict(model_path, pictures, "--all", "--format", "csv") == 2
    assert "csv always has the probabilities of all classes" in capsys.readouterr().err


def test_a_csv_row_stays_one_row_whatever_the_name_of_the_photo_holds(
    model_path: Path, pictures: Path, tmp_path: Path
) -> None:
    photo = (pictures / "b.png").rename(pictures / 'a "b",\n\rc.png')
    output = tmp_path / "answers.csv"
    assert predict(model_path, photo, "--format", "csv", "--output", output) == 0
    with output.open(newline="") as handle:
        [row] = csv.DictReader(handle)
    assert row["path"] == str(photo)


def test_csv_and_jsonl_tell_the_same(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(model_path, pictures, "--format", "csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert predict(model_path, pictures, "--format", "jsonl") == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(objects) == 2
    for row, one in zip(rows, objects, strict=True):
        assert [row[key] for key in ("path", "headline", "label")] == [
            one["path"],
            one["headline"],
            one["label"],
        ]
        assert float(row["probability"]) == one["probability"] == one["probabilities"][one["label"]]
        assert row["uncertain"] == ("yes" if one["uncertain"] else "no")
        assert row["alert"] == (one["alert"] or "")
        told = {"model": model_path.name, "model_sha256": hashlib.sha256(model_path.read_bytes()).hexdigest()}
        assert told.items() <= row.items()
        assert told.items() <= one.items()
        assert {label: float(row[label]) for label in one["probabilities"]} == one["probabilities"]
        assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.fixture
def deciding_model(make_deciding_model: Callable[..., Path]) -> Path:
    """A model that answers "none of these" to every photo, with the melanoma alert.

    All its prediction sets are nevus and melanoma.
    """
    of_classes = dict.fromkeys(read_manifest(FIVE_CLASSES_MODEL).labels, 1)
    alert = {"label": "melanoma", "threshold": 0, "sensitivity": 0.9}
    conformal = {"coverage": 0.9, "thresholds": {**of_classes, "melanoma": 0, "nevus": 0}}
    return make_deciding_model(none=0, alert=alert, conformal=conformal)


def test_the_thresholds_decide_in_every_format(
    deciding_model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: dict[str, Any] = {}
    for name in ("table", "csv", "jsonl"):
        assert predict(deciding_model, pictures, "--sets", "--format", name) == 0
        lines = capsys.readouterr().out.splitlines()
        said[name] = [line for line in lines if line.strip() != "close-up: less certain"]
    # The table and the CSV have a header and then the two photos. In the table, the prediction set of a photo is in the
    # line below it. JSON has no header.
    assert [len(lines) for lines in said.values()] == [5, 3, 2]
    for line in said["table"][1::2]:
        assert "  none of these  " in line
        assert line.endswith("%  melanoma")
    assert [line.strip() for line in said["table"][2::2]] == ["{melanoma, nevus}"] * 2
    for row in csv.DictReader(said["csv"]):
        assert (row["label"], row["uncertain"], row["alert"]) == ("none of these", "no", "melanoma")
        assert row["probability"] == row["none of these"]
        assert row["set"] == "melanoma;nevus"
    for one in map(json.loads, said["jsonl"]):
        assert (one["label"], one["uncertain"], one["alert"]) == ("none of these", False, "melanoma")
        assert one["headline"] == "none of these"
        assert one["set"] == ["melanoma", "nevus"]


def test_every_format_tells_the_view_of_each_photo(
    make_view_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, level in (("dark", 90), ("light", 190)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((48, 64, 3), level, np.uint8))
    photos, note = (tmp_path / "dark.png", tmp_path / "light.png"), "close-up: less certain"
    said = {}
    for name in ("table", "csv", "jsonl"):
        assert predict(make_view_model(), *photos, "--format", name) == 0
        said[name] = capsys.readouterr().out.splitlines()
    _, dark, light, noted = said["table"]
    assert noted.strip() == note
    assert note not in dark + light
    assert [row["view"] for row in csv.DictReader(said["csv"])] == ["dermoscopic", "close-up"]
    assert [json.loads(line)["view"] for line in said["jsonl"]] == ["dermoscopic", "close-up"]
    assert predict(make_view_model(), *photos, "--all") == 0
    _, dark, light = capsys.readouterr().out.splitlines()
    assert (note in dark, light.endswith(f", {note}")) == (False, True)


def test_a_file_that_tells_no_view_has_no_column_for_it(
    make_view_model: Callable[..., Path], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_view_model(network={"dtype": "uint8", "quantization": (1 / 16, 128), "tells_view": False})
    assert predict(path, pictures, "--format", "csv") == 0
    assert "view" not in csv.DictReader(capsys.readouterr().out.splitlines()).fieldnames
    assert predict(path, pictures, "--format", "jsonl") == 0
    assert {json.loads(line)["view"] for line in capsys.readouterr().out.splitlines()} == {None}


def test_an_uncertain_answer_is_marked(
    make_deciding_model: Callable[..., Path], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_deciding_model(none=1, uncertain=1)
    assert predict(model, pictures, "--format", "csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["uncertain"] for row in rows] == ["yes", "yes"]
    assert {row["alert"] for row in rows} == {""}
    assert "set" not in rows[0]


def test_sets_need_a_model_that_has_them(
    make_deciding_model: Callable[..., Path], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(make_deciding_model(), pictures, "--sets") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert "deciding.tflite' has none" in line


def test_a_model_with_damaged_thresholds_is_one_line(
    make_deciding_model: Callable[..., Path], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(make_deciding_model(none=7), pictures) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "deciding.tflite' cannot be read (the threshold none is 7" in line


def test_tta_is_another_answer_of_the_same_kind(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(pictures / "b.png"), np.random.default_rng(0).integers(0, 256, (90, 90, 3)))
    answers = []
    for options in ((), ("--tta",)):
        assert predict(model_path, pictures / "b.png", "--format", "jsonl", *options) == 0
        answers.append(json.loads(capsys.readouterr().out)["probabilities"])
    assert answers[0].keys() == answers[1].keys()
    assert answers[0] != answers[1]


def test_an_unreadable_picture_is_named_and_the_others_are_predicted(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "a.png").write_bytes(b"no picture")
    assert predict(model_path, pictures, pictures / "missing.png", "--format", "csv") == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    damaged, missing = captured.err.splitlines()
    assert "a.png' is not a photo" in damaged
    assert "cannot read the photo" in missing
    assert "missing.png" in missing


def test_output_is_written_instead_of_printed(
    model_path: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "answers.csv"
    assert predict(model_path, pictures, "--format", "csv", "--output", target) == 0
    assert capsys.readouterr().out == f"2 predictions written to {target}\n"
    assert len(list(csv.DictReader(target.read_text().splitlines()))) == 2
    other = tmp_path / "answer.csv"
    assert predict(model_path, pictures / "b.png", "--format", "csv", "--output", other) == 0
    assert capsys.readouterr().out == f"1 prediction written to {other}\n"


@pytest.mark.parametrize("name", ["other.JPG", "new.png", "own.tflite", "names.txt", "photo_without_suffix"])
def test_an_output_that_would_replace_a_photo_or_an_input_is_refused(
    model_path: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    photo = (pictures / "b.png").read_bytes()
    for one in ("other.JPG", "own.tflite", "photo_without_suffix"):
        (tmp_path / one).write_bytes(photo)
    (tmp_path / "names.txt").write_text("a\nb\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    given = [pictures, tmp_path / "photo_without_suffix", "--labels", tmp_path / "names.txt"]
    # the shell expands `dermedge predict --output *.jpg` in this way
    assert predict(model_path, *given, "--output", tmp_path / name) == 2
    assert f"--output '{tmp_path / name}' is the name of a photo, a model or an" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("option", ["--output", "--explain"])
def test_what_cannot_be_written_is_told_before_the_first_picture(
    option: str, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    (tmp_path / "file").touch()
    assert predict(model_path, tmp_path / "bad.png", option, tmp_path / "file" / "answers") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot write" in line
    assert "a part of the path is a file" in line


@pytest.mark.parametrize(("taken", "said"), [("folder", "it is a folder"), ("pipe", "a device or a pipe")])
def test_an_output_that_is_no_file_is_told_before_the_first_picture(
    taken: str, said: str, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert predict(model_path, tmp_path / "missing.png", "--output", tmp_path / taken) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_nothing_is_written_when_nothing_can_be_read(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    assert predict(model_path, tmp_path / "bad.png", "--output", tmp_path / "answers.txt") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


def test_explain_writes_each_picture_with_its_heat_map(
    model_path: Path, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "explained"
    assert predict(model_path, pictures, "--explain", folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["b.png.explained.png", "c.jpg.explained.png"]
    assert cv2.imread(str(folder / "b.png.explained.png")).shape[1] >= 480


def test_copies_of_an_earlier_explain_beside_the_photos_are_no_photos(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert predict(model_path, pictures, "--explain", pictures, "--format", "jsonl") == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
    copies = [path.name for path in pictures.iterdir() if "explained" in path.name]
    assert sorted(copies) == ["b.png.explained.png", "c.jpg.explained.png"]


def test_explain_refuses_pictures_that_would_overwrite_each_other(
    model_path: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(pictures / "deeper" / "b.png"), cv2.imread(str(pictures / "b.png")))
    assert predict(model_path, pictures, "--explain", tmp_path / "explained") == 2
    assert "2 photos are named 'b.png'" in capsys.readouterr().err
    assert not (tmp_path / "explained").exists()


def test_a_path_that_cannot_be_read_is_named_and_the_other_photos_are_answered(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable = "x" * 300 + ".jpg"
    assert predict(model_path, unreadable, pictures / "b.png", "--format", "jsonl") == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["path"] == str(pictures / "b.png")
    assert err.startswith(f"dermedge: error: cannot read the photo '{unreadable}'")


def test_an_empty_folder_is_one_line(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(model_path, tmp_path) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no photo in the folder" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_an_unknown_format_lists_the_known_ones(
    model_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(model_path, pictures, "--format", "xml") == 2
    assert "table" in capsys.readouterr().err


def test_escape_codes_in_file_names_never_reach_a_terminal(
    model_path: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a\x1b[2J.png").write_bytes((pictures / "b.png").read_bytes())
    (tmp_path / "b\x9b2J.png").write_text("no photo")
    assert predict(model_path, tmp_path) == 2
    told = capsys.readouterr()
    assert "a\\x1b[2J.png" in told.out
    assert "b\\x9b2J.png" in told.err
    assert all(line.isprintable() for line in (told.out + told.err).splitlines())


@pytest.fixture
def float_model(make_network: Callable[..., bytes], tmp_path: Path) -> Path:
    """A float32 network without metadata."""
    path = tmp_path / "float.tflite"
    path.write_bytes(make_network())
    return path


def test_a_float_model_is_run_with_the_normalization_that_is_named(
    float_model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(float_model, pictures, "--normalization", "unit", "--format", "jsonl") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("verb", ["predict", "run", "evaluate", "benchmark"])
def test_without_a_normalization_every_verb_lists_the_choices_in_one_line(
    verb: str, float_model: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL" if verb == "evaluate" else "numpy")
    arguments = {
        "predict": ["--model", float_model, pictures],
        "run": ["--model", float_model, "--num-threads", 1],
        "evaluate": [float_model, "--data", pictures],
        "benchmark": [float_model, "--source", "demo"],
    }[verb]
    assert cli.main([verb, *map(str, arguments)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "pixels, unit, symmetric, imagenet, caffe" in told
    assert "float.tflite" in told


def test_conf_compares_with_the_probability_that_is_reported(
    make_network: Callable[..., bytes], tmp_path: Path
) -> None:
    from dermedge.edge.model.classifier import Classifier
    from dermedge.edge.pipeline import classify_frames
    from dermedge.edge.sources.photo_files import PhotoFiles

    model, photo = tmp_path / "m.tflite", tmp_path / "photo.png"
    model.write_bytes(make_network(dtype="uint8", quantization=(1 / 16, 0)))
    cv2.imwrite(str(photo), np.full((8, 8, 3), (40, 20, 10), np.uint8))
    with Classifier(model) as classifier:
        for confidence, sure in ((0.6, True), (0.9, False)):
            with PhotoFiles([photo]) as source:
                [one] = classify_frames(source, classifier, confidence)
            assert 0.6 < one.prediction.probability < 0.9
            assert (one.label == "class 2") is sure


def test_a_table_of_many_classes_shows_the_most_probable_ones() -> None:
    from dermedge.edge.cli.photo_table import _class_cells, _class_columns

    labels, values = [f"class {index}" for index in range(1001)], [0.0] * 1001
    values[7], values[900] = 0.25, 0.5
    assert _class_columns(labels) == "the 5 most probable"
    assert _class_cells(labels, values).startswith("class 900 0.5000, class 7 0.2500, class 0 0.0000")
    assert _class_columns(["a", "b"]) == "     a       b"
    assert _class_cells(["a", "b"], [0.25, 0.75]) == "0.2500  0.7500"


def test_a_model_among_the_photos_is_not_answered_by_another_model(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(tmp_path / "mine.tflite"), str(pictures)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "mine.tflite' is a model and not a photo; give it with --model" in captured.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("a\nb\n".encode("utf-16"), "the file is not UTF-8; save it as UTF-8"),
    ],
)
def test_labels_that_cannot_be_read_have_a_cure(
    model_path: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    assert predict(model_path, pictures, "--labels", tmp_path / "labels.txt") == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Errno" not in error
    assert "codec" not in error

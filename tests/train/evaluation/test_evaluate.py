"""Models are scored on identical photos, and the report is one page, one JSON and one summary."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")

import dermedge
from dermedge import cli
from dermedge.edge.model.associated import attach_file
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import Manifest, attach, read_manifest, strip
from dermedge.edge.photos import read_picture
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.learned import LEARNED_NAME, learned_photos
from dermedge.train.evaluation import evaluate as evaluation_module
from dermedge.train.evaluation.figures import FIGURES

# Options of `make_network`: red and blue blobs on skin, whose mean is above this level, are close-ups.
UINT8 = {"dtype": "uint8", "quantization": (1 / 16, 161)}
THRESHOLDS = {
    "none": 0.4,
    "uncertain": 0.6,
    "alert": {"label": "melanoma", "threshold": 0.2},
}


class Page(HTMLParser):
    """Tags, addresses and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attributes if name in ("src", "href", "xlink:href", "data")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory, make_labelled_set: Callable[..., Path]) -> Path:
    """Generated photos in folders that are named after lesions.

    One folder holds another lesion, and one no lesion.
    """
    blobs = make_labelled_set(tmp_path_factory.mktemp("blobs") / "set", per_class=12)
    root = tmp_path_factory.mktemp("lesions")
    for number, photo in enumerate(sorted(blobs.rglob("*.png"))):
        name = ("melanoma", "nevus", "neurofibroma", "clothing")[number % 4]
        (root / "set" / name).mkdir(parents=True, exist_ok=True)
        photo.rename(root / "set" / name / photo.name)
    return root


@pytest.fixture(scope="module")
def without_thresholds(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model, which answers the most probable class."""
    path = tmp_path_factory.mktemp("model") / "plain.tflite"
    manifest = replace(read_manifest(model_path), thresholds={}, views={})
    path.write_bytes(attach(model_path.read_bytes(), manifest))
    return path


@pytest.fixture(scope="module")
def with_thresholds(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with thresholds in its manifest, and prediction sets."""
    manifest = read_manifest(model_path)
    assert manifest is not None
    conformal = {"coverage": 0.9, "thresholds": dict.fromkeys(manifest.labels, 0.1)}
    values = {**manifest.__dict__, "thresholds": {**THRESHOLDS, "conformal": conformal}, "views": {}}
    path = tmp_path_factory.mktemp("models") / "thresholds.tflite"
    path.write_bytes(attach(model_path.read_bytes(), Manifest(**values)))
    return path


def run(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def write_labels(path: Path, model: Path, *names: str) -> None:
    """Writes a label file for a model, with more colours before the last one where it has more classes."""
    more = [f"colour {number}" for number in range(len(names), len(read_manifest(model).labels))]
    path.write_text("".join(f"{name}\n" for name in (*names[:-1], *more, names[-1])))


def report(folder: Path) -> tuple[dict[str, Any], Page]:
    html = (folder / "evaluation.html").read_text()
    return json.loads((folder / "evaluation.json").read_text()), Page(html)


def test_the_shipped_model_is_scored_by_the_device_runtime_with_itself_under_thresholds(
    without_thresholds: Path,
    with_thresholds: Path,
    lesions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Path] = []

    def counting(path: Path) -> object:
        read.append(path)
        return read_picture(path)

    monkeypatch.setattr(evaluation_module, "read_picture", counting)
    monkeypatch.setattr(evaluation_module, "_mistakes", lambda *arguments: [])
    assert run(without_thresholds, with_thresholds, "--data", lesions, "--output", tmp_path / "out") == 0
    photos = sorted(lesions.rglob("*.png"))
    assert sorted(read) == photos
    values, page = report(tmp_path / "out")
    assert values["schema"] == "dermedge-evaluation/3"
    assert values["photos"] == len(photos) == 36
    assert values["diagnoses"][2:] == [
        {"diagnosis": "clothing", "kind": "no lesion", "photos": 9},
        {"diagnosis": "neurofibroma", "kind": "other lesion", "photos": 9},
    ]
    first, second = values["models"]
    assert set(first["figures"]) == set(FIGURES)
    for model, path in ((first, without_thresholds), (second, with_thresholds)):
        with Classifier(path) as classifier:
            found = [(p.parent.name, classifier.predict(read_picture(p))) for p in photos]
        expected = np.mean(
            [one.label == (name if name in classifier.labels else "none of these") for name, one in found]
        )
        assert model["figures"]["accuracy"]["value"] == pytest.approx(expected)
        declined = np.mean([one.label == "none of these" for name, one in found if name in classifier.labels])
        assert model["figures"]["declined_named"]["value"] == pytest.approx(declined)
    assert first["figures"]["alert_sensitivity"] is None
    alert = np.mean([one.alert == "melanoma" for name, one in found if name == "melanoma"])
    assert second["figures"]["alert_sensitivity"]["value"] == pytest.approx(alert)
    assert second["classes"]["melanoma"]["set_size"]["value"] >= 0
    assert values["comparisons"][0]["mcnemar"]["p_value"] <= 1
    assert "alert if the probability of melanoma is at least 0.200" in page.text
    assert "thresholds compared with plain" in capsys.readouterr().out


def test_a_model_that_tells_the_view_is_scored_as_on_the_device(
    make_view_model: Callable[..., Path], lesions: Path, tmp_path: Path
) -> None:
    alert = {"label": "melanoma", "threshold": 0.3}
    path = make_view_model(4.0, {"none": 0.0}, {"alert": alert}, UINT8)
    assert run(path, "--data", lesions, "--output", tmp_path / "out") == 0
    values, page = report(tmp_path / "out")
    photos = sorted(lesions.rglob("*.png"))
    with Classifier(path) as classifier:
        found = [classifier.predict(read_picture(photo)) for photo in photos]
    close_ups = sum(one.view == "close-up" for one in found)
    assert 0 < close_ups < len(photos)
    [model] = values["models"]
    wanted = {"temperature": 4.0, "thresholds": {"none": 0.0}, "photos": close_ups}
    assert model["views"] == {"close-up": wanted}
    known = [photo.parent.name in classifier.labels for photo in photos]
    declined = np.mean(
        [one.decision.declined for one, is_known in zip(found, known, strict=True) if is_known]
    )
    assert model["figures"]["declined_named"]["value"] == pytest.approx(declined)
    alerts = [one.alert for one, photo in zip(found, photos, strict=True) if photo.parent.name == "melanoma"]
    assert model["figures"]["alert_sensitivity"]["value"] == pytest.approx(
        np.mean([one is not None for one in alerts])
    )
    assert model["facts"]["temperature of close-ups"] == "4"
    assert "thresholds of dermoscopic photos" in page.text
    assert "declined if the probability of 'none of these' is at least 0.000" in page.text


def test_the_page_is_whole_in_itself_and_says_what_it_is_not(
    model_path: Path, lesions: Path, tmp_path: Path
) -> None:
    assert run(model_path, "--data", lesions, "--output", tmp_path, "--stress", "--stress-photos", 4) == 0
    values, page = report(tmp_path)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.addresses
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in page.addresses)
    html = (tmp_path / "evaluation.html").read_text()
    assert re.findall(r"url\((?!#)|@import", html) == []
    assert page.text.count(dermedge.DISCLAIMER) == 2
    assert "prefers-color-scheme: dark" in html
    assert "<?xml" not in html
    assert page.tags.count("svg") == 4
    assert len(values["stress"]["results"]) == 21
    assert values["stress"]["photos"] == 4
    # Each mistake has a photo and its heat map, because the shipped model has a heat map.
    assert page.tags.count("img") == 2 * len(values["models"][0]["mistakes"])


def test_a_report_that_cannot_be_written_is_told_before_the_first_photo(
    model_path: Path,
    lesions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(evaluation_module, "read_picture")
    (tmp_path / "file").touch()
    assert run(model_path, "--data", lesions, "--output", tmp_path / "file" / "report") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot write" in line


@pytest.mark.slow
def test_stress_comes_out_alike_each_time(model_path: Path, lesions: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        options = ["--stress", "--stress-photos", 5, "--output", tmp_path / name]
        assert run(model_path, "--data", lesions, *options) == 0
    one, two = (report(tmp_path / name)[0] for name in ("one", "two"))
    assert one["stress"] == two["stress"]
    assert one["models"] == two["models"]


def test_the_gallery_shows_the_most_confident_mistakes_and_the_least_believed_melanomas(
    model_path: Path, lesions: Path, tmp_path: Path
) -> None:
    assert run(model_path, "--data", lesions, "--output", tmp_path) == 0
    mistakes = report(tmp_path)[0]["models"][0]["mistakes"]
    confident = [one["probability"] for one in mistakes if one["kind"] == "most confident mistakes"]
    missed = [one for one in mistakes if one["kind"] == "missed melanomas"]
    assert confident == sorted(confident, reverse=True)
    assert all(one["truth"] == "melanoma" != one["answer"] for one in missed)
    assert [one["critical"] for one in missed] == sorted(one["critical"] for one in missed)


def test_a_foreign_model_is_scored_with_given_labels_and_without_a_class_for_none(
    model_path: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(strip(model_path.read_bytes()))
    labels = tmp_path / "labels.txt"
    write_labels(labels, model_path, "brown", "red", "blue", "<b>green</b>", "white")
    assert run(foreign, "--labels", labels, "--data", labelled_set, "--output", tmp_path / "out") == 0
    values, page = report(tmp_path / "out")
    figures = values["models"][0]["figures"]
    assert values["none_label"] is None
    assert figures["declined_named"] is figures["critical_auroc_named"] is None
    assert figures["accuracy"]["value"] >= 0
    assert "<b>green</b>" in page.text
    assert "nan" not in page.text
    # A class without photos has no recall. Figures that cannot apply are not shown at all.
    assert "not measured" in page.text
    said = capsys.readouterr().out
    assert "caution: no scored photo shows the class 'white'" in said
    for text in (said, page.text):
        assert not re.search("melanoma|declin|alert|prediction set|temperature 1", text, re.IGNORECASE)


def test_the_critical_class_is_the_data_s(
    model_path: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign, labels = tmp_path / "foreign.tflite", tmp_path / "labels.txt"
    foreign.write_bytes(strip(model_path.read_bytes()))
    write_labels(labels, model_path, "brown", "red", "blue", "green", "white")
    asked = (foreign, "--labels", labels, "--data", labelled_set, "--output", tmp_path, "--critical")
    assert run(*asked, "red") == 0
    assert "\nred AUROC " in capsys.readouterr().out
    values, page = report(tmp_path)
    assert values["critical"] == "red"
    assert values["models"][0]["figures"]["critical_auroc_all"]["value"] >= 0
    assert "missed photos of the critical class" in page.text.lower() or "red sensitivity" in page.text
    assert run(*asked, "pink") == 2
    assert "--critical is 'pink', which is not a class. Known: brown, red" in capsys.readouterr().err


def test_photos_that_a_model_has_learned_from_are_counted(
    model_path: Path, lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = sorted(lesions.rglob("*.png"))
    digests = [hashlib.sha256(photo.read_bytes()).hexdigest()[:16] for photo in photos[:3]]
    # Without a digest, the photo itself is read.
    learned = learned_photos(
        Photo(str(photo), photo.stem, "", "", "", "", "", digest=digest)
        for photo, digest in zip(photos[:4], [*digests, ""], strict=True)
    )
    path = tmp_path / "learned.tflite"
    path.write_bytes(attach_file(model_path.read_bytes(), LEARNED_NAME, learned))
    assert run(path, model_path, "--data", lesions, "--output", tmp_path / "out") == 0
    caution = "learned was trained on 4 of these 36 photos"
    assert f"caution: {caution}" in capsys.readouterr().out
    values, page = report(tmp_path / "out")
    # The default model states the photos that it was trained on, and these photos are not among them.
    assert [model["learned_photos"] for model in values["models"]] == [4, 0]
    assert caution in page.text


def test_a_photo_that_cannot_be_decoded_is_counted_and_the_others_are_scored(
    model_path: Path, lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(lesions, data)
    broken = sorted(data.rglob("*.png"))[5]
    broken.write_bytes(broken.read_bytes()[:100])
    assert run(model_path, "--data", data, "--output", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert ": 35 photos of 35 lesions" in said.out
    assert "caution: photos that could not be decoded and are not scored: 1" in said.out
    assert str(broken) in said.err
    values, _ = report(tmp_path / "out")
    assert values["photos"] == 35
    assert len(values["unreadable"]) == 1
    for photo in data.rglob("*.png"):
        photo.write_bytes(b"")
    assert run(model_path, "--data", data) == 2
    assert "none of the 36 photos can be decoded" in capsys.readouterr().err


def test_a_photo_whose_header_claims_too_many_pixels_is_counted(
    model_path: Path, lesions: Path, tmp_path: Path, oversized_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(lesions, data)
    (data / "set" / "nevus" / "huge.png").write_bytes(oversized_png)
    assert run(model_path, "--data", data) == 2
    said = capsys.readouterr()
    assert ": 36 photos of 36 lesions" in said.out
    assert re.search(r"huge\.png.*more than 120 million pixels", said.err)


def test_how_the_folder_was_understood_comes_first_and_can_be_chosen(
    model_path: Path, lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "lesions"
    shutil.copytree(lesions / "set", data)
    # The table states that each nevus is a melanoma.
    rows = [f"nevus/{photo.name},melanoma" for photo in sorted((data / "nevus").iterdir())]
    (data / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    firsts = []
    for source, nevi, melanomas in (("auto", 0, 18), ("folder", 9, 9)):
        out = tmp_path / source
        assert run(model_path, "--data", data, "--labels-from", source, "--output", out) == 0
        counts = {row["diagnosis"]: row["photos"] for row in report(out)[0]["diagnoses"]}
        assert (counts.get("nevus", 0), counts["melanoma"]) == (nevi, melanomas)
        firsts.append(capsys.readouterr().out.splitlines()[0])
    assert firsts[0].startswith("classes from folder names of 'lesions': clothing 9")
    assert "nevus 9" in firsts[1]


def test_a_catalogue_holds_its_labels(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "catalogue.csv").write_text("path,image_id,group,diagnosis,label,source,split\n")
    asked = (model_path, "--data", tmp_path / "catalogue.csv", "--split", "val", "--labels-from", "folder")
    assert run(*asked) == 2
    assert "--labels-from is for folders and tables" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_whose_photos_have_moved_is_scored_where_they_are_now(
    trained_run: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "run"
    shutil.copytree(trained_run, moved)
    table = (moved / "catalogue.csv").read_text()
    assert str(labelled_set) in table
    (moved / "catalogue.csv").write_text(table.replace(str(labelled_set), "/gone/blobs"))
    assert run(moved) == 2
    assert "can be decoded" in capsys.readouterr().err
    assert run(moved, "--data", labelled_set) == 0
    assert "balanced accuracy" in capsys.readouterr().out
    assert run(moved, "--data", moved / "catalogue.csv") == 2
    assert "give the folder where its photos are now" in capsys.readouterr().err


def test_labels_that_are_given_rename_the_classes_of_the_thresholds(
    with_thresholds: Path, labelled_set: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    write_labels(labels, with_thresholds, "brown", "red", "blue", "green", "white")
    assert run(with_thresholds, "--labels", labels, "--data", labelled_set, "--output", tmp_path / "out") == 0
    values = report(tmp_path / "out")[0]
    assert values["none_label"] == "white"
    assert values["models"][0]["thresholds"]["alert"]["label"] == "brown"
    assert values["models"][0]["figures"]["alert_sensitivity"]["value"] >= 0


def test_a_model_that_ships_is_known_by_its_name() -> None:
    from dermedge.edge.model.shipped import SHIPPED
    from dermedge.train.cli.evaluate import parser

    assert parser().parse_args(["dermedge-128", "mine.tflite"]).models == [
        SHIPPED["dermedge-128"],
        Path("mine.tflite"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL"], "is not a run folder, so --data is needed to score it"),
        (["MODEL", "MODEL", "--data", "SET"], "is given twice"),
        (["MODEL", "SET", "--data", "SET"], "a run cannot be scored beside other models"),
        (["MODEL", "--data", "SET", "--split", "val"], "--split can only be used with"),
        (["MODEL", "--data", "nowhere"], "nowhere"),
        (["MODEL", "--data", "SET", "--stage", "qat"], "--stage is for a run, and"),
        (["SET", "--labels-from", "folder"], "--labels-from is for .tflite files"),
        (["SET", "--data", "SET", "--labels", "names.txt"], "--labels is for .tflite files"),
        (["SET", "--normalization", "unit"], "--normalization is for .tflite files"),
        (["SET", "--runtime", "litert"], "--runtime is for .tflite files"),
        (["SET", "--num-threads", "1"], "--num-threads is for .tflite files"),
        (["MODEL", "--data", "SET", "--stress-photos", "0"], "'0' is not a whole number"),
        (
            ["MODEL", "--data", "SET", "--stress-photos", "5"],
            "--stress-photos has no effect without --stress",
        ),
    ],
)
def test_a_wrong_command_is_one_line_and_writes_nothing(
    arguments: list[str],
    message: str,
    model_path: Path,
    lesions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = {"MODEL": str(model_path), "SET": str(lesions)}
    assert run(*(words.get(one, one) for one in arguments), "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("dermedge: error:") == 1
    assert not (tmp_path / "out").exists()


def test_a_broken_photo_is_one_line_and_writes_nothing(
    model_path: Path, lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set" / "nevus").mkdir(parents=True)
    whole = next(lesions.rglob("nevus/*.png"))
    (tmp_path / "set" / "nevus" / "broken.png").write_bytes(whole.read_bytes()[:60])
    assert run(model_path, "--data", tmp_path / "set", "--output", tmp_path / "out") == 2
    assert "broken.png' is not a photo that can be decoded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_that_proves_not_to_be_writable_is_one_line_after_the_summary(
    model_path: Path,
    lesions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("dermedge.train.cli.evaluate.check_writable", lambda folder: None)
    assert run(model_path, "--data", lesions, "--output", tmp_path / "file" / "out") == 2
    said = capsys.readouterr()
    assert "balanced accuracy" in said.out
    assert re.fullmatch(r"dermedge: error: cannot write .*\n", said.err.splitlines()[-1] + "\n")

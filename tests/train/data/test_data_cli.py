"""`dermedge data audit` and `dermedge data catalogue`."""

import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

import dermedge.train.cli.data
from dermedge import cli
from dermedge.train.data.catalogue import Photo, read_catalogue


def data(*arguments: object) -> int:
    return cli.main(["data", *map(str, arguments)])


def test_an_audit_prints_and_writes_what_is_asked_for(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data("audit", labelled_set) == 0
    assert "60 files" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert data("audit", labelled_set, "--json", tmp_path / "a.json", "--html", tmp_path / "pages") == 0
    assert json.loads((tmp_path / "a.json").read_text())["schema"] == "dermedge-audit/1"
    assert (tmp_path / "pages" / "audit.html").is_file()
    assert data("audit", labelled_set, "--html", tmp_path / "other.html") == 0
    assert (tmp_path / "other.html").is_file()


def test_a_catalogue_is_written_with_its_digest_and_continued(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "catalogue.csv"
    assert data("catalogue", labelled_set, "--output", table) == 0
    assert "left out" not in capsys.readouterr().out
    assert table.read_text().splitlines()[0].split(",") == [one.name for one in fields(Photo)]
    about = json.loads((tmp_path / "catalogue.json").read_text())
    assert len(about["digest"]) == 64
    assert about["counts"]["red"] == {"train": 13, "val": 3, "test": 4}
    again = tmp_path / "again.csv"
    assert (
        data("catalogue", labelled_set, table, "--seed", 5, "--classes", "red,blue", "--output", again) == 0
    )
    first, second = ({p.path: p.split for p in read_catalogue(path)} for path in (table, again))
    assert first == second
    assert Counter(p.label for p in read_catalogue(again)) == {"red": 20, "blue": 20, "none of these": 20}


def test_copies_of_predict_explain_beside_the_photos_are_left_out_and_the_user_is_told(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = tmp_path / "photos", tmp_path / "catalogue.csv"
    shutil.copytree(labelled_set, folder)
    for photo in sorted(folder.rglob("*.png"))[::10]:
        shutil.copy(photo, f"{photo}.explained.png")
    assert data("audit", folder) == 0
    said = capsys.readouterr().out
    assert "60 files" in said
    assert "not looked at: 6 (a copy with a heat map, which predict --explain wrote)" in said
    assert data("catalogue", folder, "--output", table) == 0
    assert "left out: 6 (a copy with a heat map, which predict --explain wrote)" in capsys.readouterr().out
    assert len(read_catalogue(table)) == 60


@pytest.mark.parametrize("name", ["labels.csv", "labels.json"])
def test_a_catalogue_replaces_no_file_of_the_user(
    name: str, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / name
    mine.write_text("path,label\na.jpg,nevus\n")
    assert data("catalogue", labelled_set, "--output", tmp_path / "labels.csv") == 2
    assert f"'{mine}' exists already" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["path,label\na.jpg,nevus\n"]
    assert data("catalogue", labelled_set, "--output", tmp_path / "other.csv") == 0
    # An earlier catalogue is replaced. Here, a catalogue is updated with itself.
    assert data("catalogue", labelled_set, tmp_path / "other.csv", "--output", tmp_path / "other.csv") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("audit nowhere", "there is no file or folder 'nowhere'"),
        ("audit {empty}", "no photos in"),
        ("audit {set} --reference {set}/none.csv", "none.csv"),
        ("audit {set} --reference {foreign}", "or a table of HAM10000"),
        ("audit {set} {foreign}", "has columns that are not understood: 'a, b'"),
        ("catalogue {set} {foreign} --output {empty}/c.csv", "has columns that are not understood: 'a, b'"),
        ("audit {set} --json {empty}", "is a folder; give the name of a file"),
        ("audit {set} --json {foreign}/x.json", "cannot write"),
        ("audit", "required: PATH"),
        ("", "required: COMMAND"),
        ("clean {set}", "invalid choice: 'clean'"),
        ("catalogue {set}", "required: --output"),
        ("catalogue {set} --output {empty}/table.txt", "give a file name that ends in .csv"),
        ("catalogue {set} --output {empty}/c.csv --classes red,green", "no photo shows the class 'green'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: str, message: str, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.csv").write_text("a,b\n1,2\n")
    places = {"set": labelled_set, "empty": tmp_path / "empty", "foreign": tmp_path / "foreign.csv"}
    assert data(*arguments.format(**places).split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "foreign.csv"]


def test_a_name_that_is_not_utf8_is_told_and_never_a_traceback(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(labelled_set, photos)
    shutil.copy(sorted(photos.rglob("*.png"))[0], os.fsdecode(bytes(photos / "red" / "caf") + b"\xe9.png"))
    assert data("audit", photos, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html") == 0
    assert json.loads((tmp_path / "a.json").read_text())
    assert json.loads((tmp_path / "a.json").read_text())["files"] == 60
    assert "1 (the file name is not valid UTF-8" in capsys.readouterr().out
    assert data("catalogue", photos, "--output", tmp_path / "c.csv") == 0
    assert "left out: 1 (the file name is not valid UTF-8" in capsys.readouterr().out
    assert len(read_catalogue(tmp_path / "c.csv")) == 60


def test_a_name_cannot_send_control_codes_to_the_terminal(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(labelled_set, photos)
    (photos / "red").rename(photos / "r\x1b[31med")
    (photos / "a.\x1b[2J").write_bytes(b"")
    assert data("catalogue", photos, "--output", tmp_path / "c.csv") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "classes: blue 20, brown 20, r\\x1b[31med 20" in out
    assert "left out: 1 (not a photo that can be read: '.\\x1b[2j')" in out


@pytest.mark.parametrize("phase", ["reading", "comparing"])
def test_ctrl_c_stops_with_130_and_leaves_nothing(
    phase: str,
    labelled_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def press(what: str) -> object:
        return lambda done, total: signal.raise_signal(signal.SIGINT) if what.startswith(phase) else None

    monkeypatch.setattr(dermedge.train.cli.data, "progress_line", press)
    assert data("audit", labelled_set, "--json", tmp_path / "a.json") == 130
    captured = capsys.readouterr()
    assert (len(captured.out.splitlines()), captured.err) == (1, "dermedge: stopped\n")
    assert list(tmp_path.iterdir()) == []

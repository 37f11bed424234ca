"""What the command lines of all verbs share."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from dermedge import cli
from dermedge.edge.cli.arguments import add_runtime_options, make_parser, read_labels
from dermedge.edge.errors import ModelWarning, OptionError


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["predict", "photo.jpg", "--outptu", "a.csv"], "--output"),
        (["run", "--sorce=0"], "--source"),
        (["data", "catalogue", "photos", "--output", "a.csv", "--keep-part"], "--keep-parts"),
    ],
)
def test_a_mistyped_option_suggests_the_nearest(
    command: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"did you mean {meant}? See dermedge " in line


def test_an_option_like_no_other_suggests_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "photo.jpg", "--qqqqq"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_an_option_that_only_another_subcommand_has_is_not_suggested(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["data", "audit", "photos", "--output", "a.csv"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "--output a.csv" in line
    assert "did you mean --output" not in line


def test_the_default_runtime_and_number_of_threads_can_be_asked_for_by_name() -> None:
    parser = make_parser("verb", "A verb.")
    add_runtime_options(parser)
    by_name = parser.parse_args(["--runtime", "auto", "--num-threads", "auto"])
    assert vars(by_name) == vars(parser.parse_args([]))
    assert vars(parser.parse_args(["--runtime", "litert", "--num-threads", "3"])) != vars(by_name)


@pytest.mark.parametrize(
    "command",
    [
        ["predict", ""],  # a script gives an empty argument if its variable is not set
        ["predict", "photo.jpg", "--explain", ""],
        ["predict", "photo.jpg", "--model="],
        ["data", "catalogue", "", "--output", "a.csv"],
        ["inspect", ""],
    ],
)
def test_an_empty_path_is_not_the_current_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "the path is empty; give a path, such as . for the current folder" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["rtsp://admin:SECRET@cam/1", "--sorce=rtsp://admin:SECRET@cam/1"])
def test_the_address_of_a_camera_without_its_option_is_named_without_its_password(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", word]) == 2
    line = capsys.readouterr().err
    assert "rtsp://cam/1" in line
    assert "SECRET" not in line


@pytest.mark.parametrize(
    "command",
    [
        ["rtsp://me:Secret@camera/1"],
        ["predict", "rtsp://me:Secret@camera/1"],
        ["predict", "photo.jpg", "http://me:Secret@camera/photo.jpg"],
        ["run", "--source", "demo", "--serve", "rtsp://me:Secret@camera/1"],
    ],
)
def test_the_address_of_a_camera_in_the_wrong_place_is_shown_without_its_password(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if "--serve" in command:
        pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    assert cli.main(command) == 2
    printed = capsys.readouterr()
    assert "camera/" in printed.err
    assert "Secret" not in printed.out + printed.err


def test_a_warning_about_a_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def warn() -> int:
        warnings.warn("the input of '\x1b[2J.tflite' is odd", ModelWarning, stacklevel=1)
        warnings.warn("of a library", UserWarning, stacklevel=1)
        return 0

    assert cli.run_command(warn) == 0
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == r"dermedge: warning: the input of '\x1b[2J.tflite' is odd"
    assert second.endswith("UserWarning: of a library")


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        (["0 nevus", "1 basal cell carcinoma"], ["nevus", "basal cell carcinoma"]),
        (["0  crane", "1\tcrane", "2 : heron"], ["crane", "crane", "heron"]),
        (["0:nevus", "01: melanoma"], ["nevus", "melanoma"]),
        (["7 point lesion", "nevus"], ["7 point lesion", "nevus"]),
        (["1 nevus", "2 melanoma"], ["1 nevus", "2 melanoma"]),
        (["0", "1", "2"], ["0", "1", "2"]),
        (["0 spots", "1 spot", "2 spots", "3 spots"], ["0 spots", "1 spot", "2 spots", "3 spots"]),
        (["1 spot", "0 spot"], ["1 spot", "0 spot"]),
        ([], []),
    ],
)
def test_numbers_in_front_of_labels_are_left_out_if_they_are_the_indices_of_the_lines(
    tmp_path: Path, lines: list[str], labels: list[str]
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    assert read_labels(tmp_path / "labels.txt") == labels


def test_labels_that_are_numbered_in_another_order_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("1 melanoma\n0 nevus\n")
    with pytest.raises(
        OptionError, match=r"labels\.txt' are numbered in another order than their lines; sort the"
    ):
        read_labels(tmp_path / "labels.txt")

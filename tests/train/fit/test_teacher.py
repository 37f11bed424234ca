"""Distillation: who may teach, and what is learned."""

from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from dermedge import cli
from dermedge.train.fit.run_folder import RunFolder

OPTIONS = ["--arch", "cnn", "--imgsz", "32", "--epochs", "1", "--qat-epochs", "0", "--batch", "12"]


def start(data: Path, run: Path, teacher: Path, *more: str) -> int:
    return cli.main(
        ["train", "--data", str(data), "--output", str(run), "--teacher", str(teacher), *OPTIONS, *more]
    )


def test_a_student_learns_from_a_teacher_of_another_size(
    trained_run: Path, labelled_set: Path, tmp_path: Path
) -> None:
    assert start(labelled_set, tmp_path / "student", trained_run, "--imgsz", "48") == 0
    student = RunFolder(tmp_path / "student")
    assert student.config().teachers == (str(trained_run),)
    # cross-entropy with the teacher's soft answers differs from that with the labels alone
    assert (
        cli.main(
            [
                "train",
                "--data",
                str(labelled_set),
                "--output",
                str(tmp_path / "alone"),
                *OPTIONS,
                "--imgsz",
                "48",
            ]
        )
        == 0
    )
    assert student.history()[0]["loss"] != RunFolder(tmp_path / "alone").history()[0]["loss"]


def test_a_teacher_that_saw_the_held_out_photos_is_refused(
    trained_run: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(labelled_set, tmp_path / "student", trained_run, "--seed", "1") == 2
    assert "that this run holds out" in capsys.readouterr().err
    assert not (tmp_path / "student").exists()


def test_a_teacher_of_other_classes_is_refused(
    trained_run: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(labelled_set, tmp_path / "student", trained_run, "--classes", "red,blue") == 2
    assert "knows other classes" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(labelled_set, tmp_path / "student", tmp_path) == 2
    assert "is no run folder" in capsys.readouterr().err

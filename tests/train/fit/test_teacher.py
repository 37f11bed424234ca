"""Distillation: which runs may teach, and the effect on training."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf

from dermedge import cli
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.run_folder import RunFolder
from dermedge.train.fit.teacher import make_teacher

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
    assert "in the validation or test split of this run" in capsys.readouterr().err
    assert not (tmp_path / "student").exists()


def test_a_teacher_of_other_classes_is_refused(
    trained_run: Path, labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(labelled_set, tmp_path / "student", trained_run, "--classes", "red,blue") == 2
    assert "which differ from those of this run" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(
    labelled_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(labelled_set, tmp_path / "student", tmp_path) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_teachers_answer_with_the_mean_of_their_probabilities_at_their_own_sizes() -> None:
    rng = np.random.default_rng(0)
    networks = [build_network("cnn", size, 3) for size in (32, 48)]
    for network in networks:
        # The answers differ from image to image, whatever the random state of Keras is.
        network.set_weights(
            [
                rng.normal(0, (2 / np.prod(values.shape[:-1])) ** 0.5, values.shape)
                if values.ndim > 1
                else values
                for values in network.get_weights()
            ]
        )
    images = rng.uniform(-1, 1, (6, 40, 40, 3)).astype(np.float32)
    expected = np.mean(
        [
            tf.nn.softmax(network(tf.image.resize(images, (size, size)), training=False)).numpy()
            for network, size in zip(networks, (32, 48), strict=True)
        ],
        axis=0,
    )
    teacher = make_teacher(networks, (32, 48), 40)
    answers = teacher(images)
    assert answers.shape == (6, 3)
    assert np.ptp(expected, axis=0).max() > 0.01
    assert np.allclose(answers, expected, atol=1e-4)
    assert np.array_equal(teacher(images), answers), "the same bits again, or a resumed run would differ"

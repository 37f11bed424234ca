"""Scores of known answers, and how photos reach all models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

import dermedge.benchmarks.accuracy
from dermedge import Classifier
from dermedge.benchmarks.accuracy import accuracy_of, find_photos, score
from dermedge.edge.errors import OptionError
from dermedge.edge.model.classifier import common_labels

pytest.importorskip("dermedge.train.evaluation.metrics")
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.sampling import sample_evenly
from dermedge.train.data.scoring import LabelledPhoto

LABELS = ("melanoma", "nevus", "dermatofibroma")


def photos(counts: tuple[int, ...]) -> list[LabelledPhoto]:
    return [
        LabelledPhoto(
            Path(f"{label}-{number}.jpg"),
            label,
            Photo("", "", "", f"lesion {label}-{number}", LABELS[label], LABELS[label], "made up"),
        )
        for label, count in enumerate(counts)
        for number in range(count)
    ]


def sure(answers: ArrayLike, classes: int = len(LABELS)) -> NDArray[np.float64]:
    """Returns probabilities that are 1 for these answers, and 0 for all other classes."""
    return np.eye(classes)[answers]


def test_answers_that_are_all_right_score_one_and_fifteen_photos_leave_doubt() -> None:
    truth = np.array([0, 1, 2] * 5)
    found = accuracy_of(truth, truth, sure(truth), [str(n) for n in range(15)], LABELS)
    for one in (found.accuracy, found.balanced_accuracy):
        assert (one.value, one.high) == (1, 1)
        assert 0.7 < one.low < 0.9
    assert (found.photos, found.lesions) == (15, 15)


def test_balanced_accuracy_weighs_rare_classes_as_common_ones() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    found = accuracy_of(truth, 0 * truth, sure(0 * truth, 2), [str(n) for n in range(100)], LABELS[:2])
    assert found.accuracy.value == pytest.approx(0.9)
    assert found.balanced_accuracy.value == pytest.approx(0.5)
    assert found.accuracy.low < 0.9 < found.accuracy.high


def test_photos_of_one_lesion_widen_the_interval() -> None:
    truth = np.zeros(60, np.int64)
    answers = np.repeat([0, 0, 1], 20)
    alone = accuracy_of(truth, answers, sure(answers), [str(n) for n in range(60)], LABELS).accuracy
    together = accuracy_of(truth, answers, sure(answers), [str(n // 20) for n in range(60)], LABELS).accuracy
    assert together.high - together.low > alone.high - alone.low


def test_a_class_without_photos_has_no_recall() -> None:
    found = accuracy_of(np.array([0, 0, 1]), np.array([0, 1, 1]), sure([0, 1, 1]), ["a", "b", "c"], LABELS)
    assert found.recall == {"melanoma": 0.5, "nevus": 1.0, "dermatofibroma": None}


def test_the_sensitivity_for_melanoma_is_that_where_nine_tenths_of_the_others_are_below() -> None:
    truth = np.array([0] * 4 + [1] * 20)
    melanoma = np.array([0.9, 0.8, 0.5, 0.1, *np.linspace(0, 0.6, 18), 0.85, 0.95])
    told = np.stack([melanoma, 1 - melanoma], axis=1)
    groups = [str(n) for n in range(24)]
    found = accuracy_of(truth, truth, told, groups, LABELS[:2]).melanoma_sensitivity
    assert found is not None
    # 18 of the 20 others are at most 0.6, and two of the four melanomas are above 0.6
    assert found.value == 0.5
    assert found.low <= 0.5 <= found.high
    assert accuracy_of(truth, truth, told, groups, ("eczema", "nevus")).melanoma_sensitivity is None
    assert accuracy_of(truth[4:], truth[4:], told[4:], groups[4:], LABELS[:2]).melanoma_sensitivity is None


def test_a_draw_is_even_over_classes_as_far_as_they_go_and_the_same_each_time() -> None:
    drawn = sample_evenly(photos((100, 3, 50)), 23)
    assert Counter(photo.label_index for photo in drawn) == {0: 10, 1: 3, 2: 10}
    assert drawn == sample_evenly(photos((100, 3, 50)), 23)
    assert len({photo.path for photo in drawn}) == 23


def test_a_draw_of_more_than_there_are_is_all_of_them() -> None:
    assert len(sample_evenly(photos((2, 1, 0)), 10)) == 3


def test_models_that_know_other_classes_are_not_compared() -> None:
    ours = SimpleNamespace(labels=LABELS, path=Path("ours.tflite"))
    foreign = SimpleNamespace(labels=("cat", "dog"), path=Path("foreign.tflite"))
    with pytest.raises(OptionError, match=r"foreign\.tflite.*cat, dog.*ours\.tflite.*melanoma"):
        common_labels([ours, foreign])  # type: ignore[list-item]
    assert common_labels([ours, ours]) == LABELS  # type: ignore[list-item]


def test_every_photo_is_decoded_once_and_shown_to_all_models(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = dermedge.benchmarks.accuracy.read_picture

    def counting(path: Path) -> object:
        read.append(path)
        return original(path)

    monkeypatch.setattr(dermedge.benchmarks.accuracy, "read_picture", counting)
    with Classifier(model_path) as one, Classifier(model_path, num_threads=2) as other:
        for index, label in enumerate(one.labels[:2]):
            (tmp_path / label).mkdir()
            for number in range(3):
                picture = np.full((60, 80, 3), 40 * index + 10 * number, np.uint8)
                cv2.imwrite(str(tmp_path / label / f"{index}{number}.png"), picture)
        found = find_photos(tmp_path, one.labels)
        first, second = score([one, other], found).models
    assert len(found) == 6
    assert sorted(read) == sorted(photo.path for photo in found)
    assert first == second
    assert first.photos == 6

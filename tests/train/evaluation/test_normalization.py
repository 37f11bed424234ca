"""The normalization of a foreign .tflite is found by trying each on labelled photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermedge import cli
from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.decision import softmax
from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation.normalization import find_normalization

# Blue first: the network, which takes the mean of each channel, was trained with "caffe", where blue comes first.
COLOURS = {"blue": (200, 60, 60), "green": (60, 200, 60), "red": (60, 60, 200)}
LABELS = tuple(COLOURS)


class ChannelMeans:
    """A network whose logits are the means of the three channels, as they arrive after normalization."""

    labels = LABELS

    def __init__(self, name: str) -> None:
        self._normalize = NORMALIZATIONS[name]

    def __enter__(self) -> ChannelMeans:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def predict(self, image_bgr: NDArray[np.uint8]) -> Any:
        means = self._normalize(image_bgr[..., ::-1]).mean(axis=(0, 1)).tolist()
        return SimpleNamespace(probabilities=softmax(means, 50))


def find(photos_of: Callable[[Sequence[str]], list[LabelledPhoto]]) -> tuple[str, str]:
    """The normalization that is found, and the table that is shown."""
    said: list[str] = []
    open_with: Any = ChannelMeans
    return find_normalization(Path("foreign.tflite"), photos_of, open_with, said.append), "\n".join(said)


def photos(folder: Path, labels: Sequence[str], swapped: bool = False) -> list[LabelledPhoto]:
    """Eight photos of each colour. If ``swapped``, their labels are mixed up."""
    made = []
    for number in range(24):
        index = number % 3
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.full((8, 8, 3), COLOURS[LABELS[index]], np.uint8))
        label = int(np.random.default_rng(number).integers(3)) if swapped else index
        name = labels[label]
        made.append(
            LabelledPhoto(path, label, Photo(str(path), path.name, "", path.name, name, name, "test"))
        )
    return made


def test_the_one_that_explains_the_labels_is_chosen_and_shown(tmp_path: Path) -> None:
    found, table = find(partial(photos, tmp_path))
    assert found == "caffe"
    # The title is wrapped at a place that depends on the length of the path.
    assert "24 photos; the best is --normalization caffe" in " ".join(table.split())
    assert all(name in table for name in FOREIGN)
    assert "the same balanced accuracy" not in table


class Invariant(ChannelMeans):
    """A network that takes red first, so that all normalizations but caffe lead to the same classes."""

    labels = ("red", "green", "blue")


def test_several_that_explain_the_labels_equally_well_are_named(tmp_path: Path) -> None:
    said: list[str] = []
    open_with: Any = Invariant

    def renamed(labels: Sequence[str]) -> list[LabelledPhoto]:
        return [replace(one, label_index=2 - one.label_index) for one in photos(tmp_path, LABELS)]

    assert find_normalization(Path("foreign.tflite"), renamed, open_with, said.append) == "pixels"
    assert said[0].splitlines()[-1] == (
        "pixels, unit, symmetric, imagenet have the same balanced accuracy; if you know the normalization of the "
        "training, give it with --normalization"
    )


def test_labels_that_no_normalization_explains_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="no better than chance on these 24 photos with any normalization; give --labels"
    ):
        find(partial(photos, tmp_path, swapped=True))


class RedOrNot(ChannelMeans):
    """The same network, but it only tells red from the other colours if the pixels are not normalized."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._merges = name == "pixels"

    def predict(self, image_bgr: NDArray[np.uint8]) -> Any:
        if not self._merges:
            return super().predict(image_bgr)
        return SimpleNamespace(probabilities=(0, 0, 1) if image_bgr[0, 0, 2] > 128 else (1, 0, 0))


def test_a_wrong_normalization_that_fits_labels_in_a_wrong_order_is_not_chosen(tmp_path: Path) -> None:
    def with_two_swapped(labels: Sequence[str]) -> list[LabelledPhoto]:
        made = photos(tmp_path, labels)
        return [replace(one, label_index=(1, 0, 2)[one.label_index]) for one in made]

    open_with: Any = RedOrNot
    with pytest.raises(
        OptionError,
        match=r"^the labels of 'foreign\.tflite' seem to be in a wrong order: with the normalization caffe, .* of "
        r"1\.000 instead of 0\.333: 'blue' should be 'green', .*; in the given order, pixels is best, with 0\.667",
    ):
        find_normalization(Path("foreign.tflite"), with_two_swapped, open_with, print)
    right = partial(photos, tmp_path)
    assert find_normalization(Path("foreign.tflite"), right, open_with, print) == "caffe"


def test_many_photos_of_two_lesions_do_not_tell_the_normalization(tmp_path: Path) -> None:
    def of_two_colours(lesions: int, labels: Sequence[str]) -> list[LabelledPhoto]:
        made = [one for one in photos(tmp_path, labels) if one.label_index < 2]
        return [
            replace(one, entry=replace(one.entry, group=f"{one.label_index} {at // 2 % lesions}"))
            for at, one in enumerate(made)
        ]

    # There are eight lesions of each of two colours, and all answers are right. The lower bound of each
    # recall is 8 / (8 + 1.96^2) = 0.68.
    assert find(partial(of_two_colours, 8))[0] == "caffe"
    # There is one lesion of each colour. The lower bound of each recall is 0.21, so that of their mean is 1 -
    # 0.79 / sqrt(2) = 0.44. This is below chance (0.5).
    with pytest.raises(DataError, match="no better than chance on these 16 photos"):
        find(partial(of_two_colours, 1))


def test_a_photo_that_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    def with_a_broken_one(labels: Sequence[str]) -> list[LabelledPhoto]:
        made = photos(tmp_path, labels)
        made[0].path.write_bytes(b"no photo")
        return made

    found, table = find(with_a_broken_one)
    assert found == "caffe"
    assert "23 photos" in table


def test_among_equals_the_surest_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COLOURS, "blue", (60, 60, 200))
    monkeypatch.setitem(COLOURS, "red", (200, 60, 60))
    # With red and blue swapped, every normalization that has red as the first channel explains the labels, whatever its
    # scale.
    assert find(partial(photos, tmp_path))[0] == "pixels"


class Told:
    """A network of two classes whose probabilities of the true class are given for each normalization."""

    labels = LABELS[:2]
    # The values are the probability for photos that are answered right, and that for photos that are answered wrong.
    probabilities: ClassVar[dict[str, tuple[float, float]]] = {}
    wrong = 4

    def __init__(self, name: str) -> None:
        self._right, self._wrong = self.probabilities.get(name, (0.5, 0.5))
        self._asked = 0

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def predict(self, image_bgr: NDArray[np.uint8]) -> Any:
        # The photos come in turns, one of each class.
        of_truth = self._wrong if self._asked < self.wrong else self._right
        index = self._asked % 2
        self._asked += 1
        return SimpleNamespace(
            probabilities=(of_truth, 1 - of_truth) if index == 0 else (1 - of_truth, of_truth)
        )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Both have equally many right answers. The second is less sure of its wrong ones.
        ((0.9, 0.01), (0.9, 0.4)),
        # All answers of the second are right, but only just.
        ((0.99, 0.49), (0.51, 0.51)),
    ],
)
def test_right_answers_count_first_and_then_the_probability_of_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: tuple[float, float], second: tuple[float, float]
) -> None:
    monkeypatch.setattr(Told, "probabilities", {FOREIGN[0]: first, FOREIGN[2]: second})

    def two_classes(labels: Sequence[str]) -> list[LabelledPhoto]:
        return [one for one in photos(tmp_path, LABELS) if one.label_index < 2]

    said: list[str] = []
    open_with: Any = Told
    assert find_normalization(Path("foreign.tflite"), two_classes, open_with, said.append) == FOREIGN[2]


def test_evaluate_tries_a_foreign_file_and_scores_it_with_what_it_found(
    make_network: Callable[..., bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "foreign.tflite").write_bytes(make_network())
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            # No photo is a duplicate of another one.
            image = np.array(colour, np.uint8) ^ rng.integers(0, 32, (16, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / label / f"{number}.png"), image)
    options = ["--labels", tmp_path / "labels.txt", "--data", tmp_path / "photos", "--normalization", "auto"]
    assert cli.main(["evaluate", str(tmp_path / "foreign.tflite"), *map(str, options)]) == 0
    shown = capsys.readouterr().out
    assert "the best is --normalization caffe" in " ".join(shown.split())
    [accuracy] = [line for line in shown.splitlines() if line.startswith("accuracy ")]
    assert accuracy.split()[1] == "1.000"

"""The photos, labels and normalization of a classifier that dermedge did not train, with made-up networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("ai_edge_litert")

from dermedge.convert.load.foreign_classifier import _names_of, load_foreign
from dermedge.convert.load.normalization_choice import choose_normalization
from dermedge.convert.request import ConversionRequest
from dermedge.edge.errors import DataError, ModelError, OptionError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.normalization import NORMALIZATIONS, Normalization
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.data.scoring import labelled_photos

TRUTH = np.arange(60) % 3
LESIONS = [str(one) for one in range(60)]
# The value of the red channel tells the class.
PIXELS = np.zeros((60, 2, 3, 3), np.uint8)
PIXELS[..., 0] = (TRUTH * 100)[:, None, None]
COLOUR, GRAY = Layout(2, 3, 3, channels_first=False), Layout(2, 3, 1, channels_first=False)
Answers = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def right(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The logits of a network that reads the class from the red channel."""
    return 5.0 * np.eye(3)[np.rint(pixels[..., 0].mean(axis=(1, 2)) / 100).astype(int)]


def constant(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
    return np.tile([1.0, 0, 0], (len(pixels), 1))


def broken(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The logits of a network whose weights are not finite. `argmax` alone would call them right."""
    return np.where(right(pixels) > 0, np.inf, 0)


@dataclass(frozen=True)
class MadeNetwork:
    labels: tuple[str, ...]
    normalization: Normalization
    answers: Answers

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return self.answers(images)


@dataclass
class MadeFile:
    """A file whose answers depend on the name of the normalization. For an unlisted name, the answer is constant."""

    by_normalization: dict[str, Answers] = field(default_factory=dict)
    layout: Layout = COLOUR
    outputs: int = 3
    classes: int = 3
    known_labels: tuple[str, ...] | None = None
    known_normalization: Normalization | None = None
    note: str = ""
    path: Path = Path("nets/their-net.keras")
    asked: list[str] = field(default_factory=list)
    labels: list[tuple[str, ...]] = field(default_factory=list)

    def network(self, labels: tuple[str, ...], normalization: Normalization) -> Any:
        self.asked.append(normalization.name)
        self.labels.append(labels)
        return MadeNetwork(labels, normalization, self.by_normalization.get(normalization.name, constant))


def chosen(file: MadeFile, asked: str = "auto", truth: NDArray[np.int64] = TRUTH) -> str:
    return choose_normalization(file, asked, PIXELS, truth, LESIONS, ("a", "b", "c")).name


@pytest.mark.parametrize("name", ["pixels", "unit", "symmetric", "imagenet", "caffe"])
def test_the_normalization_with_the_most_right_answers_is_chosen_of_all(name: str) -> None:
    file = MadeFile({name: right})
    assert chosen(file) == name
    assert file.asked == ["pixels", "unit", "symmetric", "imagenet", "caffe"]
    assert set(file.labels) == {("a", "b", "c")}


def test_a_wrong_normalization_that_fits_labels_in_a_wrong_order_is_not_chosen() -> None:
    def two_of_three(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        return right(pixels)[:, [0, 0, 2]] + [0.5, 0, 0]

    swapped = np.array([1, 0, 2])[TRUTH]
    with pytest.raises(
        OptionError,
        match=r"normalization unit, another order fits clearly better, .* of 1\.000 instead of 0\.333: .*'a' should be "
        r"'b'.*; in the given order, caffe is best, with 0\.\d+; give",
    ):
        chosen(MadeFile({"unit": right, "caffe": two_of_three}), truth=swapped)
    assert chosen(MadeFile({"unit": right}), "unit", swapped) == "unit"
    with pytest.raises(OptionError, match="normalization unit, another order fits clearly better"):
        chosen(MadeFile({"unit": right}), truth=swapped)


def test_a_normalization_that_swaps_the_classes_does_not_make_the_right_order_wrong() -> None:
    def swapping(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        return right(pixels)[:, [2, 1, 0]]

    assert chosen(MadeFile({"pixels": swapping, "unit": right})) == "unit"


def test_of_two_that_are_better_than_chance_the_better_one_is_chosen() -> None:
    def half(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        rows = right(pixels)
        rows[::2] = [0, 0, 1]
        return rows

    assert chosen(MadeFile({"unit": half, "imagenet": right})) == "imagenet"
    assert chosen(MadeFile({"unit": right, "imagenet": half})) == "unit"


def test_what_the_file_states_or_the_user_asks_for_is_the_only_one_that_is_tried() -> None:
    stated = MadeFile({"caffe": right, "unit": right}, known_normalization=NORMALIZATIONS["caffe"])
    assert chosen(stated) == "caffe"
    assert stated.asked == ["caffe"]
    assert chosen(stated, "unit") == "unit"
    assert stated.asked == ["caffe", "unit"]


def test_a_gray_network_has_no_normalization_for_colour() -> None:
    gray = MadeFile({"unit": right}, GRAY)
    assert chosen(gray) == "unit"
    assert gray.asked == ["pixels", "unit", "symmetric"]
    with pytest.raises(
        OptionError, match=r"imagenet is for colour.*gray: auto, dermedge, pixels, unit, symmetric$"
    ):
        chosen(gray, "imagenet")
    with pytest.raises(
        OptionError, match=r"--normalization is 'zscore', which is unknown\. Known: auto, dermedge, pixels"
    ):
        chosen(gray, "zscore")


def test_answers_that_are_not_finite_are_not_compared() -> None:
    assert chosen(MadeFile({"unit": broken, "caffe": right})) == "caffe"
    with pytest.raises(
        ModelError, match=r"'nets/their-net\.keras' answers photos with numbers that are not finite"
    ):
        chosen(MadeFile({"unit": broken}), "unit")


def test_a_network_at_chance_is_refused_with_the_figure_of_each_normalization() -> None:
    with pytest.raises(
        DataError, match=r"on 60 calibration photos.*pixels 0\.33, unit 0\.33, .*caffe 0\.33; "
    ):
        chosen(MadeFile())


def test_labels_in_another_order_are_left_to_the_proof() -> None:
    assert chosen(MadeFile({"unit": right}), "unit", (TRUTH + 1) % 3) == "unit"


# Folder -> (level of red of its photos, diagnosis). The folders are in the order in which Keras numbers them.
FOLDERS = {"bcc": (100, "basal cell carcinoma"), "mel": (0, "melanoma"), "nv": (200, "nevus")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Photos of 20 x 30 pixels, 14 in the folder of each class."""
    for folder, (red, _) in FOLDERS.items():
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for number in range(14):
            image = np.full((20, 30, 3), (10, 20, red), np.uint8)
            # No photo equals another one.
            image[:10, :15] = 10 * number
            assert cv2.imwrite(str(tmp_path / "photos" / folder / f"{folder}{number}.png"), image)
    return tmp_path / "photos"


def by_folder(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The logits of a network that Keras trained on these folders."""
    reds = np.median(pixels[..., 0], axis=(1, 2))
    return 5.0 * np.array([[red == float(of) for of, _ in FOLDERS.values()] for red in reds])


def request(data: Path, **options: Any) -> ConversionRequest:
    return ConversionRequest(Path("nets/their-net.keras"), "int8", data=data, **options)


def test_folders_are_numbered_as_keras_numbers_them_and_named_by_their_diagnosis(data: Path) -> None:
    lines: list[str] = []
    file = MadeFile({"caffe": by_folder}, Layout(8, 12, 3, channels_first=False), note="about its outputs")
    found = load_foreign(file, request(data, command="dermedge convert", licence="CC0"), lines.append)
    assert lines == [
        "about its outputs",
        "output 0: folder 'bcc', class basal cell carcinoma",
        "output 1: folder 'mel', class melanoma",
        "output 2: folder 'nv', class nevus",
    ]
    labels = ("basal cell carcinoma", "melanoma", "nevus")
    assert found.network.labels == found.proof.labels == found.manifest.labels == labels
    assert found.network.normalization.name == "caffe"
    assert found.proof.critical == "melanoma"
    assert found.manifest.input_size == 8
    assert (found.manifest.architecture, found.manifest.command) == ("their-net", "dermedge convert")
    assert found.manifest.licence == "CC0"
    assert found.quantization_aware is None
    pixels, truth = found.proof.pixels, found.proof.truth
    # Red is the first channel. Its level is that of the folder of the true class.
    reds = np.median(pixels[..., 0], axis=(1, 2))
    assert reds.tolist() == [list(FOLDERS.values())[one][0] for one in truth]
    assert np.unique(np.median(pixels[..., 1:], axis=(1, 2)), axis=0).tolist() == [[20, 10]]
    assert found.proof.reference.tolist() == by_folder(pixels).tolist()
    # Half of the lesions are in the proof set, and the other half is used for calibration.
    assert pixels.shape == (21, 8, 12, 3)
    assert len(found.calibration) == 21
    assert len(set(found.proof.groups)) == 21
    again = load_foreign(file, request(data))
    assert np.array_equal(again.proof.pixels, pixels)


def test_a_few_calibration_photos_are_taken_from_each_class(data: Path) -> None:
    file = MadeFile({"unit": by_folder}, Layout(8, 12, 3, channels_first=False))
    found = load_foreign(file, request(data, calibration_photos=9, normalization="unit"))
    reds = [float(np.median(one[..., 0])) for one in found.calibration]
    assert sorted(map(reds.count, {0.0, 100.0, 200.0})) == [3, 3, 3]


@pytest.mark.parametrize("known", [True, False])
def test_labels_of_the_user_or_the_file_put_the_photos_in_their_order(known: bool, data: Path) -> None:
    labels = ("nevus", "melanoma", "basal cell carcinoma")

    def answers(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        return by_folder(pixels)[:, ::-1]

    file = MadeFile(
        {"unit": answers},
        Layout(8, 12, 3, channels_first=False),
        known_labels=labels if known else None,
    )
    lines: list[str] = []
    asked = request(data, normalization="unit", labels=None if known else list(labels))
    found = load_foreign(file, asked, lines.append)
    assert found.proof.labels == labels
    assert not any(line.startswith("output") for line in lines)
    assert (found.proof.reference.argmax(axis=1) == found.proof.truth).all()


@pytest.mark.parametrize(
    ("known", "found"),
    [(("red", "blue", "red"), "the label 'red' twice"), (("red", " ", ""), "an empty label")],
)
def test_labels_in_the_file_must_be_distinct(known: tuple[str, ...], found: str, data: Path) -> None:
    file = MadeFile({"unit": by_folder}, known_labels=known)
    with pytest.raises(OptionError, match=f"'.*' holds {found}; name the classes .* with --labels FILE"):
        load_foreign(file, ConversionRequest(file.path, "int8", data=data))


def test_labels_that_do_not_fit_are_one_line(data: Path) -> None:
    file = MadeFile({"unit": by_folder}, Layout(8, 12, 3, channels_first=False))
    with pytest.raises(OptionError, match="--labels names 'nevus' twice"):
        load_foreign(file, request(data, labels=["nevus", "melanoma", "nevus"]))
    with pytest.raises(
        OptionError, match=r"has 3 outputs, and --labels has 2 classes \(a, b\); name the classes"
    ):
        load_foreign(file, request(data, labels=["a", "b"]))
    pair = MadeFile(outputs=2, classes=2)
    with pytest.raises(
        OptionError, match=r"has 2 outputs, and --labels has 6 classes \(a, b, c, d, e, f\); name"
    ):
        load_foreign(pair, request(data, labels=list("abcdef")))
    with pytest.raises(OptionError, match=r"--labels has 7 classes \(a, b, c, d, e, f, …\); name"):
        load_foreign(pair, request(data, labels=list("abcdefg")))
    single = MadeFile(outputs=1, classes=2)
    with pytest.raises(OptionError, match=r"has 1 output, which means 2 classes, and '.*' has 3 classes"):
        load_foreign(single, request(data))


def test_one_output_is_the_probability_of_the_second_class(data: Path) -> None:
    for path in (data / "bcc").iterdir():
        path.unlink()
    (data / "bcc").rmdir()

    def answers(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        return by_folder(pixels)[:, 1:]

    file = MadeFile({"unit": answers}, Layout(8, 12, 3, channels_first=False), outputs=1, classes=2)
    lines: list[str] = []
    found = load_foreign(file, request(data, normalization="unit"), lines.append)
    assert lines == ["1 - p: folder 'mel', class melanoma", "the output p: folder 'nv', class nevus"]
    assert found.proof.labels == ("melanoma", "nevus")


def test_every_second_lesion_by_a_digest_proves_and_no_other_calibrates(data: Path) -> None:
    """The same photos prove a file on each machine, in whatever order its folders are listed."""
    file = MadeFile({"unit": by_folder}, Layout(8, 12, 3, channels_first=False))
    found = load_foreign(file, request(data, normalization="unit", calibration_photos=1000))
    labels = ("basal cell carcinoma", "melanoma", "nevus")
    lesions = {one.entry.group for one in labelled_photos(data, labels)}
    assert len(lesions) == 42
    in_order = sorted(lesions, key=lambda lesion: hashlib.sha256(lesion.encode()).digest())
    assert set(found.proof.groups) == set(in_order[::2])
    calibrated = {one.tobytes() for one in found.calibration}
    proven = {one.tobytes() for one in found.proof.pixels}
    assert (len(calibrated), len(proven)) == (21, 21)
    assert not calibrated & proven


def test_folders_of_one_diagnosis_keep_their_own_names() -> None:
    assert _names_of(("mel", "nv")) == ("melanoma", "nevus")
    assert _names_of(("mel", "melanoma", "nv")) == ("mel", "melanoma", "nevus")
    assert _names_of(("Melanoma in situ", "mel")) == ("melanoma in situ", "melanoma")


def test_the_splits_of_a_catalogue_say_which_photos_calibrate_and_prove(data: Path) -> None:
    labels = ("basal cell carcinoma", "melanoma", "nevus")
    photos = [
        Photo(str(path), path.stem, "", path.stem, label, label, "s", ("train", "val", "test")[number % 3])
        for (folder, (_, label)) in FOLDERS.items()
        for number, path in enumerate(sorted((data / folder).iterdir()))
    ]
    table = data.parent / "catalogue.csv"
    Catalogue(tuple(photos), labels, {}).save(table)
    file = MadeFile({"unit": by_folder}, Layout(8, 12, 3, channels_first=False), known_labels=labels)
    found = load_foreign(file, request(table, normalization="unit"))
    # Of the 14 photos of a class, every third one calibrates, beginning with the first. These are five.
    assert len(found.calibration) == 3 * 5
    assert set(found.proof.groups) == {photo.group for photo in photos if photo.split == "val"}
    assert (found.proof.reference.argmax(axis=1) == found.proof.truth).all()
    with pytest.raises(OptionError, match="does not say in which order the 3 classes of"):
        load_foreign(MadeFile(), request(table))

"""How photos are scored, by models that read their answers from the colour of the photos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from dermedge.edge.errors import DataError, OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.train.data.catalogue import Photo
from dermedge.train.data.scoring import LabelledPhoto
from dermedge.train.evaluation.evaluate import EvaluatedModel, evaluate, model_of_run, models_of_files
from dermedge.train.evaluation.scorecard import ModelOutputs

LABELS = ("melanoma", "nevus")
# Red and green of a photo are 100 times the probability of each class.
Frame = NDArray[np.uint8]


def read_answers(frames: Sequence[Frame]) -> ModelOutputs:
    assert 0 < len(frames) <= 32
    shares = np.array([frame[0, 0, [2, 1]] for frame in frames]) / 100
    return ModelOutputs(np.log(shares))


def model(name: str = "model", heat: NDArray[np.float32] | None = None) -> EvaluatedModel:
    return EvaluatedModel(name, LABELS, None, 1.0, {}, {"a": "fact"}, None, read_answers, lambda frame: heat)


@pytest.fixture
def draw(tmp_path: Path) -> Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]]:
    """A function ([(class, percentage of melanoma)]) that writes photos of 30 by 20 pixels."""

    def draw(photos: Sequence[tuple[int, int]]) -> list[LabelledPhoto]:
        made = []
        for number, (label, percent) in enumerate(photos):
            path = tmp_path / f"ISIC_{number:07}.png"
            assert cv2.imwrite(str(path), np.full((20, 30, 3), (0, 100 - percent, percent), np.uint8))
            entry = Photo(str(path), path.stem, "", f"g{number}", LABELS[label], LABELS[label], "a source")
            made.append(LabelledPhoto(path, label, entry))
        return made

    return draw


def test_the_worst_mistakes_are_shown_first_and_eight_of_each_kind(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]],
) -> None:
    # Nine melanomas are missed, and nine nevi are taken for melanoma. Two answers are right.
    missed = [(0, 10 + number) for number in range(9)]
    wrong = [(1, 80 + number) for number in range(9)]
    made = evaluate([model()], draw([*missed, *wrong, (0, 90), (1, 10)]), "data")
    [scored] = made.models
    assert made.truth.critical == "melanoma"
    confident, critical = scored.mistakes[:8], scored.mistakes[8:]
    assert {one.kind for one in confident} == {"most confident mistakes"}
    assert {one.kind for one in critical} == {"missed photos of the critical class"}
    assert [round(100 * one.probability) for one in confident] == [90, 89, 88, 88, 87, 87, 86, 86]
    assert [round(100 * (one.critical or 0)) for one in critical] == list(range(10, 18))
    first = confident[0]
    assert (first.image_id, first.source, first.truth, first.answer) == (
        "ISIC_0000000",
        "a source",
        "melanoma",
        "nevus",
    )
    assert first.critical == pytest.approx(0.10)
    assert first.heat is None
    thumbnail = cv2.imdecode(np.frombuffer(first.thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert thumbnail.shape == (168, 168, 3)
    assert np.abs(thumbnail.astype(int) - (0, 90, 10)).max() <= 3
    assert scored.learned is None
    assert scored.facts == {"a": "fact"}


def test_the_critical_class_is_the_one_asked_for_or_that_of_the_first_models_alert(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]],
) -> None:
    photos = draw([(0, 90), (1, 10)])
    plain = model("plain")
    alerting = replace(model("alerting"), thresholds={"alert": {"label": "nevus", "threshold": 0.5}})
    assert evaluate([alerting, plain], photos, "data").truth.critical == "nevus"
    # The alert of the second model does not count. Without an alert, melanoma is the class that must not be missed.
    assert evaluate([plain, alerting], photos, "data").truth.critical == "melanoma"
    assert evaluate([alerting], photos, "data", critical="melanoma").truth.critical == "melanoma"
    with pytest.raises(
        OptionError, match=r"--critical is 'cat', which is not a class\. Known: melanoma, nevus"
    ):
        evaluate([plain], photos, "data", critical="cat")


def test_a_mistake_has_the_probability_of_the_answer_and_not_the_highest_one(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]],
) -> None:
    labels = ("melanoma", "none of these")
    declining = replace(model(), labels=labels, none_label=labels[1], thresholds={"none": 0.3})
    photos = [replace(one, entry=replace(one.entry, diagnosis="melanoma in situ")) for one in draw([(0, 60)])]
    [scored] = evaluate([declining], photos, "data").models
    assert {one.truth for one in scored.mistakes} == {"melanoma in situ"}, "the diagnosis, and not its class"
    # The model declines from a probability of 0.3 on, although melanoma is more probable.
    assert {
        (one.answer, round(one.probability, 6), round(one.critical or 0, 6)) for one in scored.mistakes
    } == {("none of these", 0.4, 0.6)}


def test_without_a_critical_class_no_photo_is_missed(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]],
) -> None:
    plain = replace(model(), labels=("cat", "nevus"))
    [scored] = evaluate([plain], draw([(0, 10), (1, 10)]), "data").models
    assert [(one.kind, one.critical) for one in scored.mistakes] == [("most confident mistakes", None)]


def test_more_evidence_is_hotter(draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]]) -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = 1
    [scored] = evaluate([model(heat=heat)], draw([(0, 30), (1, 10)]), "data").models
    [mistake] = [one for one in scored.mistakes if one.kind == "most confident mistakes"]
    assert mistake.heat is not None
    shown = cv2.imdecode(np.frombuffer(mistake.heat, np.uint8), cv2.IMREAD_COLOR).astype(int)
    # Where there is no evidence, the photo is unchanged. Where there is most evidence, six tenths are the
    # brightest colour, a pale yellow, and four tenths are the photo.
    assert np.abs(shown[-10, -10] - (0, 70, 30)).max() <= 6
    brightest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_INFERNO)[0, 0]
    assert np.abs(shown[5, 5] - (0.6 * brightest + 0.4 * np.array((0, 70, 30)))).max() <= 12


def test_photos_are_decoded_a_few_at_a_time_and_broken_ones_left_out(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]],
) -> None:
    photos = draw([(number % 2, 10 + number) for number in range(66)])
    photos[40].path.write_bytes(b"no photo")
    shown: list[tuple[str, int, int]] = []

    def progress(what: str) -> Callable[[int, int], None]:
        return lambda done, total: shown.append((what, done, total))

    made = evaluate([model("a"), model("b")], photos, "data", progress=progress)
    assert shown == [("scoring", 32, 66), ("scoring", 64, 66), ("scoring", 66, 66)]
    assert len(made.photos) == 65
    assert [str(photos[40].path) in str(error) for error in made.unreadable] == [True]
    logits = made.models[1].answers.logits
    assert np.exp(logits[:, 0]) * 100 == pytest.approx([10 + n for n in range(66) if n != 40])
    assert [(one.first, one.other, one.agreement.value) for one in made.comparisons] == [("a", "b", 1.0)]
    assert (made.strains, made.strained_photos) == ((), 0)
    for photo in photos:
        photo.path.write_bytes(b"no photo")
    with pytest.raises(
        DataError, match=r"none of the 66 photos can be decoded; the first error: .*ISIC_0000000"
    ):
        evaluate([model()], photos, "data")


def test_stress_changes_each_photo_and_counts_flips(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]],
) -> None:
    shown: list[tuple[int, int]] = []

    def brightness(frames: Sequence[Frame]) -> ModelOutputs:
        """Takes photos whose green is 140 and more for nevi."""
        green = np.array([frame[..., 1].mean() for frame in frames])
        return ModelOutputs(np.stack([140 - green, green - 140], axis=1) / 10)

    photos = draw([(0, 0), (0, 1), (1, 2), (1, 3)])
    tested = replace(model(), outputs=brightness)
    made = evaluate(
        [tested], photos, "data", stress_photos=3, progress=lambda what: lambda *at: shown.append(at)
    )
    assert made.strained_photos == 3
    assert shown[-1] == (21, 21)
    found = {(one.perturbation, one.severity): one for one in made.strains}
    assert len(found) == len(made.strains) == 21
    assert {one.model for one in made.strains} == {"model"}
    # All photos are taken for melanoma. At 1.6 times the light, all are taken for nevi. So one of the two
    # classes is right before and after.
    assert found["brighter", "1.3 times"].flips.value == 0
    assert found["brighter", "1.6 times"].flips.value == 1
    assert found["brighter", "1.6 times"].gain.value == 0
    assert {severity for name, severity in found if name == "rotation"} == {"15°", "45°", "90°"}
    # If all photos show melanomas, all answers are right before, and none is right after.
    worse = evaluate([tested], photos[:2], "data", stress_photos=2).strains
    [brighter] = [one for one in worse if (one.perturbation, one.severity) == ("brighter", "1.6 times")]
    assert (brighter.gain.value, brighter.flips.value) == (-1, 1)


def test_each_photo_is_disturbed_at_random_in_its_own_way_and_photos_stay_in_their_order(
    draw: Callable[[Sequence[tuple[int, int]]], list[LabelledPhoto]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str, int, int]] = []

    def disturb(frame: Frame, name: str, step: int, seed: int) -> Frame:
        asked.append((int(frame[0, 0, 2]), name, step, seed))
        return frame

    monkeypatch.setattr("dermedge.train.evaluation.evaluate.perturbed", disturb)
    # The stress test takes 36 of the 50 photos, which is more than are in memory at the same time. The level
    # of red identifies a photo.
    photos = draw([(number // 25, 10 + number) for number in range(50)])
    made = evaluate([model("a"), model("b")], photos, "data", stress_photos=36)
    first = asked[:36]
    assert {(name, step) for _, name, step, _ in first} == {("blur", 0)}
    # The 36 photos are 18 of each class.
    assert len({level for level, *_ in first}) == 36
    assert sum(level < 35 for level, *_ in first) == 18
    assert [seed for *_, seed in first] == list(range(36))
    # each severity disturbs the same photos with the same seeds
    assert [(level, seed) for level, *_, seed in asked[36:72]] == [(level, seed) for level, *_, seed in first]
    # Photos that are not changed show no effect, for either model.
    assert {(one.gain.value, one.flips.value) for one in made.strains} == {(0, 0)}
    assert [one.model for one in made.strains[:2]] == ["a", "b"]


def test_models_that_have_the_same_classes_in_another_order_are_scored_together(
    tmp_path: Path, make_network: Callable[..., bytes]
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.tflite").write_bytes(make_network())
    first, second = models_of_files(
        [
            Classifier(tmp_path / "one.tflite", labels=["a", "b", "c"], normalization="pixels"),
            Classifier(tmp_path / "two.tflite", labels=["c", "a", "b"], normalization="pixels"),
        ]
    )
    assert first.labels == second.labels == ("a", "b", "c")
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    [logits], [reordered] = first.outputs([frame]).logits, second.outputs([frame]).logits
    assert len(set(logits)) == 3
    np.testing.assert_array_equal(reordered, logits[[1, 2, 0]])


def test_models_of_one_report_have_the_same_classes_and_different_files(
    model_path: Path, tmp_path: Path, make_network: Callable[..., bytes]
) -> None:
    ours = Classifier(model_path)
    assert ours.manifest is not None
    (tmp_path / "other.tflite").write_bytes(make_network())
    other = Classifier(tmp_path / "other.tflite", labels=["a", "b", "c"], normalization="pixels")
    with pytest.raises(OptionError, match=r"the classes of '.*other\.tflite' .* differ from those of"):
        models_of_files([ours, other])
    with pytest.raises(OptionError, match="is given twice"):
        models_of_files([ours, Classifier(model_path)])
    # The paths tell two files of the same name apart.
    (tmp_path / "folder").mkdir()
    again = tmp_path / "folder" / model_path.name
    again.write_bytes(model_path.read_bytes())
    first, second = models_of_files([ours, Classifier(again)])
    assert (first.name, second.name) == (str(model_path), str(again))
    [alone] = models_of_files([ours])
    assert alone.name == model_path.stem
    assert alone.facts | {"SHA-256": ""} == {
        "file": model_path.stem,
        "size": f"{model_path.stat().st_size / 1e6:.2f} MB",
        "input": "192 x 192 pixels",
        "SHA-256": "",
        "runtime": ours.runtime,
        "quantization": ours.manifest.quantization,
        "network": ours.manifest.architecture,
        "temperature": f"{ours.manifest.temperature:g}",
        "temperature of close-ups": f"{ours.close_up_calibration.temperature:g}",
    }
    assert alone.facts["SHA-256"] == hashlib.sha256(model_path.read_bytes()).hexdigest()


def test_other_names_of_the_classes_reach_all_thresholds_and_the_class_of_none(model_path: Path) -> None:
    plain = Classifier(model_path)
    names = {label: f"class {at}" for at, label in enumerate(plain.labels)}
    [own], [renamed] = (
        models_of_files([plain]),
        models_of_files([Classifier(model_path, labels=list(names.values()))]),
    )
    assert plain.manifest is not None
    assert own.none_label == plain.manifest.none_label is not None
    assert renamed.labels == tuple(names.values())
    assert renamed.none_label == names[own.none_label]
    views = [(own.thresholds, renamed.thresholds)]
    if own.of_close_ups is not None and renamed.of_close_ups is not None:
        views.append((own.of_close_ups.thresholds, renamed.of_close_ups.thresholds))
    assert "alert" in own.thresholds
    for before, after in views:
        assert before.keys() == after.keys()
        for kind, value in before.items():
            if kind == "alert":
                assert after[kind] == {**value, "label": names[value["label"]]}
            elif kind == "conformal":
                of_classes = {names[label]: one for label, one in value["thresholds"].items()}
                assert after[kind] == {**value, "thresholds": of_classes}
            else:
                assert after[kind] == value
    assert not own.independent
    assert not own.is_foreign
    assert (own.temperature, renamed.temperature) == (plain.manifest.temperature,) * 2


def test_a_file_without_a_manifest_has_only_its_answers(
    tmp_path: Path, make_network: Callable[..., bytes]
) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(make_network())
    [made] = models_of_files([Classifier(path, labels=["a", "b", "none of these"], normalization="pixels")])
    assert (made.name, made.labels, made.none_label) == (
        "other",
        ("a", "b", "none of these"),
        "none of these",
    )
    assert (made.temperature, made.thresholds, made.of_close_ups) == (1.0, {}, None)
    assert (made.is_foreign, made.independent, made.learned) == (True, False, None)
    [made] = models_of_files([Classifier(path, labels=["a", "b", "c"], normalization="pixels")])
    assert made.none_label is None


def test_a_run_is_scored_by_the_network_of_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow")
    from dermedge.train.fit import batches, parents, run_networks

    run: Any = SimpleNamespace(
        path=Path("runs/mine"),
        config=lambda: SimpleNamespace(size=16, classes=("nevus", "none of these"), architecture="cnn"),
    )
    calls: list[tuple[Any, ...]] = []

    def logits(network: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append((network, pixels.shape, pixels[0, 0, 0].tolist()))
        return np.zeros((len(pixels), 2), np.float32)

    monkeypatch.setattr(run_networks, "trained_network", lambda *given: calls.append(given) or "network")
    monkeypatch.setattr(batches, "predict_logits", logits)
    monkeypatch.setattr(parents, "learned_by", lambda *given: calls.append(given) or b"learned")
    made = model_of_run(run, "qat", [Path("moved")])
    # The frames are red in BGR. The network gets them in RGB, at the size of the run.
    found = made.outputs([np.full((40, 30, 3), (0, 0, 200), np.uint8)] * 3)
    assert calls == [(run, "qat"), (run, [Path("moved")]), ("network", (3, 16, 16, 3), [200, 0, 0])]
    assert (found.logits.dtype, found.close_up) == (np.float64, None)
    assert (made.name, made.labels, made.none_label) == (
        "mine (qat)",
        ("nevus", "none of these"),
        "none of these",
    )
    assert (made.temperature, made.thresholds, made.learned) == (1.0, {}, b"learned")
    assert made.facts == {"run": "runs/mine", "stage": "qat", "network": "cnn", "runtime": "Keras"}
    assert made.heat(np.zeros((4, 4, 3), np.uint8)) is None
    with pytest.raises(OptionError, match="unknown stage 'last'"):
        model_of_run(run, "last")

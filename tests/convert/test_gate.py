"""The gate lets honest conversions through and catches each of ten sabotaged ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf

from dermedge.convert.accept.acceptance import ProofSet, judge
from dermedge.convert.load.conversion_input import Subject, subject_of_run
from dermedge.convert.load.network import Network, network_of
from dermedge.convert.load.normalization import NORMALIZATIONS
from dermedge.convert.pipeline import convert
from dermedge.convert.to_tflite.converter import DYNAMIC, FLOAT16, FLOAT32, INT8_PTQ, INT8_QAT, Form
from dermedge.convert.to_tflite.ranges import METHODS
from dermedge.edge.errors import ModelError
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import to_input
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.quantize_aware import uncalibrated_twin
from dermedge.train.fit.run_folder import RunFolder

ONE_POINT = 0.01
LABELS = ("blue", "brown", "red")


@pytest.fixture(scope="module")
def subject(
    trained_run: Path, tmp_path_factory: pytest.TempPathFactory, make_labelled_set: Callable[..., Path]
) -> Subject:
    """The run, to be proven on 120 photos."""
    folder = make_labelled_set(tmp_path_factory.mktemp("proof") / "photos", 40)
    paths = sorted(folder.rglob("*.png"))
    pixels = np.stack([to_input(read_picture(path), 32) for path in paths])
    truth = np.array([LABELS.index(path.parent.name) for path in paths])
    of_run = subject_of_run(RunFolder(trained_run), 30)
    reference = of_run.network.logits(pixels).astype(np.float64)
    assert (reference.argmax(axis=1) == truth).mean() > 0.9
    proof = ProofSet(pixels, truth, [str(path) for path in paths], LABELS, None, reference, "red")
    return replace(of_run, proof=proof)


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT16, DYNAMIC, INT8_PTQ, INT8_QAT])
def test_an_honest_conversion_passes(subject: Subject, kind: str) -> None:
    verdict = convert(subject, Form(kind), ONE_POINT).verdict
    assert verdict.passed, [check.line for check in verdict.failed]
    assert verdict.photos == 120
    assert {check.name for check in verdict.checks} == {
        "balanced accuracy",
        "recall of blue",
        "recall of brown",
        "recall of red",
        "sensitivity for red at 90 % specificity",
        "calibration error",
        "sure answers that stay the same",
        "largest change of a probability",
    }


def with_compute(subject: Subject, change: Callable[[Callable], Callable]) -> Subject:
    network = subject.network
    return replace(subject, network=replace(network, compute=change(network.compute)))


def normalized_wrongly(subject: Subject) -> tuple[Subject, Form]:
    network = replace(subject.network, normalization=NORMALIZATIONS["unit"])
    return replace(subject, network=network), Form(INT8_PTQ)


def channels_swapped(subject: Subject) -> tuple[Subject, Form]:
    swapped = replace(subject.network.normalization, blue_first=True)
    return replace(subject, network=replace(subject.network, normalization=swapped)), Form(INT8_PTQ)


def weights_random(subject: Subject) -> tuple[Subject, Form]:
    tf.keras.utils.set_random_seed(3)
    fresh = network_of(build_network("cnn", 32, 3), "cnn", 32, LABELS)
    return replace(subject, network=fresh), Form(INT8_PTQ)


def labels_in_another_order(subject: Subject) -> tuple[Subject, Form]:
    return (
        with_compute(
            subject, lambda compute: lambda x: [tf.gather(y, [1, 0, 2], axis=-1) for y in compute(x)]
        ),
        Form(INT8_PTQ),
    )


def calibrated_on_noise(subject: Subject) -> tuple[Subject, Form]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(124, 132, (32, 32, 3), dtype=np.uint8) for _ in range(30)]
    return replace(subject, calibration=noise), Form(INT8_PTQ)


def range_collapsed(subject: Subject) -> tuple[Subject, Form]:
    return subject, Form(INT8_PTQ, ranges="collapsed")


def of_another_size(subject: Subject) -> tuple[Subject, Form]:
    def change(compute: Callable) -> Callable:
        return lambda x: compute(tf.image.resize(x, (32, 32)))

    changed = with_compute(subject, change)
    return replace(changed, network=replace(changed.network, size=16)), Form(FLOAT32)


def class_dropped(subject: Subject) -> tuple[Subject, Form]:
    return with_compute(subject, lambda compute: lambda x: [y[..., :2] for y in compute(x)]), Form(INT8_PTQ)


def rescaled_twice(subject: Subject) -> tuple[Subject, Form]:
    return with_compute(subject, lambda compute: lambda x: compute(x / 127.5)), Form(INT8_PTQ)


def ranges_of_qat_untrained(subject: Subject) -> tuple[Subject, Form]:
    def twin() -> Network:
        return network_of(uncalibrated_twin(build_network("cnn", 32, 3)), "cnn", 32, LABELS)

    return replace(subject, quantization_aware=twin), Form(INT8_QAT)


@pytest.mark.parametrize(
    "sabotage",
    [
        normalized_wrongly,
        channels_swapped,
        weights_random,
        labels_in_another_order,
        calibrated_on_noise,
        range_collapsed,
        of_another_size,
        class_dropped,
        rescaled_twice,
        ranges_of_qat_untrained,
    ],
)
def test_a_sabotaged_conversion_is_caught(
    subject: Subject, sabotage: Callable[[Subject], tuple[Subject, Form]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "collapsed", lambda histogram: (-1e-3, 1e-3))
    broken, form = sabotage(subject)
    try:
        verdict = convert(broken, form, ONE_POINT).verdict
    except ModelError:
        return
    assert not verdict.passed


def proof_of(reference: np.ndarray, truth: np.ndarray) -> ProofSet:
    pixels = np.zeros((len(truth), 1, 1, 3), np.uint8)
    groups = [str(index) for index in range(len(truth))]
    return ProofSet(pixels, truth, groups, ("a", "b"), None, reference, "b")


def logits_for(answers: np.ndarray, lead: float = 3.0) -> np.ndarray:
    return lead * np.eye(2)[answers]


def test_a_loss_that_other_photos_might_not_have_shown_is_let_pass() -> None:
    truth = np.repeat([0, 1], 100)
    reference, device = truth.copy(), truth.copy()
    reference[[3, 5, 110, 120]] ^= 1
    device[[7, 9, 11, 130, 140, 150]] ^= 1
    # of no photo is the float network sure
    verdict = judge(proof_of(logits_for(reference, 0.4), truth), logits_for(device, 0.4), ONE_POINT)
    recall = next(check for check in verdict.checks if check.name == "recall of a")
    assert recall.drop.value == pytest.approx(0.01)
    assert verdict.flips == {"a": (3, 2), "b": (3, 2)}
    assert verdict.passed


def test_a_loss_beyond_chance_is_refused_with_its_name() -> None:
    truth = np.repeat([0, 1], 100)
    lost = truth.copy()
    lost[100:110] = 0
    verdict = judge(proof_of(logits_for(truth, 0.4), truth), logits_for(lost, 0.4), ONE_POINT)
    assert "recall of b" in [check.name for check in verdict.failed]
    assert "recall of a" not in [check.name for check in verdict.failed]
    assert verdict.flips == {"a": (0, 0), "b": (10, 0)}


def test_a_photo_that_turns_over_is_caught_even_if_it_is_the_only_one() -> None:
    truth = np.repeat([0, 1], 100)
    turned = truth.copy()
    turned[0] = 1
    verdict = judge(proof_of(logits_for(truth), truth), logits_for(turned), ONE_POINT)
    assert [check.name for check in verdict.failed] == ["largest change of a probability"]


def test_lost_calibration_is_caught() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 400)
    margins = rng.normal(1.5, 1.5, 800)
    reference = np.stack([np.where(truth == 0, margins, 0), np.where(truth == 1, margins, 0)], axis=1)
    # the order of all photos of an answer is kept, but not what their margins say
    flat = np.sign(reference) * np.where(np.abs(reference) > 2.4, 6.0, 0.3)
    verdict = judge(proof_of(reference, truth), flat, ONE_POINT)
    assert "calibration error" in [check.name for check in verdict.failed]


def test_what_the_photos_do_not_tell_is_said_and_not_held_against_the_file() -> None:
    truth = np.repeat([0, 1], 20)
    verdict = judge(proof_of(logits_for(truth, 0.2), truth), logits_for(truth, 0.2), ONE_POINT)
    sure = next(check for check in verdict.checks if check.name == "sure answers that stay the same")
    assert not sure.drop.measured
    assert sure.line == "sure answers that stay the same: not measured on these photos"
    assert sure.word == "not measured"
    assert verdict.passed

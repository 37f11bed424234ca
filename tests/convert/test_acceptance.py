"""Sound conversions are accepted, and each of ten sabotaged ones is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf

from dermedge.convert.conversion import convert_to_form
from dermedge.convert.load.conversion_input import ConversionInput, ProofSet
from dermedge.convert.load.network import Network
from dermedge.convert.load.run import load_run
from dermedge.convert.load.tensorflow_network import network_of
from dermedge.convert.to_tflite.form import DYNAMIC, FLOAT16, FLOAT32, INT8_PTQ, INT8_QAT, Form
from dermedge.convert.to_tflite.ranges import METHODS
from dermedge.edge.errors import ModelError
from dermedge.edge.model.normalization import NORMALIZATIONS
from dermedge.edge.photos import read_picture
from dermedge.edge.preprocess import to_input
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.quantize_aware import uncalibrated_twin
from dermedge.train.fit.run_folder import RunFolder

ONE_POINT = 0.01
LABELS = ("blue", "brown", "red")


@pytest.fixture(scope="module")
def source(
    trained_run: Path, tmp_path_factory: pytest.TempPathFactory, make_labelled_set: Callable[..., Path]
) -> ConversionInput:
    """The run, to be proven on 120 photos."""
    folder = make_labelled_set(tmp_path_factory.mktemp("proof") / "photos", 40)
    paths = sorted(folder.rglob("*.png"))
    pixels = np.stack([to_input(read_picture(path), 32) for path in paths])
    truth = np.array([LABELS.index(path.parent.name) for path in paths])
    of_run = load_run(RunFolder(trained_run), 30)
    reference = of_run.network.logits(pixels).astype(np.float64)
    assert (reference.argmax(axis=1) == truth).mean() > 0.9
    proof = ProofSet(pixels, truth, [str(path) for path in paths], LABELS, None, reference, "red")
    return replace(of_run, proof=proof)


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT16, DYNAMIC, INT8_PTQ, INT8_QAT])
def test_an_honest_conversion_passes(source: ConversionInput, kind: str) -> None:
    acceptance = convert_to_form(source, Form(kind), ONE_POINT).acceptance
    assert acceptance.passed, [check.line for check in acceptance.failed]
    assert acceptance.photos == 120
    assert {check.name for check in acceptance.checks} == {
        "balanced accuracy",
        "recall of blue",
        "recall of brown",
        "recall of red",
        "sensitivity for red at 90 % specificity",
        "calibration error",
        "sure answers that stay the same",
        "largest change of a probability",
    }


def with_compute(source: ConversionInput, change: Callable[[Callable], Callable]) -> ConversionInput:
    network = source.network
    return replace(source, network=replace(network, compute=change(network.compute)))


def normalized_wrongly(source: ConversionInput) -> tuple[ConversionInput, Form]:
    network = replace(source.network, normalization=NORMALIZATIONS["unit"])
    return replace(source, network=network), Form(INT8_PTQ)


def channels_swapped(source: ConversionInput) -> tuple[ConversionInput, Form]:
    swapped = replace(source.network.normalization, blue_first=True)
    return replace(source, network=replace(source.network, normalization=swapped)), Form(INT8_PTQ)


def weights_random(source: ConversionInput) -> tuple[ConversionInput, Form]:
    tf.keras.utils.set_random_seed(3)
    fresh = network_of(build_network("cnn", 32, 3), "cnn", 32, LABELS)
    return replace(source, network=fresh), Form(INT8_PTQ)


def labels_in_another_order(source: ConversionInput) -> tuple[ConversionInput, Form]:
    return (
        with_compute(
            source, lambda compute: lambda x: [tf.gather(y, [1, 0, 2], axis=-1) for y in compute(x)]
        ),
        Form(INT8_PTQ),
    )


def calibrated_on_noise(source: ConversionInput) -> tuple[ConversionInput, Form]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(124, 132, (32, 32, 3), dtype=np.uint8) for _ in range(30)]
    return replace(source, calibration=noise), Form(INT8_PTQ)


def range_collapsed(source: ConversionInput) -> tuple[ConversionInput, Form]:
    return source, Form(INT8_PTQ, ranges="collapsed")


def of_another_size(source: ConversionInput) -> tuple[ConversionInput, Form]:
    def change(compute: Callable) -> Callable:
        return lambda x: compute(tf.image.resize(x, (32, 32)))

    changed = with_compute(source, change)
    layout = replace(changed.network.layout, height=16, width=16)
    return replace(changed, network=replace(changed.network, layout=layout)), Form(FLOAT32)


def class_dropped(source: ConversionInput) -> tuple[ConversionInput, Form]:
    return with_compute(source, lambda compute: lambda x: [y[..., :2] for y in compute(x)]), Form(INT8_PTQ)


def rescaled_twice(source: ConversionInput) -> tuple[ConversionInput, Form]:
    return with_compute(source, lambda compute: lambda x: compute(x / 127.5)), Form(INT8_PTQ)


def ranges_of_qat_untrained(source: ConversionInput) -> tuple[ConversionInput, Form]:
    def twin() -> Network:
        return network_of(uncalibrated_twin(build_network("cnn", 32, 3)), "cnn", 32, LABELS)

    return replace(source, quantization_aware=twin), Form(INT8_QAT)


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
    source: ConversionInput,
    sabotage: Callable[[ConversionInput], tuple[ConversionInput, Form]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(METHODS, "collapsed", lambda histogram: (-1e-3, 1e-3))
    broken, form = sabotage(source)
    try:
        acceptance = convert_to_form(broken, form, ONE_POINT).acceptance
    except ModelError:
        return
    assert not acceptance.passed


def test_a_network_that_always_gives_the_same_answer_is_not_delivered(source: ConversionInput) -> None:
    constant = with_compute(
        source, lambda compute: lambda x: [0 * y + tf.constant([0.2, 0.5, 0.3]) for y in compute(x)]
    )
    logits = constant.network.logits(source.proof.pixels).astype(np.float64)
    constant = replace(constant, proof=replace(source.proof, reference=logits))
    made = convert_to_form(constant, Form(FLOAT32), ONE_POINT)
    assert [check.name for check in made.acceptance.failed] == ["better than chance"]
    assert all(check.passed for check in made.acceptance.checks), "there is nothing to lose"
    assert made.warnings[0] == "the file recognizes none of the 40 photos of red, the critical class"
    assert "sets hold all 3 classes for 100% of the photos" in made.warnings[-1]


def test_a_network_whose_labels_are_in_another_order_is_not_delivered(source: ConversionInput) -> None:
    permuted, form = labels_in_another_order(source)
    logits = permuted.network.logits(source.proof.pixels).astype(np.float64)
    permuted = replace(permuted, proof=replace(source.proof, reference=logits))
    acceptance = convert_to_form(permuted, form, ONE_POINT).acceptance
    assert acceptance.failed[0].name == "order of the classes"
    assert "'blue' should be 'brown', 'brown' should be 'blue'" in acceptance.failed[0].line
    assert all(check.passed for check in acceptance.checks), "the file loses nothing beside its network"

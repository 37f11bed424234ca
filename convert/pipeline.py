"""One conversion: the file, its manifest and its proof, as one value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.accept.acceptance import ProofSet, Verdict, judge
from dermedge.convert.accept.layer_errors import LayerError, compare_layers
from dermedge.convert.accept.parity import (
    Parity,
    calibrated,
    calibration_scores,
    check_input,
    compare,
    device_logits,
    fit_temperature,
    parity_json,
)
from dermedge.convert.calibrate.thresholds import decision_scores, fit_thresholds
from dermedge.convert.load.conversion_input import Subject, Told
from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.converter import (
    INT8_MIXED,
    INT8_PTQ,
    INT8_QAT,
    Form,
    calibrate,
    calibration_inputs,
    input_ends,
    lower,
)
from dermedge.convert.to_tflite.metadata import with_metadata
from dermedge.edge.errors import StorageError
from dermedge.edge.files import write_bytes
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import record
from dermedge.edge.model.manifest import Manifest, attach

# Enough to tell which layer loses; a layer has thousands of activations a picture.
EXPLAINED_PICTURES = 12
DEVICE_THREADS = 2
# Decimals of a correction of logits: float32 sums of two machines may differ in the sixth, bytes shall not.
CORRECTION_DECIMALS = 4


@dataclass(frozen=True)
class Conversion:
    """What one conversion made.

    Attributes:
        form: what was asked for.
        model: the whole .tflite with its manifest.
        manifest: of the file.
        parity: the file beside the Keras model that it was lowered from, on the proof set.
        verdict: the file beside the float network.
        invoke_ms: the median time of one inference on this machine, while it was proven.
    """

    form: Form
    model: bytes
    manifest: Manifest
    parity: Parity
    verdict: Verdict
    invoke_ms: float

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            StorageError: there is one already, or it cannot be written.
        """
        if path.exists():
            raise StorageError(f"'{path}' exists already; delete it, or name another with --output")
        write_bytes(path, self.model)


def convert(
    subject: Subject,
    form: Form,
    max_drop: float,
    progress: Told = lambda what: lambda done, total: None,
) -> Conversion:
    """Converts, and runs the result on the whole proof set beside the float network.

    Temperature and thresholds are fitted on what the converted file itself says of these photos. A network
    that has learned from them gets those of the run that tells what its recipe is worth, converted alike, and
    must pass its proof as that one must.

    Args:
        subject: what is converted.
        form: into what.
        max_drop: as `judge` takes it.
        progress: for a text, a callback (done, total).

    Raises:
        ModelError: the converter, or the device runtime, refuses the model.
    """
    stand_in = convert(subject.validated, form, max_drop, progress) if subject.validated else None
    proof = subject.proof
    network = _network(subject, form)
    manifest = replace(subject.manifest, quantization=form.kind)
    model = _lowered(subject, network, form, manifest)
    with _written(attach(model, manifest)) as path:
        check_input(path, subject.manifest.input_size, input_ends(network, form))
        with Classifier(path, num_threads=DEVICE_THREADS) as classifier:
            device, invoke_ms = device_logits(classifier, proof.pixels, progress(f"proving {form.name}"))
        golden = record(path)
    reference = proof.reference if network is subject.network else network.logits(proof.pixels)
    parity = compare(reference, device)
    verdict = judge(proof, device, max_drop)
    decision = stand_in.manifest if stand_in else _with_decision(manifest, proof, device)
    if stand_in:
        # the file's own, on photos that its network has learned, is shown where it alone refuses it
        verdict = verdict if stand_in.verdict.passed and not verdict.passed else stand_in.verdict
    manifest = replace(
        manifest,
        temperature=decision.temperature,
        thresholds=decision.thresholds,
        metrics=decision.metrics | manifest.metrics,
        parity=parity_json(parity),
        golden=golden,
    )
    return Conversion(form, attach(model, manifest), manifest, parity, verdict, invoke_ms)


def better(conversions: Sequence[Conversion]) -> Conversion:
    """Of files that are as fast: one that passed its proof, and of these the one that is right most often.

    Right is the most probable class on the proof set, classes weighed alike. The manifest of the chosen one
    also tells that figure of all: ``val_balanced_accuracy_argmax_of``, form -> figure.
    """
    key = "val_balanced_accuracy_argmax"
    best = max(conversions, key=lambda one: (one.verdict.passed, one.manifest.metrics[key]))
    if len(conversions) == 1:
        return best
    figures = {one.form.name: one.manifest.metrics[key] for one in conversions}
    manifest = replace(best.manifest, metrics=best.manifest.metrics | {f"{key}_of": figures})
    return replace(best, model=attach(best.model, manifest), manifest=manifest)


def explain(subject: Subject, conversion: Conversion) -> list[LayerError]:
    """What each layer of an 8- or 16-bit file loses, on some of the calibration pictures.

    Layers are known by the names of their tensors; in a fine-tuned network few keep the float network's. The
    own error of the last one holds what `_lowered` took out of the evidence.
    """
    pictures = subject.calibration[:EXPLAINED_PICTURES]
    form = conversion.form
    in_float = calibrate(subject.network, form, pictures)
    inputs = list(calibration_inputs(subject.network, form, pictures))
    return compare_layers(in_float, conversion.model, inputs)


def _with_decision(manifest: Manifest, proof: ProofSet, device: NDArray[np.floating]) -> Manifest:
    """The manifest with the temperature and thresholds that a file's [n, K] logits of the proof ask for."""
    temperature = fit_temperature(device, proof.truth)
    decided = (calibrated(device, temperature), proof.truth, proof.labels, proof.none_label)
    thresholds = fit_thresholds(*decided, proof.critical)
    scores = calibration_scores(device, proof.truth, temperature) | decision_scores(*decided, thresholds)
    return replace(
        manifest,
        temperature=temperature,
        thresholds=thresholds,
        metrics={"val_photos": len(proof.truth), **scores},
    )


def _lowered(subject: Subject, network: Network, form: Form, manifest: Manifest) -> bytes:
    """The .tflite without its manifest; with a heat map, without what rounding adds to its logits.

    Calibrated rounding moves each logit by some amount on average, and so takes answers from one class for
    another. What the calibration pictures show of that is taken from the evidence: bias correction, Nagel et
    al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, of the last layer.
    """
    model = with_metadata(lower(network, form, subject.calibration), manifest)
    if form.kind not in (INT8_PTQ, INT8_MIXED):
        return model
    pictures = np.stack(subject.calibration)
    with (
        _written(attach(model, manifest)) as path,
        Classifier(path, num_threads=DEVICE_THREADS) as classifier,
    ):
        if not classifier.has_heat_map:
            return model
        device, _ = device_logits(classifier, pictures)
    lost = (network.logits(pictures) - device).mean(axis=0)
    correction = np.round(lost - lost.mean(), CORRECTION_DECIMALS).astype(np.float32)
    return with_metadata(lower(network.shifted(correction), form, subject.calibration), manifest)


@contextmanager
def _written(model: bytes) -> Iterator[Path]:
    """A file of these bytes for the device runtime, gone after the block."""
    with tempfile.TemporaryDirectory(prefix="dermedge-") as folder:
        path = Path(folder) / "converted.tflite"
        write_bytes(path, model)
        yield path


def _network(subject: Subject, form: Form) -> Network:
    if form.kind == INT8_QAT and subject.quantization_aware:
        return subject.quantization_aware()
    return subject.network

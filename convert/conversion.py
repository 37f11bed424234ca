"""Convert a classifier to one form: stages 2 to 4, to_tflite, calibrate and accept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dermedge.convert.accept.acceptance import Acceptance, accept
from dermedge.convert.accept.layer_errors import LayerError, compare_layers
from dermedge.convert.accept.network_checks import missed_class
from dermedge.convert.accept.parity import Parity, compare
from dermedge.convert.calibrate.calibration import calibrate
from dermedge.convert.device import run_on_device
from dermedge.convert.load.conversion_input import ConversionInput, ShowProgress
from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.bias_correction import to_corrected_tflite
from dermedge.convert.to_tflite.form import INT8_QAT, Form
from dermedge.convert.to_tflite.pixel_input import calibration_inputs, input_ends
from dermedge.edge.errors import StorageError
from dermedge.edge.files import write_bytes
from dermedge.edge.model.associated import attach_file
from dermedge.edge.model.manifest import Manifest, attach

__all__ = ["Conversion", "better", "convert_to_form", "explain"]

# Each image has thousands of activations per layer, so a few images are enough.
_EXPLAINED_IMAGES = 12
# The verdict of the acceptance, in the metrics of a manifest.
_VERDICT = "acceptance"
_ARGMAX_SCORE = "val_balanced_accuracy_argmax"


@dataclass(frozen=True)
class Conversion:
    """One converted file with its proof.

    Attributes:
        form: the form that was asked for.
        model: the bytes of the .tflite with its manifest.
        manifest: the manifest of the file.
        parity: the file compared with the Keras model that it was converted from, on the proof set.
        acceptance: the file compared with the float network.
        invoke_ms: median milliseconds of an inference on this machine, measured on the proof set.
        warnings: one line for each part of the decision that was left out or tells nothing, and for a critical
            class that is never recognized.
    """

    form: Form
    model: bytes
    manifest: Manifest
    parity: Parity
    acceptance: Acceptance
    invoke_ms: float
    warnings: tuple[str, ...]

    def with_file(self, name: str, content: bytes) -> Conversion:
        """The same with one more associated file in the model."""
        return replace(self, model=attach_file(self.model, name, content))

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            StorageError: the file exists already, or cannot be written.
        """
        if path.exists():
            raise StorageError(f"'{path}' exists already; delete it, or name another with --output")
        write_bytes(path, self.model)


def convert_to_form(
    source: ConversionInput,
    form: Form,
    max_drop: float,
    show_progress: ShowProgress = lambda what: lambda done, total: None,
) -> Conversion:
    """Convert a classifier, fit its temperature and thresholds, and compare it with its float network.

    A network that was retrained on train and validation gets temperature and thresholds from the run that
    validated its recipe, converted to the same form. Both files must then be accepted.

    Args:
        source: the classifier and its photos.
        form: the form of the file.
        max_drop: the loss that is accepted, as in `accept`.
        show_progress: for a task's name, a callback (done, total).

    Raises:
        ModelError: the converter or the device runtime refuses the network.
    """
    if source.validated_by is None:
        return _convert_alone(source, form, max_drop, show_progress)
    validated_by = _convert_alone(source.validated_by, form, max_drop, show_progress)
    made = _convert_alone(source, form, max_drop, show_progress)
    return _decided_by(validated_by, made, source.manifest)


def _convert_alone(
    source: ConversionInput, form: Form, max_drop: float, show_progress: ShowProgress
) -> Conversion:
    """The stages for one classifier, on its own proof set."""
    proof = source.proof
    network = _network_for(source, form)
    manifest = replace(source.manifest, quantization=form.kind)
    # Stage 2: to_tflite
    model = to_corrected_tflite(network, form, source.calibration, manifest)
    show = show_progress(f"proving {form.name}")
    run = run_on_device(attach(model, manifest), proof.pixels, input_ends(network, form), show)
    # Stage 3: calibrate
    calibration = calibrate(proof, run.logits)
    # Stage 4: accept
    reference = proof.reference if network is source.network else network.logits(proof.pixels)
    parity = compare(reference, run.logits)
    acceptance = accept(proof, run.logits, max_drop)
    missed = missed_class(proof, run.logits)
    warnings = (*((missed,) if missed else ()), *calibration.warnings)
    manifest = replace(
        manifest,
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        metrics=calibration.metrics | manifest.metrics | {_VERDICT: acceptance.verdict},
        parity=parity.to_json(),
        golden=run.golden,
    )
    model = attach(model, manifest)
    return Conversion(form, model, manifest, parity, acceptance, run.invoke_ms, warnings)


def _network_for(source: ConversionInput, form: Form) -> Network:
    if form.kind == INT8_QAT and source.quantization_aware:
        return source.quantization_aware()
    return source.network


def _decided_by(validated_by: Conversion, made: Conversion, draft: Manifest) -> Conversion:
    """A file with the temperature, thresholds and metrics of the file that validated its recipe.

    Its acceptance is that file's; its own one, on photos that its network was trained on, can only refuse it.
    """
    accepted_there = validated_by.acceptance.passed and not made.acceptance.passed
    acceptance = made.acceptance if accepted_there else validated_by.acceptance
    manifest = replace(
        made.manifest,
        temperature=validated_by.manifest.temperature,
        thresholds=validated_by.manifest.thresholds,
        metrics=validated_by.manifest.metrics | draft.metrics | {_VERDICT: acceptance.verdict},
    )
    return replace(
        made,
        model=attach(made.model, manifest),
        manifest=manifest,
        acceptance=acceptance,
        warnings=validated_by.warnings,
    )


def better(conversions: Sequence[Conversion]) -> Conversion:
    """Among files that are equally fast, an accepted one, and among these the most accurate.

    Accuracy is balanced accuracy by the most probable class on the proof set. The manifest of the chosen file
    holds that figure of all: ``val_balanced_accuracy_argmax_of``, name of the form -> figure.
    """
    best = max(conversions, key=lambda one: (one.acceptance.passed, one.manifest.metrics[_ARGMAX_SCORE]))
    if len(conversions) == 1:
        return best
    figures = {one.form.name: one.manifest.metrics[_ARGMAX_SCORE] for one in conversions}
    manifest = replace(best.manifest, metrics=best.manifest.metrics | {f"{_ARGMAX_SCORE}_of": figures})
    return replace(best, model=attach(best.model, manifest), manifest=manifest)


def explain(source: ConversionInput, conversion: Conversion) -> list[LayerError]:
    """Measure the loss of each layer of an 8-bit or 16-bit file on some of the calibration images.

    Layers are matched by the names of their tensors; a quantization-aware network keeps few of the float
    network's. The error of the last layer includes the bias correction.
    """
    images = source.calibration[:_EXPLAINED_IMAGES]
    float_model = source.network.float_tflite(conversion.form)
    inputs = list(calibration_inputs(source.network, conversion.form, images))
    return compare_layers(float_model, conversion.model, inputs)

"""Convert a classifier to one form by the stages 2 to 4: to_tflite or to_onnx, calibrate, and accept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dermedge.convert.accept.acceptance import Acceptance, accept
from dermedge.convert.accept.layer_errors import LayerError, compare_layers
from dermedge.convert.accept.network_checks import missed_class
from dermedge.convert.accept.parity import Parity, compare
from dermedge.convert.calibrate.calibration import calibrate
from dermedge.convert.device import DeviceRun, run_on_device
from dermedge.convert.load.conversion_input import ConversionInput, ShowProgress, tool_versions
from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.bias_correction import to_corrected_tflite
from dermedge.convert.to_tflite.form import INT8_QAT, ONNX_KINDS, Form
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
        model: the bytes of the .tflite with its manifest, or of the ONNX file.
        manifest: the manifest of the file.
        parity: comparison of the file with the network that it was converted from, on the proof set.
        acceptance: comparison of the file with the float network.
        invoke_ms: median milliseconds of an inference on this machine, measured on the proof set.
        warnings: one line for each part of the decision that was left out or is useless, and for a critical class
            that is never recognized.
    """

    form: Form
    model: bytes
    manifest: Manifest
    parity: Parity
    acceptance: Acceptance
    invoke_ms: float
    warnings: tuple[str, ...]

    @property
    def is_onnx(self) -> bool:
        """Whether the file is for ONNX Runtime, with its manifest in a file beside it."""
        return self.form.kind in ONNX_KINDS

    @property
    def runtime(self) -> str:
        """The runtime that the file was run with, for people."""
        return "ONNX Runtime" if self.is_onnx else "the device runtime"

    def with_manifest(self, manifest: Manifest) -> Conversion:
        """Return the converted file with another manifest."""
        model = self.model if self.is_onnx else attach(self.model, manifest)
        return replace(self, model=model, manifest=manifest)

    def with_file(self, name: str, content: bytes) -> Conversion:
        """Return the converted file with one more associated file in the .tflite."""
        return replace(self, model=attach_file(self.model, name, content))

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; the manifest of an ONNX file beside it, as JSON.

        Raises:
            StorageError: a file exists already, or cannot be written.
        """
        beside = path.with_suffix(".json")
        for one in (path, beside) if self.is_onnx else (path,):
            if one.exists():
                raise StorageError(f"'{one}' exists already; delete it, or name another with --output")
        if self.is_onnx:
            write_bytes(beside, self.manifest.to_json().encode())
        try:
            write_bytes(path, self.model)
        except StorageError:
            if self.is_onnx:
                beside.unlink()
            raise


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
        show_progress: task's name -> callback (done, total).

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
    """Return the stages for one classifier, on its own proof set."""
    proof = source.proof
    network = _network_for(source, form)
    manifest = replace(source.manifest, quantization=form.kind)
    # Stage 2: to_tflite, or to_onnx
    make = _make_onnx if form.kind in ONNX_KINDS else _make_tflite
    made = make(network, form, source, manifest, show_progress(f"proving {form.name}"))
    logits = made.run.logits
    # Stage 3: calibrate
    calibration = calibrate(proof, logits, made.run.close_up)
    # Stage 4: accept
    reference = proof.reference if network is source.network else network.logits(proof.pixels)
    parity = compare(reference, logits)
    acceptance = accept(proof, logits, max_drop)
    missed = missed_class(proof, logits)
    warnings = (*((missed,) if missed else ()), *calibration.warnings)
    manifest = replace(
        made.manifest,
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        views=calibration.views,
        metrics=calibration.metrics | manifest.metrics | {_VERDICT: acceptance.verdict},
        parity=parity.to_json(),
        golden=made.run.golden,
    )
    conversion = Conversion(form, made.model, manifest, parity, acceptance, made.run.invoke_ms, warnings)
    return conversion.with_manifest(manifest)


class _Made(NamedTuple):
    """A file with its manifest entries and its answers on the proof set."""

    model: bytes
    manifest: Manifest
    run: DeviceRun


def _make_tflite(
    network: Network,
    form: Form,
    source: ConversionInput,
    manifest: Manifest,
    show: Callable[[int, int], None],
) -> _Made:
    model = to_corrected_tflite(network, form, source.calibration, manifest)
    ends = input_ends(network, form)
    return _Made(model, manifest, run_on_device(attach(model, manifest), source.proof.pixels, ends, show))


def _make_onnx(
    network: Network,
    form: Form,
    source: ConversionInput,
    manifest: Manifest,
    show: Callable[[int, int], None],
) -> _Made:
    from dermedge.convert.to_onnx.converter import describe_tensors, to_onnx
    from dermedge.convert.to_onnx.runtime import onnx_logits

    model = to_onnx(network, form, source.calibration)
    inputs, outputs = describe_tensors(model)
    digest = hashlib.sha256(model).hexdigest()
    tools = manifest.tools | tool_versions(("onnx", "onnxruntime", "tf2onnx"))
    manifest = replace(manifest, network_sha256=digest, inputs=inputs, outputs=outputs, tools=tools)
    answers = onnx_logits(model, source.proof.pixels, show)
    # There are no golden answers, because these are always computed by LiteRT.
    run = DeviceRun(answers.logits, answers.close_up, answers.invoke_ms, golden={})
    return _Made(model, manifest, run)


def _network_for(source: ConversionInput, form: Form) -> Network:
    if form.kind == INT8_QAT and source.quantization_aware:
        return source.quantization_aware()
    return source.network


def _decided_by(validated_by: Conversion, made: Conversion, draft: Manifest) -> Conversion:
    """Return a file with the temperature, thresholds and metrics of the file that validated its recipe.

    The acceptance is that of the other file. The acceptance on photos that the network was trained on can only refuse
    the file.
    """
    accepted_there = validated_by.acceptance.passed and not made.acceptance.passed
    acceptance = made.acceptance if accepted_there else validated_by.acceptance
    manifest = replace(
        made.manifest,
        temperature=validated_by.manifest.temperature,
        thresholds=validated_by.manifest.thresholds,
        views=validated_by.manifest.views,
        metrics=validated_by.manifest.metrics | draft.metrics | {_VERDICT: acceptance.verdict},
    )
    return replace(made.with_manifest(manifest), acceptance=acceptance, warnings=validated_by.warnings)


def better(conversions: Sequence[Conversion]) -> Conversion:
    """Return one of several files that are equally fast: an accepted one, and among these the most accurate.

    Accuracy means balanced accuracy of the most probable class on the proof set. The manifest of the chosen file
    holds this figure for all files: ``val_balanced_accuracy_argmax_of``, name of the form -> figure.
    """
    best = max(conversions, key=lambda one: (one.acceptance.passed, one.manifest.metrics[_ARGMAX_SCORE]))
    if len(conversions) == 1:
        return best
    figures = {one.form.name: one.manifest.metrics[_ARGMAX_SCORE] for one in conversions}
    metrics = best.manifest.metrics | {f"{_ARGMAX_SCORE}_of": figures}
    return best.with_manifest(replace(best.manifest, metrics=metrics))


def explain(source: ConversionInput, conversion: Conversion) -> list[LayerError]:
    """Measure the loss of each layer of an 8-bit or 16-bit file on some of the calibration images.

    Layers are matched by the names of their tensors; a quantization-aware network keeps few of the float
    network's. The error of the last layer includes the bias correction.
    """
    images = source.calibration[:_EXPLAINED_IMAGES]
    float_model = source.network.float_tflite(conversion.form)
    inputs = list(calibration_inputs(source.network, conversion.form, images))
    return compare_layers(float_model, conversion.model, inputs)

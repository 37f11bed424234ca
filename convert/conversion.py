"""Convert a classifier to one form. This module runs stages 2 to 4 of `dermedge.convert.pipeline`.

Stage 2 (to_tflite or to_onnx) makes the file, stage 3 (calibrate) fits the temperature and the thresholds, and stage 4
(accept) compares the file with its float network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.accept.acceptance import Acceptance, accept
from dermedge.convert.accept.layer_errors import LayerError, compare_layers
from dermedge.convert.accept.network_checks import missed_class, untested_classes
from dermedge.convert.accept.parity import Parity, compare
from dermedge.convert.calibrate.calibration import calibrate
from dermedge.convert.device import DeviceRun, run_on_device
from dermedge.convert.load.conversion_input import ConversionInput, ShowProgress, tool_versions
from dermedge.convert.load.network import Network
from dermedge.convert.to_tflite.bias_correction import to_corrected_tflite
from dermedge.convert.to_tflite.form import INT8_QAT, ONNX_KINDS, Form
from dermedge.convert.to_tflite.pixel_input import calibration_inputs, input_ends
from dermedge.edge.errors import ModelError, StorageError
from dermedge.edge.files import write_bytes
from dermedge.edge.model.associated import attach_file
from dermedge.edge.model.manifest import Manifest, attach

__all__ = ["Conversion", "better", "convert_to_form", "explain"]

# The number of images on which the error of each layer is measured. An image has thousands of activations per layer, so
# a few images are enough.
_EXPLAINED_IMAGES = 12
# The key under which the metrics of a manifest hold the verdict of the acceptance test.
_VERDICT = "acceptance"
_ARGMAX_SCORE = "val_balanced_accuracy_argmax"


@dataclass(frozen=True)
class Conversion:
    """A converted file, and the results of its comparison with the float network.

    Attributes:
        form: the form of the file.
        model: the bytes of the .tflite with its manifest, or the bytes of the ONNX file.
        manifest: the manifest of the file.
        parity: the differences between the logits of the file and the logits of the network that it was made from,
            on the proof set.
        acceptance: the checks that decide whether the file is accepted.
        invoke_ms: the median time of an inference on this machine in ms, measured on the proof set.
        warnings: the warnings for the user, one line each. A warning names a temperature or threshold that was left out
            or is useless, or a critical class that the file never recognizes.
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
        """Whether the file is an ONNX file, whose manifest is a separate file beside it."""
        return self.form.kind in ONNX_KINDS

    @property
    def runtime(self) -> str:
        """The name of the runtime that ran the file, for user-facing text."""
        return "ONNX Runtime" if self.is_onnx else "the device runtime"

    def with_manifest(self, manifest: Manifest) -> Conversion:
        """Return the converted file with another manifest."""
        model = self.model if self.is_onnx else attach(self.model, manifest)
        return replace(self, model=model, manifest=manifest)

    def with_file(self, name: str, content: bytes) -> Conversion:
        """Return the converted file with one more associated file in the .tflite."""
        return replace(self, model=attach_file(self.model, name, content))

    def paths(self, path: Path) -> tuple[Path, ...]:
        """Return the paths that `save` writes: the file and, for ONNX, the manifest beside it."""
        return (path, path.with_suffix(".json")) if self.is_onnx else (path,)

    def save(self, path: Path) -> None:
        """Write the file. The manifest of an ONNX file is written beside it, as JSON.

        If a file cannot be written, no file is left behind.

        Raises:
            StorageError: a file exists already, or cannot be written.
        """
        paths = self.paths(path)
        beside = paths[1:]
        for one in paths:
            if one.exists():
                raise StorageError(f"'{one}' exists already; delete it, or name another with --output")
        for one in beside:
            write_bytes(one, self.manifest.to_json().encode())
        try:
            write_bytes(path, self.model)
        except StorageError:
            for one in beside:
                one.unlink()
            raise


def convert_to_form(
    source: ConversionInput,
    form: Form,
    max_drop: float,
    show_progress: ShowProgress = lambda what: lambda done, total: None,
) -> Conversion:
    """Convert a classifier, fit its temperature and thresholds, and compare it with its float network.

    Some networks were retrained on the training photos and the validation photos together, which leaves no held-out
    photos. For such a network, there is an earlier run with the same settings, which was trained without the validation
    photos. The network of the earlier run is converted to the same form, too. The temperature and the thresholds are
    fitted on the file of the earlier run, and both files must be accepted.

    Args:
        source: the classifier and its photos.
        form: the form of the file.
        max_drop: the largest loss that is accepted, as in `accept`.
        show_progress: a function that gets the name of a task, and returns a function to call with (done, total).

    Raises:
        ModelError: the converter or the device runtime refuses the network, or a logit of the file is not finite.
    """
    if source.validated_by is None:
        return _convert_alone(source, form, max_drop, show_progress)
    validated_by = _convert_alone(source.validated_by, form, max_drop, show_progress)
    made = _convert_alone(source, form, max_drop, show_progress)
    return _decided_by(validated_by, made, source.manifest)


def _convert_alone(
    source: ConversionInput, form: Form, max_drop: float, show_progress: ShowProgress
) -> Conversion:
    """Run stages 2 to 4 for one classifier on its own proof set."""
    proof = source.proof
    network = _network_for(source, form)
    manifest = replace(source.manifest, quantization=form.kind)
    # Stage 2: to_tflite, or to_onnx
    make = _make_onnx if form.kind in ONNX_KINDS else _make_tflite
    made = make(network, form, source, manifest, show_progress(f"proving {form.name}"))
    logits = made.run.logits
    _check_finite(logits)
    # Stage 3: calibrate
    calibration = calibrate(proof, logits, made.run.close_up)
    # Stage 4: accept
    reference = proof.reference if network is source.network else network.logits(proof.pixels)
    parity = compare(reference, logits)
    acceptance = accept(proof, logits, max_drop)
    of_classes = (missed_class(proof, logits), untested_classes(proof))
    warnings = (*(line for line in of_classes if line), *calibration.warnings)
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


def _check_finite(logits: NDArray[np.float64]) -> None:
    """Raise ModelError if a converted file gives logits that are not finite. The acceptance test cannot judge these."""
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise ModelError(
            f"the converted file answers {broken} of {len(logits)} photos with numbers that are not finite; convert to "
            "another format, for example with --float32"
        )


class _Made(NamedTuple):
    """A converted file, its manifest, and its outputs on the proof set."""

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
    # LiteRT computes all golden answers. LiteRT cannot run ONNX files, so an ONNX file has no golden answers.
    run = DeviceRun(answers.logits, answers.close_up, answers.invoke_ms, golden={})
    return _Made(model, manifest, run)


def _network_for(source: ConversionInput, form: Form) -> Network:
    if form.kind == INT8_QAT and source.quantization_aware:
        return source.quantization_aware()
    return source.network


def _decided_by(validated_by: Conversion, made: Conversion, draft: Manifest) -> Conversion:
    """Return the file ``made`` with the temperature, thresholds, metrics and acceptance of ``validated_by``.

    The network of ``made`` was trained on the photos of the proof set, so ``made`` looks better on these photos than it
    is. The network of ``validated_by`` has the same settings, but was trained without these photos. Therefore, the
    acceptance of ``validated_by`` is used. There is one exception: if ``validated_by`` passes and ``made`` does not,
    the acceptance of ``made`` is used.
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
    """Return the best of several files that are equally fast.

    The best file is the most accurate of the accepted files. If none was accepted, it is the most accurate of all
    files. Accuracy means the balanced accuracy of the most probable class on the proof set. If there are several files,
    the metrics in the manifest of the best file get a further key, ``val_balanced_accuracy_argmax_of``. The key holds
    the accuracy of every file, by the name of its form.
    """
    best = max(conversions, key=lambda one: (one.acceptance.passed, one.manifest.metrics[_ARGMAX_SCORE]))
    if len(conversions) == 1:
        return best
    figures = {one.form.name: one.manifest.metrics[_ARGMAX_SCORE] for one in conversions}
    metrics = best.manifest.metrics | {f"{_ARGMAX_SCORE}_of": figures}
    return best.with_manifest(replace(best.manifest, metrics=metrics))


def explain(source: ConversionInput, conversion: Conversion) -> list[LayerError]:
    """Measure the error of each layer of an 8-bit or 16-bit file on some of the calibration images.

    Layers of the float network and of the file are matched by the names of their tensors. Most tensors of a
    quantization-aware network have other names than in the float network, so only a few layers of such a file are
    measured. The error of the last layer includes the effect of the bias correction.
    """
    images = source.calibration[:_EXPLAINED_IMAGES]
    float_model = source.network.float_tflite(conversion.form)
    inputs = list(calibration_inputs(source.network, conversion.form, images))
    return compare_layers(float_model, conversion.model, inputs)

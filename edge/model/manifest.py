"""Reads and writes the manifest of a model file. The manifest is in a zip at the end of the .tflite.

TFLite's own tools also append a zip archive, with associated files such as a file of labels.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dermedge.edge.errors import ModelError
from dermedge.edge.model.label_lines import without_numbers
from dermedge.edge.model.tensors import describe_inputs_and_outputs
from dermedge.edge.model.unpacking import ZIP_ERRORS, unpack
from dermedge.edge.preprocess import PREPROCESSING

__all__ = [
    "CLOSE_UP",
    "LABELS_NAME",
    "MANIFEST_VERSION",
    "Manifest",
    "attach",
    "check_network",
    "digest",
    "read_associated_labels",
    "read_manifest",
    "strip",
]

# This word stands for photos that were taken without a dermatoscope, in the column `view` of a catalogue and as a key
# of `Manifest.views`.
CLOSE_UP = "close-up"
_MANIFEST_NAME = "dermedge.json"
LABELS_NAME = "labels.txt"
MANIFEST_VERSION = 1
# A larger file in the zip is not unpacked. The golden answers of a model with 1,000 classes need about 1 MB.
_MAX_UNPACKED_BYTES = 8 << 20
_MAX_DEPTH = 32
# The digest of a model is computed from pieces of this size, so that the file is never completely in memory.
_PIECE_BYTES = 1 << 20
_TEXT, _TEXT_OR_NULL = (str, "a text"), (str | None, "a text or null")
_LIST, _OBJECT = (list | tuple, "a list"), (dict, "a JSON object")
# Maps the name of a field of the manifest to the types that a value of this field may have, and to the words that name
# these types in error messages.
_TYPES: dict[str, tuple[Any, str]] = {
    "labels": _LIST,
    "input_size": (int, "a whole number"),
    "quantization": _TEXT,
    "architecture": _TEXT,
    "preprocessing": _TEXT,
    "none_label": _TEXT_OR_NULL,
    "metrics": _OBJECT,
    "parity": _OBJECT,
    "tools": _OBJECT,
    "data_digest": _TEXT_OR_NULL,
    "command": _TEXT_OR_NULL,
    "licence": _TEXT_OR_NULL,
    "network_sha256": _TEXT_OR_NULL,
    "inputs": _LIST,
    "outputs": _LIST,
}
# All files in the zip have this time stamp, so that two equal conversions give equal bytes.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
# These patterns match the headers of files in the zip that `attach` writes. A header can be found even if the end of
# the zip is cut off.
_BEGUN_ZIP = re.compile(rb"PK\x03\x04.{26}(labels\.txt|dermedge\.json)", re.DOTALL)
_BEGUN_MANIFEST = re.compile(rb"PK\x03\x04.{26}dermedge\.json", re.DOTALL)


@dataclass(frozen=True)
class Manifest:
    """The description of one model file.

    Attributes:
        labels: the class names, in the order of the outputs.
        input_size: the height or the width of the input in pixels, whichever is smaller.
        quantization: ``float32``, ``float16``, ``dynamic``, ``int16x8``, ``int8-ptq``, ``int8-qat`` or ``int8-mixed``.
            For an ONNX file, it is ``onnx-float32`` or ``onnx-int8``.
        architecture: the name of the network's architecture.
        preprocessing: a description of the steps from a photo to the input. It must equal
            `dermedge.edge.preprocess.PREPROCESSING`.
        none_label: the label that stands for "none of these", or None if there is no such class.
        temperature: the number that divides the logits before the softmax. It was fitted on the validation photos.
        thresholds: the thresholds of the decision, which `dermedge.edge.model.decision` describes. If the dict is
            empty, the answer is the most probable class.
        views: the temperature and thresholds for close-ups, if the model tells close-ups from dermoscopic photos:
            ``{"close-up": {"temperature": T, "thresholds": {...}}}``. The attributes ``temperature`` and ``thresholds``
            are then for dermoscopic photos only. If ``views`` is empty, these two attributes are for all photos.
        metrics: a dict from the name of a metric to its value. The name states the split on which the metric was
            measured. Metrics with ``float`` in their name were measured with Keras, the others with the device
            runtime. ``logit_adjustment`` states how strongly the weights are adjusted for rare classes.
            ``validated_by`` is present if the network has also learned from the validation photos. It names the run
            whose metrics, temperature and thresholds the manifest states.
        parity: a comparison of the file with the Keras model from which it was converted, on the same images.
        data_digest: the SHA-256 of the catalogue of the training photos.
        command: the command that trained the network.
        licence: the licence of the weights.
        tools: the versions of the packages that made the file.
        golden: the outputs for the images of `dermedge.edge.model.golden`, or an empty dict.
        network_sha256: the SHA-256 of the network, which is the part of the file before the zip archive, in
            hexadecimal. `attach` sets it. It is None in the manifests of older versions of dermedge.
        inputs: a description of each input, as `dermedge.edge.model.tensors` makes it. `attach` sets it.
        outputs: a description of each output, in the same format. `attach` sets it.
        version: the version of the format of the manifest.
    """

    labels: tuple[str, ...]
    input_size: int
    quantization: str
    architecture: str = ""
    preprocessing: str = PREPROCESSING
    none_label: str | None = None
    temperature: float = 1.0
    thresholds: dict[str, Any] = field(default_factory=dict)
    views: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    data_digest: str | None = None
    command: str | None = None
    licence: str | None = None
    tools: dict[str, str] = field(default_factory=dict)
    golden: dict[str, Any] = field(default_factory=dict)
    network_sha256: str | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    version: int = MANIFEST_VERSION

    def to_json(self) -> str:
        """Returns the manifest as indented JSON with sorted keys, so that equal manifests give equal bytes.

        Empty ``views`` are left out, so that a manifest without views has the same bytes as in earlier versions of
        dermedge.
        """
        values = asdict(self)
        if not self.views:
            del values["views"]
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path | str) -> Manifest:
        """Parses a manifest. ``source`` names the file in error messages. Unknown keys are ignored.

        Raises:
            ModelError: the text is not a manifest of dermedge, or has a later version than `MANIFEST_VERSION`.
        """
        try:
            values = _part(json.loads(text), "the manifest")
            _check_depth(values)
            _check_version(values.get("version", MANIFEST_VERSION), source)
            _check_required(values)
            known = {one.name for one in fields(cls)}
            manifest = cls(**{key: value for key, value in values.items() if key in known})
            _check_types(manifest)
            labels = tuple(str(label) for label in manifest.labels)
            _check_labels(labels, manifest.none_label)
            _check_temperature(manifest.temperature)
            _check_thresholds(manifest.thresholds, labels, manifest.none_label)
            _check_views(manifest.views, labels, manifest.none_label)
            _part(manifest.golden, "golden")
            return cls(**{**manifest.__dict__, "labels": labels})
        except RecursionError as error:
            raise ModelError(
                f"the manifest in '{source}' is nested too deep; convert the model again"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"the manifest in '{source}' cannot be read ({error}); convert the model again"
            ) from error


def _check_depth(values: Any) -> None:
    """Raises ValueError if objects and lists are nested deeper than any manifest needs."""
    layer = [values]
    for _ in range(_MAX_DEPTH):
        layer = [
            child
            for one in layer
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
    if layer:
        raise ValueError(f"objects and lists are nested more than {_MAX_DEPTH} levels deep")


def _check_version(version: Any, source: Path | str) -> None:
    """Raises ModelError for a later version of the format, in which keys may have a different meaning.

    Raises ValueError if the version is not a whole number of 1 or more.
    """
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"the manifest's version is {version!r:.40}; it must be a whole number of 1 or more")
    if version > MANIFEST_VERSION:
        raise ModelError(
            f"the manifest in '{source}' has version {version}, and this dermedge reads version {MANIFEST_VERSION}; "
            "install a newer dermedge"
        )


def _check_required(values: Mapping[str, Any]) -> None:
    for name in ("labels", "input_size", "quantization"):
        if name not in values:
            raise ValueError(f"the required key '{name}' is missing")


def _check_labels(labels: tuple[str, ...], none_label: str | None) -> None:
    """Raises ValueError if a label is empty, or if ``none_label`` is not one of the labels."""
    if not all(map(str.strip, labels)):
        raise ValueError("one of the labels is empty")
    if none_label is not None and none_label not in labels:
        raise ValueError(f"the none_label is {none_label!r:.40}, which is not a label of the model")


def _check_types(manifest: Manifest) -> None:
    """Raises ValueError if a value does not have the type of its field."""
    for name, (types, must_be) in _TYPES.items():
        value = getattr(manifest, name)
        if isinstance(value, bool) or not isinstance(value, types):
            raise ValueError(f"{name} is {value!r:.40}; it must be {must_be}")


def _check_temperature(temperature: Any) -> None:
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise ValueError(f"the temperature is {temperature!r}; it must be a number above 0")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"the temperature is {temperature}; it must be a finite number above 0")


def _check_thresholds(thresholds: Any, labels: tuple[str, ...], none_label: str | None) -> None:
    """Raises ValueError if `dermedge.edge.model.decision` could not use these thresholds."""
    _part(thresholds, "thresholds")
    if "none" in thresholds:
        _check_probability(thresholds["none"], "none")
        if none_label not in labels:
            raise ValueError(
                f"the thresholds have the key 'none', but the none_label is {none_label!r}, which is not a label of "
                "the model"
            )
    if "uncertain" in thresholds:
        _check_probability(thresholds["uncertain"], "uncertain")
    if "alert" in thresholds:
        alert = _part(thresholds["alert"], "alert")
        _check_probability(alert.get("threshold"), "alert")
        if alert.get("label") not in labels:
            raise ValueError(
                f"the label of the alert is {alert.get('label')!r}, which is not a label of the model"
            )
    if "conformal" in thresholds:
        conformal = _part(thresholds["conformal"], "conformal")
        _check_probability(conformal.get("coverage"), "coverage")
        of_classes = _part(conformal.get("thresholds"), "conformal")
        for label in labels:
            _check_probability(of_classes.get(label), f"conformal of '{label}'")


def _check_views(views: Any, labels: tuple[str, ...], none_label: str | None) -> None:
    """Raises ValueError if the temperature or the thresholds of a view are missing or invalid."""
    for name, values in _part(views, "views").items():
        part = _part(values, f"the view '{name}'")
        _check_temperature(part.get("temperature"))
        _check_thresholds(part.get("thresholds"), labels, none_label)


def _part(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}, which is not a JSON object")
    return value


def _check_probability(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"the threshold {name} is {value!r}; it must be a number from 0 to 1")


def strip(model: bytes) -> bytes:
    """Returns a model's bytes without the zip archive at the end, or all bytes if there is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return model[: _network_bytes(archive, len(model))]
    except ZIP_ERRORS:
        return model


def _network_bytes(archive: zipfile.ZipFile, file_bytes: int) -> int:
    """Returns the number of bytes of the network, which is the part of the file before the zip archive."""
    return min((info.header_offset for info in archive.infolist()), default=file_bytes)


def attach(model: bytes, manifest: Manifest) -> bytes:
    """Appends a zip with the manifest and a label file to a model, and returns the result.

    A zip that the model already has is removed. The SHA-256, the inputs and the outputs of the network are added to the
    manifest.
    """
    network = strip(model)
    inputs, outputs = describe_inputs_and_outputs(network)
    network_sha256 = hashlib.sha256(network).hexdigest()
    manifest = replace(manifest, network_sha256=network_sha256, inputs=inputs, outputs=outputs)
    buffer = io.BytesIO(network)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, text in (
            (LABELS_NAME, "\n".join(manifest.labels) + "\n"),
            (_MANIFEST_NAME, manifest.to_json()),
        ):
            archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), text)
    return buffer.getvalue()


def read_manifest(path: Path | str) -> Manifest | None:
    """Returns the manifest of a .tflite, or None if dermedge did not make the file.

    Raises:
        ModelError: the file is missing, or the manifest is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = unpack(archive, _MANIFEST_NAME, path, _MAX_UNPACKED_BYTES).decode()
    except OSError as error:
        raise ModelError(
            f"cannot read the model '{path}': {error.strerror}; check the path and its permissions"
        ) from error
    except (KeyError, *ZIP_ERRORS) as error:
        # A damaged zip archive must not be mistaken for a model without a manifest. Otherwise, the model would run
        # without the thresholds and the class names in its manifest.
        begun = _BEGUN_MANIFEST if isinstance(error, KeyError) else _BEGUN_ZIP
        if begun.search(Path(path).read_bytes()):
            raise ModelError(
                f"the manifest at the end of '{path}' is cut off or damaged; copy the file again"
            ) from error
        return None
    return Manifest.from_json(text, path)


def check_network(path: Path) -> bool:
    """Compares the SHA-256 of the network with the one that the manifest states.

    Returns True if they are equal. Returns False if there is nothing to compare: the file has no manifest, or the
    manifest states no SHA-256.

    Raises:
        ModelError: the SHA-256 differs from the one that the manifest states, or the manifest is damaged.
    """
    manifest = read_manifest(path)
    if manifest is None or manifest.network_sha256 is None:
        return False
    if manifest.network_sha256 != _network_digest(path):
        raise ModelError(
            f"'{path}' is damaged: the network in the file is not the network that the manifest describes "
            "(the SHA-256 differs); copy the file again, or convert the model again"
        )
    return True


def _network_digest(path: Path) -> str:
    """Returns the SHA-256 of the network, which is the part of the file before the zip archive, in hexadecimal."""
    with zipfile.ZipFile(path) as archive:
        left = _network_bytes(archive, path.stat().st_size)
    made = hashlib.sha256()
    with path.open("rb") as handle:
        while left > 0 and (piece := handle.read(min(left, _PIECE_BYTES))):
            made.update(piece)
            left -= len(piece)
    return made.hexdigest()


def read_associated_labels(path: Path | str) -> tuple[str, ...] | None:
    """Returns the lines of the label file that a .tflite contains, or None if the .tflite has no readable label file.

    TFLite's tools store a label file in a zip archive at the end of the .tflite.

    The label file is ``labels.txt``, or else the first file whose name ends in ``.txt``. A byte order mark and empty
    lines at the end are left out. The encoding is UTF-8, or UTF-16 with a byte order mark. Other bytes become
    replacement characters. If each line begins with its own index, as in ``0 nevus``, the numbers are left out.

    Raises:
        ModelError: the label file is too large, or is compressed with a method that dermedge does not read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".txt")]
            if not names:
                return None
            name = LABELS_NAME if LABELS_NAME in names else names[0]
            content = unpack(archive, name, path, _MAX_UNPACKED_BYTES)
    except (*ZIP_ERRORS, OSError):
        return None
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")
    return without_numbers(text.rstrip().splitlines())


def digest(path: Path | str) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

"""The manifest of a model file, in a zip that is appended to the .tflite like TFLite's associated files."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dermedge.edge.errors import ModelError
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

# A value of the catalogue's column `view`, and the key of `Manifest.views`.
CLOSE_UP = "close-up"
_MANIFEST_NAME = "dermedge.json"
LABELS_NAME = "labels.txt"
MANIFEST_VERSION = 1
# The largest file in the zip that is unpacked, in bytes; golden answers of 1,000 classes take about 1 MB.
_MAX_UNPACKED_BYTES = 8 << 20
_MAX_DEPTH = 32
# Size of the pieces that are read, so that a model is never in memory twice.
_PIECE_BYTES = 1 << 20
_TYPES: dict[str, Any] = {
    "labels": list | tuple,
    "input_size": int,
    "quantization": str,
    "architecture": str,
    "preprocessing": str,
    "none_label": str | None,
    "metrics": dict,
    "parity": dict,
    "tools": dict,
    "data_digest": str | None,
    "command": str | None,
    "licence": str | None,
    "network_sha256": str | None,
    "inputs": list,
    "outputs": list,
}
# A fixed time stamp, so that two equal conversions give equal bytes.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
# The header of the manifest in the zip that `attach` writes. It is still found if the end of the zip is cut off.
_BEGUN_ZIP = re.compile(rb"PK\x03\x04.{26}(labels\.txt|dermedge\.json)", re.DOTALL)
_BEGUN_MANIFEST = re.compile(rb"PK\x03\x04.{26}dermedge\.json", re.DOTALL)


@dataclass(frozen=True)
class Manifest:
    """The description of one model file.

    Attributes:
        labels: class names in the order of the outputs.
        input_size: side of the square input in pixels; the shorter side where it is not square.
        quantization: float32, float16, dynamic, int16x8, int8-ptq, int8-qat or int8-mixed; of ONNX files
            onnx-float32 or onnx-int8.
        architecture: the network's name.
        none_label: the class that stands for "none of these", or None where there is none.
        temperature: divides the logits before the softmax; set on validation.
        thresholds: thresholds of the decision: see `dermedge.edge.model.decision`. If empty, the answer is the most
            probable class.
        views: for a file that tells close-ups from dermoscopic photos: ``{"close-up": {"temperature": T,
            "thresholds": {...}}}``, the values for close-ups. ``temperature`` and ``thresholds`` above are then those
            of dermoscopic photos. If empty, they are those of all photos.
        metrics: figures by name. Each was measured with the device runtime on the split that its key names, or in
            Keras if its key says float. ``logit_adjustment``: how strongly rare classes were adjusted;
            ``validated_by``: the run whose figures, temperature and thresholds these are, if this network has learned
            from the validation photos.
        parity: how the file compares with the Keras model that it was made from, on the same images.
        data_digest: SHA-256 of the catalogue it was trained on.
        command: the command line that trained it.
        licence: licence of the weights.
        tools: versions of the packages that made it.
        golden: its answers to the images of `dermedge.edge.model.golden`, or empty.
        network_sha256: SHA-256 of the file before the zip, in hexadecimal, which `attach` fills in; None in older
            files.
        inputs: inputs of the network, as `dermedge.edge.model.tensors` describes them, which `attach` fills in.
        outputs: the same for the outputs.
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

        Empty views are left out, so that a file without them has the bytes that earlier versions wrote.
        """
        values = asdict(self)
        if not self.views:
            del values["views"]
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path | str) -> Manifest:
        """Parses a manifest; ``source`` names its file in errors. Unknown keys of later versions are ignored.

        Raises:
            ModelError: the text is not a manifest of dermedge, or is one of a later version.
        """
        try:
            values = json.loads(text)
            _check_depth(values)
            _check_version(values.get("version", MANIFEST_VERSION), source)
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
            raise ModelError(f"the manifest in '{source}' is nested too deep; convert it again") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"the manifest in '{source}' cannot be read ({error}); convert it again"
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
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")


def _check_version(version: Any, source: Path | str) -> None:
    """Raises ModelError if a manifest is of a later version, whose keys may mean something else."""
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"its version is {version!r:.40}")
    if version > MANIFEST_VERSION:
        raise ModelError(
            f"the manifest in '{source}' has version {version}, and this dermedge reads version {MANIFEST_VERSION}; "
            "install a newer dermedge"
        )


def _check_labels(labels: tuple[str, ...], none_label: str | None) -> None:
    """Raises ValueError if labels cannot name the outputs, or none of them is ``none_label``."""
    if not all(map(str.strip, labels)):
        raise ValueError("one of its labels is empty")
    if none_label is not None and none_label not in labels:
        raise ValueError(f"it has no such class as its label for none of these: {none_label!r:.40}")


def _check_types(manifest: Manifest) -> None:
    """Raises ValueError if a value does not have the type of its field."""
    for name, types in _TYPES.items():
        value = getattr(manifest, name)
        if isinstance(value, bool) or not isinstance(value, types):
            raise ValueError(f"{name} is {value!r:.40}")


def _check_temperature(temperature: Any) -> None:
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise ValueError(f"the temperature is {temperature!r}, not a number")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"the temperature is {temperature}, not a number above 0")


def _check_thresholds(thresholds: Any, labels: tuple[str, ...], none_label: str | None) -> None:
    """Raises ValueError if `dermedge.edge.model.decision` could not use these thresholds."""
    _part(thresholds, "thresholds")
    if "none" in thresholds:
        _check_probability(thresholds["none"], "none")
        if none_label not in labels:
            raise ValueError(f"it has a threshold for none of these, but no such class: {none_label!r}")
    if "uncertain" in thresholds:
        _check_probability(thresholds["uncertain"], "uncertain")
    if "alert" in thresholds:
        alert = _part(thresholds["alert"], "alert")
        _check_probability(alert.get("threshold"), "alert")
        if alert.get("label") not in labels:
            raise ValueError(f"the alert is for the class {alert.get('label')!r}, which it does not have")
    if "conformal" in thresholds:
        conformal = _part(thresholds["conformal"], "conformal")
        _check_probability(conformal.get("coverage"), "coverage")
        of_classes = _part(conformal.get("thresholds"), "conformal")
        for label in labels:
            _check_probability(of_classes.get(label), f"conformal of '{label}'")


def _check_views(views: Any, labels: tuple[str, ...], none_label: str | None) -> None:
    """Raises ValueError if a view lacks a temperature or thresholds, or has wrong ones."""
    for name, values in _part(views, "views").items():
        part = _part(values, f"the view '{name}'")
        _check_temperature(part.get("temperature"))
        _check_thresholds(part.get("thresholds"), labels, none_label)


def _part(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {value!r}, which is not an object")
    return value


def _check_probability(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"the threshold {name} is {value!r}, not a number of 0 to 1")


def strip(model: bytes) -> bytes:
    """Returns the flatbuffer, without an appended zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return model[: _network_bytes(archive, len(model))]
    except ZIP_ERRORS:
        return model


def _network_bytes(archive: zipfile.ZipFile, file_bytes: int) -> int:
    """Returns how many bytes of a file lie before its zip."""
    return min((info.header_offset for info in archive.infolist()), default=file_bytes)


def attach(model: bytes, manifest: Manifest) -> bytes:
    """Returns the model with the manifest and its labels appended; a manifest that it already had is replaced.

    The manifest gets the SHA-256 of the network, and its inputs and outputs.
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
        ModelError: the file is missing, or its manifest is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = unpack(archive, _MANIFEST_NAME, path, _MAX_UNPACKED_BYTES).decode()
    except OSError as error:
        raise ModelError(f"cannot read the model '{path}': {error.strerror}") from error
    except (KeyError, *ZIP_ERRORS) as error:
        # a file that lost its manifest would answer without thresholds, and with numbers in place of labels
        begun = _BEGUN_MANIFEST if isinstance(error, KeyError) else _BEGUN_ZIP
        if begun.search(Path(path).read_bytes()):
            raise ModelError(f"'{path}' is cut off or damaged in its manifest; copy it again") from error
        return None
    return Manifest.from_json(text, path)


def check_network(path: Path) -> None:
    """Checks the network of a file against the digest in its manifest. A file without a manifest or a digest passes.

    Raises:
        ModelError: the network's bytes are not those that the manifest was written for, or the manifest is damaged.
    """
    manifest = read_manifest(path)
    if manifest is None or manifest.network_sha256 is None:
        return
    if manifest.network_sha256 != _network_digest(path):
        raise ModelError(
            f"'{path}' is damaged: its network is not the one that its manifest was written for "
            "(the SHA-256 differs); copy it again, or convert it again"
        )


def _network_digest(path: Path) -> str:
    """Returns the SHA-256 of the bytes before the zip."""
    with zipfile.ZipFile(path) as archive:
        left = _network_bytes(archive, path.stat().st_size)
    made = hashlib.sha256()
    with path.open("rb") as handle:
        while left > 0 and (piece := handle.read(min(left, _PIECE_BYTES))):
            made.update(piece)
            left -= len(piece)
    return made.hexdigest()


def read_associated_labels(path: Path | str) -> tuple[str, ...] | None:
    """Returns the lines of ``labels.txt`` in a .tflite of any maker, or None.

    Raises:
        ModelError: the unpacked file would be too large for a label file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".txt")]
            if not names:
                return None
            name = LABELS_NAME if LABELS_NAME in names else names[0]
            return tuple(unpack(archive, name, path, _MAX_UNPACKED_BYTES).decode().splitlines())
    except (*ZIP_ERRORS, OSError):
        return None


def digest(path: Path | str) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

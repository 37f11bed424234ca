"""The request for a conversion, and the checks that need no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dermedge.convert.to_tflite.form import MIN_MAX, ONNX_INT8
from dermedge.edge.errors import DataError, MissingExtra, OptionError, StorageError
from dermedge.edge.files import check_writable
from dermedge.train.fit.run_folder import RunFolder

__all__ = ["AIMS", "ONNX", "SEARCH", "ConversionRequest", "check_request"]

SEARCH, ONNX = "search", "onnx"
# The possible aims: a form, the search for the fastest accepted form, or ONNX.
AIMS = ("int8", "int16x8", "float16", "dynamic", "float32", SEARCH, ONNX)
_ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")


@dataclass(frozen=True)
class ConversionRequest:
    """A conversion that was asked for.

    Attributes:
        model: a run folder, or a foreign classifier (a .keras or .h5 file, a SavedModel folder, or a float .tflite).
        aim: one of `AIMS`.
        output: the .tflite or .onnx to write; by default beside the model, with the aim in its name.
        report: the folder to write the report to; by default beside the .tflite.
        command: command line, for manifest and report.
        method: for int8: ``qat``, ``ptq`` or ``auto``, which tries both and delivers the better one.
        ranges: for PTQ: how activation ranges are chosen, as in `Form`.
        float_layers: for int8: the number of worst layers that stay in float, or their names, as in `mixed_form`.
        io: dtype of the input: ``uint8``, ``int8`` or ``float32``.
        max_drop: the loss that each figure may have, as a share.
        delivers_untold: whether a file is delivered if the photos cannot tell whether it is sound.
        critical: the class that must not be missed; melanoma by default, if it is a class.
        calibration_photos: number of calibration photos.
        data: for a foreign classifier: the photos, as in `load_foreign`.
        labels: for a foreign classifier: the labels of its classes.
        size: for a Keras classifier: side of its input in pixels, if it takes any.
        normalization: for a foreign classifier: the normalization, as in `choose_normalization`.
        trusted: for a Keras classifier: whether to load it even if it holds code of its maker, which then runs.
        evidence: for a run: whether the evidence, which the heat map shows, is an output.
        licence: licence of the weights, for the manifest.
    """

    model: Path
    aim: str
    output: Path | None = None
    report: Path | None = None
    command: str = ""
    method: str = "auto"
    ranges: str = MIN_MAX
    float_layers: str | None = None
    io: str = "uint8"
    max_drop: float = 0.01
    delivers_untold: bool = True
    critical: str | None = None
    calibration_photos: int = 200
    data: Path | None = None
    labels: Sequence[str] | None = None
    size: int | None = None
    normalization: str = "auto"
    trusted: bool = False
    evidence: bool = True
    licence: str | None = None

    @property
    def is_run(self) -> bool:
        """Whether the model is a run folder; any other path is a foreign classifier."""
        return self.model.is_dir() and not (self.model / "saved_model.pb").is_file()

    @property
    def is_tflite(self) -> bool:
        """Whether the model is a .tflite file."""
        return self.model.suffix.lower() == ".tflite" and not self.model.is_dir()

    @property
    def target(self) -> Path:
        """The file to write; for ONNX, that of float32."""
        if self.output:
            return self.output
        ending = "float32.onnx" if self.aim == ONNX else f"{self.aim}.tflite"
        if self.is_run:
            config = RunFolder(self.model).config()
            return self.model / f"{config.architecture}-{config.size}-{ending}"
        return self.model.with_name(f"{self.model.stem}-{ending}")

    def target_of(self, kind: str) -> Path:
        """Return the file to write for one kind of form; only ONNX has two kinds."""
        if kind != ONNX_INT8:
            return self.target
        stem = self.target.stem.removesuffix("-float32")
        return self.target.with_name(f"{stem}-int8{self.target.suffix}")

    @property
    def report_folder(self) -> Path:
        """The folder to write the report to."""
        return self.report or self.target.with_name(f"{self.target.stem}-report")


def check_request(request: ConversionRequest) -> None:
    """Check, before any long work, that the options fit together and that the results can be written.

    Raises:
        OptionError: two options do not fit together, or one is missing.
        MissingExtra: packages for ONNX are not installed.
        StorageError: the file or the report exists already, or cannot be written.
        DataError: the run folder cannot be read.
    """
    _check_model_options(request)
    _check_int8_options(request)
    paths = [(request.target, "--output"), (request.report_folder, "--report")]
    if request.aim == ONNX:
        _check_onnx(request)
        files = [request.target, request.target_of(ONNX_INT8)]
        paths += [(one, "--output") for file in files for one in (file, file.with_suffix(".json"))]
    for path, option in paths:
        if path.exists():
            raise StorageError(f"'{path}' exists already; delete it, or name another with {option}")
        check_writable(path.parent)


def _check_model_options(request: ConversionRequest) -> None:
    if request.is_run and not (request.model / "config.json").is_file():
        raise DataError(f"'{request.model}' holds neither a run of dermedge train nor a SavedModel")
    if request.is_run:
        _refuse_options(
            {
                "--data": request.data is not None,
                "--labels": request.labels is not None,
                "--normalization": request.normalization != "auto",
            },
            f"is for a Keras classifier or a .tflite; the run '{request.model}' has its own",
        )
        _refuse_options(
            {"--imgsz": request.size is not None, "--trust": request.trusted},
            f"is for a Keras classifier, and '{request.model}' is a run",
        )
    elif request.data is None:
        raise OptionError(
            f"'{request.model}' is not a run folder of dermedge train; a Keras classifier or a .tflite needs --data, "
            "a folder per class, a table of labels (path,label) or a catalogue.csv, to calibrate and prove it"
        )
    else:
        _refuse_options({"--no-evidence": not request.evidence}, "is for a run")
    if request.is_tflite:
        _refuse_options(
            {"--imgsz": request.size is not None, "--trust": request.trusted},
            f"is for a Keras classifier, and '{request.model}' is a .tflite",
        )
        if request.aim == "dynamic":
            raise OptionError(
                "--dynamic is for a run or a Keras classifier; use --int8 or --float16 for a .tflite"
            )


def _refuse_options(given: dict[str, bool], reason: str) -> None:
    used = next((option for option, is_given in given.items() if is_given), None)
    if used:
        raise OptionError(f"{used} {reason}")


def _check_onnx(request: ConversionRequest) -> None:
    if request.io != "uint8":
        raise OptionError(f"--io {request.io} is for a .tflite; an ONNX file takes float32 pixel values")
    missing = next((name for name in _ONNX_PACKAGES if find_spec(name) is None), None)
    if missing:
        raise MissingExtra(missing, "onnx")


def _check_int8_options(request: ConversionRequest) -> None:
    if request.float_layers and request.aim != "int8":
        raise OptionError("--float-layers is for --int8")
    if request.float_layers and request.method == "qat":
        raise OptionError("--float-layers needs calibrated ranges: use --method ptq")
    if request.method == "qat" and not request.is_run:
        raise OptionError(
            "--method qat needs a run with a QAT stage; use --method ptq for any other classifier"
        )

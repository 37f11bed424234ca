"""Define the request for a conversion, and make those checks of the request that do not need TensorFlow."""

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
# The possible values of `ConversionRequest.aim`: a number format, the search for an accepted file, or ONNX.
AIMS = ("int8", "int16x8", "float16", "dynamic", "float32", SEARCH, ONNX)
_ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")


@dataclass(frozen=True)
class ConversionRequest:
    """What the user asks a conversion to do.

    A foreign classifier is one that dermedge did not train.

    Attributes:
        model: a run folder, or a foreign classifier (a .keras or .h5 file, a SavedModel folder, or a float .tflite).
        aim: one of `AIMS`.
        output: the path of the .tflite or .onnx to write. By default, the file of a run is written into the run
            folder, and the file of any other model is written beside the model. The file name then contains the aim.
        report: the folder to write the report to. By default, it is a folder beside the .tflite or .onnx.
        command: the command line, for the manifest and the report.
        method: how an int8 file is quantized: ``qat``, ``ptq`` or ``auto``. With ``auto``, both methods are tried, and
            the better file is written.
        ranges: how the ranges of activations are chosen for ``ptq``, as in `Form`.
        float_layers: the layers of an int8 file that stay in float, as in `mixed_form`: the number of worst layers, or
            a list of names.
        io: the dtype of the input: ``uint8``, ``int8`` or ``float32``.
        max_drop: the largest loss that is accepted in each metric, where 0.01 is one percentage point.
        delivers_untold: whether a file with the verdict ``cannot tell`` is written.
        critical: the class that must not be missed. By default, it is melanoma, if the model has that class.
        calibration_photos: the number of calibration photos.
        data: the photos of a foreign classifier, as in `load_foreign`.
        labels: the labels of the classes of a foreign classifier.
        size: the width and the height of the input in pixels, for a Keras classifier that accepts any size.
        normalization: the normalization of a foreign classifier, as in `choose_normalization`.
        trusted: whether to load a Keras classifier even if it holds Python code. The code then runs on this machine.
        evidence: whether the evidence, from which heat maps are made, is an output of the file. This can be False only
            if ``model`` is a run folder.
        licence: the licence of the weights, for the manifest.
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
        """Whether the model is a run folder. Any other model is a foreign classifier."""
        return self.model.is_dir() and not (self.model / "saved_model.pb").is_file()

    @property
    def is_tflite(self) -> bool:
        """Whether the model is a .tflite file."""
        return self.model.suffix.lower() == ".tflite" and not self.model.is_dir()

    @property
    def named_model(self) -> Path:
        """The path of the model. A relative path without a name, such as ``.``, is replaced by the absolute path."""
        return self.model.resolve() if self.model.name in ("", "..") else self.model

    @property
    def target(self) -> Path:
        """The path of the file to write. For ONNX, it is the path of the float32 file."""
        if self.output:
            return self.output
        ending = "float32.onnx" if self.aim == ONNX else f"{self.aim}.tflite"
        if self.is_run:
            config = RunFolder(self.model).config()
            return self.model / f"{config.architecture}-{config.size}-{ending}"
        return self.named_model.with_name(f"{self.named_model.stem}-{ending}")

    def target_of(self, kind: str) -> Path:
        """Return the path of the file to write: `target`, or a path beside `target` if ``kind`` is int8 ONNX."""
        if kind != ONNX_INT8:
            return self.target
        stem = self.target.stem.removesuffix("-float32")
        return self.target.with_name(f"{stem}-int8{self.target.suffix}")

    @property
    def report_folder(self) -> Path:
        """The folder to write the report to."""
        return self.report or self.target.with_name(f"{self.target.stem}-report")


def check_request(request: ConversionRequest) -> None:
    """Check that the options fit together and that the results can be written. The checks precede any long work.

    Raises:
        OptionError: an option is missing, or does not fit the model or another option.
        MissingExtra: a package for ONNX is not installed.
        StorageError: the file or the report exists already, or cannot be written.
        DataError: the run folder cannot be read.
    """
    _check_model_options(request)
    _check_int8_options(request)
    files = [request.target]
    if request.aim == ONNX:
        _check_onnx(request)
        models = (request.target, request.target_of(ONNX_INT8))
        files = [one for model in models for one in (model, model.with_suffix(".json"))]
    _check_apart(files, request.report_folder)
    for path, option in [*((one, "--output") for one in files), (request.report_folder, "--report")]:
        if path.exists():
            raise StorageError(f"'{path}' exists already; delete it, or name another with {option}")
        check_writable(path.parent)


def _check_apart(files: Sequence[Path], report: Path) -> None:
    """Raise OptionError if two files would have the same path, or if the report would be at the path of a file."""
    used = [_identity(path) for path in files]
    if len(set(used)) < len(used):
        raise OptionError(
            f"--output '{files[0]}' is also the path of the manifest of the ONNX file; choose a name that ends in .onnx"
        )
    if any(path in used for path in (_identity(report), *_identity(report).parents)):
        raise OptionError(
            f"--report '{report}' is at the path of a file that --output writes; choose another folder for the report"
        )


def _identity(path: Path) -> Path:
    """Return a path for comparisons. It has no links and no capital letters, because some file systems ignore case."""
    return Path(str(path.resolve()).casefold())


def _check_model_options(request: ConversionRequest) -> None:
    if request.is_run and not (request.model / "config.json").is_file():
        raise DataError(
            f"'{request.model}' holds neither a run of dermedge train nor a SavedModel; name the folder of a run, or "
            "the folder that holds saved_model.pb"
        )
    if request.is_run:
        _refuse_options(
            {
                "--data": request.data is not None,
                "--labels": request.labels is not None,
                "--normalization": request.normalization != "auto",
            },
            f"is for a Keras classifier or a .tflite, and '{request.model}' is a run; leave the option out",
        )
        _refuse_options(
            {"--imgsz": request.size is not None, "--trust": request.trusted},
            f"is for a Keras classifier, and '{request.model}' is a run; leave the option out",
        )
    elif request.data is None:
        raise OptionError(
            f"'{request.model}' is not a run folder of dermedge train; any other classifier needs labelled photos: "
            "with --data, give a folder per class, a table of labels (path,label) or a catalogue.csv"
        )
    else:
        _refuse_options({"--no-evidence": not request.evidence}, "is for a run; leave the option out")
    if request.is_tflite:
        _refuse_options(
            {"--imgsz": request.size is not None, "--trust": request.trusted},
            f"is for a Keras classifier, and '{request.model}' is a .tflite; leave the option out",
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
        raise OptionError(
            f"--io {request.io} is for a .tflite; leave --io out, because an ONNX file always has float32 input"
        )
    missing = next((name for name in _ONNX_PACKAGES if find_spec(name) is None), None)
    if missing:
        raise MissingExtra(missing, "onnx")


def _check_int8_options(request: ConversionRequest) -> None:
    for_ptq = {"--float-layers": request.float_layers is not None, "--ranges": request.ranges != MIN_MAX}
    if request.aim != "int8":
        _refuse_options(
            {**for_ptq, "--method": request.method != "auto"},
            "is for --int8; use --int8, or leave the option out",
        )
    if request.method == "qat":
        _refuse_options(for_ptq, "does not work with --method qat; use --method ptq")
    if request.method == "qat" and not request.is_run:
        raise OptionError(
            "--method qat needs a run with a QAT stage; use --method ptq for any other classifier"
        )

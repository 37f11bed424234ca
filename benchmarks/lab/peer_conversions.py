"""Converts a .tflite file to the formats of runtimes that cannot open it.

The programs for the conversions are installed in separate Python environments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dermedge.benchmarks.child import ROOT, run_program

__all__ = ["TO_NCNN", "TO_ONNX", "PeerConversion"]

# The newest ONNX opset that tf2onnx writes correctly. It supports one quantization scale per channel.
_ONNX_OPSET = "17"
_CUT = "dermedge.benchmarks.lab.children.cut_onnx"


@dataclass(frozen=True)
class PeerConversion:
    """The conversion of a .tflite file to the file that another runtime opens.

    Attributes:
        locks: names of the lock files of the environments whose programs are needed.
        run: a function with three arguments: the .tflite file, a folder for new files, and a mapping from the name of a
            lock file to the Python program of the environment. It returns the file to open. If a program fails, the
            function raises ToolError with the message of the program.
    """

    locks: tuple[str, ...]
    run: Callable[[Path, Path, Mapping[str, Path]], Path]


def _to_onnx(model: Path, folder: Path, pythons: Mapping[str, Path]) -> Path:
    """Returns an ONNX file in the QDQ format: QuantizeLinear and DequantizeLinear nodes mark the int8 tensors."""
    return _tf2onnx(model, folder / f"{model.stem}.onnx", pythons)


def _to_ncnn(model: Path, folder: Path, pythons: Mapping[str, Path]) -> Path:
    """Returns the ``.param`` file of a float32 network with the weights of the .tflite file.

    The folder of the ``.param`` file also holds the ``.bin`` file of the network, and a ``.json`` file with the
    normalization.
    """
    float_onnx = _tf2onnx(model, folder / "float.onnx", pythons, "--dequantize")
    cut = folder / "cut.onnx"
    environment = {"PYTHONPATH": str(ROOT)}
    run_program([pythons["tf2onnx"], "-m", _CUT, float_onnx, cut], "cut_onnx", environment=environment)
    # the Python module of pnnx needs PyTorch; the program in the package does not, so the program is run directly
    [pnnx] = pythons["pnnx"].parents[1].glob("lib/python*/site-packages/pnnx/pnnx")
    run_program([pnnx, cut, "fp16=0"], "pnnx")
    return cut.with_suffix(".ncnn.param")


def _tf2onnx(model: Path, made: Path, pythons: Mapping[str, Path], *options: str) -> Path:
    convert: list[str | Path] = [
        pythons["tf2onnx"],
        "-m",
        "tf2onnx.convert",
        "--opset",
        _ONNX_OPSET,
        *options,
    ]
    run_program([*convert, "--tflite", model, "--output", made], "tf2onnx")
    return made


TO_ONNX = PeerConversion(("tf2onnx",), _to_onnx)
TO_NCNN = PeerConversion(("tf2onnx", "pnnx"), _to_ncnn)

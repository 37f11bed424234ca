"""Converts a .tflite to the formats of peers that cannot open it, with programs from other environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dermedge.benchmarks.child import ROOT, run_program

__all__ = ["TO_NCNN", "TO_ONNX", "PeerConversion"]

# The newest opset that tf2onnx writes correctly; it supports scales per channel.
_ONNX_OPSET = "17"
_CUT = "dermedge.benchmarks.lab.children.cut_onnx"


@dataclass(frozen=True)
class PeerConversion:
    """The conversion of a .tflite to the file of a peer.

    Attributes:
        locks: locks of the environments whose programs convert.
        run: takes the .tflite, a folder for new files, and the Python programs of the environments by lock; returns
            the file to open. It raises ToolError, with the message of the program that failed.
    """

    locks: tuple[str, ...]
    run: Callable[[Path, Path, Mapping[str, Path]], Path]


def _to_onnx(model: Path, folder: Path, pythons: Mapping[str, Path]) -> Path:
    """Returns an ONNX file with int8 weights and activations between Q and DQ nodes."""
    return _tf2onnx(model, folder / f"{model.stem}.onnx", pythons)


def _to_ncnn(model: Path, folder: Path, pythons: Mapping[str, Path]) -> Path:
    """Returns the ``.param`` of a float32 network with the weights of the .tflite; its ``.bin`` and ``.json`` lie
    beside it.
    """
    float_onnx = _tf2onnx(model, folder / "float.onnx", pythons, "--dequantize")
    cut = folder / "cut.onnx"
    environment = {"PYTHONPATH": str(ROOT)}
    run_program([pythons["tf2onnx"], "-m", _CUT, float_onnx, cut], "cut_onnx", environment=environment)
    # its Python package needs PyTorch, but the program in the package does not
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

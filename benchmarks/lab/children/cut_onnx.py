"""Cuts the classifier out of an ONNX file that `tf2onnx --dequantize` made from a quantized .tflite file.

    python -m dermedge.benchmarks.lab.children.cut_onnx MODEL.onnx CUT.onnx

The remaining network takes normalized images, float32 [1, 3, s, s], and returns probabilities, float32 [1, K]. CUT.json
holds the normalization, which is (pixel value - mean) * scale, and the input size s in pixels.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import numpy_helper, shape_inference
from onnx.utils import Extractor

__all__ = ["cut", "main"]


def main(argv: Sequence[str]) -> int:
    """Writes CUT.onnx and CUT.json; returns the exit status."""
    source, made = map(Path, argv)
    classifier, normalization = cut(onnx.load(source))
    onnx.save(classifier, made)
    made.with_suffix(".json").write_text(json.dumps(normalization))
    return 0


def cut(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, float]]:
    """Returns the part of a network from the output of the first transposition to the softmax.

    Args:
        model: the network that tf2onnx made. It normalizes images, transposes them, and ends with a softmax.

    Returns:
        The part of the network; and a dict with ``mean``, ``scale`` and ``side`` for the input of the part.
    """
    nodes = {kind: _first(model.graph, kind) for kind in ("Sub", "Mul", "Transpose", "Softmax")}
    constants = {
        one.name: float(numpy_helper.to_array(one)) for one in model.graph.initializer if not one.dims
    }
    part = Extractor(shape_inference.infer_shapes(model)).extract_model(
        [nodes["Transpose"].output[0]], [nodes["Softmax"].output[0]]
    )
    mean, scale = (constants[nodes[kind].input[1]] for kind in ("Sub", "Mul"))
    side = part.graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    return part, {"mean": mean, "scale": scale, "side": side}


def _first(graph: onnx.GraphProto, kind: str) -> onnx.NodeProto:
    found = next((node for node in graph.node if node.op_type == kind), None)
    if found is None:
        raise SystemExit(
            f"the network has no {kind} node; give the ONNX file of a quantized classifier with softmax"
        )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

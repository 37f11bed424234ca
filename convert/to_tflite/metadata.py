"""Write TFLite Metadata, from which MediaPipe, Netron and code generators read inputs and labels.

The metadata are a flatbuffer with the tables that an image classifier needs. The slot numbers of the fields come from
metadata_schema.fbs, version 1.5.0, the schema of TensorFlow Lite Support and MediaPipe. All fields that are written
here have existed since version 1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from dermedge import DISCLAIMER
from dermedge.convert.to_tflite.share_buffers import pack
from dermedge.edge.model.manifest import LABELS_NAME, Manifest, strip
from dermedge.edge.model.signature import output_places

__all__ = ["metadata", "normalization", "with_metadata"]

_METADATA_NAME = "TFLITE_METADATA"
_METADATA_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
# The numbers that metadata_schema.fbs, the schema of TFLite Metadata, assigns to members of enumerations and unions.
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_RGB, _GRAYSCALE = 1, 2
_NORMALIZATION_OPTIONS = 1
_TENSOR_AXIS_LABELS = 2
# An int8 input expects the pixel value minus this number.
_INT8_OFFSET = 128


def with_metadata(model: bytes, manifest: Manifest) -> bytes:
    """Write the metadata into a .tflite, and make the probabilities the first output. Old metadata are replaced.

    Call `dermedge.edge.model.manifest.attach` afterwards. It writes the labels into a zip archive behind the
    flatbuffer.

    Args:
        model: a .tflite whose input is pixel values.
        manifest: the manifest whose labels, architecture, size and licence are written.
    """
    root = schema.ModelT.InitFromPackedBuf(strip(model), 0)
    graph = root.subgraphs[0]
    # The probabilities come first, because MediaPipe reports every output, and its users usually read only the first.
    outputs = {name: graph.outputs[place] for name, place in _places(graph).items()}
    graph.outputs = np.array(list(outputs.values()), np.int32)
    content = metadata(graph.tensors[graph.inputs[0]], list(outputs), manifest)
    _buffer(root).data = np.frombuffer(content, np.uint8)
    return pack(root)


def _places(graph: Any) -> dict[str, int]:
    """Return a dict from the name of each output to its position in the file. The probabilities come first."""
    places = output_places([graph.tensors[index].shape.tolist() for index in graph.outputs])
    assert places is not None, "every converted network has the outputs of a classifier"
    return places


def metadata(pixels: Any, outputs: Sequence[str], manifest: Manifest) -> bytes:
    """Return the metadata as a flatbuffer.

    Args:
        pixels: the input tensor, a schema ``TensorT``.
        outputs: the names of the outputs in the order of the file. `dermedge.edge.model.signature.output_places` lists
            the possible names.
        manifest: the manifest of the model.
    """
    builder = flatbuffers.Builder(1024)
    labels = _table(
        builder,
        {
            0: _text(builder, LABELS_NAME),
            1: _text(builder, "The classes, one a line, in the outputs' order."),
        },
        {2: _TENSOR_AXIS_LABELS},
    )
    describe = {
        "probabilities": lambda: _probabilities(builder, labels, manifest),
        "evidence": lambda: _evidence(builder),
        "close_up": lambda: _close_up(builder),
    }
    described = [describe[name]() for name in outputs]
    subgraph = _table(
        builder, {2: _vector(builder, [_pixels(builder, pixels)]), 3: _vector(builder, described)}
    )
    fields = {
        0: _text(builder, f"dermedge {manifest.architecture} {manifest.input_size}"),
        1: _text(builder, f"Classifies images. {DISCLAIMER}"),
        3: _vector(builder, [subgraph]),
        7: _text(builder, _PARSER_VERSION),
    }
    if manifest.licence:
        fields[5] = _text(builder, manifest.licence)
    builder.Finish(_table(builder, fields), _METADATA_IDENTIFIER)
    return bytes(builder.Output())


def normalization(pixels: Any) -> tuple[float, float]:
    """Return the mean and the standard deviation of the normalization (p - mean) / std of a pixel p of 0 to 255.

    The schema demands the normalization of the float network, even if the input is quantized. Normalization followed by
    quantization gives the original pixel value again. MediaPipe ignores the normalization of a uint8 input, and passes
    the pixel values on unchanged.

    If the input is not quantized, the graph itself normalizes the pixel values. Then the result is (0, 1), which means
    that the caller must not normalize the pixel values.
    """
    quantization = pixels.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        return 0.0, 1.0
    offset = _INT8_OFFSET if pixels.type == schema.TensorType.INT8 else 0
    return float(quantization.zeroPoint[0]) + offset, round(1 / float(quantization.scale[0]), 4)


def _pixels(builder: flatbuffers.Builder, tensor: Any) -> int:
    mean, std = normalization(tensor)
    normalized = _table(builder, {0: _floats(builder, [mean]), 1: _floats(builder, [std])})
    unit = _table(builder, {1: normalized}, {0: _NORMALIZATION_OPTIONS})
    colours = _GRAYSCALE if tensor.shape[-1] == 1 else _RGB
    content = _table(builder, {1: _table(builder, {}, {0: colours})}, {0: _IMAGE_PROPERTIES})
    range_of_pixels = _table(builder, {0: _floats(builder, [255.0]), 1: _floats(builder, [0.0])})
    return _table(
        builder,
        {
            0: _text(builder, "pixels"),
            1: _text(builder, "The centre square of a photo: RGB or gray pixel values of 0 to 255."),
            3: content,
            4: _vector(builder, [unit]),
            5: range_of_pixels,
        },
    )


def _probabilities(builder: flatbuffers.Builder, labels: int, manifest: Manifest) -> int:
    # The description also names the classes, because Netron shows descriptions but no label files.
    classes = ", ".join(manifest.labels)
    return _table(
        builder,
        {
            0: _text(builder, "probabilities"),
            1: _text(
                builder, f"Probabilities before temperature and thresholds. The classes are: {classes}."
            ),
            3: _feature(builder),
            6: _vector(builder, [labels]),
        },
    )


def _evidence(builder: flatbuffers.Builder) -> int:
    return _table(
        builder,
        {
            0: _text(builder, "evidence"),
            1: _text(
                builder,
                "The logits at each position. Their mean over all rows and columns is the logits of the photo.",
            ),
            3: _feature(builder),
        },
    )


def _close_up(builder: flatbuffers.Builder) -> int:
    return _table(
        builder,
        {
            0: _text(builder, "close_up"),
            1: _text(builder, "The probability that the photo is a close-up, taken without a dermatoscope."),
            3: _feature(builder),
        },
    )


def _feature(builder: flatbuffers.Builder) -> int:
    return _table(builder, {1: _table(builder, {})}, {0: _FEATURE_PROPERTIES})


def _table(
    builder: flatbuffers.Builder, offsets: Mapping[int, int], numbers: Mapping[int, int] | None = None
) -> int:
    """Write a table, and return its offset.

    A field is given by its slot, which is the number of the field in the schema. ``offsets`` maps a slot to the offset
    of an object that was written before. ``numbers`` maps a slot to a value of one byte.
    """
    numbers = numbers or {}
    builder.StartObject(max([*offsets, *numbers], default=-1) + 1)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in numbers.items():
        builder.PrependUint8Slot(slot, number, 0)
    return builder.EndObject()


def _text(builder: flatbuffers.Builder, text: str) -> int:
    return builder.CreateString(text)


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> int:
    return builder.CreateNumpyVector(np.array(values, np.float32))


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _buffer(root: Any) -> Any:
    """Return the buffer that holds the metadata of a ``ModelT``. If there are no metadata, add an empty buffer."""
    for entry in root.metadata or []:
        if entry.name == _METADATA_NAME.encode():
            return root.buffers[entry.buffer]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = _METADATA_NAME, len(root.buffers)
    root.metadata = [*(root.metadata or []), entry]
    root.buffers.append(buffer)
    return buffer

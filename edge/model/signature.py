"""Checks that a .tflite is an image classifier, and finds its tensors and labels."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dermedge.edge.errors import ModelError, ModelWarning, OptionError
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest, read_associated_labels
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS, Normalization
from dermedge.edge.model.runtime import Interpreter
from dermedge.edge.preprocess import PREPROCESSING, ZERO_POINT

__all__ = [
    "OutputDetails",
    "check_manifest",
    "find_input",
    "find_labels",
    "find_normalization",
    "find_outputs",
    "output_places",
]

_INPUT_DTYPES = (np.uint8, np.int8, np.int16, np.float32)
_OUTPUT_DTYPES = (*_INPUT_DTYPES, np.float16, np.float64)

# A zero point counts as usual if it differs by at most this many levels from a usual one. The range of the calibration
# photos shifts a zero point a little.
_ZERO_POINT_TOLERANCE = 4
_TWO_CLASSES = ("negative", "positive")


def find_input(interpreter: Interpreter, path: Path) -> tuple[dict[str, Any], Layout]:
    """Returns the details of the input tensor, and its layout. ``path`` names the model in error messages.

    Raises:
        ModelError: the network has several inputs, or the input is not an image of a fixed size and a known type.
    """
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        names = ", ".join(str(one["name"]) for one in inputs)
        raise _not_a_classifier(path, f"it has {len(inputs)} inputs ({names}); an image classifier has one")
    [pixels] = inputs
    shape, dtype = [int(n) for n in pixels["shape"]], np.dtype(pixels["dtype"])
    if -1 in [int(n) for n in pixels["shape_signature"]][1:]:
        raise ModelError(
            f"'{path}' does not fix the size of its input ({pixels['shape_signature'].tolist()}); "
            "export it with a fixed height and width"
        )
    layout = Layout.of_shape(shape)
    if layout is None:
        kind = " (word indices, as the input of a text network)" if dtype in (np.int32, np.int64) else ""
        raise _not_a_classifier(
            path, f"its input is {dtype.name} {shape}{kind}, not an image of 1 or 3 channels"
        )
    if dtype not in _INPUT_DTYPES:
        known = ", ".join(np.dtype(one).name for one in _INPUT_DTYPES)
        raise ModelError(
            f"the input of '{path}' is {dtype.name}, but dermedge needs an input of one of these types: {known}; "
            "export the model with one of them"
        )
    return pixels, layout


@dataclass(frozen=True)
class OutputDetails:
    """The outputs of a classifier, as the runtime describes them.

    Attributes:
        probabilities: the output [N, K]. If it is the only output, it may also be [N, 1, 1, K].
        evidence: the output [N, h, w, K], or None if there is none. It is also None if K is 1, because evidence is
            compared between classes. Such an output is a map, as a segmentation network has.
        close_up: the output [N, 1], the probability that the photo is a close-up, or None if there is none.
    """

    probabilities: dict[str, Any]
    evidence: dict[str, Any] | None = None
    close_up: dict[str, Any] | None = None


def find_outputs(interpreter: Interpreter, path: Path) -> OutputDetails:
    """Returns the outputs of a classifier, which `output_places` recognizes by their shapes.

    Raises:
        ModelError: the shapes or the types of the outputs are not those of a classifier.
    """
    outputs = interpreter.get_output_details()
    shapes = [one["shape"].tolist() for one in outputs]
    places = output_places(shapes)
    if places is None:
        told = f"{', '.join(map(str, shapes)) or 'none'}{_kind_of(shapes)}"
        raise _not_a_classifier(
            path, f"the shapes of its outputs are {told}; a classifier has one output of the shape [1, K]"
        )
    found = OutputDetails(**{name: outputs[place] for name, place in places.items()})
    if found.evidence and found.evidence["shape"][-1] != found.probabilities["shape"][-1]:
        evidence, flat = (one["shape"].tolist() for one in (found.evidence, found.probabilities))
        what = f"two of its outputs, {flat} and {evidence}, differ in the number of classes"
        raise _not_a_classifier(path, what)
    dtype = np.dtype(found.probabilities["dtype"])
    if dtype not in _OUTPUT_DTYPES:
        flat = found.probabilities["shape"].tolist()
        raise _not_a_classifier(path, f"its output {flat} is {dtype.name}, which holds no probabilities")
    return replace(found, evidence=None) if found.evidence and found.evidence["shape"][-1] == 1 else found


def output_places(shapes: Sequence[Sequence[int]]) -> dict[str, int] | None:
    """Returns a dict from the name of each output to its index. Returns None if no classifier has these shapes.

    The output [N, K] is ``probabilities``. If it is the only output, it may also be [N, 1, 1, K]. The output
    [N, h, w, K] is ``evidence``. If there are probabilities of several classes, a further output [N, 1] is
    ``close_up``. edge/phone/page/network.js implements the same rules.
    """
    if len(shapes) == 1 and len(shapes[0]) == 4 and list(shapes[0][1:3]) == [1, 1]:
        return {"probabilities": 0}
    flat = [place for place, shape in enumerate(shapes) if len(shape) == 2]
    maps = [place for place, shape in enumerate(shapes) if len(shape) == 4]
    close_up = [place for place in flat if shapes[place][1] == 1] if len(flat) == 2 else []
    rest = [place for place in flat if place not in close_up]
    if len(close_up) > 1 or len(rest) != 1 or len(maps) > 1 or len(flat) + len(maps) != len(shapes):
        return None
    found = {"probabilities": rest, "evidence": maps, "close_up": close_up}
    return {name: places[0] for name, places in found.items() if places}


def find_normalization(
    path: Path, pixels: dict[str, Any], layout: Layout, given: str | None
) -> Normalization | None:
    """Returns the normalization for a file without a manifest.

    It is ``given`` or, if ``given`` is None, the normalization in the file's metadata.

    Returns None if the network expects pixel values that are not normalized. There are three such cases:

    - The input is uint8 and not quantized.
    - The input is uint8 and quantized, and ``given`` is None. TFLite's own task libraries have the same rule.
    - The input is int8, ``given`` is None, and the metadata states no normalization. The network then expects pixel
      values minus 128.

    In the last two cases, the answers are right if the network was trained with one mean and one standard deviation for
    all channels. If the zero point suggests that it was not, a `ModelWarning` is issued.

    Args:
        path: path of the model.
        pixels: the details of the input tensor.
        layout: the layout of the input tensor.
        given: a key of `NORMALIZATIONS`, or None. It is ignored if the input is uint8 and not quantized.

    Raises:
        OptionError: ``given`` is unknown, or this normalization does not fit a gray input. This error is also raised if
            the network needs a normalization, but ``given`` is None and the file states none.
        ModelError: the metadata of the file states an impossible normalization.
    """
    known = ", ".join(FOREIGN)
    if given is not None and given not in NORMALIZATIONS:
        raise OptionError(f"--normalization is '{given}', which is unknown. Known: {known}")
    dtype = np.dtype(pixels["dtype"])
    if given is not None and not (dtype == np.uint8 and not pixels["quantization"][0]):
        return _fitting(path, NORMALIZATIONS[given], layout)
    if dtype == np.uint8:
        _warn_of_normalization(path, pixels)
        return None
    facts = read_facts(path)
    if facts.mean or facts.std:
        return _stated(path, facts.mean, facts.std)
    if dtype == np.int8:
        _warn_of_normalization(path, pixels)
        return None
    raise OptionError(
        f"the input of '{path}' is {dtype.name}, and the file does not say how pixels are normalized. "
        f"Give --normalization: {known}. With labelled photos, find the right one with: "
        f"dermedge evaluate '{path}' --data PHOTOS --normalization auto"
    )


def _warn_of_normalization(path: Path, pixels: dict[str, Any]) -> None:
    """Issues a `ModelWarning` if the zero point of a quantized input is not a usual one.

    The zero point is the level of the value 0. If pixels are scaled to 0 to 1, or not at all, it is the lowest level.
    If they are scaled to -1 to 1, it is in the middle. With the means of ImageNet, it is about 114 of 255.
    """
    scale, zero_point = pixels["quantization"]
    level = zero_point - np.iinfo(pixels["dtype"]).min
    if not scale or min(abs(level), abs(level - ZERO_POINT)) <= _ZERO_POINT_TOLERANCE:
        return
    warnings.warn(
        f"the input of '{path}' has the zero point {zero_point}, as if the network expected normalized pixels such as "
        f"those of ImageNet; without --normalization, the answers may be wrong. With labelled photos, find the right "
        f"normalization with: dermedge evaluate '{path}' --data PHOTOS --normalization auto",
        ModelWarning,
        stacklevel=3,
    )


def _fitting(path: Path, normalization: Normalization, layout: Layout) -> Normalization:
    if layout.channels == 1 and not normalization.is_affine:
        raise OptionError(
            f"--normalization {normalization.name} is for colour images, and the input of '{path}' is gray. "
            f"Known for gray: {', '.join(name for name in FOREIGN if NORMALIZATIONS[name].is_affine)}"
        )
    return normalization


def _stated(path: Path, mean: Sequence[float], std: Sequence[float]) -> Normalization:
    """Returns the normalization that a file's metadata states.

    ``mean`` and ``std`` have one number for all channels, or one number for each channel.
    """
    means, stds = (tuple(one) * 3 if len(one) == 1 else tuple(one) for one in (mean, std))
    if len(means) != 3 or len(stds) != 3 or not np.isfinite((*means, *stds)).all() or 0 in stds:
        raise ModelError(
            f"the metadata of '{path}' states an impossible normalization: mean {list(mean)}, std {list(std)}; "
            f"give --normalization ({', '.join(FOREIGN)})"
        )
    return Normalization("metadata", means, stds)


def _not_a_classifier(path: Path, what: str) -> ModelError:
    return ModelError(
        f"'{path}' is not an image classifier: {what}. dermedge only runs image classifiers; give another model"
    )


def _kind_of(shapes: Sequence[Sequence[int]]) -> str:
    """Returns, in parentheses, the kind of network that usually has outputs of these shapes.

    Returns an empty text if the shapes do not point to one kind of network.
    """
    if len(shapes) == 4 or (len(shapes) <= 2 and all(len(one) == 3 for one in shapes)):
        return " (as an object detector has)"
    if len(shapes) == 1 and len(shapes[0]) == 4:
        return " (a map of the image, as a segmentation or image-to-image network has)"
    return ""


def check_manifest(manifest: Manifest, path: Path, classes: int) -> None:
    """Raises ModelError if the number of labels in a manifest is not ``classes``, or the preprocessing is unknown."""
    if len(manifest.labels) != classes:
        raise ModelError(
            f"'{path}' has {classes} classes, but its manifest names {len(manifest.labels)}; "
            "convert the model again"
        )
    if manifest.preprocessing != PREPROCESSING:
        raise ModelError(
            f"'{path}' needs the preprocessing '{manifest.preprocessing}', and this dermedge has '{PREPROCESSING}'; "
            "install the version of dermedge that made the file"
        )


def find_labels(
    path: Path, manifest: Manifest | None, given: Sequence[str] | None, outputs: int
) -> tuple[str, ...]:
    """Returns the class names.

    The function uses the labels ``given`` if they are not None, and else the labels in the manifest. If the file has no
    manifest, the function uses the label file that the model file contains. If the model file contains no label file,
    the names are "class 0", "class 1" and so on.

    A file without a manifest and with a single output value has two classes. If there is only one label, it names the
    second class. If there are no labels, the classes are "negative" and "positive".

    Raises:
        OptionError: the number of labels differs from the number of classes.
    """
    labels: Sequence[str] | None = given
    if labels is None:
        labels = manifest.labels if manifest else read_associated_labels(path)
    is_single = outputs == 1 and manifest is None
    if is_single and labels is not None and len(labels) == 1:
        labels = (f"not {labels[0]}", labels[0])
    if labels is None:
        labels = _TWO_CLASSES if is_single else [f"class {index}" for index in range(outputs)]
    classes = len(_TWO_CLASSES) if is_single else outputs
    if len(labels) != classes:
        named = len(labels)
        told = f"its label file names {named}" if given is None else f"{named} labels were given"
        raise OptionError(
            f"'{path}' has {classes} classes, but {told}; give --labels a file with one label for each class"
        )
    return _distinct(labels)


def _distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the labels, with a number added to each repeated label. An empty label becomes "class" and its index.

    Labels can be repeated: for example, two classes of ImageNet are called "crane".
    """
    stated, told = set(labels), dict[str, None]()
    counts: Counter[str] = Counter()
    for index, label in enumerate(labels):
        first = label if label.strip() else f"class {index}"
        name = first
        while name in told or (name != first and name in stated):
            counts[first] += 1
            name = f"{first} ({counts[first] + 1})"
        told[name] = None
    return tuple(told)

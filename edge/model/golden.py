"""The golden test compares a model's outputs for generated images with the outputs that the model file stores.

The images are computed with integers only, so that they are the same on all machines and need not be stored. The
manifest stores the raw values of the outputs. XNNPACK computes bit-identical int8 probabilities on x86-64 and ARM.
The int8 probabilities of other kernels are not bit-identical. Float outputs differ in their last digits.

The quantized output ``close_up`` may differ by a few levels. The limit is the greatest change that one level of the
logit can cause. The logit is computed from averages of features over positions. After quantization-aware training, an
average has the same scale as the features. The average then often lies halfway between two levels, and the kernels for
x86-64 and ARM do not all round such a value in the same direction. So two processors can compute different levels. For
the models that ship with dermedge, one output differed by one level.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.signature import output_places
from dermedge.edge.preprocess import to_input

__all__ = [
    "DRAWING",
    "IMAGE_COUNT",
    "ChangedOutput",
    "GoldenResult",
    "allowed_levels",
    "answers",
    "compare",
    "golden_image",
    "record",
    "replay",
]

IMAGE_COUNT = 12
# This is the version of the generated images. A manifest states the version for which its outputs were computed. The
# outputs are compared only if the two versions are equal.
DRAWING = 1
_HEIGHT, _WIDTH = 240, 320
# A float output may differ by at most this fraction of the greatest expected value. Between x86-64 and arm64, the
# measured difference was 6e-7 for float networks. It was 9e-4 for a dynamic-range network, because such a network
# rounds the activations at run time.
_FLOAT_TOLERANCE = 1e-2
# The sigmoid function has this slope at a probability of 0.5. The slope is smaller at any other probability.
_SIGMOID_SLOPE = 0.25

# The generated images have these colours, blue first: skin from pale to dark, and the spots on the skin.
_SKINS = ((180, 196, 232), (146, 172, 220), (104, 136, 190), (62, 84, 128))
_SPOTS = ((58, 78, 128), (30, 38, 60), (84, 92, 196), (128, 112, 108), (196, 206, 236), (40, 120, 60))

_Whole = NDArray[np.int64]  # [240, 320]


@dataclass(frozen=True)
class ChangedOutput:
    """An output that differs from the output that the model file stores.

    Attributes:
        output: ``probabilities``, ``evidence`` or ``close_up``.
        images: the number of images for which the output differs.
        by: the greatest difference. It is in levels if the output is quantized, and else in the units of the output.
        is_quantized: whether the output is quantized.
    """

    output: str
    images: int
    by: float
    is_quantized: bool

    def __str__(self) -> str:
        amount = (
            f"{self.by:.0f} {'level' if self.by == 1 else 'levels'}"
            if self.is_quantized
            else f"{self.by:.2g}"
        )
        return f"{self.output} differs for {self.images} of {IMAGE_COUNT} images, by {amount} at most"


@dataclass(frozen=True)
class GoldenResult:
    """The result of the golden test.

    Attributes:
        same_pixels: whether the preprocessing computed the same network inputs as when the model was converted.
        moved: the outputs that differ. It is empty if all outputs are as expected.
        other_class: the number of images for which the most probable class differs.
        is_xnnpack: whether the runtime used XNNPACK. If all outputs are as expected, this is not checked, and the value
            is True. If an output differs, the model runs again without XNNPACK. If this does not change any output, the
            runtime had not used XNNPACK before either, and the value is False. The runtime's own kernels then computed
            the outputs, and are the reason for the difference.
    """

    same_pixels: bool
    moved: tuple[ChangedOutput, ...]
    other_class: int
    is_xnnpack: bool

    @property
    def passed(self) -> bool:
        return self.same_pixels and not self.moved


def record(model: Path) -> dict[str, Any]:
    """Returns the entry ``golden`` for the manifest of a model.

    The entry ``golden`` is a dict with three keys. ``drawing`` is the version of the generated images. ``pixels`` is
    the SHA-256 of the network's inputs. ``outputs`` maps the name of each output to the base64 of its raw little-endian
    values for all images. LiteRT computes the outputs with XNNPACK on one thread.

    Raises:
        ModelError: the model cannot be run.
    """
    with Classifier(model, runtime="litert") as classifier:
        pixels, outputs = _digest(classifier.input_size), answers(classifier)
    return {
        "drawing": DRAWING,
        "pixels": pixels,
        "outputs": {name: _encode(values) for name, values in outputs.items()},
    }


def replay(
    model: Path, runtime: str = "auto", open_model: Callable[..., Classifier] = Classifier
) -> GoldenResult | None:
    """Runs the golden test with a runtime of this machine. Returns None if the manifest stores no outputs to compare.

    Args:
        model: path of a .tflite.
        runtime: ``auto``, ``litert`` or ``tflite-runtime``.
        open_model: a function that returns a `Classifier`. It accepts the arguments of the class `Classifier`.

    Raises:
        ModelError: the model cannot be run, or the stored outputs are damaged, or they were computed from another
            version of the generated images.
    """
    with open_model(model, runtime=runtime) as classifier:
        golden = classifier.manifest.golden if classifier.manifest else {}
        if not golden:
            return None
        same_pixels = golden.get("pixels") == _digest(classifier.input_size)
        got = answers(classifier)
        expected = _expected(golden, got, model)
        moved = compare(expected, got, allowed_levels(classifier))
    is_xnnpack = True
    if moved:
        with open_model(model, runtime=runtime, xnnpack=False) as classifier:
            plain = answers(classifier)
        is_xnnpack = any(not np.array_equal(got[name], plain[name]) for name in got)
    classes = [one["probabilities"].argmax(axis=1) for one in (expected, got)]
    return GoldenResult(same_pixels, moved, int((classes[0] != classes[1]).sum()), is_xnnpack)


def answers(classifier: Classifier) -> dict[str, NDArray[Any]]:
    """Returns a dict from the name of each output to its raw values for all images, [IMAGE_COUNT, ...]."""
    rows: dict[str, list[NDArray[Any]]] = {}
    for number in range(IMAGE_COUNT):
        for name, tensor in classifier.raw_outputs(golden_image(number)).items():
            rows.setdefault(name, []).append(tensor.values)
    return {name: np.stack(values) for name, values in rows.items()}


def allowed_levels(classifier: Classifier) -> dict[str, int]:
    """Returns ``{"close_up": n}``: the output ``close_up`` may differ by n quantization levels.

    Returns an empty dict if the model has no output ``close_up``. It also returns an empty dict if ``close_up``, or the
    logit from which ``close_up`` is computed, is not quantized.
    """
    outputs = classifier.interpreter.get_output_details()
    place = (output_places([one["shape"].tolist() for one in outputs]) or {}).get("close_up")
    if place is None:
        return {}
    logit_scale, [scale, _] = read_facts(classifier.path).logit_scales[place], outputs[place]["quantization"]
    return {"close_up": ceil(_SIGMOID_SLOPE * logit_scale / scale)} if logit_scale and scale else {}


def compare(
    expected: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]], levels: Mapping[str, int]
) -> tuple[ChangedOutput, ...]:
    """Returns the outputs of ``got`` that differ from ``expected`` by more than is allowed.

    Args:
        expected: the stored outputs.
        got: the outputs on this machine.
        levels: a dict from the name of a quantized output to the number of levels by which the output may differ. A
            quantized output that is not in the dict may not differ. A float output may differ by `_FLOAT_TOLERANCE`
            times the greatest expected value.
    """
    moved = []
    for name, values in got.items():
        is_quantized = values.dtype.kind in "iu"
        wide = expected[name].astype(np.float64)
        apart = np.abs(values - wide).reshape(len(values), -1).max(axis=1)
        allowed = levels.get(name, 0) if is_quantized else _FLOAT_TOLERANCE * float(np.abs(wide).max())
        # a NaN counts as a difference
        off = ~(apart <= allowed)
        if off.any():
            moved.append(ChangedOutput(name, int(off.sum()), float(apart.max()), is_quantized))
    return tuple(moved)


@cache
def golden_image(number: int) -> NDArray[np.uint8]:
    """Returns one of the generated images, which shows a spot on skin: uint8 [240, 320, 3], blue first, read-only.

    Args:
        number: number of the image, from 0 to IMAGE_COUNT - 1.
    """
    # NumPy's default integers have only 32 bits on some systems
    y, x = np.indices((_HEIGHT, _WIDTH), np.int64)
    skin, spot = _SKINS[number % len(_SKINS)], _SPOTS[number % len(_SPOTS)]
    centre_x, centre_y = _pick(number, 1, 120, 200), _pick(number, 2, 90, 150)
    radius_x, radius_y = _pick(number, 3, 20, 100), _pick(number, 4, 20, 100)
    distance = 1024 * (x - centre_x) ** 2 // radius_x**2 + 1024 * (y - centre_y) ** 2 // radius_y**2
    ragged = _smooth(x, y, 24, 10 * number) - 128
    # 0 outside the spot, 256 inside
    amount = np.clip(1152 - distance - 3 * ragged, 0, 256)
    mottled = (_smooth(x, y, 12, 10 * number + 1) - 128) * amount // 1024
    shade = (_smooth(x, y, 90, 10 * number + 2) - 128) // 6
    image = np.empty((_HEIGHT, _WIDTH, 3), np.uint8)
    for channel in range(3):
        mixed = skin[channel] + (spot[channel] - skin[channel]) * amount // 256
        grain = _hash(x, y, 10 * number + 3 + channel) % 17 - 8
        image[..., channel] = np.clip(mixed + mottled + shade + grain, 0, 255)
    image.flags.writeable = False
    return image


def _smooth(x: _Whole, y: _Whole, cell: int, salt: int) -> _Whole:
    """Returns noise from 0 to 255: random values at the corners of square cells, interpolated bilinearly in between."""
    left, right = cell - x % cell, x % cell
    upper, lower = cell - y % cell, y % cell
    corners = [[_hash(x // cell + i, y // cell + j, salt) % 256 for i in (0, 1)] for j in (0, 1)]
    top: _Whole = corners[0][0] * left + corners[0][1] * right
    bottom: _Whole = corners[1][0] * left + corners[1][1] * right
    blended: _Whole = top * upper + bottom * lower
    return blended // (cell * cell)


def _pick(number: int, salt: int, low: int, high: int) -> int:
    """Returns an integer from ``low`` to ``high`` that looks random. It depends on ``number`` and ``salt`` only."""
    bits = _hash(np.full((1, 1), number, np.int64), np.full((1, 1), salt, np.int64), 0)
    return low + int(bits[0, 0]) % (high - low + 1)


def _hash(x: _Whole, y: _Whole, salt: int) -> _Whole:
    """Returns 32-bit numbers that look random. The finalizer of MurmurHash3 (Appleby, public domain) computes them."""
    bits = (x * 73856093 ^ y * 19349663 ^ salt * 83492791).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = (bits ^ bits >> np.uint32(shift)) * np.uint32(factor)
    return (bits ^ bits >> np.uint32(16)).astype(np.int64)


def _digest(size: int) -> str:
    """Returns the SHA-256 of the network inputs for all images. ``size`` is the input size in pixels."""
    digest = hashlib.sha256()
    for number in range(IMAGE_COUNT):
        digest.update(to_input(golden_image(number), size).tobytes())
    return digest.hexdigest()


def _encode(values: NDArray[Any]) -> str:
    little_endian = values.astype(values.dtype.newbyteorder("<"))
    return base64.b64encode(little_endian.tobytes()).decode()


def _expected(
    golden: dict[str, Any], got: Mapping[str, NDArray[Any]], model: Path
) -> dict[str, NDArray[Any]]:
    """Returns the stored outputs, converted to the types and shapes of ``got``, the outputs on this machine."""
    if golden.get("drawing") != DRAWING:
        raise ModelError(
            f"the golden test of '{model}' needs version {golden.get('drawing')!r} of the generated images, but this "
            f"dermedge generates version {DRAWING}; install the version of dermedge that converted the model"
        )
    try:
        return {
            name: np.frombuffer(
                base64.b64decode(golden["outputs"][name], validate=True), values.dtype.newbyteorder("<")
            ).reshape(values.shape)
            for name, values in got.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the golden test in '{model}' is damaged ({error}); convert the model again"
        ) from error

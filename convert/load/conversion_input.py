"""The input of a conversion: a trained classifier with the photos that calibrate and prove it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.network import Network
from dermedge.edge.errors import OptionError
from dermedge.edge.model.head import Head
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.normalization import Normalization
from dermedge.train.data.catalogue import NONE_OF_THESE

__all__ = [
    "ConversionInput",
    "ForeignClassifier",
    "ProofSet",
    "ShowProgress",
    "draft_manifest",
    "make_proof_set",
    "sigmoids_note",
    "tool_versions",
]

# Task's name -> callback (done, total).
ShowProgress = Callable[[str], Callable[[int, int], None]]

_TOOLS = (
    "dermedge",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "litert-quantizer",
    "numpy",
)
_DEFAULT_CRITICAL = "melanoma"


@dataclass(frozen=True)
class ProofSet:
    """The photos that a file is proven on, with the float network's logits.

    Attributes:
        pixels: uint8 [n, h, w, 3] RGB.
        truth: int64 [n], indices into ``labels``.
        groups: the lesion of each photo.
        labels: the K classes.
        none_label: the class that stands for "none of these", or None.
        reference: float64 [n, K] logits of the float network.
        critical: the class that must not be missed, or None.
        views: the view of each photo, empty where it is not known; no entries if the network does not tell views.
    """

    pixels: NDArray[np.uint8]
    truth: NDArray[np.int64]
    groups: Sequence[str]
    labels: tuple[str, ...]
    none_label: str | None
    reference: NDArray[np.float64]
    critical: str | None
    views: Sequence[str] = ()


class ForeignClassifier(Protocol):
    """A classifier in a file that dermedge did not train.

    Attributes:
        path: path of the file or folder.
        layout: the shape of its input, which is channels-last.
        outputs: number of its outputs.
        classes: number of its classes; a single output value means two classes.
        known_labels: the labels that the file states; None if it states none.
        known_normalization: the normalization that the file is known to expect; None if that is not known.
        note: one line for the user about its outputs, or empty.
    """

    @property
    def path(self) -> Path: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def outputs(self) -> int: ...

    @property
    def classes(self) -> int: ...

    @property
    def known_labels(self) -> tuple[str, ...] | None: ...

    @property
    def known_normalization(self) -> Normalization | None: ...

    @property
    def note(self) -> str: ...

    def network(self, labels: tuple[str, ...], normalization: Normalization) -> Network:
        """Return the network with labels for its classes and the normalization that it expects."""
        ...


@dataclass(frozen=True)
class ConversionInput:
    """A trained classifier before its conversion.

    Attributes:
        network: the float network.
        quantization_aware: builds the network of the quantization-aware stage; None if there is none.
        calibration: uint8 [h, w, 3] RGB images, none of them in the proof set, sampled evenly over the classes.
        proof: the photos that the file is proven on.
        manifest: the manifest with the entries that are known before the conversion.
        validated_by: for a network that was retrained on train and validation: the run by the same recipe that
            was trained without the validation photos. It is converted too, and temperature and thresholds are fitted
            on its file.
        learned: the photos that the network has learned from, as `dermedge.train.data.learned` packs them; empty
            where they are not known.
    """

    network: Network
    quantization_aware: Callable[[], Network] | None
    calibration: Sequence[NDArray[np.uint8]]
    proof: ProofSet
    manifest: Manifest
    validated_by: ConversionInput | None = None
    learned: bytes = b""


def make_proof_set(
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    groups: list[str],
    labels: tuple[str, ...],
    reference: NDArray[np.floating],
    critical: str | None,
    views: Sequence[str] = (),
) -> ProofSet:
    """Return a proof set whose critical class is the given one, or melanoma if that is a class.

    Raises:
        OptionError: no class has the name of the critical one.
    """
    if critical is not None and critical not in labels:
        raise OptionError(f"--critical is '{critical}'. Known: {', '.join(labels)}")
    if critical is None and _DEFAULT_CRITICAL in labels:
        critical = _DEFAULT_CRITICAL
    none_label, wide = _none_label(labels), reference.astype(np.float64)
    return ProofSet(pixels, truth, groups, labels, none_label, wide, critical, views)


def draft_manifest(
    labels: tuple[str, ...], size: int, architecture: str, command: str, licence: str | None
) -> Manifest:
    """Return a manifest before the conversion: temperature, thresholds, metrics and quantization are still missing."""
    return Manifest(
        labels=labels,
        input_size=size,
        quantization="",
        architecture=architecture,
        none_label=_none_label(labels),
        command=command,
        licence=licence,
        tools=tool_versions(_TOOLS),
    )


def sigmoids_note(head: Head, outputs: int) -> str:
    """Return a note on how several independent sigmoids are treated, in one line; empty for any other head."""
    if head is not Head.SIGMOID or outputs == 1:
        return ""
    return (
        f"the {outputs} outputs are independent sigmoids; the file gives the softmax of their logits, because each "
        "photo has one class: the order of the classes stays, and the probabilities sum to 1"
    )


def _none_label(labels: Sequence[str]) -> str | None:
    return NONE_OF_THESE if NONE_OF_THESE in labels else None


def tool_versions(names: Sequence[str]) -> dict[str, str]:
    """Return package -> version for the installed ones of these packages."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

"""The input of a conversion: a trained classifier, the calibration photos, and the proof set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dermedge.convert.load.network import Network
from dermedge.edge.errors import ModelError, OptionError
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

# A function that is called with the name of a task, and returns a function to call with (done, total).
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
    """The proof set: the labelled photos on which a converted file is compared with its float network.

    Attributes:
        pixels: RGB images of the photos, uint8 [n, h, w, 3].
        truth: the class of each photo, int64 [n], an index into ``labels``.
        groups: the lesion of each photo.
        labels: the K classes.
        none_label: the class that stands for "none of these", or None.
        reference: the logits of the float network, float64 [n, K].
        critical: the class that must not be missed, or None.
        views: the view of each photo, or an empty text for a photo whose view is not known. The sequence is empty if
            the network does not tell views.
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
    """A classifier that dermedge did not train, read from a file.

    Attributes:
        path: the path of the file or folder.
        layout: the shape of the input, which is channels-last.
        outputs: the number of outputs.
        classes: the number of classes. A single output stands for two classes.
        known_labels: the labels that the file states; None if it states none.
        known_normalization: the normalization that the input is known to expect; None if that is not known.
        note: one line about the outputs for the user; empty if there is nothing to say.
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
        """Return the network, given the labels of its classes and the normalization that its input expects."""
        ...


@dataclass(frozen=True)
class ConversionInput:
    """A trained classifier before its conversion.

    Attributes:
        network: the float network.
        quantization_aware: a function that builds the network of the QAT stage; None if there is no QAT stage.
        calibration: RGB images of the photos for the calibration, each uint8 [h, w, 3]. They are sampled evenly over
            the classes, and none is in the proof set.
        proof: the proof set.
        manifest: the manifest with the entries that are known before the conversion.
        validated_by: an earlier run with the same settings, which was trained without the validation photos. Only a
            network that was retrained on the training and the validation photos together needs it; for any other
            network it is None. The earlier run is converted, too, and the temperature and the thresholds are fitted on
            the file of the earlier run.
        learned: the photos that the network has learned from, as `dermedge.train.data.learned` packs them; empty if
            they are not known.
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
    """Return a proof set. The default for ``critical`` is melanoma, if melanoma is one of the labels.

    Raises:
        OptionError: the critical class is not one of the labels.
        ModelError: a logit of the float network is not finite.
    """
    broken = int((~np.isfinite(reference)).any(axis=1).sum())
    if broken:
        raise ModelError(
            f"the network answers {broken} of {len(reference)} photos with numbers that are not finite; train the "
            "network again"
        )
    if critical is not None and critical not in labels:
        raise OptionError(f"--critical is '{critical}', which is not a class. Known: {', '.join(labels)}")
    if critical is None and _DEFAULT_CRITICAL in labels:
        critical = _DEFAULT_CRITICAL
    none_label, wide = _none_label(labels), reference.astype(np.float64)
    return ProofSet(pixels, truth, groups, labels, none_label, wide, critical, views)


def draft_manifest(
    labels: tuple[str, ...], size: int, architecture: str, command: str, licence: str | None
) -> Manifest:
    """Return a manifest with the entries that are known before the conversion.

    Other entries, such as the temperature, the thresholds, the metrics and the quantization, are only known after the
    conversion. In this manifest, they are empty or have default values.
    """
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
    """Return one line for the user on how several independent sigmoids are converted.

    Return an empty line if the network does not have several sigmoid outputs.
    """
    if head is not Head.SIGMOID or outputs == 1:
        return ""
    return (
        f"the {outputs} outputs are independent sigmoids, but each photo has only one class; so the file gives the "
        "softmax of their logits: the most probable class stays the same, and the probabilities sum to 1"
    )


def _none_label(labels: Sequence[str]) -> str | None:
    return NONE_OF_THESE if NONE_OF_THESE in labels else None


def tool_versions(names: Sequence[str]) -> dict[str, str]:
    """Return a dict from the names of packages to their versions. Packages that are not installed are left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

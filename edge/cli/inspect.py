"""`dermedge inspect`: describes any .tflite file without running it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dermedge.edge.cli.arguments import Parser, add_normalization_option, make_parser
from dermedge.edge.model.flatbuffer import Graph, Operator, TensorInfo, read_graph
from dermedge.edge.model.golden import IMAGE_COUNT
from dermedge.edge.model.head import Head
from dermedge.edge.model.manifest import (
    Manifest,
    check_network,
    digest,
    read_associated_labels,
    read_manifest,
)
from dermedge.edge.model.network_facts import NetworkFacts, read_facts
from dermedge.edge.model.normalization import FOREIGN, NORMALIZATIONS
from dermedge.edge.model.shipped import SHIPPED, model_path, require_model_file
from dermedge.edge.model.signature import output_places
from dermedge.edge.printable import printable

__all__ = ["Inspection", "as_text", "inspect_model", "main", "parser"]

_BYTES_PER_MB = 1e6
_MACS_PER_MILLION = 1e6
_HEADS = {
    Head.SOFTMAX: "softmax, probabilities of classes that exclude each other",
    Head.SIGMOID: "sigmoid, probabilities of independent labels",
    Head.LOGITS: "neither softmax nor sigmoid; the values are treated as logits",
}


@dataclass(frozen=True)
class Inspection:
    """The description of a .tflite file that `dermedge inspect` prints.

    Attributes:
        path: path of the file.
        bytes: size of the file in bytes.
        sha256: SHA-256 digest of the whole file, in hexadecimal.
        graph: the tensors, operators and metadata of the file.
        manifest: the manifest in the file; None if dermedge did not make the file.
        labels: the class names. They come from the manifest. For a file without a manifest, they come from the label
            file inside the .tflite. Empty if there is no label file either.
        heads: for each output, whether the operators of the network compute a softmax, a sigmoid, or neither. The tuple
            is empty if the file has a manifest.
        normalization: a description of how pixels are normalized.
    """

    path: Path
    bytes: int
    sha256: str
    graph: Graph
    manifest: Manifest | None
    labels: tuple[str, ...]
    heads: tuple[Head, ...]
    normalization: str

    @property
    def view_output(self) -> str | None:
        """The name of the output that tells close-ups from dermoscopic photos.

        The name is None if the model does not tell close-ups from dermoscopic photos, or if the file has no manifest.
        """
        places = output_places([one.shape for one in self.graph.outputs]) or {}
        if self.manifest is None or "close_up" not in places:
            return None
        return self.graph.outputs[places["close_up"]].name

    @property
    def macs(self) -> int:
        return sum(one.macs for one in self.graph.operators)

    @property
    def left_in_float(self) -> tuple[Operator, ...]:
        """The operators that compute in floats although the file is quantized to integers.

        For a file that is not quantized to integers, this property is an empty tuple.
        """
        floats = tuple(one for one in self.graph.operators if one.is_float)
        integers = [one for one in self.graph.operators if one.macs and not one.is_float]
        claims = self.manifest is not None and self.manifest.quantization.startswith("int")
        return floats if integers or claims else ()


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the description of a file, as text or as JSON."""
    options = parser().parse_args(argv)
    inspection = inspect_model(options.model, options.normalization)
    if options.json:
        print(json.dumps(_as_json(inspection), indent=1))
    else:
        for line in as_text(inspection):
            print(printable(line))
    return 0


def inspect_model(path: Path, normalization: str | None = None) -> Inspection:
    """Reads a .tflite file, and returns the description of the file.

    Args:
        path: path of the file.
        normalization: the value of --normalization, a key of `dermedge.edge.model.normalization.NORMALIZATIONS`; None
            if the user gave none.

    Raises:
        ModelError: the file is missing, damaged, or not a .tflite file.
        MissingExtra: the package that contains the schema of .tflite files is not installed.
    """
    require_model_file(path)
    model = path.read_bytes()
    check_network(path)
    graph = read_graph(model, path)
    manifest = read_manifest(path)
    labels = manifest.labels if manifest else read_associated_labels(path)
    facts = read_facts(path)
    return Inspection(
        path,
        len(model),
        digest(path),
        graph,
        manifest,
        labels or (),
        () if manifest else facts.heads,
        _normalization(graph, manifest is not None, facts, normalization),
    )


def _normalization(graph: Graph, is_ours: bool, facts: NetworkFacts, asked: str | None) -> str:
    """Returns a description of how pixels are normalized before they are written into the network's input."""
    dtype = graph.inputs[0].dtype if graph.inputs else ""
    holds_pixels = dtype == "uint8" and not graph.inputs[0].scales
    if is_ours:
        return "inside the network; the input holds pixel values from 0 to 255"
    if asked and not holds_pixels:
        one = NORMALIZATIONS[asked]
        return f"{asked}, from --normalization: {_mean_and_std(one.mean, one.std)}"
    if facts.mean or facts.std:
        stated = f"the metadata states {_mean_and_std(facts.mean, facts.std)}"
        return f"{stated}; the uint8 input holds pixel values from 0 to 255" if dtype == "uint8" else stated
    if dtype == "uint8":
        return "not stated; the uint8 input holds pixel values from 0 to 255"
    if dtype == "int8":
        return "not stated; without --normalization, the int8 input holds pixel values minus 128"
    return (
        f"not stated; to run the file, give --normalization ({', '.join(FOREIGN)}). With labelled photos, find the "
        "right one with: dermedge evaluate MODEL --data PHOTOS --normalization auto"
    )


def _mean_and_std(mean: Sequence[float], std: Sequence[float]) -> str:
    """Returns the mean and the standard deviation as text. A value that all channels share is stated once."""
    means, stds = (values[:1] if len({*values}) == 1 else values for values in (mean, std))
    return f"mean {', '.join(f'{one:g}' for one in means)}, std {', '.join(f'{one:g}' for one in stds)}"


def as_text(inspection: Inspection) -> Iterator[str]:
    """Yields the description of a file as lines of text."""
    graph = inspection.graph
    yield f"{inspection.path}"
    yield _line("size", f"{inspection.bytes / _BYTES_PER_MB:.2f} MB")
    yield _line("SHA-256", inspection.sha256)
    for what, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for one in tensors:
            yield _line(what, _tensor_text(one))
    if inspection.view_output is not None:
        yield _line("view", f"{inspection.view_output!r} is the probability that the photo is a close-up")
    if inspection.heads:
        yield _line("head", ", ".join(_HEADS[one] for one in inspection.heads))
    yield _line("normalization", inspection.normalization)
    millions = f"{inspection.macs / _MACS_PER_MILLION:,.1f} million multiply-accumulates"
    yield _line("operators", f"{len(graph.operators)}, {millions}")
    for row in _by_operator(inspection):
        share = f"{row['share']:>6.1%}" if row["macs"] else f"{'-':>6}"
        yield f"  {row['count']:>13}  {row['name']:<24}  {share}  {row['precision']}"
    precisions = [
        f"{name} {one['share']:.1%}" for name, one in _by_precision(inspection).items() if one["macs"]
    ]
    yield _line("precision", f"{', '.join(precisions)} of the multiply-accumulates" if precisions else "-")
    for operator in inspection.left_in_float:
        yield _line("left in float", f"{operator.name}, which computes {operator.output!r}")
    yield _line("metadata", ", ".join(graph.metadata) or "-")
    if inspection.manifest is None:
        count = len(inspection.labels)
        labels = f"the label file in the model names {count} classes" if count else "no classes are named"
        yield _line("manifest", f"none; {labels}")
        return
    values = asdict(inspection.manifest)
    values["network_sha256"] = values["network_sha256"] or "no digest"
    if values["golden"]:
        values["golden"] = (
            f"the outputs for {IMAGE_COUNT} generated images. Run the golden test with: dermedge doctor --model MODEL"
        )
    for name, value in values.items():
        # the manifest's inputs and outputs are left out, because the inputs and outputs of the file are printed above
        if value not in (None, "", {}) and name not in ("inputs", "outputs"):
            yield _line(name, _value_text(value))


def _as_json(inspection: Inspection) -> dict[str, Any]:
    """Returns the description of a file as a JSON-serializable dict."""
    graph = inspection.graph
    return {
        "file": str(inspection.path),
        "bytes": inspection.bytes,
        "sha256": inspection.sha256,
        "inputs": [_tensor_json(one) for one in graph.inputs],
        "outputs": [_tensor_json(one) for one in graph.outputs],
        "macs": inspection.macs,
        "operators": _by_operator(inspection),
        "precision": _by_precision(inspection),
        "left_in_float": [asdict(one) for one in inspection.left_in_float],
        "heads": list(inspection.heads),
        "view_output": inspection.view_output,
        "normalization": inspection.normalization,
        "metadata": list(graph.metadata),
        "labels": list(inspection.labels),
        "manifest": asdict(inspection.manifest) if inspection.manifest else None,
    }


def _line(name: str, value: str) -> str:
    return f"  {name:<13}  {value}"


def _by_operator(inspection: Inspection) -> list[dict[str, Any]]:
    """Groups the operators by name and precision, and returns a summary of each group.

    The group with the most multiply-accumulates comes first.
    """
    counts = Counter((one.name, one.precision) for one in inspection.graph.operators)
    macs: Counter[tuple[str, str]] = Counter()
    for one in inspection.graph.operators:
        macs[one.name, one.precision] += one.macs
    return [
        {"name": key[0], "precision": key[1], "count": count, **_share(macs[key], inspection)}
        for key, count in sorted(counts.items(), key=lambda item: (-macs[item[0]], -item[1], item[0]))
    ]


def _by_precision(inspection: Inspection) -> dict[str, dict[str, Any]]:
    """Groups the operators by precision. Returns a dict from each precision to a summary of the group.

    A summary states the number of operators (``count``), the number of multiply-accumulates in these operators
    (``macs``), and the share of all multiply-accumulates in the file (``share``, 0 to 1). The precision with the
    greatest share comes first.
    """
    counts = Counter(one.precision for one in inspection.graph.operators)
    macs: Counter[str] = Counter()
    for one in inspection.graph.operators:
        macs[one.precision] += one.macs
    return {
        name: {"count": counts[name], **_share(macs[name], inspection)}
        for name in sorted(counts, key=lambda name: (-macs[name], -counts[name], name))
    }


def _share(macs: int, inspection: Inspection) -> dict[str, Any]:
    return {"macs": macs, "share": round(macs / inspection.macs, 6) if inspection.macs else 0.0}


def _tensor_text(tensor: TensorInfo) -> str:
    quantized = ", ".join(
        f"{scale:.8g} * (q - {zero_point})" if zero_point else f"{scale:.8g} * q"
        for scale, zero_point in zip(tensor.scales[:1], tensor.zero_points[:1], strict=False)
    )
    return f"{tensor.dtype} {list(tensor.shape)}  {quantized or 'not quantized'}  {tensor.name!r}"


def _tensor_json(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": tensor.scales[0] if tensor.scales else None,
        "zero_point": tensor.zero_points[0] if tensor.zero_points else None,
    }


def _value_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def parser() -> Parser:
    """Returns the options of `dermedge inspect`."""
    made = make_parser(
        "inspect",
        "Describe any .tflite file without running it.",
        ("dermedge inspect dermedge-192", "dermedge inspect mine.tflite --json"),
    )
    made.add_argument(
        "model",
        type=model_path,
        metavar="MODEL",
        help=f"describe this .tflite file, or one of the models that ship with dermedge: {', '.join(SHIPPED)}",
    )
    add_normalization_option(made)
    made.add_argument("--json", action="store_true", help="print the description as one JSON object")
    return made

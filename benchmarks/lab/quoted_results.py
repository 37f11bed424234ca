"""Writes the sections of docs/how-good.md that quote estimates and the results of `peers`, `official` and `repeat`.

Only results of networks that ship are quoted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dermedge.benchmarks.calibrated_boards import read_boards
from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.estimate import estimate
from dermedge.benchmarks.lab.cli import COMMAND
from dermedge.edge.errors import ModelError, ToolError
from dermedge.edge.model.manifest import Manifest, digest, read_manifest
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.text_table import NOT_MEASURED, TextTable, measured

__all__ = ["RESULTS", "estimates_table", "is_shipped", "manifest_of", "runtimes_section"]

RESULTS = ROOT / "benchmarks" / "results"
# Some files were measured before the manifest contained the digest of the network. The key is the SHA-256 digest of
# such a file. The value is the digest of the network in the file.
_MEASURED_BEFORE = {
    "98a3361d7a9c80266587f1a3b02e95b46d8a1252e5d629a0ee8c92445cad026e": (
        "1e7ad787172376446e9cb8f8e61197734f63e80ccc2ce7beb2b322ac1596f537"
    ),
    "6ebf7231f2f6f0bf7f70e302b83d36a2b0a2658f169beda4777766a0131fc06f": (
        "4e5a9a67fe6d91f5dbb5befe20355204196f51fb2ba1a0f5b52f4c5e68c8f5d6"
    ),
}
_HEAD = ("runtime", "median ms", "ratio", "95 % interval", "same class", "off by")


def is_shipped(name: str, sha256: str) -> bool:
    """Tells whether a file holds the network of a shipped model.

    Args:
        name: name of the shipped model.
        sha256: SHA-256 digest of the file.
    """
    if name not in SHIPPED:
        return False
    network = manifest_of(SHIPPED[name]).network_sha256
    return sha256 == digest(SHIPPED[name]) or _MEASURED_BEFORE.get(sha256, "") == network


def manifest_of(path: Path) -> Manifest:
    """Returns the manifest of a shipped model.

    Raises:
        ModelError: the file has no manifest.
    """
    manifest = read_manifest(path)
    if manifest is None:
        raise ModelError(f"the shipped model '{path}' has no manifest; attach one with `dermedge convert`")
    return manifest


def estimates_table() -> str:
    """Returns a table in Markdown with the estimated latencies of the shipped models on all boards.

    The head of the table states the error of the estimates for each board. If no instruction count of a model is
    stored, the cell is "not counted".
    """
    boards = read_boards()
    errors = (f"± {100 * board.median_error():.0f} %" for board in boards)
    head = ("network", *(f"{board.name}, {error}" for board, error in zip(boards, errors, strict=True)))
    rows = tuple((name, *(_estimated(path, board.key) for board in boards)) for name, path in SHIPPED.items())
    title = "Estimates of the network alone, on four threads. These boards were not measured."
    return TextTable(title, head, rows).to_markdown()


def runtimes_section(results: Path = RESULTS) -> str:
    """Returns the newest results of `peers`, `official` and `repeat` with a shipped model, in Markdown."""
    found = {name: _newest(results, name) for name in ("peers", "official", "repeat")}
    return "\n\n".join([*_peers(found["peers"]), *_tool(found["official"]), *_repeats(found["repeat"])]) or (
        "The shipped models have not been measured in other runtimes yet. "
        f"To measure them: `{COMMAND} figures NAME --source photos/`. This command compares the models with other "
        "runtimes and with LiteRT's own benchmark tool, and repeats the measurements."
    )


def _estimated(path: Path, board: str) -> str:
    def refuse(model: Path, cpu: str) -> int:
        raise ToolError(
            f"the number of instructions of '{model}' is not stored; run `{COMMAND} anchors --shipped`"
        )

    try:
        [one] = estimate([path], [board], refuse)
    except ToolError:
        return "not counted"
    return "not estimated" if one.ms is None else f"estimate {one.ms:.2g} ms"


def _newest(results: Path, name: str) -> dict[str, Any] | None:
    """Returns the newest result of an experiment, among the results that were measured on models that ship."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob(f"*/{name}.json")]
    shipped = [one for one in contents if is_shipped(Path(one["model"]).stem, one["sha256"])]
    return max(shipped, key=lambda one: str(one["created"]), default=None)


def _peers(content: dict[str, Any] | None) -> Iterator[str]:
    if content is None:
        return
    rows = tuple(_peer_cells(one) for one in content["peers"] if one["latency"])
    title = (
        "Latency from frame to decision on the same frames, on "
        f"{content['machine']['cpu']}, {content['created'][:10]}: "
        f"{Path(content['model']).stem}, threads: {content['num_threads']}. ratio: time divided by that of dermedge. "
        "same class: frames with the same answer as dermedge. off by: largest difference between a probability and "
        "that of LiteRT."
    )
    yield TextTable(title, _HEAD, rows).to_markdown()
    told = [
        f"{one['name']} ran {one['form']}"
        for one in content["peers"]
        if one["name"] in ("onnxruntime", "ncnn")
    ]
    told += [
        f"{one['name']} computed the {one['arithmetic']}" for one in content["peers"] if one.get("arithmetic")
    ]
    told += [f"{one['name']} did not run: {one['failure']}" for one in content["peers"] if not one["latency"]]
    yield "\n".join(f"- {line}" for line in told)


def _peer_cells(one: dict[str, Any]) -> tuple[str, ...]:
    interval = NOT_MEASURED if one["ratio"] is None else f"{one['ratio_low']:.2f} to {one['ratio_high']:.2f}"
    return (
        one["name"],
        f"{one['latency']['median']:.2f}",
        measured(one["ratio"], ".2f"),
        interval,
        measured(one["agreement"], ".0%"),
        measured(one["furthest"], ".1%"),
    )


def _tool(content: dict[str, Any] | None) -> Iterator[str]:
    if content:
        beside, added = content["to_tool"], content["measuring_to_bare"]
        interval = f"{beside['median']:.3f} [{beside['low']:.3f}, {beside['high']:.3f}]"
        yield (
            f"The inference time of `dermedge benchmark` is {interval} times that of LiteRT's own benchmark tool "
            f"(limit: within 5 %; {beside['verdict']}). "
            f"The measuring loop takes {added['median']:.4f} times as long as a bare loop (limit: 1.01; "
            f"{added['verdict']})."
        )


def _repeats(content: dict[str, Any] | None) -> Iterator[str]:
    if content:
        found = content["agreement"]
        yield (
            f"Of {len(content['runs'])} repeated runs, {found['agreed']} of {found['promised']} pairs of good runs "
            f"agree within their intervals (limit: 19 of 20; {found['verdict']})."
        )

"""The command `dermedge benchmark compare`, which compares two results and tells which differences exceed the noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from dermedge import DISCLAIMER
from dermedge.benchmarks.report import SCHEMA
from dermedge.benchmarks.verdict import GOOD
from dermedge.edge.cli.arguments import Parser, make_parser
from dermedge.edge.errors import DataError
from dermedge.edge.printable import printable_lines
from dermedge.edge.text_table import NOT_MEASURED, TextTable

__all__ = ["ModelChange", "compare", "main", "parser", "read_results"]

_NUMBER = int | float
# The values that a comparison reads, with their types. _OF_RESULT: from the whole result. _OF_ROW: from a row without
# an accuracy. _OF_SCORED_ROW: from a row with an accuracy.
_OF_RESULT = {"created": str, "frames": str, "faults": list, "machine.cpu": str, "machine.runtime": str}
_TIMES = ("latency.total.median", "latency.total.low", "latency.total.high")
_OF_ROW = {"model": str, "sha256": str, "mark": str, "num_threads": int, **dict.fromkeys(_TIMES, _NUMBER)}
_SCORES = tuple(f"accuracy.balanced_accuracy.{name}" for name in ("value", "low", "high"))
_OF_SCORED_ROW = {
    **_OF_ROW,
    "accuracy.recall": dict,
    **dict.fromkeys(_SCORES, _NUMBER),
}
_FASTER, _SLOWER, _SAME = "faster", "slower", "no difference beyond noise"
# The counts in an accuracy that must be equal. If they differ, the two models were scored on different photos.
_PHOTOS = ("photos", "lesions")


@dataclass(frozen=True)
class ModelChange:
    """How the results of one model, with one number of threads, differ between two results.json files.

    Attributes:
        model: name of the model in the first result.
        num_threads: number of threads in both results.
        is_same_file: whether the two model files are bit-identical.
        before_ms: median latency from frame to decision in the first result.
        after_ms: median latency from frame to decision in the second result.
        ratio: after_ms / before_ms.
        low: the lowest ratio that the 95 % confidence intervals of the two medians allow.
        high: the highest ratio that the 95 % confidence intervals of the two medians allow.
        verdict: ``faster`` if ``high`` is below 1; ``slower`` if ``low`` is above 1; otherwise ``no difference beyond
            noise``. If one or both runs are not marked good, the verdict is ``none:``, followed by the marks of these
            runs.
        accuracy: user-facing text. It states the two balanced accuracies, and whether the second is better or worse
            than the first. The accuracies are not compared if the models have different classes, or were scored on
            different numbers of photos or lesions.
    """

    model: str
    num_threads: int
    is_same_file: bool
    before_ms: float
    after_ms: float
    ratio: float
    low: float
    high: float
    verdict: str
    accuracy: str


def parser() -> Parser:
    """Returns the parser of `dermedge benchmark compare`."""
    made = make_parser(
        "benchmark compare",
        "Compare two results of `dermedge benchmark`, from two machines or two versions.",
        ("dermedge benchmark compare before.json after.json",),
    )
    made.add_argument(
        "before", type=Path, metavar="A.json", help="read the first result from this results.json"
    )
    made.add_argument(
        "after", type=Path, metavar="B.json", help="read the second result from this results.json"
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return made


def main(argv: Sequence[str]) -> int:
    """Prints what changed from one results.json to another, and returns the exit status."""
    arguments = parser().parse_args(argv)
    before, after = read_results(arguments.before), read_results(arguments.after)
    changes = compare(before, after)
    if not changes:
        raise DataError(
            f"no model was measured with the same number of threads in '{arguments.before}' and in "
            f"'{arguments.after}'; measure the same model with the same --num-threads for both files"
        )
    if arguments.json:
        print(json.dumps([asdict(change) for change in changes], indent=1))
    else:
        lines = [_to_text(changes), "", *_notes("A", before), *_notes("B", after), DISCLAIMER]
        print(printable_lines("\n".join(lines)))
    return 0


def read_results(path: Path) -> dict[str, Any]:
    """Returns the content of a results.json.

    Raises:
        DataError: the file cannot be read, is damaged, or has another schema.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read the results '{path}': {error.strerror}; check the path and its permissions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"'{path}' is not JSON; give a results.json that `dermedge benchmark --output` has written"
        ) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"'{path}' has the schema '{schema}', not '{SCHEMA}'; measure again with this version of dermedge"
        )
    if not isinstance(content.get("rows"), list):
        raise _damaged(path, "it has no list of rows")
    if wrong := _wrong_value(content):
        raise _damaged(path, f"the value '{wrong}' is missing or wrong")
    return dict(content)


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"'{path}' is damaged, because {why}; measure again with `dermedge benchmark`")


def _wrong_value(results: dict[str, Any]) -> str | None:
    """Returns the name of the first missing or wrong value that a comparison needs; None if all values are right."""
    parts: list[tuple[Any, dict[str, Any]]] = [(results, _OF_RESULT)]
    for row in results["rows"]:
        parts.append((row, _OF_ROW if _value(row, "accuracy") is None else _OF_SCORED_ROW))
    for part, values in parts:
        for name, kind in values.items():
            value = _value(part, name)
            if not isinstance(value, kind) or (name in _TIMES and not 0 < value < inf):
                return name
            if name in _SCORES and not 0 <= value <= 1:
                return name
    return None


def _value(content: Any, name: str) -> Any:
    """Returns the value with a name such as ``latency.total.median``; None if there is none."""
    for key in name.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def compare(before: dict[str, Any], after: dict[str, Any]) -> list[ModelChange]:
    """Returns the changes of the models that are in both results, in the order of the first result.

    A model of the first result is looked up in the second result by name. If the name is not found, the model is looked
    up by the digest of the model file. Results of a phone need the digest, because the phone does not know the name of
    the file.
    """
    pairs = ((row, _counterpart(row, after["rows"])) for row in before["rows"])
    return [_change(first, second) for first, second in pairs if second]


def _counterpart(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the row with the same model and the same number of threads; None if there is no such row."""
    there = [one for one in rows if one["num_threads"] == row["num_threads"]]
    keys = ("model", "sha256")
    return next((one for key in keys for one in there if one[key] == row[key]), None)


def _to_text(changes: Sequence[ModelChange]) -> str:
    """Returns a table for the terminal."""
    head = ("model", "threads", "A ms", "B ms", "B / A", "at least", "at most", "verdict")
    rows = tuple(
        (
            change.model,
            str(change.num_threads),
            f"{change.before_ms:.2f}",
            f"{change.after_ms:.2f}",
            *(f"{number:.3f}" for number in (change.ratio, change.low, change.high)),
            change.verdict,
        )
        for change in changes
    )
    title = (
        "Median latency in ms from frame to decision. at least, at most: the lowest and the highest B / A that the "
        "95 % confidence intervals of the two medians allow."
    )
    others = [
        f"{change.model}: the model files of A and B differ" for change in changes if not change.is_same_file
    ]
    scores = [
        f"{change.model}: balanced accuracy {change.accuracy}"
        for change in {change.model: change for change in changes}.values()
        if change.accuracy != NOT_MEASURED
    ]
    return "\n".join([TextTable(title, head, rows).to_text(), *dict.fromkeys(others), *scores])


def _change(before: dict[str, Any], after: dict[str, Any]) -> ModelChange:
    first, second = before["latency"]["total"], after["latency"]["total"]
    low, high = second["low"] / first["high"], second["high"] / first["low"]
    marks = {"A": before["mark"], "B": after["mark"]}
    doubts = [f"{name} is {mark}" for name, mark in marks.items() if mark != GOOD]
    verdict = _FASTER if high < 1 else _SLOWER if low > 1 else _SAME
    return ModelChange(
        model=before["model"],
        num_threads=before["num_threads"],
        is_same_file=before["sha256"] == after["sha256"],
        before_ms=first["median"],
        after_ms=second["median"],
        ratio=second["median"] / first["median"],
        low=low,
        high=high,
        verdict=f"none: {' and '.join(doubts)}" if doubts else verdict,
        accuracy=_accuracy(before.get("accuracy"), after.get("accuracy")),
    )


def _accuracy(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if not before or not after:
        return NOT_MEASURED
    first, second = before["balanced_accuracy"], after["balanced_accuracy"]
    apart = second["low"] > first["high"] or second["high"] < first["low"]
    verdict = ("better" if second["value"] > first["value"] else "worse") if apart else _SAME
    if before["recall"].keys() != after["recall"].keys():
        verdict = "not compared, because the classes differ"
    elif [before.get(name) for name in _PHOTOS] != [after.get(name) for name in _PHOTOS]:
        verdict = "not compared, because the photos differ"
    return f"{first['value']:.3f} and {second['value']:.3f}: {verdict}"


def _notes(name: str, results: dict[str, Any]) -> list[str]:
    machine = results["machine"]
    where = f"{name}: {results['created'][:10]}, {machine['cpu']}, {machine['runtime']}, {results['frames']}"
    return [where, *(f"{name}: {fault}" for fault in results["faults"])]

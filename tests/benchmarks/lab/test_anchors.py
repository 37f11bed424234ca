"""The published latencies, and the file that `dermedge benchmark --estimate` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from dermedge.benchmarks.calibrated_boards import read_boards
from dermedge.benchmarks.lab import anchors
from dermedge.benchmarks.lab.anchors import PUBLISHED_LATENCIES, count_invoke


def test_the_written_anchors_are_those_that_were_published() -> None:
    written = {
        (board.key, one.network, one.form, one.ms, one.source)
        for board in read_boards()
        for one in board.anchors
    }
    published = {(one.board, one.network, one.form, one.ms, one.source) for one in PUBLISHED_LATENCIES}
    assert written == published, "run: python -m dermedge.benchmarks.lab anchors"


def test_no_latency_is_taken_twice() -> None:
    names = [(one.board, one.network, one.form) for one in PUBLISHED_LATENCIES]
    assert len(set(names)) == len(names)


def test_the_marks_own_instructions_are_in_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def marks(*arguments: object) -> list[int]:
        asked.append(arguments)
        return [1000, 1010, 1020, 6030]

    monkeypatch.setattr(anchors, "counted_marks", marks)
    assert count_invoke(Path("/a/model.tflite"), "cortex-a76", Path("plugin.so")) == 5000
    [(child, given, expected, cpu, plugin)] = asked
    assert (given, expected, cpu, plugin) == (["/a/model.tflite"], 4, "cortex-a76", Path("plugin.so"))
    assert child == "dermedge.benchmarks.lab.children.counted_invoke"

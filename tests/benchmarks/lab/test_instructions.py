"""Marks become counts; with an emulated arm64, real counts."""

from __future__ import annotations

import csv
import io
import shutil
from importlib import util
from pathlib import Path

import pytest

from dermedge.benchmarks.lab.instructions import (
    BOARD,
    CountedModel,
    InstructionCount,
    build_plugin,
    count,
    parts,
    to_csv,
    to_table,
)
from dermedge.edge.model.shipped import FAST_MODEL


def test_the_marks_own_instructions_are_in_no_count() -> None:
    marks = [1000, 1010, 1100, 1310, 5320, 10000, 15010, 20100, 20310, 24320, 29000, 34010]
    assert parts(marks) == [(200, 4000, 4670, 5000), (200, 4000, 4670, 5000)]


def test_the_table_is_in_millions_and_says_that_it_tells_no_times() -> None:
    one = InstructionCount(
        "alpha", "int8-ptq", "cortex-a72", 1_876_000, 42_134_150, 44_116_000, 44_662_199, 1.4e-5, 4
    )
    table = to_table([one])
    assert table.rows == (
        ("alpha", "int8-ptq", "cortex-a72", "1.88", "42.13", "44.12", "44.66 (1.060 x)", "1.4e-05"),
    )
    assert "These are not times" in table.title
    [row] = csv.DictReader(io.StringIO(to_csv([one])))
    assert row["invoke"] == "42134150"


@pytest.mark.skipif(not (BOARD / "python").is_file(), reason="no emulated arm64: make test-arm64")
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
@pytest.mark.skipif(util.find_spec("tensorflow") is None, reason="counted once, where TensorFlow is")
def test_a_shipped_model_is_counted_alike_in_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = build_plugin(tmp_path)
    found = count(CountedModel("fast", "int8", FAST_MODEL), "cortex-a76", plugin)
    assert found.spread < 0.001
    # The model has about 100 million multiply-accumulates. One instruction computes at most 100 of them, so that the
    # inference takes at least a million instructions.
    assert 1_000_000 < found.invoke < found.predict < found.loop < 1_000_000_000

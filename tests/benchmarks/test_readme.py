"""README.md's table of latencies is that of benchmarks/results/machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.readme import BEGIN, END, README, table, with_table
from benchmarks.report import Report, to_json
from edge.errors import DataError


def test_the_table_of_the_readme_is_that_of_the_results() -> None:
    text = README.read_text(encoding="utf-8")
    assert with_table(text, table()) == text, "run `python -m benchmarks.readme`"


def test_each_machine_has_a_line_for_each_model(report: Report, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(to_json(report))
    (tmp_path / "two.json").write_text(to_json(report))
    lines = table(tmp_path).splitlines()
    assert len([line for line in lines if "| alpha | 1 |" in line]) == 2
    assert lines[-1].endswith("| not measured | noisy |")


def test_what_is_between_the_marks_is_replaced() -> None:
    assert with_table(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(DataError, match="README"):
        with_table("no marks", "new")

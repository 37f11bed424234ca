"""Calibration choices are measured against each other on a run."""

from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from dermedge.benchmarks.lab.calibration import main
from dermedge.convert.to_tflite.form import INT8_PTQ, Form
from dermedge.convert.to_tflite.ranges import METHODS
from dermedge.edge.errors import DataError


def test_every_choice_gets_a_row_with_its_figures(
    trained_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(trained_run), "--counts", "6"]) == 0
    head, _, *rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert head.count("|") == 7
    usual = Form(INT8_PTQ).ranges
    assert [row[:3] for row in cells] == [
        *(["39", "evenly", ranges] for ranges in dict.fromkeys((usual, *METHODS))),
        ["6", "evenly", usual],
        ["39", "as they come", usual],
    ]
    assert {"min-max", "percentile", "entropy", "mse"} <= set(METHODS)
    assert all(float(row[3].rstrip("%")) > 60 for row in cells)


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run folder"):
        main([str(tmp_path)])

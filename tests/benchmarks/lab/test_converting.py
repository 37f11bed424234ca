"""Conversion is timed against a bare converter, whose file is the same except for shared buffers."""

import pytest

pytest.importorskip("tensorflow")

from dermedge.benchmarks.lab.converting import BARE, OURS, convert_once, main
from dermedge.edge.errors import ToolError


def test_both_convert_the_same_network() -> None:
    bare, ours = (convert_once(who, 32, 2) for who in (BARE, OURS))
    assert min(bare.seconds, ours.seconds) > 0
    assert 0.8 * bare.bytes < ours.bytes <= bare.bytes


def test_a_conversion_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(ToolError, match="a child process failed: ValueError"):
        main(["--imgsz", "31", "--runs", "1", "--calibration-photos", "1"])

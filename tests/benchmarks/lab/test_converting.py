"""Conversion is timed beside a bare converter, which makes the same file but for what is shared in it."""

import pytest

pytest.importorskip("tensorflow")

from dermedge.benchmarks.lab.converting import BARE, OURS, convert_once, main
from dermedge.edge.errors import ToolError


def test_both_convert_the_same_network() -> None:
    seconds, size = zip(*(convert_once(who, 32, 2) for who in (BARE, OURS)), strict=True)
    assert min(seconds) > 0
    assert 0.8 * size[0] < size[1] <= size[0]


def test_a_conversion_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(ToolError, match=f"the conversion by {BARE} ended with status 1: ValueError"):
        main(["--imgsz", "31", "--runs", "1", "--calibration-photos", "1"])

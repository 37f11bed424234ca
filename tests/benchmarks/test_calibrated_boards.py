"""The fit to published latencies agrees with values computed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from dermedge.benchmarks.calibrated_boards import (
    ESTIMATES,
    MAX_MEDIAN_ERROR,
    Anchor,
    CalibratedBoard,
    Cost,
    fit,
    leave_one_out,
    read_boards,
    stored_instructions,
)
from dermedge.edge.errors import OptionError
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED


def anchor(instructions: float, moved: float, ms: float) -> Anchor:
    return Anchor("a network", "int8", ms, Cost(instructions, moved), "a runtime", "2026", "a page")


def board(*anchors: Anchor) -> CalibratedBoard:
    return CalibratedBoard("board", "A board", "cortex-a76", 4, anchors)


def test_two_anchors_are_met_exactly() -> None:
    # with 2 ms for an instruction and 3 ms for a byte, both latencies are met exactly
    factors = fit([anchor(1, 1, 5), anchor(4, 2, 14)])
    assert (factors.per_instruction, factors.per_byte) == pytest.approx((2, 3))
    assert factors.ms(Cost(10, 1)) == pytest.approx(23)


def test_the_errors_that_are_squared_are_relative() -> None:
    # Both anchors have one instruction and no bytes; their latencies are 1 and 4 ms. If an instruction takes x ms, the
    # sum of the squared relative errors is (x - 1)² + (x/4 - 1)². It is smallest at x = (1 + 1/4) / (1 + 1/16) = 20/17.
    # The sum of the squared errors in ms, (x - 1)² + (x - 4)², would be smallest at 2.5.
    factors = fit([anchor(1, 0, 1), anchor(1, 0, 4)])
    assert factors.per_instruction == pytest.approx(20 / 17)
    assert factors.per_byte == 0


def test_a_factor_is_never_negative() -> None:
    # Both latencies are 1 ms. With 2 ms for an instruction and -1 ms for a byte, both would be met exactly.
    # Without bytes, the best factor of an instruction is (1 + 2) / (1 + 4) = 0.6; the squared errors are 0.16 + 0.04.
    # Without instructions, the best factor of a byte is (1 + 3) / (1 + 9) = 0.4; the squared errors are 0.36 + 0.04.
    factors = fit([anchor(1, 1, 1), anchor(2, 3, 1)])
    assert (factors.per_instruction, factors.per_byte) == pytest.approx((3 / 5, 0))


def test_each_anchor_is_estimated_from_the_others() -> None:
    # Each anchor is left out once. The other two give the ms of an instruction and of a byte.
    # Third left out: 2 and 3 ms. It would take 2 + 3 = 5 ms. Its published latency is 4 ms, so the error is +1/4.
    # Second left out: 2 and 2 ms. It would take 2 ms. Its published latency is 3 ms, so the error is -1/3.
    # First left out: 1 and 3 ms. It would take 1 ms. Its published latency is 2 ms, so the error is -1/2.
    anchors = [anchor(1, 0, 2), anchor(0, 1, 3), anchor(1, 1, 4)]
    assert leave_one_out(anchors) == pytest.approx((-1 / 2, -1 / 3, 1 / 4))
    assert board(*anchors).median_error() == pytest.approx(1 / 3)


def test_an_unknown_board_is_one_line_that_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"unknown board 'pi7'. Known: pi4, pi5, pixel4"):
        read_boards(["pi7"])


def test_an_anchor_that_is_left_out_is_not_fitted() -> None:
    described = {
        "name": "A board",
        "cpu": "cortex-a76",
        "threads": 4,
        "left_out": [{"network": "x", "ms": 1}],
    }
    one = {
        "network": "a network",
        "form": "int8",
        "ms": 5.0,
        "cost": {"instructions": 1, "bytes": 1},
        "runtime": "a runtime",
        "published": "2026",
        "source": "a page",
    }
    [found] = read_boards(["board"], {"boards": {"board": {**described, "anchors": [one]}}})
    assert found == board(anchor(1, 1, 5.0))


def published() -> Sequence[CalibratedBoard]:
    return read_boards()


@pytest.mark.parametrize("found", published(), ids=lambda one: one.key)
def test_every_anchor_states_where_it_was_published(found: CalibratedBoard) -> None:
    assert len(found.anchors) >= 5
    for one in found.anchors:
        assert one.source.startswith("https://")
        assert one.runtime
        assert one.published
        assert one.form in ("int8", "float32")
        # An instruction computes at most 16 multiply-accumulates, and a core at most about 100 in a nanosecond.
        assert 1e6 < one.cost.instructions < 1e10
        assert 1e6 < one.cost.bytes < 1e9


def test_what_is_left_out_says_why() -> None:
    content = json.loads(ESTIMATES.read_text(encoding="utf-8"))
    left_out = [one for described in content["boards"].values() for one in described.get("left_out", ())]
    assert left_out
    assert all(one["reason"] and one["source"].startswith("https://") for one in left_out)


def test_the_boards_of_the_raspberry_pi_are_within_the_bar() -> None:
    for found in read_boards(["pi4", "pi5"]):
        assert found.median_error() <= MAX_MEDIAN_ERROR


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76"])
def test_the_shipped_models_are_counted(name: str, cpu: str) -> None:
    count = stored_instructions(digest(SHIPPED[name]), cpu)
    assert count, f"'{name}' changed: python -m dermedge.benchmarks.lab anchors --shipped"
    assert count > 1e6
    assert stored_instructions("0" * 64, cpu) is None

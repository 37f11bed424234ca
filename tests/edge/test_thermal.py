"""The temperature of the processor, from a file of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dermedge.edge import thermal
from dermedge.edge.thermal import Thermometer


def test_the_sensor_is_that_of_linux() -> None:
    assert Path("/sys/class/thermal/thermal_zone0/temp") == thermal._ZONE


def test_it_is_read_in_degrees_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone, clock = tmp_path / "temp", [50.0]
    monkeypatch.setattr(thermal, "_ZONE", zone)
    monkeypatch.setattr(thermal.time, "monotonic", lambda: clock[0])
    zone.write_text("61234\n")
    thermometer = Thermometer()
    assert thermometer.read() == 61.234
    zone.write_text("-5000\n")
    clock[0] = 50.99
    assert thermometer.read() == 61.234
    clock[0] = 51.0
    assert thermometer.read() == -5.0


@pytest.mark.parametrize("content", [None, "nonsense", ""])
def test_without_a_sensor_there_is_no_temperature(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "temp").write_text(content)
    monkeypatch.setattr(thermal, "_ZONE", tmp_path / "temp")
    assert Thermometer().read() is None

"""Reads the temperature of the processor on Linux."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["Thermometer"]

_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
_INTERVAL_S = 1.0
_MILLI = 1000.0


class Thermometer:
    """Reads the processor's temperature at most once a second. Calls in between return the last value."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._celsius: float | None = None

    def read(self) -> float | None:
        """Returns the temperature in °C, or None if there is no sensor."""
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + _INTERVAL_S
            self._celsius = _read_celsius()
        return self._celsius


def _read_celsius() -> float | None:
    """Returns the temperature of the first thermal zone in °C, or None if there is no thermal zone."""
    try:
        return int(_ZONE.read_text()) / _MILLI
    except (OSError, ValueError):
        return None

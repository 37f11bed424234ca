"""The temperature of the processor, where Linux tells it."""

from __future__ import annotations

import time
from pathlib import Path

ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
INTERVAL_S = 1.0
MILLI = 1000.0


class Thermometer:
    """Reads the processor's temperature about once a second, and remembers it between."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._celsius: float | None = None

    def read(self) -> float | None:
        """In °C, or None where there is no such sensor."""
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + INTERVAL_S
            self._celsius = read_celsius()
        return self._celsius


def read_celsius() -> float | None:
    """The temperature of the first thermal zone in °C, or None where there is none."""
    try:
        return int(ZONE.read_text()) / MILLI
    except (OSError, ValueError):
        return None

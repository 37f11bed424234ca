"""Reads the playing time of an MP4 or QuickTime video from its edit list.

An edit list hides the parts of a video that were trimmed away (ISO/IEC 14496-12, 8.6.6).
"""

from __future__ import annotations

import struct
from pathlib import Path

from dermedge.edge.sources.mp4_index import read_index

__all__ = ["presented_s"]


def presented_s(path: Path) -> float | None:
    """Returns how many seconds the longest track plays, according to the edit list of the track.

    Returns None if the video has no edit list, or is neither MP4 nor QuickTime.
    """
    index = read_index(path)
    timescale = _timescale(index)
    durations = _edited_durations(index)
    return max(durations) / timescale if timescale and durations and max(durations) else None


def _timescale(index: bytes) -> int:
    """Returns how many time units of an edit list make one second, or 0 if the number is unknown."""
    at = index.find(b"mvhd") + 4
    if at < 4 or len(index) < at + 28:
        return 0
    # The version and the flags have 4 bytes. The times of creation and modification follow. Each time has 8 bytes in
    # version 1, and 4 bytes in version 0. The time scale comes next.
    offset = at + (20 if index[at] == 1 else 12)
    return int(struct.unpack_from(">I", index, offset)[0])


def _edited_durations(index: bytes) -> list[int]:
    """Returns the duration of each edit list, in time units."""
    durations = []
    at = index.find(b"elst")
    while at >= 0:
        durations.append(_edited_duration(index, at))
        at = index.find(b"elst", at + 4)
    return durations


def _edited_duration(index: bytes, at: int) -> int:
    """Returns the duration of the edit list in time units. ``at`` is the position of the name "elst" of the edit list.

    Empty entries, which only delay the start, do not count. Returns 0 if the edit list is incomplete.
    """
    if at < 4 or len(index) < at + 12:
        return 0
    size, _, version, count = struct.unpack_from(">I4sB3xI", index, at - 4)
    layout = ">Qq4x" if version == 1 else ">Ii4x"
    entries = index[at + 12 : at - 4 + size]
    if len(entries) != count * struct.calcsize(layout):
        return 0
    return sum(duration for duration, start in struct.iter_unpack(layout, entries) if start >= 0)

"""The boxes of an MP4 state the playing time and the transfer function. They are written by hand (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from dermedge.edge.sources import mp4_index
from dermedge.edge.sources.edit_list import presented_s
from dermedge.edge.sources.mp4_index import is_hdr, read_index

FTYP = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def movie_header(timescale: int, version: int = 0) -> bytes:
    """Returns the box mvhd: times of creation and change, the number of time units in a second, and unread fields."""
    times = struct.pack(">QQ", 11, 12) if version else struct.pack(">II", 11, 12)
    return box(b"mvhd", bytes([version, 0, 0, 0]) + times + struct.pack(">I", timescale) + bytes(80))


def edit_list(*entries: tuple[int, int], version: int = 0) -> bytes:
    """Returns an edit list with entries (duration, start in the media). If the start is -1, the entry is a pause.

    Every entry plays at the normal rate.
    """
    layout = ">Qqhh" if version else ">Iihh"
    packed = b"".join(struct.pack(layout, *entry, 1, 0) for entry in entries)
    return box(b"elst", bytes([version, 0, 0, 0]) + struct.pack(">I", len(entries)) + packed)


def file_of(tmp_path: Path, *boxes: bytes) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"".join((FTYP, box(b"mdat", b"moov elst"), box(b"moov", b"".join(boxes)))))
    return path


@pytest.mark.parametrize("version", [0, 1])
def test_the_longest_track_plays_the_sum_of_its_edits(version: int, tmp_path: Path) -> None:
    # The first track plays 2 s and 1.5 s of the media. The pause of 1 s between them does not count. The other track
    # plays 1 s.
    first = edit_list((1200, 0), (600, -1), (900, 300), version=version)
    path = file_of(
        tmp_path, movie_header(600, version), box(b"trak", first), box(b"trak", edit_list((600, 0)))
    )
    assert presented_s(path) == 3.5
    path = file_of(tmp_path, movie_header(1000, version), edit_list((600, 0)), first)
    assert presented_s(path) == 2.1


def test_what_states_no_time_is_not_guessed(tmp_path: Path) -> None:
    assert presented_s(file_of(tmp_path, movie_header(600))) is None
    assert presented_s(file_of(tmp_path, edit_list((600, 0)))) is None
    assert presented_s(file_of(tmp_path, movie_header(0), edit_list((600, 0)))) is None
    assert presented_s(file_of(tmp_path, movie_header(600), edit_list((0, 0)))) is None
    # this damaged edit list claims to have more entries than it has
    damaged = edit_list((600, 0)).replace(
        struct.pack(">I", 1) + struct.pack(">I", 600), struct.pack(">II", 2, 600)
    )
    assert presented_s(file_of(tmp_path, movie_header(600), damaged)) is None
    assert presented_s(tmp_path / "absent.mp4") is None


@pytest.mark.parametrize(
    ("transfer", "expected"), [(1, False), (15, False), (16, True), (17, False), (18, True), (19, False)]
)
@pytest.mark.parametrize("kind", [b"nclx", b"nclc"])
def test_pq_and_hlg_are_hdr(transfer: int, expected: bool, kind: bytes, tmp_path: Path) -> None:
    # Both kinds have three numbers: the primaries, the transfer function and the matrix. After them, nclx also has the
    # range of the levels.
    ending = b"\x00" if kind == b"nclx" else b""
    colours = box(b"colr", kind + struct.pack(">HHH", 9, transfer, 9) + ending)
    assert is_hdr(file_of(tmp_path, movie_header(600), colours)) is expected


def test_without_colours_or_an_index_nothing_is_hdr(tmp_path: Path) -> None:
    assert not is_hdr(file_of(tmp_path, movie_header(600)))
    assert not is_hdr(file_of(tmp_path, box(b"colr", b"nclx" + struct.pack(">HH", 9, 16))))
    assert not is_hdr(tmp_path / "absent.mp4")


def test_the_index_is_found_behind_a_box_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    large = struct.pack(">I4sQ", 1, b"mdat", 16 + 5) + b"abcde"
    path.write_bytes(FTYP + large + box(b"moov", b"the index") + box(b"free", b"behind"))
    assert read_index(path) == b"the index"
    path.write_bytes(FTYP + struct.pack(">I4sQ", 1, b"moov", 16 + 5) + b"abcde" + box(b"free", b"behind"))
    assert read_index(path) == b"abcde"
    # a box may be empty
    path.write_bytes(FTYP + box(b"free", b"") + box(b"moov", b"the index"))
    assert read_index(path) == b"the index"
    path.write_bytes(FTYP + struct.pack(">I4sQ", 1, b"free", 16) + box(b"moov", b"the index"))
    assert read_index(path) == b"the index"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no",
        FTYP,
        # A box of size 0 reaches to the end of the file. A size that is smaller than the head of the box is damage.
        FTYP + struct.pack(">I4s", 0, b"mdat") + b"moov",
        FTYP + struct.pack(">I4s", 7, b"mdat") + box(b"moov", b"not found"),
        FTYP + struct.pack(">I4sQ", 1, b"mdat", 15) + box(b"moov", b"not found"),
    ],
)
def test_a_file_without_an_index_ends_the_search(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert read_index(path) == b""


def test_an_index_that_claims_too_much_is_read_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 64 MiB
    assert mp4_index._MOST_INDEX_BYTES == 67_108_864
    monkeypatch.setattr(mp4_index, "_MOST_INDEX_BYTES", 4)
    path = tmp_path / "video.mp4"
    path.write_bytes(FTYP + box(b"moov", b"the index"))
    assert read_index(path) == b"the "


def test_a_raw_stream_of_h264_has_no_index(tmp_path: Path) -> None:
    path = tmp_path / "test.h264"
    # `rpicam-vid -o test.h264` writes such a file. It has a start code, and then the sequence parameters.
    path.write_bytes(bytes.fromhex("00000001 67640028 ac2b402802dd0808 00000001 68ee3cb0") + bytes(100))
    assert read_index(path) == b""
    assert not is_hdr(path)
    assert presented_s(path) is None

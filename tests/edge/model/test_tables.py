"""The tables of a flatbuffer that was written byte by byte."""

from __future__ import annotations

import struct

import pytest

from dermedge.edge.model.tables import Table

# The root table begins at byte 12, and its vtable at byte 4. The vtable is 6 bytes long, so the table has one field.
# The field lies 4 bytes after the beginning of the table. The two bytes after the vtable are unused. A reader that goes
# beyond the end of the vtable would take them for the position of a second field.
HEAD = struct.pack("<I HHH H", 12, 6, 8, 4, 4)
ROOT = struct.pack("<i I", 12 - 4, 4)


def flatbuffer(length: int, items: bytes) -> bytes:
    """A table whose one field is a vector."""
    return HEAD + ROOT + struct.pack("<I", length) + items


def test_a_field_behind_the_end_of_the_vtable_is_absent() -> None:
    root = Table.root(flatbuffer(3, b"abc"))
    assert root.text(0) == "abc"
    assert (root.offset(0), root.offset(1), root.offset(2)) == (16, 0, 0)
    assert root.number(1, default=7) == 7
    assert root.table(1) is None
    assert (root.data(1), root.tables(1), root.numbers(1)) == (b"", [], ())


def test_a_vector_may_end_with_the_file_but_not_behind_it() -> None:
    assert Table.root(flatbuffer(2, struct.pack("<hh", -2, 300))).numbers(0, "h") == (-2, 300)
    assert Table.root(flatbuffer(1, struct.pack("<f", 0.5))).numbers(0, "f") == (0.5,)
    for content, layout in ((b"ab", "b"), (b"abc", "h"), (b"abcde", "h")):
        with pytest.raises(ValueError, match=r"a vector ends at byte \d+, but the flatbuffer has \d+ bytes"):
            Table.root(flatbuffer(3, content)).numbers(0, layout)
    with pytest.raises(ValueError, match="a vector ends at byte"):
        Table.root(flatbuffer(3, b"ab")).data(0)


def test_an_offset_before_the_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="before the beginning"):
        Table(b"\x08\0\0\0" * 8, 4)

"""Reads the tables of a flatbuffer field by field, without the generated code of its schema.

The layout is that of FlatBuffers' "Internals" page: a table begins with the distance to its vtable, which lists where
each field lies; a field that is left out has its default value. Only ai-edge-litert contains the generated code of
TensorFlow's schema. This reader also works with tflite-runtime. It reads TFLite Metadata too, whose schema neither
package contains.
"""

from __future__ import annotations

import struct
from typing import Self

__all__ = ["READ_ERRORS", "Table"]

# The exceptions that a damaged flatbuffer causes.
READ_ERRORS = (struct.error, ValueError, IndexError, OverflowError)


class Table:
    """One table of a flatbuffer.

    Args:
        content: the whole flatbuffer.
        position: the first byte of the table.
    """

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._position = position
        self._vtable = position - self._read("<i", position)
        self._vtable_bytes = self._read("<H", self._vtable)

    @classmethod
    def root(cls, content: bytes) -> Self:
        """Returns the table that a flatbuffer begins with."""
        return cls(content, _unpack("<I", content, 0))

    def offset(self, slot: int) -> int:
        """Returns the position of a field in the flatbuffer; 0 if the field is absent."""
        entry = 4 + 2 * slot
        distance = self._read("<H", self._vtable + entry) if entry < self._vtable_bytes else 0
        return self._position + distance if distance else 0

    def number(self, slot: int, layout: str = "<i", default: int = 0) -> int:
        """Returns a whole number; ``layout`` is its type as `struct` writes it."""
        at = self.offset(slot)
        return self._read(layout, at) if at else default

    def table(self, slot: int) -> Table | None:
        """Returns the table that a field refers to."""
        at = self.offset(slot)
        return Table(self._content, self._target(at)) if at else None

    def tables(self, slot: int) -> list[Table]:
        """Returns the tables of a vector."""
        start, length = self._vector(slot, 4)
        return [Table(self._content, self._target(start + 4 * index)) for index in range(length)]

    def numbers(self, slot: int, layout: str = "i") -> tuple[float, ...]:
        """Returns a vector of int32, or of another type as `struct` writes it: "f" for float32, "q" for int64."""
        start, length = self._vector(slot, struct.calcsize(f"<{layout}"))
        return struct.unpack_from(f"<{length}{layout}", self._content, start)

    def data(self, slot: int) -> bytes:
        """Returns a vector of bytes, or a string."""
        start, length = self._vector(slot, 1)
        return self._content[start : start + length]

    def text(self, slot: int) -> str:
        """Returns a string, with a replacement character for each byte that is not UTF-8."""
        return self.data(slot).decode(errors="replace")

    def _vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Returns the position of a vector's first item, and the number of items."""
        at = self.offset(slot)
        if not at:
            return 0, 0
        start = self._target(at)
        length = self._read("<I", start)
        if start + 4 + length * item_bytes > len(self._content):
            raise ValueError("a vector ends outside the file")
        return start + 4, length

    def _target(self, at: int) -> int:
        return at + self._read("<I", at)

    def _read(self, layout: str, at: int) -> int:
        return _unpack(layout, self._content, at)


def _unpack(layout: str, content: bytes, at: int) -> int:
    if at < 0:
        raise ValueError("an offset points before the file")
    value: int = struct.unpack_from(layout, content, at)[0]
    return value

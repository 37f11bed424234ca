"""Reads the tables of a flatbuffer field by field, without code that was generated from the schema.

The page "Internals" of FlatBuffers' documentation describes the layout. A table begins with the distance to its
vtable. The vtable states the position of each field. If a field is absent, it has its default value.

Only ai-edge-litert contains the code that was generated from TensorFlow's schema. This module does not need that code,
and therefore also works with tflite-runtime. The module reads TFLite Metadata too, whose schema neither package
contains.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dermedge.edge.errors import ModelError

__all__ = ["READ_ERRORS", "Table", "refusing_damage"]

_FILE_IDENTIFIER = b"TFL3"
# Reading a damaged flatbuffer raises one of these exceptions.
READ_ERRORS = (struct.error, ValueError, IndexError, OverflowError)


@contextmanager
def refusing_damage(
    model: bytes, source: Path | str, errors: tuple[type[Exception], ...] = READ_ERRORS
) -> Iterator[None]:
    """Raises ModelError if a model is not a .tflite, or if the ``with`` block that reads it raises one of ``errors``.

    Args:
        model: the bytes of the file.
        source: the name of the file for the message.
        errors: the exceptions that mean that the flatbuffer is damaged.
    """
    if model[4:8] != _FILE_IDENTIFIER:
        raise ModelError(
            f"'{source}' is not a .tflite model, or its beginning is damaged; copy the file again"
        )
    try:
        yield
    except errors as error:
        raise ModelError(
            f"'{source}' is damaged: its flatbuffer cannot be read ({error}); copy the file again"
        ) from error


class Table:
    """One table of a flatbuffer.

    Args:
        content: the whole flatbuffer.
        position: the position of the first byte of the table.
    """

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._position = position
        self._vtable = position - self._read("<i", position)
        self._vtable_bytes = self._read("<H", self._vtable)

    @classmethod
    def root(cls, content: bytes) -> Self:
        """Returns the root table of a flatbuffer. The first four bytes of the flatbuffer state the table's position."""
        return cls(content, _unpack("<I", content, 0))

    def offset(self, slot: int) -> int:
        """Returns the position of a field in the flatbuffer. Returns 0 if the field is absent."""
        entry = 4 + 2 * slot
        distance = self._read("<H", self._vtable + entry) if entry < self._vtable_bytes else 0
        return self._position + distance if distance else 0

    def number(self, slot: int, layout: str = "<i", default: int = 0) -> int:
        """Returns the integer in a field, or ``default`` if the field is absent.

        Args:
            slot: the number of the field.
            layout: the type of the integer, as the module `struct` denotes it.
            default: the value of an absent field.
        """
        at = self.offset(slot)
        return self._read(layout, at) if at else default

    def table(self, slot: int) -> Table | None:
        """Returns the table to which a field refers, or None if the field is absent."""
        at = self.offset(slot)
        return Table(self._content, self._target(at)) if at else None

    def tables(self, slot: int) -> list[Table]:
        """Returns the tables in a vector. The list is empty if the field is absent."""
        start, length = self._vector(slot, 4)
        return [Table(self._content, self._target(start + 4 * index)) for index in range(length)]

    def numbers(self, slot: int, layout: str = "i") -> tuple[float, ...]:
        """Returns the numbers in a vector. The tuple is empty if the field is absent.

        Args:
            slot: the number of the field.
            layout: the type of the numbers, as the module `struct` denotes it: "i" for int32, "f" for float32, "q" for
                int64.
        """
        start, length = self._vector(slot, struct.calcsize(f"<{layout}"))
        return struct.unpack_from(f"<{length}{layout}", self._content, start)

    def data(self, slot: int) -> bytes:
        """Returns the bytes in a vector of bytes or in a string."""
        start, length = self._vector(slot, 1)
        return self._content[start : start + length]

    def text(self, slot: int) -> str:
        """Returns a string. Bytes that are not UTF-8 become replacement characters."""
        return self.data(slot).decode(errors="replace")

    def _vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        """Returns the position of the first item in a vector, and the number of items."""
        at = self.offset(slot)
        if not at:
            return 0, 0
        start = self._target(at)
        length = self._read("<I", start)
        end = start + 4 + length * item_bytes
        if end > len(self._content):
            raise ValueError(
                f"a vector ends at byte {end}, but the flatbuffer has {len(self._content)} bytes"
            )
        return start + 4, length

    def _target(self, at: int) -> int:
        return at + self._read("<I", at)

    def _read(self, layout: str, at: int) -> int:
        return _unpack(layout, self._content, at)


def _unpack(layout: str, content: bytes, at: int) -> int:
    if at < 0:
        raise ValueError(f"an offset points to byte {at}, which is before the beginning of the flatbuffer")
    value: int = struct.unpack_from(layout, content, at)[0]
    return value

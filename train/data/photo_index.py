"""Finds the photos that a cell of a table names: by a published id, a path, a file name or a number."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.photo_names import bare_id, published_id
from dermedge.train.data.table_files import TableText, spreadsheet_text

__all__ = ["PhotoIndex"]

# A table in an unknown format is taken to be about the photos if it names enough of them. The number of photos that it
# names must be at least this fraction of the number of its rows or of the number of photos, whichever is lower.
_NAMING_SHARE = 0.1
_NOT_A_NUMBER = -1
# A whole number as spreadsheets write it. It may have separators between thousands, or decimals that are 0.
_WHOLE = re.compile(r"(\d+|\d{1,3}([,.' ]\d{3})+)([.,]0{1,2})?")


class PhotoIndex:
    """Finds the photos that a cell of a table names."""

    def __init__(self, photos: Sequence[FoundPhoto]) -> None:
        self._photos = photos
        self._by_id: dict[str, list[int]] = defaultdict(list)
        self._by_file: dict[str, list[int]] = defaultdict(list)
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        self._by_number: dict[int, list[int]] = defaultdict(list)
        for index, photo in enumerate(photos):
            if found := published_id(photo.path.stem):
                self._by_id[found].append(index)
            self._by_file[_compared(photo.path.name)].append(index)
            self._by_stem[_compared(bare_id(photo.path.name))].append(index)
            if photo.path.stem.isdecimal():
                self._by_number[int(photo.path.stem)].append(index)

    def find(self, cell: str, table: Path) -> list[int]:
        """Returns the indices of the photos that a cell names.

        A published id names all files with this id. Any other cell names the photo whose path is most similar to the
        cell, or several photos whose paths are equally similar.
        """
        if found := published_id(bare_id(cell)):
            return self._by_id.get(found, [])
        parts = self._parts(cell)
        if not parts:
            return []
        found_files = self._files_called(parts[-1])
        agreeing = {index: self._folders_in_common(index, parts[:-1]) for index in found_files}
        best = [index for index, count in agreeing.items() if count == max(agreeing.values())]
        beside = [index for index in best if table.parent in self._photos[index].path.parents]
        return beside or best

    def agreement(self, index: int, cell: str) -> float:
        """Returns how many folders of the path in a cell agree with the folders of a photo, from the file upwards.

        The result is infinite if all folders in the cell agree, if the cell holds no folder, or if the cell holds a
        published id.
        """
        folders = self._parts(cell)[:-1]
        count = self._folders_in_common(index, folders)
        return math.inf if count == len(folders) or published_id(bare_id(cell)) else count

    def named_in(self, text: TableText) -> frozenset[int]:
        """Returns the photos that the first rows of a table name.

        The result is empty if the rows name too few photos (see `_NAMING_SHARE`). The table is then probably not about
        the photos.
        """
        named: set[int] = set()
        rows = 0
        try:
            for row in text.first_rows(lenient=True):
                rows += 1
                for cell in row.values():
                    named.update(self.find(cell, text.path) if cell and not _is_number(cell) else ())
        except ValueError:
            pass
        enough = len(named) >= _NAMING_SHARE * min(rows, len(self._photos))
        return frozenset(named) if enough else frozenset()

    def named_in_spreadsheet(self, path: Path) -> frozenset[int]:
        """Returns the photos that an .xlsx file names.

        The result is empty if the file names too few photos (see `_NAMING_SHARE`). The file is then probably not about
        the photos.
        """
        words = (
            set(map(_compared, re.split(r"[<>\s]+", spreadsheet_text(path))))
            if path.suffix.lower() == ".xlsx"
            else set()
        )
        named = {
            index
            for index, photo in enumerate(self._photos)
            if _compared(photo.path.name) in words
            or (_compared(photo.path.stem) in words and not photo.path.stem.isdigit())
        }
        return frozenset(named) if len(named) >= _NAMING_SHARE * len(self._photos) else frozenset()

    def _parts(self, cell: str) -> list[str]:
        """Returns the parts of the path in a cell.

        Percent escapes such as "%20" are decoded, but only if no file has the name as the cell writes it.
        """
        parts = _path_parts(cell)
        return parts if not parts or self._files_called(parts[-1]) else _path_parts(unquote(cell))

    def _files_called(self, name: str) -> list[int]:
        named = self._by_file.get(name) or self._by_stem.get(bare_id(name))
        return self._by_number.get(_whole_number(name), []) if named is None else named

    def _folders_in_common(self, index: int, folders: Sequence[str]) -> int:
        """Compares the folders of a photo with those of the path in a table cell, from the file upwards.

        Returns how many names agree before the first difference.
        """
        own = [_compared(part) for part in self._photos[index].path.parts[:-1]]
        pairs = zip(reversed(own), reversed(folders), strict=False)
        return next(
            (count for count, (one, other) in enumerate(pairs) if one != other), min(len(own), len(folders))
        )


def _compared(name: str) -> str:
    """Returns a name in lower case, normalized to the Unicode form NFC. Two names are compared in this form.

    The reason is that macOS can store an accent as a character of its own (the form NFD).
    """
    return unicodedata.normalize("NFC", name).lower()


def _path_parts(cell: str) -> list[str]:
    """Returns the names of the folders and of the file in a cell, as `_compared` returns them."""
    return [part for part in _compared(cell).replace("\\", "/").split("/") if part not in ("", ".")]


def _whole_number(cell: str) -> int:
    """Returns the whole number in a cell; -1 if the cell holds no whole number."""
    found = _WHOLE.fullmatch(cell)
    return int(re.sub(r"\D", "", found[1])) if found else _NOT_A_NUMBER


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

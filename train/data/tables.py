"""The publishers' own tables: what each image id shows, and which lesion it shows.

Known by their columns, whatever the file is called:
- HAM10000: ``lesion_id, image_id, dx``.
- ISIC 2019 ground truth: ``image`` and one column a diagnosis, SCC among them, one-hot.
- ISIC 2018 task 3 ground truth: the same with AKIEC in place of AK and SCC.
- ISIC 2019 metadata: ``image, lesion_id``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.folders import Place

# Codes of the publishers and names of the web's folders -> the diagnosis.
DIAGNOSES = {
    "mel": "melanoma",
    "melanoma": "melanoma",
    "nv": "nevus",
    "nevus": "nevus",
    "nevus pigmentosus": "nevus",
    "melanocytic nevus": "nevus",
    "df": "dermatofibroma",
    "dermatofibroma": "dermatofibroma",
    "scc": "squamous cell carcinoma",
    "squamous cell carcinoma": "squamous cell carcinoma",
    "bcc": "basal cell carcinoma",
    "basal cell carcinoma": "basal cell carcinoma",
    "ak": "actinic keratosis",
    "actinic keratosis": "actinic keratosis",
    "bkl": "benign keratosis",
    "pigmented benign keratosis": "benign keratosis",
    "seborrheic keratosis": "benign keratosis",
    "vasc": "vascular lesion",
    "vascular lesion": "vascular lesion",
}

# Ids of the ISIC archive.
ARCHIVE_ID = re.compile(r"ISIC_\d{7}")

# ISIC 2018's AKIEC, HAM10000's akiec: actinic keratosis or squamous cell carcinoma, it does not say which.
AMBIGUOUS = "akiec"
UNKNOWN = "unk"

# The more a table is trusted, the lower its number: ISIC 2019 tells AK from SCC.
ISIC_2019, ISIC_2018, HAM10000 = range(3)


@dataclass
class Tables:
    """What the tables say of image ids.

    Attributes:
        diagnoses: image id -> (trust, diagnosis); the diagnosis is None where it is ambiguous.
        lesions: image id -> (trust, lesion id), lower is trusted more; HAM10000 comes before ISIC 2019.
        files: the tables that were read.
    """

    diagnoses: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    lesions: dict[str, tuple[int, str]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def diagnosis(self, image_id: str) -> str | None:
        return self.diagnoses[image_id][1]

    def image_id(self, place: Place) -> str:
        """The publisher's id of a file, which names one picture wherever it lies, else its place.

        A name like IMG_0001 is given to many pictures.
        """
        image_id = image_id_of(place.path.stem)
        if image_id in self.diagnoses or image_id in self.lesions or ARCHIVE_ID.fullmatch(image_id):
            return image_id
        return place.name.removesuffix(place.path.suffix)

    def lesion(self, image_id: str) -> str | None:
        return self.lesions[image_id][1] if image_id in self.lesions else None


def image_id_of(text: str) -> str:
    """The bare id of a file name's stem or a table's cell: ISIC 2019 marks some as ``_downsampled``."""
    return text.strip().removesuffix("_downsampled")


def diagnosis_of(folder: str | None) -> str | None:
    """What the name of a class folder says: the diagnosis where it is known, else the name itself."""
    return folder and DIAGNOSES.get(folder.lower().replace("_", " "), folder)


def read_tables(paths: Iterable[Path], named: Collection[Path] = ()) -> Tables:
    """Joins all tables among ``paths`` that are known by their columns; others are ignored.

    Args:
        paths: of files that may be tables.
        named: those of them that a person named, and which are not ignored.

    Raises:
        DataError: a known table has a row that cannot be read.
        OptionError: a file of ``named`` is no table that is known.
    """
    tables = Tables()
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8-sig") as handle:
                columns = _read_table(tables, handle)
        except UnicodeDecodeError as error:
            raise DataError(f"cannot read the table '{path}': it is not UTF-8; save it as that") from error
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the table '{path}': {error}") from error
        if columns is None:
            tables.files.append(path)
        elif path in named:
            raise OptionError(
                f"'{path}' is no table of HAM10000, ISIC 2018 or ISIC 2019: its columns are '{columns}'"
            )
    return tables


def _read_table(tables: Tables, handle: TextIO) -> str | None:
    """Takes what a table says; where its columns are not known, those.

    Raises:
        ValueError: a row cannot be read.
    """
    # a row that is too short has empty cells
    reader = csv.DictReader(handle, restval="")
    try:
        columns = list(reader.fieldnames or ())
        return None if _take_table(tables, set(columns), reader) else ",".join(columns)
    except UnicodeDecodeError:
        raise
    except (csv.Error, ValueError) as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _take_table(tables: Tables, columns: set[str], rows: Iterable[dict[str, str]]) -> bool:
    if {"lesion_id", "image_id", "dx"} <= columns:
        for row in rows:
            image = image_id_of(row["image_id"])
            _keep(tables.diagnoses, image, HAM10000, _canonical(row["dx"]))
            _keep(tables.lesions, image, 0, row["lesion_id"])
    elif {"image", "MEL", "NV"} <= columns:
        trust = ISIC_2019 if "SCC" in columns else ISIC_2018
        for row in rows:
            hot = [name for name in columns - {"image"} if float(row[name]) >= 0.5]
            diagnosis = _canonical(hot[0]) if len(hot) == 1 else None
            _keep(tables.diagnoses, image_id_of(row["image"]), trust, diagnosis)
    elif {"image", "lesion_id"} <= columns:
        for row in rows:
            if row["lesion_id"]:
                _keep(tables.lesions, image_id_of(row["image"]), 1, row["lesion_id"])
    else:
        return False
    return True


def _canonical(code: str) -> str | None:
    code = code.strip().lower()
    if code in (AMBIGUOUS, UNKNOWN):
        return None
    if code not in DIAGNOSES:
        raise ValueError(f"unknown diagnosis '{code}'")
    return DIAGNOSES[code]


def _keep(into: dict[str, tuple[int, Any]], image: str, trust: int, value: Any) -> None:
    if image not in into or trust < into[image][0]:
        into[image] = (trust, value)

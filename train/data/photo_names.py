"""Reads the names of photo files: the publisher's id, and the photo that a file was made from."""

from __future__ import annotations

import re

from dermedge.edge.photos import SUFFIXES

__all__ = ["PUBLISHED_ID", "bare_id", "base_stem", "is_photo_name", "published_id"]

# Ids of the ISIC archive and of PAD-UFES-20. Such an id names the same photo in any folder. Ids of ISIC may be in lower
# case, because some programs change the names of files. Ids of PAD-UFES-20 must be in upper case, because other people
# also use names such as pat_1_2_3.
PUBLISHED_ID = re.compile(r"(?i:ISIC)_\d{7}(?!\d)|PAT_\d+_\d+_\d+(?!\d)")
_PHOTO_SUFFIX = re.compile(f"({'|'.join(map(re.escape, sorted(SUFFIXES)))})$", re.IGNORECASE)
# Match the names that tools give to a changed photo or to a frame of a video. NAME is the name of the original file.
# Roboflow: NAME_jpg.rf.HASH; Augmentor: CLASS_original_NAME.jpg_UUID; other tools: NAME and a word such as rot90.
_ROBOFLOW = re.compile(r"^(.+?)(_(?:jpe?g|png|bmp|webp))?\.rf\.[0-9A-Za-z]+$", re.IGNORECASE)
_AUGMENTOR = re.compile(r"^.*_original_(.+?)\.(?:jpe?g|png|bmp)_[0-9a-f-]{36}$", re.IGNORECASE)
_CHANGED = re.compile(
    r"^(.+?)[ _.-](?:aug(?:mented|mentation)?|rot(?:ated|ate)?|[hv]?flip(?:ped)?|mirror(?:ed)?|bright(?:er|ened)?|"
    r"crop(?:ped)?|blur(?:red)?|noise|zoom(?:ed)?|shift(?:ed)?|frame|frm|thumb(?:nail)?)[ _.-]?\d*(?:[ _.-]\d+)*$",
    re.IGNORECASE,
)


def bare_id(text: str) -> str:
    """Returns the id in a cell of a table or in the name of a file.

    Folders, the suffix, and the ending ``_downsampled`` of ISIC 2019 are removed.
    """
    name = text.strip().replace("\\", "/").rpartition("/")[2]
    return _PHOTO_SUFFIX.sub("", name).removesuffix("_downsampled")


def is_photo_name(text: str) -> bool:
    """Tells whether a cell of a table is the name of a photo file, or a published id."""
    return bool(_PHOTO_SUFFIX.search(text.strip()) or PUBLISHED_ID.fullmatch(text.strip()))


def published_id(stem: str) -> str | None:
    """Returns the publisher's id in the stem of a file name; None if it contains no such id.

    For example, the id in ``aug_ISIC_0024306.jpg_2`` is ISIC_0024306.
    """
    found = PUBLISHED_ID.search(stem)
    return found[0].upper() if found else None


def base_stem(stem: str) -> str:
    """Returns the stem of the original, if a tool gave the name ``stem`` to a changed photo or to a frame of a video.

    Any other stem is returned unchanged.
    """
    for pattern in (_ROBOFLOW, _AUGMENTOR, _CHANGED):
        if found := pattern.match(stem):
            return found[1]
    return stem

"""Recognizes the role of a folder by its name: part (train, val or test), container, person, date, or class."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from dermedge.train.data.diagnoses import is_known
from dermedge.train.data.group_names import is_group_folder

__all__ = ["FolderKind", "folder_kind", "part_of", "says_mask", "without_part"]

# For each name of a folder, the part of a dataset that the folder holds: train, val or test.
_PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "holdout": "test",
    "heldout": "test",
}
# If the name of a folder contains only such words, the name says nothing about the photos.
_PLAIN = frozenset(
    {
        "images",
        "image",
        "imgs",
        "img",
        "photos",
        "photo",
        "pictures",
        "pics",
        "pic",
        "data",
        "dataset",
        "datasets",
    }
    | {"set", "input", "inputs", "part", "parts", "files", "jpeg", "jpg", "png", "raw", "resized", "original"}
    | {"originals", "all", "batch", "folder", "split", "splits", "dermoscopic", "cropped"}
)
# Matches words for publishers and challenges. A name such as HAM10000_images_part_1 contains such words, and words of
# `_PLAIN` and `_PARTS`.
_PUBLISHERS = re.compile(r"(isic|isbi|siim|ham|pad|ufes|milk|bcn|challenge|task|cls|v)\d*k?")
_MASKS = re.compile(r"\b(masks?|segmentations?|superpixels?|annotations?|ground ?truths?|gt)\b")
_DATE = re.compile(
    r"(19|20)\d\d([ .-]?\d\d){0,2}|\d{1,2}[ .-]\d{1,2}[ .-](19|20)\d\d|"
    r"(\d{1,2} )?(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|"
    r"nov(ember)?|dec(ember)?)( ?\d{1,4})?( (19|20)\d\d)?|"
    r"(19|20)\d{6}t\d{6}z( \d+)?"  # the name of a folder that `dermedge run --record` made
)


class FolderKind(Enum):
    """The role of a folder, recognized by its name."""

    PART = "part of a set"
    PLAIN = "container"
    GROUP = "person, lesion or visit"
    DATE = "date"
    DIAGNOSIS = "diagnosis"
    NAME = "any other name"


@lru_cache(maxsize=65536)
def folder_kind(name: str) -> FolderKind:
    """Returns the role of a folder with this name."""
    words = _words(name)
    text = " ".join(words)
    if part_of(name):
        return FolderKind.PART
    if is_known(name):
        return FolderKind.DIAGNOSIS
    if _is_plain(words):
        return FolderKind.PLAIN
    if is_group_folder(name):
        return FolderKind.GROUP
    return FolderKind.DATE if _DATE.fullmatch(text) else FolderKind.NAME


@lru_cache(maxsize=65536)
def part_of(name: str) -> str | None:
    """Returns train, val or test if the name means one of these parts of a dataset, and nothing else; otherwise None.

    For example, the result for ``train melanoma`` is None, because this name also names a class.
    """
    words = _words_of_part(name)
    parts = {_PARTS[word] for word in words if word in _PARTS}
    others = [word for word in words if word not in _PARTS]
    return (
        parts.pop()
        if len(parts) == 1 and (not others or _is_plain(others) or _all_publishers(others))
        else None
    )


def without_part(name: str) -> str:
    """Returns the name of a folder without the word that states a part: an empty string for ``train``, and "images" for
    ``test_images``. A name that states no part is returned unchanged.
    """
    return " ".join(word for word in _words_of_part(name) if word not in _PARTS) if part_of(name) else name


def says_mask(name: str) -> bool:
    """Tells whether the name of a folder or a file mentions masks or segmentations."""
    return bool(_MASKS.search(" ".join(_words(name))))


def _words_of_part(name: str) -> list[str]:
    """Returns the words of a name. "Hold-out" counts as one word, and a year as in train2017 is removed."""
    text = re.sub(r"\b(hold|held)[ _-]out\b", r"\1out", name.lower())
    return [re.sub(r"(?<=[a-z])\d{4}$", "", word) for word in _words(text)]


def _words(name: str) -> list[str]:
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).split()


def _is_plain(words: list[str]) -> bool:
    """Tells whether the words of a folder's name say nothing about the photos.

    Such a name has at least one word of `_PLAIN`, and all its other words are numbers or names of publishers.
    """
    plain = [re.sub(r"\d+$", "", word) in _PLAIN for word in words]
    others = [word for word, is_plain in zip(words, plain, strict=True) if not is_plain]
    return any(plain) and all(word.isdigit() or _PUBLISHERS.fullmatch(word) for word in others)


def _all_publishers(words: list[str]) -> bool:
    return all(word.isdigit() or _PUBLISHERS.fullmatch(word) for word in words)

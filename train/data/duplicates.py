"""Copies of one picture among many files: equal bytes, and near-duplicates under any name.

A near-duplicate is the same picture resized, compressed again, brightened, flipped, turned by quarters,
cut to its centre square or squashed to a square. Candidates are pairs whose perceptual hashes (pHash of
ImageHash) differ in few bits; each is then confirmed on pixels, because the hash of a round dark spot on
skin says little. What is compared is fine texture inside a dermoscope's black rim or a plain margin: the grey
square less its blur, divided by its local contrast, so that neither a lesion's shape nor a frame makes two
alike.

Measured on the 7,871 files of the project's real photos by ``tests/train/test_duplicates.py``, which
prints these figures (``pytest tests/train/test_duplicates.py -k real``):
- one image id in two sets, at another size and crop, hairs removed in one: 889 of 889 pairs found, the
  least similar one at 0.81;
- mirrored, at 96 pixels, JPEG quality 60: 397 of 400 found;
- under different ids: 53 pairs of files, 23 of them of different lesions by the publishers' tables. All were
  looked at: each is one picture, or two photos of one spot a moment apart. The most similar strangers (two
  hands) are at 0.55.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dermedge.edge.files import storage_error
from dermedge.train.data.ordered_map import ordered_map
from dermedge.train.data.pixels import release_pages

__all__ = ["Match", "Prints", "equal_files", "near_duplicates", "read_prints"]

SIDE = 64
# Of 64 bits.
MAX_HASH_DISTANCE = 12
# Correlation of the textures of one picture's copies, at the least.
MIN_SIMILARITY = 0.58
# As many pixels of a view may a copy be off: crops differ, and so do two photos a moment apart.
MAX_SHIFT = 2
# Correlation before any shift, at the least: the shifts of all candidates would take long.
MIN_UNSHIFTED = 0.15
# Grey levels, root mean square, of what a blur takes away: a picture with less is a plain surface, and
# plain surfaces are all alike.
MIN_TEXTURE = 0.5
BLUR_SIGMA = 2.0
CONTRAST_FLOOR = 2.0
# A texture is kept as int8 of this many steps a unit.
TEXTURE_STEPS = 40
# Of the brightness of the picture: what is darker and touches the border is a dermoscope's rim.
RIM_DARKNESS = 0.15
# Grey levels, standard deviation over 3x3 pixels: what has less and touches the border is a margin that was
# added, as to make a picture square.
PLAIN_DEVIATION = 0.5
# Pixels from the centre of a view to where a frame may begin.
MIDDLE = 8
# Pixels of the square kernel that takes the edge of a frame away with it.
FRAME_EDGE = 5
# The share of a view inside its frame, at the least.
MIN_SEEN = 0.25
EPSILON = 1e-6
TURNS = 8
# Sets with squashed pictures squash 4:3, the shape of a dermoscope's camera.
CAMERA_ASPECT = 4 / 3
PAIRS_A_BLOCK = 1 << 22
# Their distances stay in a processor's cache.
PAIRS_AT_ONCE = 1 << 16
CONFIRMED_A_BLOCK = 1024


@dataclass(frozen=True)
class Prints:
    """What is kept of every file; the arrays have one row a file, of zeros where it cannot be decoded.

    Every picture has two views: its centre square; and for a picture that is not square the whole of it
    squashed to a square, for a square one the centre square of what it was if it has been squashed from 4:3.

    Attributes:
        digests: SHA-256 of the bytes, empty where the file cannot be read.
        sizes: int32 [n, 2], width and height in pixels as the picture is shown.
        hashes: uint64 [n, 2, 8], of each view in each of the eight turns.
        textures: int8 [n, 2, 64, 64], of each view; zeros for a plain surface. Mapped from a file that goes
            with it: in memory they would grow with the set.
        textured: bool [n, 2], whether a view is no plain surface.
        unreadable: index -> why the file cannot be read or decoded.
    """

    digests: tuple[str, ...]
    sizes: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    textures: NDArray[np.int8]
    textured: NDArray[np.bool_]
    unreadable: dict[int, str]


@dataclass(frozen=True)
class Match:
    """Two files that show one picture.

    Attributes:
        first: index of a file.
        second: index of the other, higher.
        similarity: correlation of their textures, 0.58 to 1.
        squashed: one of them is the other at another aspect ratio.
        turned: one of them is the other flipped or turned by quarters.
    """

    first: int
    second: int
    similarity: float
    squashed: bool
    turned: bool


def read_prints(
    paths: Sequence[Path],
    progress: Callable[[int, int], None] = lambda done, total: None,
    scratch: Path | None = None,
) -> Prints:
    """Reads and decodes every file once; one that cannot be decoded is kept as such.

    Args:
        paths: of the files.
        progress: called with (files read, files to read).
        scratch: a folder for the textures, 8 kB a file; the system's for temporary files if not given.

    Raises:
        StorageError: the textures cannot be written.
    """
    count = len(paths)
    digests = [""] * count
    sizes = np.zeros((count, 2), np.int32)
    hashes = np.zeros((count, 2, TURNS), np.uint64)
    textured = np.zeros((count, 2), np.bool_)
    unreadable: dict[int, str] = {}
    with _scratch_file(scratch) as kept:
        for index, (digest, size, views, why) in enumerate(ordered_map(_read, paths)):
            digests[index] = digest
            textures = np.zeros((2, SIDE, SIDE), np.int8)
            if why:
                unreadable[index] = why
            else:
                sizes[index] = size
                for position, view in enumerate(views):
                    textures[position] = _texture(view)
                    textured[index, position] = textures[position].any()
                    if textured[index, position]:
                        hashes[index, position] = _hashes(view)
            kept.write(textures.tobytes())
            progress(index + 1, count)
        kept.flush()
        shape = (count, 2, SIDE, SIDE)
        mapped = np.memmap(kept, np.int8, "r", shape=shape) if count else np.zeros(shape, np.int8)
    return Prints(tuple(digests), sizes, hashes, mapped, textured, unreadable)


@contextmanager
def _scratch_file(folder: Path | None) -> Iterator[IO[bytes]]:
    """A file without a name, which goes when nothing uses it any more; raises StorageError."""
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as kept:
            yield kept
    except OSError as error:
        raise storage_error(folder or gettempdir(), error) from error


def _read(path: Path) -> tuple[str, tuple[int, int], list[NDArray[np.uint8]], str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return "", (0, 0), [], error.strerror or str(error)
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return digest, (0, 0), [], "the file is empty"
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            # a JPEG is decoded at a half, a quarter or an eighth
            picture.draft("L", (2 * SIDE, 2 * SIDE))
            upright = ImageOps.exif_transpose(picture).convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        return digest, (0, 0), [], "not a picture" if unknown else str(error)
    if (upright.width > upright.height) != (width > height):
        width, height = height, width
    return digest, (width, height), _views(upright), ""


def _views(picture: Image.Image) -> list[NDArray[np.uint8]]:
    """The two views of a grey picture, each uint8 [64, 64]."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    centre = (left, top, left + side, top + side)
    band = width / CAMERA_ASPECT
    restored = ((width - band) / 2, 0, (width + band) / 2, height)
    other = restored if width == height else (0, 0, width, height)
    return [
        np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX, box=box)) for box in (centre, other)
    ]


def _texture(view: NDArray[np.uint8]) -> NDArray[np.int8]:
    grey = view.astype(np.float32)
    seen = _inside_frame(view)
    share = cv2.GaussianBlur(seen, (0, 0), BLUR_SIGMA) + EPSILON
    fine = (grey - cv2.GaussianBlur(grey * seen, (0, 0), BLUR_SIGMA) / share) * seen
    if seen.mean() < MIN_SEEN or np.sqrt((fine * fine).sum() / seen.sum()) < MIN_TEXTURE:
        return np.zeros((SIDE, SIDE), np.int8)
    around = cv2.GaussianBlur(seen, (0, 0), 2 * BLUR_SIGMA) + EPSILON
    contrast = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2 * BLUR_SIGMA) / around)
    texture = fine / (contrast + CONTRAST_FLOOR)
    return np.rint(texture * TEXTURE_STEPS).clip(-127, 127).astype(np.int8)


def _inside_frame(view: NDArray[np.uint8]) -> NDArray[np.float32]:
    """1 for the pixels inside a dermoscope's black rim or a plain margin, 0 for it and its edge; [64, 64]."""
    grey = view.astype(np.float32)
    mean = cv2.blur(grey, (3, 3))
    plain = cv2.blur(grey * grey, (3, 3)) - mean * mean < PLAIN_DEVIATION**2
    dark = view < RIM_DARKNESS * np.percentile(view, 90)
    _, parts = cv2.connectedComponents((plain | dark).astype(np.uint8), connectivity=4)
    border = {*parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]}
    # a dark thing in the middle is what the picture shows
    middle = parts[SIDE // 2 - MIDDLE : SIDE // 2 + MIDDLE, SIDE // 2 - MIDDLE : SIDE // 2 + MIDDLE]
    frame = np.isin(parts, list(border - {0, *middle.ravel()})).astype(np.uint8)
    return 1 - cv2.dilate(frame, np.ones((FRAME_EDGE, FRAME_EDGE), np.uint8)).astype(np.float32)


def _hashes(view: NDArray[np.uint8]) -> NDArray[np.uint64]:
    turned = [Image.fromarray(_turn(view, turn)) for turn in range(TURNS)]
    bits = [imagehash.phash(picture).hash for picture in turned]
    return np.packbits(np.array(bits).reshape(TURNS, -1), axis=1).view(np.uint64)[:, 0]


def _turn(view: NDArray, turn: int) -> NDArray:
    """A [..., side, side] array after ``turn % 4`` quarter turns, and mirrored from 4 on."""
    turned = np.rot90(view, turn % 4, (-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if turn >= 4 else turned)


def equal_files(prints: Prints) -> list[list[int]]:
    """The files of equal bytes: the indices of each set of two or more."""
    sets: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(prints.digests):
        if digest:
            sets[digest].append(index)
    return [members for members in sets.values() if len(members) > 1]


def near_duplicates(
    prints: Prints, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Match]:
    """All pairs of files that show one picture, files of equal bytes among them, by ascending indices."""
    count = len(prints.hashes)
    rows = max(1, PAIRS_A_BLOCK // max(1, count))
    # of each view and turn in one piece, or every comparison would fetch the others too
    columns = np.ascontiguousarray(prints.hashes.transpose(1, 2, 0))
    find = partial(_matches, prints, columns, rows)
    best: dict[tuple[int, int], Match] = {}
    for start, found in zip(range(0, count, rows), ordered_map(find, range(0, count, rows)), strict=True):
        for match in found:
            pair = match.first, match.second
            if pair not in best or match.similarity >= best[pair].similarity:
                best[pair] = match
        progress(min(start + rows, count), count)
    return [best[pair] for pair in sorted(best)]


def _matches(prints: Prints, columns: NDArray[np.uint64], rows: int, start: int) -> list[Match]:
    """The matches of ``rows`` files from ``start`` on with all others, one for each turn that shows it."""
    matches = []
    for turn, view, firsts, seconds in _candidates(columns, prints.textured, start, start + rows):
        for begin in range(0, len(firsts), CONFIRMED_A_BLOCK):
            block = slice(begin, begin + CONFIRMED_A_BLOCK)
            first, second = firsts[block], seconds[block]
            one, other = prints.textures[first, 0], _turn(prints.textures[second, view], turn)
            release_pages(prints.textures)
            likely = np.flatnonzero(_similarities(one, other) >= MIN_UNSHIFTED)
            shifted = _best_shift(one[likely], other[likely])
            for index, similarity in zip(likely, shifted, strict=True):
                if similarity >= MIN_SIMILARITY:
                    a, b = sorted((int(first[index]), int(second[index])))
                    matches.append(Match(a, b, min(1.0, float(similarity)), view == 1, turn != 0))
    return matches


def _similarities(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.float32]:
    """The correlations of two [n, height, width] stacks of textures, -1 to 1."""
    products, ones, others = (
        np.einsum("nij,nij->n", left, right, dtype=np.float32)
        for left, right in ((one, other), (one, one), (other, other))
    )
    return products / np.sqrt(ones * others + EPSILON)


def _best_shift(one: NDArray[np.int8], other: NDArray[np.int8]) -> NDArray[np.float32]:
    """The correlation of each pair of textures where they lie best on one another."""
    best = np.full(len(one), -1, np.float32)
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    for down, right in product(shifts, shifts):
        rows, columns = _overlap(down), _overlap(right)
        shifted = one[:, rows, columns], other[:, _overlap(-down), _overlap(-right)]
        best = np.maximum(best, _similarities(*shifted))
    return best


def _overlap(shift: int) -> slice:
    return slice(max(0, shift), SIDE + min(0, shift))


def _candidates(
    columns: NDArray[np.uint64], textured: NDArray[np.bool_], start: int, end: int
) -> Iterator[tuple[int, int, NDArray[np.intp], NDArray[np.intp]]]:
    """Yields (turn, view, first files, second files) of pairs whose hashes are close.

    Args:
        columns: uint64 [2, 8, n], the hashes of each view in each turn.
        textured: bool [n, 2], whether a view has a texture.
        start: the first of the first files.
        end: the one after the last of them.
    """
    for view, turn in product((0, 1), range(TURNS)):
        # a turn of the one is a turn of the other: each pair of centre squares once
        skipped = start if view == 0 else 0
        first, second = _near(columns[0, 0, start:end], columns[view, turn, skipped:])
        first += start
        second += skipped
        wanted = first < second if view == 0 else first != second
        wanted &= textured[first, 0] & textured[second, view]
        yield turn, view, first[wanted], second[wanted]


def _near(ones: NDArray[np.uint64], others: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The indices of the pairs of hashes that differ in few bits."""
    rows = max(1, PAIRS_AT_ONCE // len(others))
    near = [
        np.flatnonzero(np.bitwise_count(ones[row : row + rows, None] ^ others) <= MAX_HASH_DISTANCE)
        + row * len(others)
        for row in range(0, len(ones), rows)
    ]
    return np.divmod(np.concatenate(near), len(others))

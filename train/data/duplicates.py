"""Finds copies of photos among many files: files with equal bytes, and near-duplicates. File names do not matter.

A near-duplicate is the same photo, but rotated, mirrored, resized, cropped, padded, brightened, coloured, compressed
again, or squashed to a square. The search has three steps:

1. Find candidates: pairs of photos that have local features in common (`duplicate_candidates`).
2. Match the features of each candidate one by one, and count the matches that agree with one rotation, scale and shift.
3. Align the two photos and compare their fine texture: the grey image minus a blurred copy, divided by the local
   contrast. Lesions of the same shape, or black rims, therefore do not make two photos alike.

Results on the project's 25,245 real photos:
- According to brute-force matching of SIFT features, 631 photos of MILK10k are also in HAM10000. 629 of the 631 were
  found.
- 240 photos of all sources were each changed in 24 ways (rotated, mirrored, brightened, cropped, compressed, blurred
  ...), and mixed with all other photos. 98.2 % of the changed photos were found. Of the photos with full augmentation,
  which were the hardest, 88.3 % were found.
- Of the pairs that were found between MILK10k and HAM10000, 100 random pairs were checked by eye. In all 100 pairs, the
  two photos show the same lesion.
- Of 8,566 pairs that were found, 114 are known to be false. They are photos of hands in front of the same wall, and
  graphics that are not photos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dermedge.train.data.duplicate_candidates import (
    APART,
    MIRRORED,
    PHOTOS_A_BLOCK,
    Candidates,
    Index,
    agree,
    build_index,
    maps_of,
    mirrored_angles,
)
from dermedge.train.data.ordered_map import ordered_map
from dermedge.train.data.photo_prints import SMALL_SIDE, Prints, read_prints, unpack_image
from dermedge.train.data.pixels import release_pages

__all__ = ["Match", "Prints", "equal_files", "near_duplicates", "read_prints"]

PAIRS_AT_ONCE = 128
# The distance to the nearest descriptor, divided by the distance to the second nearest descriptor, must be below this
# value (Lowe's ratio test).
MAX_RATIO = 0.85
# Two photos count as copies only if at least this many features at different places match.
MIN_FEATURES = 4
# An affine fit needs at least this many features. Fewer features are fitted by rotation, scale and shift.
AFFINE_FEATURES = 7
# Two photos count as copies only if the correlation of their textures is at least this.
MIN_SIMILARITY = 0.55
# The evidence for a copy is Fisher's z of the correlation times the square root of the number of pixels, plus
# FEATURE_EVIDENCE for each matching feature. Two photos count as copies only if the evidence is at least MIN_EVIDENCE.
FEATURE_EVIDENCE = 4
MIN_EVIDENCE = 50
# An affine map has two scales. Two photos count as copies only if the larger scale divided by the smaller one is below
# this value.
MAX_SQUASH = 1.6
# An alignment with at least this similarity is not refined.
GOOD_SIMILARITY = 0.6
BLUR_SIGMA = 2.0
CONTRAST_FLOOR = 2.0
# Two photos are compared only if the area that both photos show has at least this many pixels.
MIN_SHARED = 150
# Pixels of the shared area that are at most this many pixels from the edge of the area are not compared.
EDGE = 2
# A photo counts as squashed if the larger scale of the affine map divided by the smaller one is above this value.
SQUASHED = 1.15
# A photo counts as rotated if the angle is at least this many degrees.
ROTATED = 3
# Photos are compared as reduced images. The transform that aligns two reduced images also scales them. Two photos
# count as copies only if this scale is above 1/MAX_SCALE and below MAX_SCALE.
MAX_SCALE = 8
# An alignment is refined only if the shorter side of the shared area has at least MIN_SIDE pixels. REFINING says when
# the refinement ends: after 40 steps, or earlier if a step improves the correlation by less than 1e-4.
MIN_SIDE = 12
REFINING = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
EPSILON = 1e-6

# A small grey image, and a mask that is 0 for the border of the photo (a black rim or plain margin) and 1 elsewhere.
Shown = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Match:
    """Two files that show the same photo.

    Attributes:
        first: index of a file.
        second: index of the other file. It is higher than ``first``.
        similarity: correlation of the two textures in the shared area, at most 1.
        features: number of different places with matching local features.
        degrees: angle by which the second photo is rotated clockwise relative to the first, -180 to 180.
        mirrored: whether one photo is a mirror image of the other.
        squashed: whether one photo is a squashed copy of the other, so that the aspect ratio of the lesion differs.
    """

    first: int
    second: int
    similarity: float
    features: int
    degrees: float
    mirrored: bool
    squashed: bool

    @property
    def turned(self) -> bool:
        """Whether one photo is a rotated or mirrored copy of the other."""
        return self.mirrored or abs(self.degrees) >= ROTATED


@dataclass(frozen=True)
class Laid:
    """The alignment of one image with another.

    Attributes:
        affine: map from the pixels of the first image to those of the second, float32 [2, 3].
        similarity: correlation of the textures, -1 to 1.
        pixels: number of pixels that were compared.
    """

    affine: NDArray[np.float32]
    similarity: float
    pixels: int

    @property
    def squash(self) -> float:
        """The larger scale of the affine map divided by the smaller one, 1 or more."""
        large, less = np.linalg.svd(self.affine[:, :2], compute_uv=False)
        return float(large / (less + EPSILON))


def equal_files(prints: Prints) -> list[list[int]]:
    """Returns one list of indices for each set of two or more files with equal bytes."""
    sets: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(prints.digests):
        if digest:
            sets[digest].append(index)
    return [members for members in sets.values() if len(members) > 1]


def near_duplicates(
    prints: Prints, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Match]:
    """Returns all pairs of files that show the same photo, including files with equal bytes, by ascending indices."""
    # the search already uses two threads, and further threads of BLAS would block these two
    with threadpool_limits(1, "blas"):
        return _near_duplicates(prints, progress)


def _near_duplicates(prints: Prints, progress: Callable[[int, int], None]) -> list[Match]:
    count = len(prints.records)
    index = build_index(prints)
    starts = range(0, count, PHOTOS_A_BLOCK)
    best: dict[tuple[int, int], Match] = {}
    for start, found in zip(
        starts, ordered_map(lambda start: _found(prints, index, start), starts), strict=True
    ):
        for match in found:
            known = best.get((match.first, match.second))
            if known is None or match.features > known.features:
                best[match.first, match.second] = match
        progress(min(start + PHOTOS_A_BLOCK, count), count)
    return [best[pair] for pair in sorted(best)]


def _found(prints: Prints, index: Index, start: int) -> list[Match]:
    """Returns the matches between the photos of one block and all later photos."""
    candidates = index.candidates(prints, start)
    return [
        match
        for begin in range(0, len(candidates.first), PAIRS_AT_ONCE)
        for match in _matches(prints, candidates, slice(begin, begin + PAIRS_AT_ONCE))
    ]


def _matches(prints: Prints, candidates: Candidates, block: slice) -> Iterator[Match]:
    firsts, seconds, flags = candidates.first[block], candidates.second[block], candidates.mirrored[block]
    ones, others = prints.records[firsts], prints.records[seconds]
    release_pages(prints.records)
    for flagged in np.flatnonzero(flags):
        ones[flagged] = _mirrored(ones[flagged])
    for at, (left, right) in enumerate(_corresponding(ones["descriptors"], others["descriptors"])):
        pair = ones["keypoints"][at][left], others["keypoints"][at][right]
        agreeing = _agreeing(*pair)
        features = _places(pair[0][agreeing])
        if features < MIN_FEATURES:
            continue
        affine = _affine(pair[0][agreeing], pair[1][agreeing])
        laid = _compared(unpack_image(ones[at]), unpack_image(others[at]), affine)
        if laid.similarity >= MIN_SIMILARITY and laid.squash < MAX_SQUASH:
            evidence = np.arctanh(min(laid.similarity, 0.99)) * np.sqrt(laid.pixels)
            if evidence + FEATURE_EVIDENCE * features >= MIN_EVIDENCE:
                yield _match(int(firsts[at]), int(seconds[at]), features, laid, bool(flags[at]))


def _places(keypoints: NDArray[np.float32]) -> int:
    """Returns the number of different places of keypoints. SIFT may find several keypoints at one place."""
    return len(np.unique((keypoints[:, :2] / APART).round(), axis=0))


def _match(first: int, second: int, features: int, laid: Laid, mirrored: bool) -> Match:
    (a, b, _), (c, d, _) = laid.affine
    degrees = float(np.degrees(np.arctan2(c - b, a + d)))
    return Match(first, second, laid.similarity, features, degrees, mirrored, laid.squash > SQUASHED)


def _mirrored(record: NDArray[np.void]) -> NDArray[np.void]:
    """Returns the record that the mirrored photo would have."""
    mirrored = record.copy()
    height, width = record["shape"]
    small, inside = unpack_image(record)
    mirrored["small"][:height, :width] = small[:, ::-1]
    margin = (0, 0), (0, SMALL_SIDE - width)
    mirrored["inside"][:height] = np.packbits(np.pad(inside[:, ::-1], margin), axis=1)
    mirrored["keypoints"][:, 0] = width - 1 - record["keypoints"][:, 0]
    mirrored["keypoints"][:, 3] = mirrored_angles(record["keypoints"][:, 3])
    mirrored["descriptors"] = record["descriptors"][:, MIRRORED]
    return mirrored


def _corresponding(
    ones: NDArray[np.uint8], others: NDArray[np.uint8]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yields, for each pair of photos, the matching features: mutual nearest neighbours that pass Lowe's ratio test.

    Args:
        ones: uint8 descriptors of the first photos, [pairs, features, 128]. Absent descriptors are zeros.
        others: the same for the second photos.
    """
    left, right = _unit(ones), _unit(others)
    cosines = left @ right.transpose(0, 2, 1)
    nearest = cosines.argmax(2)
    back = cosines.argmax(1)
    first = np.take_along_axis(cosines, nearest[..., None], 2)[..., 0]
    np.put_along_axis(cosines, nearest[..., None], -1, 2)
    second = cosines.max(2)
    clear = (1 - first < MAX_RATIO**2 * (1 - second)) & (first > 0)
    mutual = np.take_along_axis(back, nearest, 1) == np.arange(nearest.shape[1])
    for good, partner in zip(clear & mutual, nearest, strict=True):
        yield np.flatnonzero(good), partner[good]


def _unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = descriptors.astype(np.float32)
    return values / (np.linalg.norm(values, axis=-1, keepdims=True) + EPSILON)


def _agreeing(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tells which pairs of corresponding keypoints agree with the best map.

    Each pair determines a map: a rotation, a scale and a shift. The best map is the one with which most pairs agree.
    The maps of all pairs are tried, so that the result does not depend on chance.

    Args:
        ones: keypoints [n, 4]: x, y, diameter, angle in degrees.
        others: keypoints [n, 4] that correspond to ``ones``.
    """
    if len(ones) < MIN_FEATURES:
        return np.zeros(len(ones), np.bool_)
    maps = maps_of(ones, others)
    agreeing = agree(maps[:, :, None], maps[:, None])
    return agreeing[agreeing.sum(1).argmax()]


def _affine(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the least-squares map [2, 3] from the keypoints ``ones`` to ``others``.

    With at least AFFINE_FEATURES keypoints, the map is affine. With fewer keypoints, it is a rotation, a scale and a
    shift.
    """
    x, y = ones[:, 0], ones[:, 1]
    one, none = np.ones_like(x), np.zeros_like(x)
    if len(ones) >= AFFINE_FEATURES:
        found, *_ = np.linalg.lstsq(np.stack([x, y, one], 1), others[:, :2], rcond=None)
        return found.T.astype(np.float32)
    rows = np.concatenate([np.stack([x, -y, one, none], 1), np.stack([y, x, none, one], 1)])
    (a, b, right, down), *_ = np.linalg.lstsq(rows, others[:, :2].T.ravel(), rcond=None)
    return np.array([[a, -b, right], [b, a, down]], np.float32)


def _compared(one: Shown, other: Shown, affine: NDArray[np.float32]) -> Laid:
    """Returns ``affine`` or a refined alignment of two images, whichever has the higher similarity.

    The similarity is -1 if the scale of ``affine`` is too large or too small.
    """
    scale = np.sqrt(abs(np.linalg.det(affine[:, :2])))
    if not 1 / MAX_SCALE < scale < MAX_SCALE:
        return Laid(affine, -1, 0)
    if scale > 1:
        laid = _compared(other, one, _inverse(affine))
        return Laid(_inverse(laid.affine), laid.similarity, laid.pixels)
    # ``one`` has the higher resolution, and is blurred to the resolution of ``other``
    sigma = 0.5 * np.sqrt(1 / scale**2 - 1)
    finer: Shown = one
    if sigma > 0.3:
        finer = np.asarray(cv2.GaussianBlur(one[0], (0, 0), sigma), np.uint8), one[1]
    laid = Laid(affine, *_similarity(finer, other, affine))
    if laid.similarity >= GOOD_SIMILARITY:
        return laid
    refined = _refined(finer[0], other[0], affine)
    return max(laid, Laid(refined, *_similarity(finer, other, refined)), key=lambda laid: laid.similarity)


def _inverse(affine: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.invertAffineTransform(affine).astype(np.float32)


def _refined(
    one: NDArray[np.uint8], other: NDArray[np.uint8], affine: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns the map from ``one`` to ``other`` that is near ``affine`` and gives the highest correlation.

    The map is ``affine`` itself if the shared area is too small or the fit does not converge.
    """
    left, top, width, height = cv2.boundingRect(_laid(np.full_like(one, 255), other.shape, affine))
    if min(width, height) < MIN_SIDE:
        return affine
    corner = np.array([left, top], np.float32)
    part = other[top : top + height, left : left + width]
    back = _inverse(affine)
    back[:, 2] += back[:, :2] @ corner
    try:
        _, found = cv2.findTransformECC(part, one, back, cv2.MOTION_AFFINE, REFINING, None, 3)  # type: ignore[call-overload]
    except cv2.error:
        # the fit does not converge if the images have nothing in common
        return affine
    found[:, 2] -= found[:, :2] @ corner
    return _inverse(found)


def _laid(image: NDArray[np.uint8], shape: tuple[int, ...], affine: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns ``image`` warped by ``affine`` to ``shape``, with 0 outside the image."""
    return cv2.warpAffine(image, affine, shape[::-1])  # type: ignore[return-value]


def _similarity(one: Shown, other: Shown, affine: NDArray[np.float32]) -> tuple[float, int]:
    """Returns the correlation of the textures in the shared area, -1 to 1, and the number of pixels in this area.

    The correlation is -1 if the shared area is too small.
    """
    shown = (_laid(255 * one[1], other[1].shape, affine) == 255) & (other[1] == 1)
    eroded = cv2.erode(np.pad(shown, EDGE).astype(np.uint8), np.ones((2 * EDGE + 1,) * 2))
    seen = np.asarray(eroded, np.uint8)[EDGE:-EDGE, EDGE:-EDGE]
    pixels = int(seen.sum())
    if pixels < MIN_SHARED:
        return -1, pixels
    left, right = _texture(_laid(one[0], other[0].shape, affine), seen), _texture(other[0], seen)
    return float((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum() + EPSILON)), pixels


def _texture(grey: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the fine texture: the image minus a blurred copy, divided by the local contrast; 0 outside ``seen``."""
    inside = seen.astype(np.float32)
    share = cv2.GaussianBlur(inside, (0, 0), BLUR_SIGMA) + EPSILON
    fine = (grey - cv2.GaussianBlur(grey * inside, (0, 0), BLUR_SIGMA) / share) * inside
    around = cv2.GaussianBlur(inside, (0, 0), 2 * BLUR_SIGMA) + EPSILON
    contrast = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2 * BLUR_SIGMA) / around)
    return np.asarray(fine / (contrast + CONTRAST_FLOOR), np.float32)

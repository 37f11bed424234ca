"""Finds pairs of photos that may be copies, because they share local features in the same arrangement.

Each descriptor has three codes and a signature. A code holds the signs of 24 projections of the descriptor, and the
signature holds the signs of 64 other projections. Two descriptors of the same place of a photo often share a code and
have nearly equal signatures. This is rare for descriptors of different places (H. Jégou et al., "Hamming embedding and
weak geometric consistency", ECCV 2008).

A pair of photos is a candidate if several matching features agree on one rotation, scale and shift. The features of
each photo are looked up in the index twice: unchanged and mirrored. Each look-up reads a limited number of entries.
The time of the search is therefore in proportion to the number of photos, and not to the number of pairs of photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dermedge.train.data.photo_prints import DIMENSIONS, FEATURES, Prints
from dermedge.train.data.pixels import release_pages

__all__ = [
    "MIRRORED",
    "PHOTOS_A_BLOCK",
    "Candidates",
    "Index",
    "agree",
    "build_index",
    "maps_of",
    "mirrored_angles",
]

TABLES = 3
BITS = 24
SIGNATURE_BITS = 64
# The projections are fitted to a sample of roughly this many descriptors.
SAMPLE = 50_000
# Besides a descriptor's own code, this many further codes are looked up. In each further code, one sign is flipped: the
# sign of a projection that is close to 0, because such a sign often differs between two copies of a photo.
PROBES = 2
# Some features occur on all skin, and would match too many photos. Therefore, at most this many features with the same
# code are read from the index.
MAX_IN_CELL = 32
# Two features that were found by their codes match if their signatures differ in at most this many signs.
MAX_SIGNS = 12
# A match of two features is used only if at least this many matches of the same two photos, itself included, have about
# the same rotation.
MIN_VOTES = 2
# The weight of a match of two features is MAX_SIGNS + 1, minus the number of signs in which the two signatures differ.
# The weight of a pair of photos is the total weight of the matches that agree. A pair with a weight of at least
# CERTAIN_WEIGHT counts as certain, and any other pair counts as uncertain.
CERTAIN_WEIGHT = 60
# The pairs of a photo are ranked by weight. An uncertain pair is kept only if it is among the first MAX_UNCERTAIN.
MAX_UNCERTAIN = 12
# At most this many pairs of a photo are kept, because not all copies of a photo need to be compared.
MAX_CANDIDATES = 48
# To find matches with similar rotations, a full turn is divided into this many equal windows.
WINDOWS = 24
PHOTOS_A_BLOCK = 64
# A match of two features determines a map from one photo to the other: a rotation, a scale and a shift. Two matches
# agree if the map of the first match moves the feature of the second match close to its counterpart in the other photo.
# The error must be less than TOLERANCE pixels of the small image, plus TOLERANCE_BY_DISTANCE pixels for each pixel that
# lies between the two features in the other photo.
TOLERANCE = 1.5
TOLERANCE_BY_DISTANCE = 0.12
# Two matches agree only if their scales and rotations are similar: the natural logarithms of the two scales differ by
# less than SCALE_TOLERANCE, and the two rotations by less than ANGLE_TOLERANCE degrees.
SCALE_TOLERANCE = 0.5
ANGLE_TOLERANCE = 30
# Two features count as one feature if their distance is less than about this many pixels of the small image.
APART = 2.0

# ``descriptor[MIRRORED]`` describes the same feature in the mirrored photo. A descriptor has 4x4 cells, each with the
# weights of 8 directions. Mirroring reverses the rows of cells, and the order of the directions.
MIRRORED = np.arange(DIMENSIONS).reshape(4, 4, 8)[::-1, :, -np.arange(8)].ravel()
LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


@dataclass(frozen=True)
class Candidates:
    """Pairs of photos that may be copies. Each array has one entry for each pair.

    Attributes:
        first: the index of a photo.
        second: the index of the other photo. It is higher than ``first``.
        mirrored: whether ``first`` must be mirrored to look like ``second``.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    mirrored: NDArray[np.bool_]


@dataclass(frozen=True)
class Projections:
    """Linear projections of descriptors. The sign of a projection is one bit of a descriptor's code or signature.

    Attributes:
        mean: mean of the descriptors, float32 [128].
        codes: projections for each of the three codes, float32 [128, 24].
        signature: projections for the signatures, float32 [128, 64].
    """

    mean: NDArray[np.float32]
    codes: tuple[NDArray[np.float32], ...]
    signature: NDArray[np.float32]

    def signatures(self, descriptors: NDArray[np.uint8]) -> NDArray[np.uint64]:
        signs = (descriptors - self.mean) @ self.signature > 0
        return np.packbits(signs, axis=1).view(np.uint64)[:, 0]


@dataclass(frozen=True)
class Index:
    """An index that finds the features of all photos by the hash codes of their descriptors.

    The number of a feature is 96 times the index of its photo, plus the index of the feature within the photo.

    Attributes:
        projections: the projections that made the codes.
        keys: three uint64 arrays, one for each code of a descriptor. The upper 32 bits of a value hold the code of a
            feature, and the lower 32 bits hold the number of this feature. The values of an array are ascending.
        signatures: signatures of the features, uint64 [photos, 96].
        keypoints: x, y, diameter and angle in degrees of the features, float32 [photos, 96, 4].
    """

    projections: Projections
    keys: tuple[NDArray[np.uint64], ...]
    signatures: NDArray[np.uint64]
    keypoints: NDArray[np.float32]

    def candidates(self, prints: Prints, start: int) -> Candidates:
        """Compares a block of photos with all later photos, and returns the candidate pairs.

        The block begins at the index ``start`` and has at most ``PHOTOS_A_BLOCK`` photos.
        """
        records = _block(prints, start)
        photos, own = _present(records["count"])
        descriptors = records["descriptors"][photos, own]
        keypoints = records["keypoints"][photos, own]
        photos += start
        found = []
        for mirrored in (False, True):
            if mirrored:
                descriptors, keypoints = descriptors[:, MIRRORED], _mirrored(keypoints)
            asking, features, weights = self._alike(photos, descriptors)
            agreeing = self._agreeing(photos[asking], keypoints[asking], features, weights)
            found.append((*agreeing, mirrored))
        return _best(found)

    def _alike(
        self, photos: NDArray[np.intp], descriptors: NDArray[np.uint8]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Looks up descriptors in the index, and returns the similar features of later photos.

        Returns:
            Three arrays with one entry for each match: the index of the descriptor, the number of the similar feature
            in the index, and the weight of the match.
        """
        after = ((photos + 1) * FEATURES).astype(np.uint64)
        signatures = self.projections.signatures(descriptors)
        pairs = [np.zeros(0, np.uint64)]
        for keys, projection in zip(self.keys, self.projections.codes, strict=True):
            codes = _codes_nearby((descriptors - self.projections.mean) @ projection) << SHIFT
            low = np.searchsorted(keys, codes | after[:, None])
            high = np.searchsorted(keys, codes | LOW)
            taken = np.minimum(high - low, MAX_IN_CELL).ravel()
            features = keys[np.repeat(low.ravel(), taken) + _counting(taken)] & LOW
            asking = np.repeat(np.arange(codes.size) // codes.shape[1], taken)
            differing = np.bitwise_count(signatures[asking] ^ self.signatures.ravel()[features])
            like = differing <= MAX_SIGNS
            pairs.append(asking[like].astype(np.uint64) << SHIFT | features[like])
        # duplicates are removed, because one pair of features may share several codes
        found = np.sort(np.concatenate(pairs))
        asking, features = _split(found[np.flatnonzero(np.diff(found, prepend=LOW << SHIFT | LOW))])
        differing = np.bitwise_count(signatures[asking] ^ self.signatures.ravel()[features])
        return asking, features, MAX_SIGNS + 1.0 - differing

    def _agreeing(
        self,
        photos: NDArray[np.intp],
        keypoints: NDArray[np.float32],
        features: NDArray[np.intp],
        weights: NDArray[np.float64],
    ) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """Returns the pairs of photos with matches that agree on one rotation, scale and shift, and the pairs' weights.

        For each match, its weight and the weights of all matches that agree with it are added. The largest of these
        sums is the weight of the pair.

        A pair is one number: the upper 32 bits hold the index of the first photo, the lower 32 bits the index of the
        second photo.
        """
        pairs = photos.astype(np.uint64) << SHIFT | (features // FEATURES).astype(np.uint64)
        others = self.keypoints.reshape(-1, 4)[features]
        kept = np.flatnonzero(_turned_alike(pairs, (others[:, 3] - keypoints[:, 3]) % 360))
        if not len(kept):
            return np.zeros(0, np.uint64), np.zeros(0)
        kept = kept[np.argsort(pairs[kept], kind="stable")]
        pairs, maps = pairs[kept], maps_of(keypoints[kept], others[kept])
        starts = np.flatnonzero(np.diff(pairs, prepend=~pairs[:1]))
        one, two = _within(starts, len(pairs))
        good = agree(maps[:, one], maps[:, two]) & (np.abs(maps[0, one] - maps[0, two]) > APART)
        one, two, count, weights = one[good], two[good], len(pairs), weights[kept]
        sums = weights + np.bincount(one, weights[two], count) + np.bincount(two, weights[one], count)
        agreeing = np.bincount(one, minlength=count) + np.bincount(two, minlength=count) > 0
        if not agreeing.any():
            return np.zeros(0, np.uint64), np.zeros(0)
        most = np.maximum.reduceat(np.where(agreeing, sums, 0), starts)
        return pairs[starts[most > 0]], most[most > 0]


def build_index(prints: Prints) -> Index:
    """Returns the index of all features of ``prints``. The index needs 4.6 kB of memory for each photo."""
    projections = _projections(prints)
    count = len(prints.records)
    keys: list[list[NDArray[np.uint64]]] = [[np.zeros(0, np.uint64)] for _ in range(TABLES)]
    signatures = np.zeros((count, FEATURES), np.uint64)
    keypoints = np.zeros((count, FEATURES, 4), np.float32)
    for start in range(0, count, PHOTOS_A_BLOCK):
        records = _block(prints, start)
        photos, own = _present(records["count"])
        descriptors = records["descriptors"][photos, own]
        signatures[photos + start, own] = projections.signatures(descriptors)
        keypoints[start : start + PHOTOS_A_BLOCK] = records["keypoints"]
        features = ((photos + start) * FEATURES + own).astype(np.uint64)
        for table, projection in zip(keys, projections.codes, strict=True):
            table.append(_codes((descriptors - projections.mean) @ projection) << SHIFT | features)
    joined = tuple(np.sort(np.concatenate(table)) for table in keys)
    return Index(projections, joined, signatures, keypoints)


def maps_of(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Returns, for each match of two keypoints, the map from the first keypoint to the second keypoint.

    Args:
        ones: the first keypoint of each match, [n, 4]: x, y, diameter, angle in degrees.
        others: the second keypoint of each match, [n, 4].

    Returns:
        Complex numbers [3, n]. The first row holds the positions of ``ones``, and the second row the positions of
        ``others``, both as x + iy. The third row describes the maps: the absolute value of a number is the scale of a
        map, and the angle of the number is the rotation.
    """
    turn = np.deg2rad(others[:, 3] - ones[:, 3])
    factor = others[:, 2] / ones[:, 2] * np.exp(1j * turn)
    return np.stack([ones[:, 0] + 1j * ones[:, 1], others[:, 0] + 1j * others[:, 1], factor])


def agree(maps: NDArray[np.complex64], others: NDArray[np.complex64]) -> NDArray[np.bool_]:
    """Tells whether two matches imply nearly the same position, rotation and scale of one photo in the other photo.

    ``maps`` and ``others`` are arrays [3, ...] that `maps_of` returns, and are compared element by element.
    """
    apart = others[1] - maps[1]
    error = np.abs(maps[2] * (others[0] - maps[0]) - apart)
    near = error < TOLERANCE + TOLERANCE_BY_DISTANCE * np.abs(apart)
    ratio = others[2] / maps[2]
    size = np.abs(ratio)
    near &= np.abs(np.log(size)) < SCALE_TOLERANCE
    return near & (ratio.real > np.cos(np.deg2rad(ANGLE_TOLERANCE)) * size)


def mirrored_angles(angles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the angles, in degrees, that keypoints have after their photo is mirrored."""
    return (180 - angles) % 360


def _mirrored(keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the keypoints of the mirrored photo. Each x coordinate is the negative of the original x coordinate."""
    mirrored = keypoints.copy()
    mirrored[..., 0] *= -1
    mirrored[..., 3] = mirrored_angles(keypoints[..., 3])
    return mirrored


def _block(prints: Prints, start: int) -> NDArray[np.void]:
    records = np.array(prints.records[start : start + PHOTOS_A_BLOCK])
    release_pages(prints.records)
    return records


def _projections(prints: Prints) -> Projections:
    """Returns the projections for codes and signatures: random rotations of the principal components of descriptors."""
    step = max(1, len(prints.records) * FEATURES // SAMPLE)
    records = prints.records[::step]
    photos, own = _present(records["count"])
    sample = records["descriptors"][photos, own].astype(np.float32)
    release_pages(prints.records)
    if len(sample) < 2:
        sample = np.zeros((2, DIMENSIONS), np.float32)
    _, directions = np.linalg.eigh(np.cov(sample.T))
    random = np.random.default_rng(0)

    def turned(bits: int) -> NDArray[np.float32]:
        turn, _ = np.linalg.qr(random.normal(size=(bits, bits)))
        return (directions[:, -bits:] @ turn).astype(np.float32)

    return Projections(sample.mean(0), tuple(turned(BITS) for _ in range(TABLES)), turned(SIGNATURE_BITS))


def _present(counts: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns two arrays with one entry for each feature: the index of the photo, and the feature's index in the photo.

    ``counts`` holds the number of features of each photo.
    """
    photos, own = np.nonzero(np.arange(FEATURES) < counts[:, None])
    return photos, own


def _codes(projected: NDArray[np.floating]) -> NDArray[np.uint64]:
    return ((projected > 0) @ (1 << np.arange(BITS))).astype(np.uint64)


def _codes_nearby(projected: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Returns, for each descriptor, its own code and PROBES similar codes, as an array [features, 1 + PROBES].

    In each similar code, one sign is flipped: the sign of a projection that is close to 0.
    """
    uncertain = np.argpartition(np.abs(projected), PROBES, axis=1)[:, :PROBES]
    own = _codes(projected)[:, None]
    return np.hstack([own, own ^ (1 << uncertain).astype(np.uint64)])


def _counting(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """Returns one array that contains, for each length in turn, the numbers 0, 1, … length - 1."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _within(starts: NDArray[np.intp], end: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns all pairs of items that are in the same group.

    A group holds consecutive items. The groups begin at the indices ``starts``, and the last group ends before ``end``.
    """
    last = np.repeat(np.append(starts[1:], end), np.diff(starts, append=end))
    following = last - np.arange(end) - 1
    one = np.repeat(np.arange(end), following)
    return one, one + 1 + _counting(following)


def _split(pairs: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns the upper and the lower 32 bits of each value."""
    return (pairs >> SHIFT).astype(np.intp), (pairs & LOW).astype(np.intp)


def _turned_alike(pairs: NDArray[np.uint64], turned: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tells, for each match, whether another match of the same two photos has about the same rotation.

    Args:
        pairs: for each match, a number that identifies the two photos.
        turned: for each match, the rotation from 0 to 360 degrees.
    """
    _, pair = np.unique(pairs, return_inverse=True)
    window = (turned * (WINDOWS / 360)).astype(np.intp) % WINDOWS
    cells, cell, counts = np.unique(pair * WINDOWS + window, return_inverse=True, return_counts=True)
    near = counts.copy()
    for step in (-1, 1):
        beside = cells // WINDOWS * WINDOWS + (cells + step) % WINDOWS
        at = np.minimum(np.searchsorted(cells, beside), len(cells) - 1)
        near += np.where(cells[at] == beside, counts[at], 0)
    return near[cell] >= MIN_VOTES


def _best(found: Sequence[tuple[NDArray[np.uint64], NDArray[np.float64], bool]]) -> Candidates:
    """Returns the pairs of photos to compare.

    The pairs with the same first photo are ranked by weight. A pair with a weight of at least CERTAIN_WEIGHT is kept if
    it is among the first MAX_CANDIDATES pairs. Any other pair is kept if it is among the first MAX_UNCERTAIN pairs.
    """
    first, second = _split(np.concatenate([pairs for pairs, _, _ in found]))
    weights = np.concatenate([weights for _, weights, _ in found])
    mirrored = np.repeat([flag for *_, flag in found], [len(pairs) for pairs, _, _ in found])
    order = np.lexsort((-weights, first))
    _, starts, lengths = np.unique(first[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, lengths)
    most = np.where(weights[order] >= CERTAIN_WEIGHT, MAX_CANDIDATES, MAX_UNCERTAIN)
    kept = order[rank < most]
    return Candidates(first[kept], second[kept], mirrored[kept])

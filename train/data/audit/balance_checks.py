"""Checks for rare classes, lesions with many photos, and datasets from which a network could guess the class."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import median

from dermedge.train.data.audit.findings import (
    NOTE,
    WARNING,
    AuditFinding,
    DefectCase,
    finding_of,
)
from dermedge.train.data.audit.material import (
    AuditMaterial,
)
from dermedge.train.data.counts import plural

__all__ = [
    "check_imbalance",
    "check_many_photos_of_a_lesion",
    "check_one_source",
    "check_set_of_one_class",
    "check_small_set",
]

# A class counts as rare if its number of files, multiplied by this value, is below the number of files of the largest
# class.
_MAX_IMBALANCE = 10
# The largest fraction of a class's files that may come from one dataset. Above this fraction, a network may learn to
# recognize the dataset instead of the class.
_MAX_FROM_ONE_SOURCE = 0.9
# The largest fraction of a dataset's files that may belong to one class. Above this fraction, a network can guess the
# class if it recognizes the dataset.
_MAX_OF_ONE_CLASS = 0.9
# A dataset's side length is the median of the shorter sides of its photos. A dataset is reported if its side length is
# below this fraction of the median side length of all datasets, because its photos then look blurred beside the others.
_SMALL_SHARE = 0.5
# A lesion with more than this many photos is reported, because further photos of a lesion add little information.
_MANY_PHOTOS = 5


def check_one_source(material: AuditMaterial) -> AuditFinding | None:
    totals = Counter(file.truth for file in material.photos if file.truth)
    counts = Counter((file.truth, file.source) for file in material.photos if file.truth)
    sources = {source for _, source in counts}
    mostly = {
        label: source
        for (label, source), count in counts.items()
        if len(sources) > 1 and count > _MAX_FROM_ONE_SOURCE * totals[label]
    }
    return finding_of(
        "class from one set",
        WARNING,
        f"mostly from one of {len(sources)} datasets (more than {_MAX_FROM_ONE_SOURCE:.0%} of the files)",
        (DefectCase(label, (), "", label) for label in mostly),
        "A network can learn the crop and the colours of the dataset instead of the class. Add photos from other "
        "datasets, and compare the scores of the datasets.",
        "class",
        lambda label: (
            f"{label}: {counts[label, mostly[label]]:,} of {totals[label]:,} files from {mostly[label]}"
        ),
    )


def check_set_of_one_class(material: AuditMaterial) -> AuditFinding | None:
    totals = Counter(file.source for file in material.photos if file.truth)
    counts = Counter((file.source, file.truth) for file in material.photos if file.truth)
    labels = {label for _, label in counts}
    mostly = {
        source: label
        for (source, label), count in counts.items()
        if len(totals) > 1 and len(labels) > 1 and count > _MAX_OF_ONE_CLASS * totals[source]
    }
    return finding_of(
        "set of one class",
        WARNING,
        f"mostly of one class (more than {_MAX_OF_ONE_CLASS:.0%} of the files)",
        (DefectCase(source, (), "", source) for source in mostly),
        "The dataset reveals the class: a network that recognizes the camera knows the answer. Sample the photos "
        "by class and dataset, and score the classes within each dataset.",
        "dataset",
        lambda source: (
            f"{source}: {counts[source, mostly[source]]:,} of {totals[source]:,} files are {mostly[source]}"
        ),
    )


def check_small_set(material: AuditMaterial) -> AuditFinding | None:
    sides: dict[str, list[int]] = defaultdict(list)
    for file in material.photos:
        if not file.problem:
            sides[file.source].append(min(file.width, file.height))
    medians = {source: median(values) for source, values in sides.items()}
    usual = median(medians.values()) if medians else 0
    small = [source for source, side in medians.items() if side < _SMALL_SHARE * usual]
    return finding_of(
        "small set",
        WARNING,
        f"of small photos (side length below {_SMALL_SHARE:.0%} of the median of all datasets)",
        (DefectCase(source, (), "", source) for source in small),
        "Small photos look blurred beside the others, so that the blur reveals the dataset. Resize all photos at "
        "random in training, and do not take all photos of a class from such a dataset.",
        "dataset",
        lambda source: f"{source}: {medians[source]:g} pixels; the median of all datasets is {usual:g}",
    )


def check_many_photos_of_a_lesion(material: AuditMaterial) -> AuditFinding | None:
    lesions: dict[str, set[int]] = defaultdict(set)
    labels: dict[str, str] = {}
    for index, file in enumerate(material.photos):
        if file.lesion_id:
            lesions[file.lesion_id].add(material.first_of[index])
            labels.setdefault(file.lesion_id, file.truth or "no label")
    return finding_of(
        "many photos of a lesion",
        NOTE,
        f"with more than {_MANY_PHOTOS} different photos",
        (
            DefectCase(labels[lesion], tuple(sorted(photos))[:2], f"{len(photos)} photos of {lesion}", lesion)
            for lesion, photos in lesions.items()
            if len(photos) > _MANY_PHOTOS
        ),
        "Many photos of one lesion do not replace many lesions. Sample by lesion, and use confidence intervals that "
        "resample lesions.",
        "lesion",
    )


def check_imbalance(material: AuditMaterial) -> AuditFinding | None:
    totals = Counter(file.truth for file in material.photos if file.truth)
    most, largest = max(totals.items(), key=lambda item: item[1], default=("", 0))
    return finding_of(
        "imbalance",
        NOTE,
        f"with less than 1/{_MAX_IMBALANCE} as many files as '{most}'",
        (
            DefectCase(label, (), "", label)
            for label, count in totals.items()
            if count * _MAX_IMBALANCE < largest
        ),
        "'dermedge train' samples rare classes more often. Look at the recall of each class, not at the "
        "accuracy.",
        "class",
        lambda label: f"{label}: {plural(totals[label], 'file')}, against {largest:,}",
    )

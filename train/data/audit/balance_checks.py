"""Classes that are rare, or come from one set."""

from __future__ import annotations

from collections import Counter

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

__all__ = ["check_imbalance", "check_one_source"]

# Files of the largest class for one of the smallest.
_MAX_IMBALANCE = 10
# Of the files of a class; more from one of several sets, and the set is as good as the class.
_MAX_FROM_ONE_SOURCE = 0.9


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
        f"with more than {_MAX_FROM_ONE_SOURCE:.0%} of the files from one of {len(sources)} sets",
        (DefectCase(label, (), "", label) for label in mostly),
        "A network can learn the set's crop and colours in place of the class. Add photos from elsewhere and "
        "read the scores of each set.",
        "class",
        lambda label: f"{label}: {counts[label, mostly[label]]:,} of {totals[label]:,} from {mostly[label]}",
    )


def check_imbalance(material: AuditMaterial) -> AuditFinding | None:
    totals = Counter(file.truth for file in material.photos if file.truth)
    most, largest = max(totals.items(), key=lambda item: item[1], default=("", 0))
    return finding_of(
        "imbalance",
        NOTE,
        f"with less than 1/{_MAX_IMBALANCE} of the files of '{most}'",
        (
            DefectCase(label, (), "", label)
            for label, count in totals.items()
            if count * _MAX_IMBALANCE < largest
        ),
        "'dermedge train' draws the classes equally often; read each class's recall, not the accuracy.",
        "class",
        lambda label: f"{label}: {totals[label]:,} for {largest:,}",
    )

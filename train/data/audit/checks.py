"""The list of all checks that an audit makes."""

from __future__ import annotations

from collections.abc import Callable

from dermedge.train.data.audit.balance_checks import (
    check_imbalance,
    check_many_photos_of_a_lesion,
    check_one_source,
    check_set_of_one_class,
    check_small_set,
)
from dermedge.train.data.audit.file_checks import (
    check_one_id_two_photos,
    check_plain,
    check_tiny,
    check_unreadable,
)
from dermedge.train.data.audit.findings import AuditFinding
from dermedge.train.data.audit.label_checks import (
    check_against_the_table,
    check_lesion_of_two_diagnoses,
    check_two_labels,
    check_unlabelled,
)
from dermedge.train.data.audit.leak_checks import (
    check_across_sources,
    check_duplicates_in_one_place,
    check_lesion_across_sources,
    check_lesion_across_splits,
    check_person_across_splits,
    check_photo_across_splits,
)
from dermedge.train.data.audit.material import AuditMaterial
from dermedge.train.data.audit.shape_checks import check_all_square, check_cut, check_squashed

__all__ = ["CHECKS"]

# The report shows errors first, then warnings, then notes. Findings of the same severity are shown in this order.
CHECKS: tuple[Callable[[AuditMaterial], AuditFinding | None], ...] = (
    check_two_labels,
    check_against_the_table,
    check_lesion_of_two_diagnoses,
    check_photo_across_splits,
    check_lesion_across_splits,
    check_person_across_splits,
    check_unreadable,
    check_one_id_two_photos,
    check_across_sources,
    check_lesion_across_sources,
    check_squashed,
    check_duplicates_in_one_place,
    check_tiny,
    check_plain,
    check_one_source,
    check_set_of_one_class,
    check_small_set,
    check_imbalance,
    check_many_photos_of_a_lesion,
    check_cut,
    check_all_square,
    check_unlabelled,
)

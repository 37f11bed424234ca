"""Reads the class, the dataset and the group of each photo from the names of its folders, by five rules.

1. The class is the first folder below the root of the dataset. Parts (train, val, test) and containers with
   meaningless names (images, part_1) are skipped. Names of persons (patient_07) and dates (may, 2021-05) are not
   classes.
2. The photos of a folder below the class folder form a group. All photos of a group get the same split.
3. The root of the dataset is the given folder, with two exceptions. If one folder in the given folder holds all
   photos, that folder is the root. If the given folder is a collection of datasets, each dataset has a root of its own.
   The given folder is a collection if a folder in it holds parts (``kaggle9/Train/nevus``), or holds only photos that a
   table labels (``ham10000/images``). If no table states the name of the folder as a label, half of its photos are
   enough.
4. If there are many folders above the class folders, and each has few photos, each of these folders is a person or a
   lesion. The photos of such a folder form a group. If tables label the photos, folders that stand where the class
   folders would be can also be persons or lesions.
5. If two levels of folders could be the classes, known diagnoses decide: ``clinic/nevus`` has classes below datasets,
   and ``nevus/clinic`` has groups below classes. Without known diagnoses, the first level has the classes. dermedge
   stops with an error message if the names do not show which level has the classes. This is the case, for example, if
   most names of the second level occur in several folders of the first level. The user must then choose with
   --labels-from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import MIN_GROUPS
from dermedge.train.data.counts import some_of
from dermedge.train.data.diagnoses import spelling_key
from dermedge.train.data.folder_names import FolderKind, folder_kind, part_of
from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.group_names import is_visit_folder

__all__ = ["AUTO", "FOLDER", "LABEL_SOURCES", "PARENT", "TABLE", "Placement", "dataset_root", "read_layout"]

# The values of --labels-from.
AUTO, TABLE, FOLDER, PARENT = LABEL_SOURCES = ("auto", "table", "folder", "parent")
_CLASS_KINDS = (FolderKind.DIAGNOSIS, FolderKind.NAME)
_SHOWN_NAMES = 6
# The folders above the class folders count as persons or lesions, and not as datasets, if there are at least
# `_MIN_PERSONS` of these folders and the median number of photos in them is at most `_FEW_PHOTOS`.
_MIN_PERSONS = 8
_FEW_PHOTOS = 12


@dataclass(frozen=True)
class Placement:
    """What the folders of a photo state about the photo.

    Attributes:
        source: name of the dataset.
        part: train, val or test; empty if no folder states a part.
        class_name: name of the class folder; empty if there is none.
        group: name of the folder of a lesion or person that the photo is in; empty if there is none.
    """

    source: str
    part: str
    class_name: str
    group: str


@dataclass(frozen=True)
class _Chain:
    """The folders of one photo below the root.

    Attributes:
        names: names of the folders that may be classes.
        part: train, val or test; empty if no folder states a part.
        before_part: the number of folders in ``names`` that lie above the train, val or test folder; 0 if there is no
            such folder.
    """

    names: tuple[str, ...]
    part: str
    before_part: int


def read_layout(
    photos: Sequence[FoundPhoto],
    in_table: Sequence[bool],
    labels_from: str = AUTO,
    diagnoses: Sequence[str] = (),
) -> list[Placement]:
    """Reads the folders of photos by the rules in the module's docstring.

    Args:
        photos: photos, as `find_files` finds them.
        in_table: for each photo, whether a table states its label.
        labels_from: a value of `LABEL_SOURCES`. folder: the class is the first folder; parent: the class is the
            folder that directly contains the photo; auto and table: the rules of this module decide.
        diagnoses: for each photo, the diagnosis that a table states, or "". By default, no table states a diagnosis.

    Raises:
        DataError: folders of two different levels may be the classes, and ``labels_from`` is auto.
    """
    given = _persons_given(photos) | _classes_given(photos)
    places = [_place(photo, given) for photo in photos]
    diagnoses = diagnoses or [""] * len(photos)
    by_root: dict[Path, list[int]] = defaultdict(list)
    for index, (root, _) in enumerate(places):
        by_root[root].append(index)
    placements: dict[int, Placement] = {}
    for root, members in by_root.items():
        chains = _without_repeats([_chain(root, places[index][1]) for index in members])
        labelled = [in_table[index] for index in members]
        stated = [diagnoses[index] for index in members]
        depths = _class_depths(root, chains, labelled, stated, labels_from)
        persons: frozenset[str] = frozenset()
        if labels_from in (AUTO, TABLE):
            persons = _persons_above(chains, depths, stated) or _persons_as_classes(chains, depths, stated)
        for index, chain, depth in zip(members, chains, depths, strict=True):
            insisted = _insisted(photos[index].folders, labels_from)
            placements[index] = _placement(root, places[index][1], chain, depth, insisted, persons)
    return [placements[index] for index in range(len(photos))]


def _persons_given(photos: Sequence[FoundPhoto]) -> frozenset[Path]:
    """Returns the given folders that are folders of persons or lesions.

    A shell gives such folders if the user writes ``--data patients/*``. If there are only a few such folders, such as
    study1 and study2, none is returned, because they may be datasets.
    """
    return _given_beside(photos, FolderKind.GROUP, MIN_GROUPS)


def _classes_given(photos: Sequence[FoundPhoto]) -> frozenset[Path]:
    """Returns the given folders that are class folders, as with ``--data photos/*``.

    If only one given folder has the name of a diagnosis, it is not returned, because it may be a dataset.
    """
    return _given_beside(photos, FolderKind.DIAGNOSIS, 2)


def _given_beside(photos: Sequence[FoundPhoto], kind: FolderKind, least: int) -> frozenset[Path]:
    """Returns the given folders of a kind. Datasets with fewer than ``least`` such folders are left out."""
    beside: dict[Path, list[Path]] = defaultdict(list)
    for root in dict.fromkeys(photo.root for photo in photos):
        if folder_kind(root.name) is kind:
            beside[dataset_root(root.parent)].append(root)
    return frozenset(root for roots in beside.values() if len(roots) >= least for root in roots)


def _place(photo: FoundPhoto, given: Collection[Path]) -> tuple[Path, tuple[str, ...]]:
    """Returns the root of the dataset, and the folders between the root and the photo.

    The root of the dataset is the folder that the user gave. If this folder is in ``given``, it is the folder of a
    class, person or lesion, and the root is the folder above.
    """
    if photo.root in given:
        return photo.root.parent, (photo.root.name, *photo.folders)
    return photo.root, photo.folders


def _chain(root: Path, folders: Sequence[str]) -> _Chain:
    names: list[str] = []
    part, before_part = part_of(root.name) or "", 0
    for name in folders:
        kind = folder_kind(name)
        if kind is FolderKind.PART:
            part, before_part = part_of(name) or "", len(names)
        elif kind in _CLASS_KINDS:
            names.append(name)
    return _Chain(tuple(names), part, before_part)


def _without_repeats(chains: Sequence[_Chain]) -> list[_Chain]:
    """Removes each folder that has the name of the folder above and is the only one there, as nevus in nevus/nevus.

    Archives are often unpacked into such folders. If there is also acne/rosacea, the second folder of acne/acne is not
    removed, because it is a class.
    """
    below: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for names in {chain.names for chain in chains}:
        for depth, name in enumerate(names):
            below[names[:depth]].add(name)
    kept = []
    for names, part, before_part in ((chain.names, chain.part, chain.before_part) for chain in chains):
        repeats = {depth for depth in range(1, len(names)) if below[names[:depth]] == {names[depth - 1]}}
        rest = tuple(name for depth, name in enumerate(names) if depth not in repeats)
        kept.append(_Chain(rest, part, before_part - sum(depth < before_part for depth in repeats)))
    return kept


def _class_depths(
    root: Path, chains: Sequence[_Chain], in_table: Sequence[bool], stated: Sequence[str], labels_from: str
) -> list[int]:
    """Returns, for each photo, the index of the class folder in `_Chain.names`.

    If none of the names is the class, the index is beyond the end of the names.
    """
    if labels_from == PARENT:
        return [max(0, len(chain.names) - 1) for chain in chains]
    common = _common_depth(chains)
    below = [_Chain(chain.names[common:], chain.part, max(0, chain.before_part - common)) for chain in chains]
    if labels_from == FOLDER:
        return [common] * len(chains)
    sets = _sets_of_a_collection(below, in_table, stated)
    if sets:
        return [common + int(chain.names[:1] != () and chain.names[0] in sets) for chain in below]
    second = _second_is_the_class(root, [c for c, known in zip(below, in_table, strict=True) if not known])
    return [common + int(second and len(chain.names) > 1) for chain in below]


def _common_depth(chains: Sequence[_Chain]) -> int:
    """Returns the number of outer folders to skip. Each of them contains all photos, and its name is not a class."""
    depth = 0
    while all(len(chain.names) > depth + 1 for chain in chains):
        firsts = {chain.names[depth] for chain in chains}
        seconds = {chain.names[depth + 1] for chain in chains}
        if len(firsts) > 1 or (_are_diagnoses(firsts) and not _are_diagnoses(seconds)):
            break
        depth += 1
    return depth


def _are_diagnoses(names: set[str]) -> bool:
    return all(folder_kind(name) is FolderKind.DIAGNOSIS for name in names)


def _persons_above(chains: Sequence[_Chain], depths: Sequence[int], stated: Sequence[str]) -> frozenset[str]:
    """Returns the folders above the class folders if these folders count as persons or lesions, or else an empty set.

    The folders count as persons or lesions if there are many of them, and the median number of photos in them is low.
    Folders without class folders below them are included if a table labels their photos. If the tables state at least
    as many diagnoses as there are folders, the set is empty, because each folder may then hold one class.
    """
    above = Counter(
        chain.names[depth - 1]
        for chain, depth in zip(chains, depths, strict=True)
        if 0 < depth <= len(chain.names)
    )
    return frozenset(above) if _are_persons(above, stated) else frozenset()


def _persons_as_classes(
    chains: Sequence[_Chain], depths: Sequence[int], stated: Sequence[str]
) -> frozenset[str]:
    """Returns the folders that stand where class folders would be, but count as persons, as in ``anna/left arm``.

    A table labels at least half of the photos in each of these folders, and never states the name of the folder as a
    diagnosis. The result is empty if the folders do not count as persons.
    """
    folders: Counter[str] = Counter()
    tabled: Counter[str] = Counter()
    for chain, depth, diagnosis in zip(chains, depths, stated, strict=True):
        if depth < len(chain.names) and folder_kind(chain.names[depth]) is FolderKind.NAME:
            folders[chain.names[depth]] += 1
            tabled[chain.names[depth]] += bool(diagnosis)
    labels = set(map(spelling_key, stated))
    unnamed = {name: count for name, count in folders.items() if spelling_key(name) not in labels}
    by_table = Counter({name: count for name, count in unnamed.items() if 2 * tabled[name] >= count})
    return frozenset(by_table) if _are_persons(by_table, stated) else frozenset()


def _are_persons(folders: Counter[str], stated: Sequence[str]) -> bool:
    """Tells whether folders with these numbers of photos count as persons or lesions."""
    many_small = len(folders) >= _MIN_PERSONS and median(folders.values()) <= _FEW_PHOTOS
    return many_small and len({*stated} - {""}) < len(folders)


def _sets_of_a_collection(
    chains: Sequence[_Chain], in_table: Sequence[bool], stated: Sequence[str]
) -> frozenset[str]:
    """Returns the folders in the root that are datasets of their own; an empty set if the root is one dataset."""
    members: dict[str, list[tuple[_Chain, bool]]] = defaultdict(list)
    confirmed: set[str] = set()
    for chain, known, diagnosis in zip(chains, in_table, stated, strict=True):
        if chain.names:
            members[chain.names[0]].append((chain, known))
            if spelling_key(diagnosis) == spelling_key(chain.names[0]):
                confirmed.add(chain.names[0])
    unknown_names = [name for name in members if folder_kind(name) is FolderKind.NAME]
    with_parts = {
        name for name in unknown_names if any(_holds_parts_of_classes(chain) for chain, _ in members[name])
    }
    flat = [name for name in unknown_names if all(len(chain.names) == 1 for chain, _ in members[name])]
    tabled = {
        name
        for name in flat
        if all(known for _, known in members[name])
        or (name not in confirmed and 2 * sum(known for _, known in members[name]) >= len(members[name]))
    }
    if not with_parts and not tabled:
        return frozenset()
    deep = {name for name in unknown_names if all(len(chain.names) > 1 for chain, _ in members[name])}
    return frozenset(with_parts | tabled | deep)


def _holds_parts_of_classes(chain: _Chain) -> bool:
    """Tells whether the folder of a part (train, val or test) lies between two folders: the first folder, and a folder
    that may be the class.
    """
    return chain.before_part == 1 and len(chain.names) > 1


def _second_is_the_class(root: Path, chains: Sequence[_Chain]) -> bool:
    """Tells whether, in each path with several folders, the first folder is a dataset, and the second one is the class.

    Raises DataError if the names of the folders do not show which level of folders has the classes.
    """
    parents: dict[str, set[str]] = defaultdict(set)
    for chain in chains:
        if len(chain.names) > 1:
            parents[chain.names[1]].add(chain.names[0])
    if not parents:
        return False
    firsts = {first for above in parents.values() for first in above}
    direct = {chain.names[0] for chain in chains if len(chain.names) == 1}
    known_firsts = {name for name in firsts if folder_kind(name) is FolderKind.DIAGNOSIS}
    known_seconds = {name for name in parents if folder_kind(name) is FolderKind.DIAGNOSIS}
    if not known_firsts and (known_seconds == set(parents) or direct & set(parents)):
        return True
    if known_firsts == firsts and not known_seconds:
        return False
    recurring = sum(len(above) > 1 for above in parents.values())
    if known_seconds or 2 * recurring > len(parents):
        raise DataError(_two_readings(root, firsts | direct, set(parents)))
    return False


def _two_readings(root: Path, firsts: set[str], seconds: set[str]) -> str:
    first, second = (some_of(sorted(names), _SHOWN_NAMES) for names in (firsts, seconds))
    return (
        f"the folders of '{root}' can be read in two ways. If the first folder is the class ({first}), and the folders "
        "below are groups, give --labels-from folder. If the folder that contains the photos is the class "
        f"({second}), give --labels-from parent"
    )


def _placement(
    root: Path,
    folders: Sequence[str],
    chain: _Chain,
    depth: int,
    insisted: str | None,
    persons: frozenset[str],
) -> Placement:
    names = chain.names
    class_name = names[depth] if depth < len(names) else ""
    if insisted is not None and not class_name:
        class_name = insisted
    elif not class_name and not names and folder_kind(root.name) is FolderKind.DIAGNOSIS:
        # the given folder is itself a class folder
        class_name = root.name
    above = names[depth - 1] if 0 < depth <= len(names) else ""
    if above in persons:
        return Placement(_set_name(root), chain.part, class_name, f"{_set_name(root)}/{above}")
    if class_name in persons:
        return Placement(_set_name(root), chain.part, "", f"{_set_name(root)}/{class_name}")
    source = above if above and class_name else _set_name(root)
    if not class_name and len(names) == 1:
        source = names[0]
    return Placement(source, chain.part, class_name, _group(root, folders, class_name))


def _insisted(folders: Sequence[str], labels_from: str) -> str | None:
    """Returns the class folder that --labels-from selects, even if its name means a person, a date or a container.

    The result is empty if there is no folder below the given one, and None if ``labels_from`` selects no level.
    """
    if labels_from not in (FOLDER, PARENT):
        return None
    kinds = [name for name in folders if not part_of(name)]
    if not kinds:
        return ""
    return kinds[0] if labels_from == FOLDER else kinds[-1]


def _group(root: Path, folders: Sequence[str], class_name: str) -> str:
    """Returns the name of the folder whose photos form a group; empty if there is none.

    The group is the folder of a person or lesion at any level. If there is no such folder, the group is the first
    folder below the class folder that is neither a part (train, val, test) nor a container. The folder of a visit, such
    as visit_1, is a group only if there is no other such folder, because each person may have a visit_1.
    """
    groups = [name for name in folders if name != class_name and folder_kind(name) is FolderKind.GROUP]
    visits = list(filter(is_visit_folder, groups))
    if named := [name for name in groups if name not in visits]:
        return f"{_set_name(root)}/{named[0]}"
    below = folders[folders.index(class_name) + 1 :] if class_name in folders else ()
    for name in below:
        if name not in (class_name, *visits) and folder_kind(name) not in (FolderKind.PART, FolderKind.PLAIN):
            return f"{_set_name(root)}/{class_name}/{name}"
    return f"{_set_name(root)}/{visits[0]}" if visits else ""


def _set_name(root: Path) -> str:
    return dataset_root(root).name


def dataset_root(root: Path) -> Path:
    """Returns the folder of the dataset: ``root`` or, if ``root`` is a part (train, val, test), the folder above."""
    return root.parent if part_of(root.name) else root

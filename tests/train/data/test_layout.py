"""What the folders of a photo state. Paths alone are enough, so no files are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dermedge.edge.errors import DataError
from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.layout import AUTO, FOLDER, PARENT, TABLE, Placement, read_layout

PEOPLE = ("anna", "bert", "carla", "dirk", "emil", "fritz", "gerda", "hans")


def placed(
    folders: Mapping[str, int] | tuple[str, ...],
    root: str = "/data/set",
    labels_from: str = AUTO,
    tabled: str = "",
) -> dict[str, Placement]:
    """Folder -> the placement of its photos. The photos of the folder ``tabled`` have a label in a table."""
    counts = folders if isinstance(folders, Mapping) else dict.fromkeys(folders, 1)
    names = [name for name, count in counts.items() for _ in range(count)]
    photos = [
        FoundPhoto(Path(root) / name / f"{at}.jpg", Path(root), Path(name).parts)
        for at, name in enumerate(names)
    ]
    found = read_layout(photos, [name == tabled for name in names], labels_from)
    return dict(zip(names, found, strict=True))


def test_the_first_folder_is_the_class_and_parts_and_containers_are_skipped() -> None:
    assert placed(("nevus", "melanoma", "train/nevus", "images/validation/melanoma", "nevus/test")) == {
        "nevus": Placement("set", "", "nevus", ""),
        "melanoma": Placement("set", "", "melanoma", ""),
        "train/nevus": Placement("set", "train", "nevus", ""),
        "images/validation/melanoma": Placement("set", "val", "melanoma", ""),
        "nevus/test": Placement("set", "test", "nevus", ""),
    }


@pytest.mark.parametrize(
    ("root", "source", "part"), [("/data/set/train", "set", "train"), ("/data/valid", "data", "val")]
)
def test_a_part_that_is_given_itself_states_the_part_and_the_folder_above_names_the_set(
    root: str, source: str, part: str
) -> None:
    assert placed(("nevus", "melanoma"), root)["nevus"] == Placement(source, part, "nevus", "")
    # The name of a folder within the given one goes before that of the given one.
    assert placed(("test/nevus", "melanoma"), root)["test/nevus"] == Placement(source, "test", "nevus", "")


def test_a_person_in_two_parts_that_are_given_one_by_one_is_one_person() -> None:
    for folder in ("patient_07/nevus", "nevus/patient_07", "nevus/left arm"):
        groups = {
            placed((folder, "melanoma"), f"/data/set/{part}")[folder].group for part in ("train", "test", "")
        }
        assert len(groups) == 1
    persons = {f"{name}/{label}": 2 for name in PEOPLE for label in ("nevus", "melanoma")}
    for root in ("/data/set/train", "/data/set"):
        assert placed(persons, root)["anna/nevus"].group == "set/anna"


@pytest.mark.parametrize("count", [4, 5])
def test_persons_that_are_given_one_by_one_are_placed_as_if_the_folder_above_were_given(count: int) -> None:
    names = [f"patient_{number}/{label}" for number in range(count) for label in ("nevus", "melanoma")]
    paths = [Path("/data/set") / name for name in names]
    alone = [FoundPhoto(path / "1.jpg", path.parent, (path.name,)) for path in paths]
    found = read_layout(alone, [False] * len(alone))
    # Fewer than five persons are too few for splits, so the folders may be datasets instead.
    assert (found == list(placed(tuple(names)).values())) == (count >= 5)
    assert found[0].source == ("set" if count >= 5 else "patient_0")


def test_a_class_folder_that_is_given_itself_is_the_class() -> None:
    assert placed(("",), "/data/nevus") == {"": Placement("nevus", "", "nevus", "")}
    assert placed(("",), "/data/anything") == {"": Placement("anything", "", "", "")}


@pytest.mark.parametrize(
    ("folder", "group"),
    [
        ("nevus/left arm", "set/nevus/left arm"),
        ("nevus/patient_07", "set/patient_07"),
        ("nevus/left arm/patient_07", "set/patient_07"),
        ("patient_07/nevus", "set/patient_07"),
        ("nevus/2021-05", "set/nevus/2021-05"),
        # Folders that are containers or parts do not make groups.
        ("nevus/images", ""),
        ("nevus/train", ""),
        ("nevus/images/left arm", "set/nevus/left arm"),
        # Each person may have a visit_1. Earlier, the first visits of all persons were one group.
        ("nevus/anna/visit_1", "set/nevus/anna"),
        ("visit_1/nevus/patient_07", "set/patient_07"),
        ("nevus/session 2/lesion_3", "set/lesion_3"),
        ("nevus/visit_1", "set/visit_1"),
        ("visit_1/nevus", "set/visit_1"),
    ],
)
def test_a_folder_below_the_class_or_of_a_person_is_a_group(folder: str, group: str) -> None:
    found = placed((folder, "melanoma", "nevus"))
    assert (found[folder].class_name, found[folder].group) == ("nevus", group)
    assert found["melanoma"].group == ""


@pytest.mark.parametrize("labels_from", [AUTO, FOLDER, PARENT])
def test_a_class_folder_in_a_folder_of_the_same_name_is_no_group(labels_from: str) -> None:
    for names in (("nevus", "melanoma"), ("ring", "scar")):
        found = placed(tuple(f"{name}/{name}" for name in names), labels_from=labels_from)
        assert list(found.values()) == [Placement("set", "", name, "") for name in names]
    below = placed(("nevus/nevus/left arm", "melanoma/melanoma"))["nevus/nevus/left arm"]
    assert below == Placement("set", "", "nevus", "set/nevus/left arm")


def test_one_folder_that_holds_all_is_the_root() -> None:
    found = placed(("download/nevus", "download/melanoma"))
    assert found["download/nevus"] == Placement("download", "", "nevus", "")
    # The folder is not the root if its name is a diagnosis and those of the folders below are not.
    found = placed(("nevus/arm", "nevus/leg"))
    assert found["nevus/arm"] == Placement("set", "", "nevus", "set/nevus/arm")


@pytest.mark.parametrize(
    ("people", "photos", "are_persons"),
    # Persons are assumed for at least eight folders, with a median of at most twelve photos.
    [(8, 12, True), (7, 12, False), (8, 13, False)],
)
def test_many_folders_of_few_photos_above_the_classes_are_persons(
    people: int, photos: int, are_persons: bool
) -> None:
    names = PEOPLE[:people]
    counts = {f"{name}/{label}": photos // 2 for name in names for label in ("nevus", "melanoma")}
    counts = {key: value + (photos % 2 if "nevus" in key else 0) for key, value in counts.items()}
    found = placed(counts)["anna/nevus"]
    assert found == (
        Placement("set", "", "nevus", "set/anna") if are_persons else Placement("anna", "", "nevus", "")
    )
    # The median decides, so one person with many photos changes nothing.
    more = placed({**counts, "anna/nevus": 500})["anna/nevus"]
    assert more == found
    # An option says which folder is the class. So the folder above is not a person.
    assert placed(counts, labels_from=PARENT)["anna/nevus"] == Placement("anna", "", "nevus", "")


@pytest.mark.parametrize(
    ("labels_from", "class_name", "source"),
    [(FOLDER, "one", "set"), (PARENT, "two", "one")],
)
def test_an_option_chooses_the_first_or_the_last_folder(
    labels_from: str, class_name: str, source: str
) -> None:
    found = placed(("one/two", "other/three"), labels_from=labels_from)["one/two"]
    assert (found.class_name, found.source) == (class_name, source)
    # The option makes a folder the class whatever its name means, unless the name is that of a part.
    insisted = placed(("train/patient_1/patient_2", "nevus"), labels_from=labels_from)
    expected = {FOLDER: "patient_1", PARENT: "patient_2"}[labels_from]
    assert insisted["train/patient_1/patient_2"].class_name == expected
    # The folder that gives the class does not give the group too.
    assert (
        insisted["train/patient_1/patient_2"].group
        == {FOLDER: "set/patient_2", PARENT: "set/patient_1"}[labels_from]
    )
    alone = placed(("patient_1", "patient_2"), labels_from=labels_from)["patient_1"]
    assert (alone.class_name, alone.group) == ("patient_1", "")


def test_sets_with_parts_of_their_own_make_a_collection() -> None:
    found = placed(("kaggle9/Train/ring", "kaggle9/Test/scar", "clinic/ring", "clinic/scar"))
    assert found == {
        "kaggle9/Train/ring": Placement("kaggle9", "train", "ring", ""),
        "kaggle9/Test/scar": Placement("kaggle9", "test", "scar", ""),
        "clinic/ring": Placement("clinic", "", "ring", ""),
        "clinic/scar": Placement("clinic", "", "scar", ""),
    }


def test_a_folder_whose_photos_all_have_labels_in_a_table_is_a_set() -> None:
    found = placed(("ours", "kaggle9/ring", "kaggle9/scar"), tabled="ours")
    assert found["ours"] == Placement("ours", "", "", "")
    assert found["kaggle9/ring"] == Placement("kaggle9", "", "ring", "")


def test_known_diagnoses_decide_which_of_two_levels_is_the_class() -> None:
    assert placed(("clinic/nevus", "home/melanoma"))["clinic/nevus"] == Placement("clinic", "", "nevus", "")
    found = placed(("nevus/clinic", "melanoma/home"))["nevus/clinic"]
    assert found == Placement("set", "", "nevus", "set/nevus/clinic")
    # No name is a known diagnosis. So the upper folder is the class, unless the same names occur again below
    # other folders.
    assert placed(("ring/x", "scar/y"))["ring/x"] == Placement("set", "", "ring", "set/ring/x")
    with pytest.raises(
        DataError, match=r"can be read in two ways.*--labels-from folder.*--labels-from parent"
    ):
        placed(("ring/x", "scar/x", "ring/y", "scar/y"))
    # Two of the four lower names occur again, and this is not more than half.
    assert placed(("ring/x", "scar/x", "ring/y", "scar/y", "ring/z", "scar/w"))["ring/x"].class_name == "ring"


@pytest.mark.parametrize(
    "classes",
    [
        # These folders come from unpacked archives.
        {"nevus/nevus": "nevus", "melanoma/melanoma": "melanoma"},
        {"clinic/nevus/nevus": "nevus", "clinic/melanoma/melanoma": "melanoma"},
        {"train/nevus/nevus": "nevus", "test/nevus/nevus": "nevus"},
        {"nevus/nevus/left arm": "nevus", "melanoma/melanoma/back": "melanoma"},
        {"nevus/train/nevus": "nevus", "melanoma/train/melanoma": "melanoma"},
        # These datasets have the name of one of their classes.
        {"acne/acne": "acne", "acne/rosacea": "rosacea"},
        {"melanoma/melanoma": "melanoma", "melanoma/nevus": "nevus"},
        {"melanoma/train/melanoma": "melanoma", "melanoma/train/benign": "benign"},
    ],
)
def test_a_folder_in_a_folder_of_the_same_name_repeats_it_only_if_it_stands_alone(
    classes: dict[str, str],
) -> None:
    found = placed(dict.fromkeys(classes, 3))
    assert {name: one.class_name for name, one in found.items()} == classes


@pytest.mark.parametrize("names", [("test/melanoma", "test/healthy"), ("melanoma", "normal")])
def test_a_class_beside_a_folder_with_the_name_of_the_dataset_is_never_taken_for_it(
    names: tuple[str, str],
) -> None:
    with pytest.raises(DataError, match="can be read in two ways"):
        placed(tuple(f"melanoma/{name}" for name in names))


def test_persons_of_train_and_test_that_are_given_one_by_one_are_counted_together() -> None:
    roots = [Path("/d/train", f"patient_{at}") for at in range(6)]
    roots += [Path("/d/test", f"patient_{at}") for at in range(6, 9)]
    photos = [FoundPhoto(root / "nevus" / "1.jpg", root, ("nevus",)) for root in roots]
    found = read_layout(photos, [False] * len(photos))
    assert [(one.part, one.group) for one in found] == [
        ("train" if at < 6 else "test", f"d/patient_{at}") for at in range(9)
    ]


@pytest.mark.parametrize("labels_from", [FOLDER, PARENT])
def test_a_person_who_is_given_is_no_class_for_labels_from_folders(labels_from: str) -> None:
    roots = [Path("/d", f"patient_{at}") for at in range(6)]
    photos = [FoundPhoto(root / "s1" / "1.jpg", root, ("s1",)) for root in roots]
    photos += [FoundPhoto(root / "2.jpg", root, ()) for root in roots]
    found = read_layout(photos, [False] * len(photos), labels_from)
    assert [one.class_name for one in found] == ["s1"] * 6 + [""] * 6


def of_a_table(folders: Mapping[str, Sequence[str]], labels_from: str = AUTO) -> dict[str, list[Placement]]:
    """Folder -> the placement of its photos.

    A table states their diagnoses. If a diagnosis is empty, the photo is not in the table.
    """
    root = Path("/data/set")
    photos = [
        FoundPhoto(root / name / f"{at}.jpg", root, Path(name).parts)
        for name, diagnoses in folders.items()
        for at in range(len(diagnoses))
    ]
    stated = [diagnosis for diagnoses in folders.values() for diagnosis in diagnoses]
    known = [bool(diagnosis) or labels_from == TABLE for diagnosis in stated]
    found = iter(read_layout(photos, known, labels_from, stated))
    return {name: [next(found) for _ in diagnoses] for name, diagnoses in folders.items()}


@pytest.mark.parametrize("labels_from", [AUTO, TABLE])
@pytest.mark.parametrize("above", ["", "images/", "clinic/"])
def test_many_folders_of_few_photos_that_a_table_labels_are_persons(labels_from: str, above: str) -> None:
    """Earlier, photos of one person could be in train and in test."""
    folders = {f"{above}{name}": ["nevus", "melanoma"] for name in PEOPLE[:8]}
    assert of_a_table(folders, labels_from)[f"{above}anna"] == [Placement("set", "", "", "set/anna")] * 2


@pytest.mark.parametrize("below", ["left arm", "nevus", "2021 visit"])
def test_persons_whose_photos_a_table_labels_are_groups_with_folders_below_them(below: str) -> None:
    """Earlier, each folder of a person was a group of its own."""
    folders = {f"{name}/{place}": ["nevus", "melanoma"] for name in PEOPLE[:8] for place in (below, "back")}
    found = of_a_table(folders)
    assert found[f"anna/{below}"] == found["anna/back"] == [Placement("set", "", "", "set/anna")] * 2
    # Seven folders are too few to be taken for persons, so they may be datasets.
    assert (
        of_a_table({name: folders[name] for name in list(folders)[:14]})["anna/back"][0].group != "set/anna"
    )


def test_as_many_folders_as_diagnoses_may_be_classes_and_are_no_persons() -> None:
    folders = {f"{name}": [f"disease of {name}"] * 5 for name in PEOPLE[:8]}
    assert {one.group for placements in of_a_table(folders).values() for one in placements} == {""}


def test_a_folder_that_a_table_labels_nearly_whole_is_no_class_unless_the_table_states_its_name() -> None:
    folders = {"clinic": ["nevus", "melanoma", ""], "hands": ["", ""]}
    found = of_a_table(folders)
    assert [one.class_name for one in (*found["clinic"], *found["hands"])] == ["", "", "", "hands", "hands"]
    folders = {"Acne": ["acne", "rosacea", ""], "hands": ["", ""]}
    assert of_a_table(folders)["Acne"][2].class_name == "Acne"


def test_classes_that_are_given_one_by_one_are_placed_as_if_the_folder_above_were_given() -> None:
    """Earlier, with --data photos/*, photos of one person in two classes could be in train and in test."""
    names = ("nevus/patient_7", "melanoma/patient_7", "melanoma/2021-05", "melanoma/left arm")
    roots = [Path(f"/data/set/{part}") for part in ("train", "test")]
    photos = [
        FoundPhoto(root / name / "1.jpg", root / name.partition("/")[0], (name.partition("/")[2],))
        for root in roots
        for name in names
    ]
    whole = [
        FoundPhoto(photo.path, Path("/data/set"), photo.path.relative_to("/data/set").parts[:-1])
        for photo in photos
    ]
    found = read_layout(photos, [False] * len(photos))
    assert found == read_layout(whole, [False] * len(whole))
    assert {one.class_name for one in found} == {"nevus", "melanoma"}
    assert [one.group for one in found[:2]] == ["set/patient_7"] * 2

"""The facts about each photo of a folder with a table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dermedge.train.data.labelled_file import ON_FOLDER, ON_TABLE, LabelledFile
from dermedge.train.data.labelling import FOLDERS_TOO, label_files


def labelled(root: Path, names: list[str], table: str = "", **options: str) -> dict[str, LabelledFile]:
    """Name of a photo -> its facts. The files are empty, because they are not decoded."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    if table:
        (root / "table.csv").write_text(table)
    return {Path(one.photo.path).name: one for one in label_files([root], **options).files}


def test_the_facts_of_a_table_and_of_folders(tmp_path: Path) -> None:
    names = [f"{label}/{number}.jpg" for label in ("nevus", "melanoma") for number in range(3)]
    names = [name.replace("/", f"/{name[0]}") for name in names]
    table = "path,label,source,patient_id,age,sex,split\nn0.jpg,melanoma,my clinic,p7,44,f,val\nn1.jpg,nevus,,,,,\n"
    found = labelled(tmp_path / "set", names, table)
    told = found["n0.jpg"]
    assert (told.photo.original_label, told.photo.diagnosis, told.origin) == (
        "melanoma",
        "melanoma",
        ON_TABLE,
    )
    assert (told.photo.source, told.photo.age, told.photo.sex) == ("my clinic", "44", "female")
    assert (told.folder, told.part, told.in_table, told.reference) == ("nevus", "val", True, "melanoma")
    assert told.photo.patient_id
    assert told.photo.patient_id in told.links
    # The folders give what the table leaves out.
    plain = found["n1.jpg"]
    assert (plain.photo.source, plain.photo.age, plain.part) == ("set", "", "")
    assert (plain.reference, plain.links) == ("nevus", ())
    other = found["m0.jpg"]
    assert (other.photo.diagnosis, other.origin, other.in_table, other.reference) == (
        "melanoma",
        ON_FOLDER,
        False,
        "",
    )
    assert other.photo.root == str(tmp_path / "set")
    assert other.photo.image_id == other.photo.group == "set/melanoma/m0"


def test_the_published_lesion_is_the_group_and_the_place_of_a_photo_its_name(tmp_path: Path) -> None:
    names = [f"ISIC_000000{number}.jpg" for number in range(4)]
    rows = [f"HAM_000000{number // 2},ISIC_000000{number},nv" for number in range(3)]
    found = labelled(
        tmp_path / "ham", names, "\n".join(["lesion_id,image_id,dx", *rows]) + "\n", labels_from="table"
    )
    assert [found[name].photo.group for name in names] == [
        "HAM_0000000",
        "HAM_0000000",
        "HAM_0000001",
        "ISIC_0000003",
    ]
    assert [found[name].photo.lesion_id for name in names] == [
        "HAM_0000000",
        "HAM_0000000",
        "HAM_0000001",
        "",
    ]
    assert found[names[0]].photo.image_id == "ISIC_0000000"
    assert set(found[names[0]].links) == {"HAM_0000000", "photo ISIC_0000000"}
    assert found[names[3]].photo.diagnosis == ""


def test_photos_that_were_made_of_one_share_a_name_in_their_folder(tmp_path: Path) -> None:
    names = ["cat/a.jpg", "cat/a_rotated_10.jpg", "cat/b.jpg", "dog/a.jpg", "dog/c_jpg.rf.0123abcd.jpg"]
    for name in names:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    links = {one.name: one.links for one in label_files([tmp_path / "set"]).files}
    assert links == {
        "set/cat/a.jpg": ("made from set/cat/a",),
        "set/cat/a_rotated_10.jpg": ("made from set/cat/a",),
        "set/cat/b.jpg": (),
        "set/dog/a.jpg": (),
        "set/dog/c_jpg.rf.0123abcd.jpg": ("made from set/dog/c",),
    }


def test_photos_that_were_made_of_one_are_joined_although_train_and_test_are_given_one_by_one(
    tmp_path: Path,
) -> None:
    roots = [tmp_path / "set" / part for part in ("train", "test")]
    for root, name in zip(roots, ("a.jpg", "a_rot90.jpg"), strict=True):
        (root / "cat").mkdir(parents=True)
        (root / "cat" / name).touch()
    assert [one.links for one in label_files(roots).files] == [("made from set/cat/a",)] * 2


def test_spellings_of_the_folder_of_a_person_are_one_person(tmp_path: Path) -> None:
    """Earlier, patient_07 below nevus and Patient 7 below melanoma were two persons."""
    found = labelled(
        tmp_path, ["nevus/patient_07/1.jpg", "melanoma/Patient 7/2.jpg", "nevus/Patient 8/3.jpg"]
    )
    assert set(found["1.jpg"].links) & set(found["2.jpg"].links)
    assert set(found["1.jpg"].links).isdisjoint(found["3.jpg"].links)


def test_the_folders_of_two_persons_are_two_groups(tmp_path: Path) -> None:
    """Earlier, they were one if their paths differed only in the place of a slash, or in a vowel sign."""
    names = ["mole/blue 1/1.jpg", "mole blue/1/2.jpg", "mole/รมิ/3.jpg", "mole/รมี/4.jpg"]
    links = [one.links for one in labelled(tmp_path, names).values()]
    assert len(set(links)) == 4


def test_folders_below_a_class_are_groups_unless_tables_alone_group(tmp_path: Path) -> None:
    names = [
        f"{label}/patient_{number}/{label}{number}{part}.jpg"
        for label in ("cat", "dog")
        for number in (1, 2)
        for part in "ab"
    ]
    found = labelled(tmp_path / "set", names, groups_from=FOLDERS_TOO)
    shared = {one.links for name, one in found.items() if name.startswith("cat1")}
    assert len(shared) == 1
    assert all(link.startswith("folder ") for links in shared for link in links)
    assert found["cat1a.jpg"].links != found["cat2a.jpg"].links
    assert found["cat1a.jpg"].group_folder
    alone = labelled(tmp_path / "set", names, groups_from="table")
    assert {one.links for one in alone.values()} == {()}


def test_labels_are_counted_for_the_table_that_they_are_from(tmp_path: Path) -> None:
    names = ["nevus/n0.jpg", "nevus/n1.jpg", "squamous cell carcinoma/s0.jpg"]
    table = "path,label\nn0.jpg,melanoma\nn1.jpg,nevus\ns0.jpg,akiec\n"
    labelled(tmp_path / "set", names, table)
    # The folder of s0 states a more specific diagnosis than the table.
    assert any(
        line.startswith("labels from 'table.csv'") and line.endswith(": 2 photos")
        for line in label_files([tmp_path / "set"]).account
    )
    (tmp_path / "set" / "second.csv").write_text("path,label\nn0.jpg,nevus\n")
    for source in ("folder", "parent"):
        account = label_files([tmp_path / "set"], source).account
        assert "no labels from 'table.csv' (your own table), which names 3 photos" in account
        assert "no labels from 'second.csv' (your own table), which names 1 photo" in account
        assert not any("contradict" in line or line.startswith("labels from") for line in account)


def test_spellings_of_a_label_are_one_label_in_tables_and_folders(tmp_path: Path) -> None:
    """Earlier, each spelling was a class of its own, or no photo showed the class. Some programs write 1.0 for 1."""
    for part, labels in (
        ("train", ["Acne", "acne ", "Acne", "0", "0", "1"]),
        ("test", ["ACNE", "0.0", "1.0"]),
    ):
        names = [f"{part}{number}.jpg" for number in range(len(labels))]
        rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
        labelled(tmp_path / "set" / part, names, "\n".join(["image,label", *rows]) + "\n")
    labelled(tmp_path / "set" / "acne", ["1.jpg"])
    found = label_files([tmp_path / "set"])
    assert Counter(one.photo.original_label for one in found.files) == {"Acne": 5, "0": 3, "1": 2}
    assert all(one.photo.diagnosis == one.photo.original_label for one in found.files)
    assert "the labels '0', '0.0' are one class: '0'" in found.account


def test_two_spellings_of_a_label_do_not_exclude_each_other(tmp_path: Path) -> None:
    found = labelled(tmp_path / "set", ["1.jpg"], "image,label\n1.jpg,Acne\n1.jpg,acne\n")
    assert [(one.photo.diagnosis, one.undecided) for one in found.values()] == [("Acne", False)]

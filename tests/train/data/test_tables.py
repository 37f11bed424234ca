"""What several tables state about one photo is joined by laws, whatever the order of the tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.tables import PhotoFacts, Tables, read_tables

ID, OTHER = "ISIC_0000001", "ISIC_0000002"
HAM = "lesion_id,image_id,dx,age,sex,localization\n"
ISIC_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"


def joined(
    root: Path, tables: Mapping[str, str], photos: tuple[str, ...] = (f"{ID}.jpg", f"{OTHER}.jpg")
) -> Tables:
    """Writes the tables in their order, and joins what they state about the photos."""
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    found = [FoundPhoto(root / name, root, Path(name).parts[:-1]) for name in photos]
    return read_tables([root / name for name in tables], found)


def facts_of(root: Path, tables: Mapping[str, str]) -> PhotoFacts:
    """What the tables state about the photo ``ID``."""
    return joined(root, tables).facts[0]


def orders(tables: Mapping[str, str]) -> list[dict[str, str]]:
    return [dict(order) for order in itertools.permutations(tables.items())]


@pytest.mark.parametrize(
    ("tables", "label", "winner"),
    [
        # A person's own table goes before ISIC 2019, and ISIC 2019 goes before HAM10000.
        (
            {"ham.csv": f"{HAM}L,{ID},nv,,,\n", "isic.csv": f"{ISIC_2019}{ID},1,0,0,0,0,0,0,0,0\n"},
            "mel",
            "isic.csv",
        ),
        (
            {"ham.csv": f"{HAM}L,{ID},nv,,,\n", "own.csv": f"image,label\n{ID},melanoma\n"},
            "melanoma",
            "own.csv",
        ),
        # A specific diagnosis goes before an open one, whatever the table.
        ({"ham.csv": f"{HAM}L,{ID},nv,,,\n", "own.csv": f"image,label\n{ID},malignant\n"}, "nv", "ham.csv"),
    ],
)
def test_of_labels_that_contradict_the_specific_and_then_the_better_table_is_taken(
    tmp_path: Path, tables: dict[str, str], label: str, winner: str
) -> None:
    for number, order in enumerate(orders(tables)):
        found = facts_of(tmp_path / str(number), order)
        assert (found.original_label, found.table and found.table.name) == (label, winner)
        assert (found.contradicted, found.undecided) == (True, False)


def test_of_equal_labels_the_first_is_kept_and_nothing_contradicts(tmp_path: Path) -> None:
    found = facts_of(tmp_path, {"own.csv": f"image,label\n{ID},nevus\n{ID},blue nevus\n"})
    assert (found.original_label, found.diagnosis) == ("nevus", "nevus")
    assert not found.contradicted
    assert not found.undecided


def test_tables_of_one_rank_leave_it_undecided_until_a_better_one_decides(tmp_path: Path) -> None:
    both = {"one.csv": f"{HAM}L,{ID},nv,,,\n", "two.csv": f"{HAM}L,{ID},mel,,,\n"}
    assert facts_of(tmp_path / "two", both).undecided
    better = {**both, "own.csv": f"image,label\n{ID},melanoma\n"}
    found = facts_of(tmp_path / "better", better)
    assert (found.diagnosis, found.undecided) == ("melanoma", False)
    # A table of lower rank decides nothing, even if it agrees with one of the two labels.
    own = {"own.csv": f"image,label\n{ID},melanoma\n{ID},nevus\n"}
    worse = {**own, "ham.csv": f"{HAM}L,{ID},nv,,,\n"}
    assert facts_of(tmp_path / "worse", worse).undecided


def test_names_of_lesions_and_persons_hold_as_far_as_their_publisher_means_them(tmp_path: Path) -> None:
    pad = "patient_id,lesion_id,img_id,diagnostic,age,gender,region,fitspatrick\n"
    rows = [
        ("ham.csv", f"{HAM}HAM_0000007,{ID},nv,,,\n", ["HAM_0000007"], "HAM_0000007", ""),
        # The number of a case means a lesion only within this dataset, so the name of the dataset is put before it.
        ("derm7pt.csv", f"case_num,diagnosis,derm,clinic\n7,nevus,{ID},x\n", ["derm7pt 7"], "derm7pt 7", ""),
        # In PAD-UFES-20, the number of a lesion belongs to a person, so the name of the person is put before it.
        (
            "pad.csv",
            f"{pad}PAT_9,651,{ID},NEV,,,,\n",
            ["PAT_9 lesion 651", "PAT_9"],
            "PAT_9 lesion 651",
            "PAT_9",
        ),
        # In a person's own table, a publisher's name of a lesion holds everywhere. Any other name holds only
        # in the folder of the table.
        ("here/own.csv", f"image,label,lesion\n{ID},nevus,HAM_0000007\n", ["HAM_0000007"], "HAM_0000007", ""),
        (
            "here/own.csv",
            f"image,label,patient id\n{ID},nevus,5\n",
            ["here patient_id 5", "here patientid 5"],
            "",
            "here patient_id 5",
        ),
        ("here/own.csv", f"image,label,patient id\n{ID},nevus,unknown\n", [], "", ""),
    ]
    for number, (name, text, groups, lesion, patient) in enumerate(rows):
        found = facts_of(tmp_path / str(number), {name: text})
        assert (list(found.groups), found.lesion_id, found.patient_id) == (groups, lesion, patient), name


@pytest.mark.parametrize("folders", [("train", "test"), ("train_images", "test_images"), ("a/val", "a/test")])
def test_a_person_in_the_tables_of_two_parts_is_one_person(tmp_path: Path, folders: tuple[str, str]) -> None:
    photos = tuple(f"{folder}/{number}.jpg" for number, folder in enumerate(folders))
    row = "path,label,patient\n{}.jpg,nevus,P1\n"
    tables = {f"{folder}/labels.csv": row.format(number) for number, folder in enumerate(folders)}
    found = joined(tmp_path, tables, photos).facts
    assert found[0].groups == found[1].groups != {}


def test_a_number_of_a_lesion_in_two_datasets_is_two_lesions(tmp_path: Path) -> None:
    rows = {"a": "1.jpg,nevus,L1,PATIENT_1", "b": "2.jpg,melanoma,L1,PATIENT_1"}
    tables = {
        f"{name}/meta/labels.csv": f"path,label,lesion_id,patient_id\n{row}\n" for name, row in rows.items()
    }
    found = joined(tmp_path, tables, ("a/1.jpg", "b/2.jpg")).facts
    assert [(facts.lesion_id, facts.patient_id) for _, facts in sorted(found.items())] == [
        ("a/meta lesion_id L1", "a/meta patient_id PATIENT_1"),
        ("b/meta lesion_id L1", "b/meta patient_id PATIENT_1"),
    ]


@pytest.mark.parametrize(
    "folders",
    [
        ("nevus/meta", "melanoma/meta"),
        ("part1/images", "part2/images"),
        ("fold1/labels", "fold_2/labels"),
        ("nevus/train/meta", "melanoma/test/meta"),
        ("nevus", "melanoma"),
        ("part_1", "part_2"),
        ("fold1", "fold_2"),
        ("train/nevus", "test/melanoma"),
        ("HAM10000_images_part_1", "HAM10000_images_part_2"),
    ],
)
def test_a_person_in_the_tables_of_classes_folds_or_containers_is_one_person(
    tmp_path: Path, folders: tuple[str, str]
) -> None:
    photos = tuple(f"{folder}/{number}.jpg" for number, folder in enumerate(folders))
    tables = {
        f"{folder}/t.csv": f"path,label,patient\n{number}.jpg,nevus,P1\n"
        for number, folder in enumerate(folders)
    }
    found = joined(tmp_path, tables, photos).facts
    assert found[0].groups == found[1].groups != {}


def test_a_person_in_the_tables_of_set1_and_set2_is_two_persons(tmp_path: Path) -> None:
    tables = {f"set{number}/t.csv": f"path,label,patient\n{number}.jpg,nevus,P1\n" for number in (1, 2)}
    found = joined(tmp_path, tables, ("set1/1.jpg", "set2/2.jpg")).facts
    assert next(iter(found[0].groups)) == "set1 patient P1"
    assert next(iter(found[1].groups)) == "set2 patient P1"
    assert found[0].groups.keys().isdisjoint(found[1].groups)


@pytest.mark.parametrize(
    ("header", "value"),
    [("patient_id", "7.0"), ("PatientID", "7"), ("Patient ID", "7,0"), ("patient-id", "7")],
)
def test_a_person_is_one_person_however_two_tables_write_the_column_and_the_number(
    tmp_path: Path, header: str, value: str
) -> None:
    """Some programs write 7.0 for 7 if another cell is empty. Earlier, the person could be in train and in test."""
    tables = {
        "train.csv": f"image;label;patient_id\n{ID};nevus;7\n",
        "test.csv": f"image;label;{header}\n{OTHER};nevus;{value}\n",
    }
    found = joined(tmp_path, tables).facts
    assert not found[0].groups.keys().isdisjoint(found[1].groups)


@pytest.mark.parametrize("unknown", ["NA", "unknown", "n/a", "-1", "-1.0"])
@pytest.mark.parametrize(
    "header",
    [
        "image_name,lesion_id,patient_id,diagnosis,benign_malignant",
        "image_name,lesion_id,patient_id,label,note",
    ],
)
def test_lesions_and_persons_that_are_not_known_are_no_group(
    tmp_path: Path, header: str, unknown: str
) -> None:
    """Earlier, all photos without a known lesion were one lesion. They were left out if their labels differed."""
    rows = f"{ID},{unknown},{unknown},nevus,benign\n{OTHER},{unknown},{unknown},melanoma,malignant\n"
    found = joined(tmp_path, {"t.csv": f"{header}\n{rows}"}).facts
    assert [(facts.groups, facts.lesion_id, facts.patient_id) for facts in found.values()] == [
        ({}, "", "")
    ] * 2


def test_two_rows_of_a_table_leave_it_undecided_in_any_order(tmp_path: Path) -> None:
    """Earlier, the more specific label was used if it was in the second row."""
    for order in itertools.permutations(["benign", "melanoma"]):
        table = "image,label\n" + "".join(f"{ID},{label}\n" for label in order)
        found = facts_of(tmp_path, {"t.csv": table})
        assert (found.undecided, found.contradicted) == (True, True)


def test_the_first_table_names_the_lesion_and_all_of_them_group_it(tmp_path: Path) -> None:
    tables = {"one.csv": f"{HAM}HAM_0000001,{ID},nv,,,\n", "two.csv": f"{HAM}HAM_0000002,{ID},nv,,,\n"}
    found = facts_of(tmp_path, tables)
    assert (found.lesion_id, list(found.groups)) == ("HAM_0000001", ["HAM_0000001", "HAM_0000002"])


def test_facts_of_people_are_those_of_the_first_table_and_of_the_first_column(tmp_path: Path) -> None:
    archive = "isic_id,diagnosis_1,age_approx,sex,anatom_site_special,anatom_site_general,image_type\n"
    tables = {
        "archive.csv": f"{archive}{ID},Benign,45,female,palms or soles,lower extremity,clinical: close-up\n",
        "ham.csv": f"{HAM}L,{ID},nv,50,male,back\n",
    }
    found = facts_of(tmp_path / "two", tables)
    site = found.people["site"]
    assert found.people == {"age": "45", "sex": "female", "site": site, "view": "close-up"}
    # HAM10000 has only dermoscopic photos, but no column states this.
    alone = facts_of(tmp_path / "one", {"ham.csv": tables["ham.csv"]})
    assert alone.people == {"age": "50", "sex": "male", "site": "trunk", "view": "dermoscopic"}
    # If a cell is empty, the next column is read.
    rest = {"archive.csv": f"{archive}{ID},Benign,,,,lower extremity,\n"}
    assert facts_of(tmp_path / "rest", rest).people == {"site": "lower extremity"}
    special = {"archive.csv": f"{archive}{ID},Benign,,,head/neck,lower extremity,\n"}
    assert facts_of(tmp_path / "special", special).people == {"site": "head and neck"}


def test_a_column_states_the_split_and_otherwise_the_name_of_the_table(tmp_path: Path) -> None:
    assert facts_of(tmp_path / "1", {"train.csv": f"image,label,split\n{ID},nevus,test\n"}).part == "test"
    assert facts_of(tmp_path / "2", {"train.csv": f"image,label\n{ID},nevus\n"}).part == "train"
    assert facts_of(tmp_path / "3", {"labels.csv": f"image,label\n{ID},nevus\n"}).part == ""
    for number, cell in enumerate(("nan", "n/a", "unknown", "")):
        rows = {"train.csv": f"image,label,split\n{ID},nevus,{cell}\n"}
        assert facts_of(tmp_path / f"none {number}", rows).part == "train"
    two = {"val.csv": f"image,label\n{ID},nevus\n", "train.csv": f"image,label\n{ID},nevus\n"}
    assert facts_of(tmp_path / "4", two).part == "val"


def test_a_row_of_zeros_means_what_the_publisher_says(tmp_path: Path) -> None:
    for number, (header, cells, label) in enumerate(
        (
            ("image_id,melanoma,seborrheic_keratosis", "0.0,0.0", "nevus"),
            ("image_id,melanoma,seborrheic_keratosis", "0,1.0", "seborrheic keratosis"),
            ("isic_id,target,patient_id", "0,IP_1", "benign"),
            ("isic_id,target,patient_id", "1,IP_1", "malignant"),
            ("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", "0,0,0,0,0,0,0,0,0", ""),
        )
    ):
        found = facts_of(tmp_path / str(number), {"table.csv": f"{header}\n{ID},{cells}\n"})
        assert found.original_label == label, cells


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("0.5", "the table holds probabilities, not labels"),
        ("2", "line 2: '2' in the column 'mel' is neither 0 nor 1"),
        ("x", "line 2: 'x' in the column 'mel' is not a number"),
        ("", "line 2: the column 'mel' is empty"),
    ],
)
def test_a_cell_that_is_neither_0_nor_1_is_named(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        joined(tmp_path, {"isic.csv": f"{ISIC_2019}{ID},{cell},1,0,0,0,0,0,0,0\n"})


def test_a_probability_after_the_rows_by_which_a_table_is_known_is_named(tmp_path: Path) -> None:
    zeros = "".join(f"ISIC_{number:07},1,0,0,0,0,0,0,0,0\n" for number in range(1, 501))
    with pytest.raises(DataError, match=r"line 502: '0\.5' in the column 'nv' is neither 0 nor 1"):
        joined(tmp_path, {"isic.csv": f"{ISIC_2019}{zeros}{ID},1,0.5,0,0,0,0,0,0,0\n"})


def test_a_publisher_states_a_diagnosis_in_each_row(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: unknown diagnosis 'wart'"):
        joined(tmp_path, {"ham.csv": f"{HAM}L,{ID},wart,,,\n"})
    with pytest.raises(DataError, match="line 3: the diagnosis is missing"):
        joined(tmp_path, {"ham.csv": f"{HAM}L,{OTHER},nv,,,\nL,{ID},,,,\n"})


def test_two_files_of_one_photo_are_in_one_group_under_either_name(tmp_path: Path) -> None:
    found = joined(tmp_path, {"pairs.csv": f"image_name_1,image_name_2\n{ID},{OTHER}\n"})
    assert {at: list(facts.groups) for at, facts in found.facts.items()} == {
        0: [f"photo {OTHER}"],
        1: [f"photo {OTHER}"],
    }


def test_a_published_id_means_all_files_with_it_and_another_name_must_be_one_file(tmp_path: Path) -> None:
    table = {"labels.csv": f"image,label\n{ID},nevus\n"}
    twice = joined(tmp_path / "1", table, (f"small/{ID}.jpg", f"large/{ID}.jpg", f"small/{OTHER}.jpg"))
    assert {at: facts.diagnosis for at, facts in twice.facts.items()} == {0: "nevus", 1: "nevus"}
    own = {"labels.csv": "image,label\nmole,nevus\n"}
    with pytest.raises(DataError, match=r"line 2: 'mole' names 2 photos, such as '2/small/mole.jpg'"):
        joined(tmp_path / "2", own, ("small/mole.jpg", "large/mole.jpg"))
    own = {"labels.csv": "image,label\nlarge/mole,nevus\n"}
    assert list(joined(tmp_path / "3", own, ("small/mole.jpg", "large/mole.jpg")).facts) == [1]


def test_a_row_of_two_photos_gives_each_its_view(tmp_path: Path) -> None:
    table = {"derm7pt.csv": f"case_num,diagnosis,derm,clinic\n7,nevus,{ID},{OTHER}\n"}
    found = joined(tmp_path, table)
    assert [found.facts[at].people for at in (0, 1)] == [{"view": "dermoscopic"}, {"view": "close-up"}]
    assert [found.facts[at].diagnosis for at in (0, 1)] == ["nevus", "nevus"]


def test_a_table_of_lesions_labels_the_photos_that_another_table_gives_them(tmp_path: Path) -> None:
    tables = {
        "lesions.csv": "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\nIL_1,0,0,0,0,0,0,0,1,0,0,0\n",
        "photos.csv": f"isic_id,lesion_id,skin_tone_class,image_type\n{ID},IL_1,3,dermoscopic\n{OTHER},IL_2,3,\n",
    }
    for number, order in enumerate(orders(tables)):
        found = joined(tmp_path / str(number), order)
        assert [found.facts[at].original_label for at in (0, 1)] == ["mel", ""]


def test_each_table_is_accounted_for(tmp_path: Path) -> None:
    text = (
        f"image,label,lesion_id,fold,age\n{ID},nevus,L1,1,old\nISIC_0000009,nevus,L2,1,40\n{OTHER},,,2,40\n"
    )
    [account] = joined(tmp_path, {"own.csv": text}).accounts
    assert (account.format, account.photos, account.strangers) == ("your own table", 2, 1)
    assert (account.groups, account.unused, dict(account.unclear)) == (
        {"lesion_id": 1},
        ("fold",),
        {"age 'old'": 1},
    )


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.xls", "LABELS.XLSX"])
def test_an_excel_file_that_is_named_is_refused_with_the_cure(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(OptionError, match="is an Excel file; save it as CSV"):
        read_tables([path], [FoundPhoto(tmp_path / f"{ID}.jpg", tmp_path, ())], named=[path])


def test_a_row_about_a_folder_that_is_not_given_says_nothing_about_a_photo_of_the_same_name(
    tmp_path: Path,
) -> None:
    rows = "path,label,patient\ntest/1.jpg,melanoma,P9\ntrain/1.jpg,nevus,P1\ntest/2.jpg,melanoma,P8\n"
    found = joined(tmp_path, {"labels.csv": rows}, ("train/1.jpg", "train/2.jpg"))
    assert (found.facts[0].diagnosis, list(found.facts[0].groups)) == (
        "nevus",
        [f"{tmp_path.name} patient {name}" for name in ("P1", "p 1")],
    )
    assert not found.facts[0].undecided
    # No row fits the second photo better, and its folder may have been renamed. So the row is used.
    assert found.facts[1].diagnosis == "melanoma"
    assert found.accounts[0].strangers == 1


def test_a_row_about_a_folder_that_is_not_given_names_none_of_several_photos(tmp_path: Path) -> None:
    rows = "path,label\na/1.jpg,nevus\nb/1.jpg,melanoma\nc/1.jpg,nevus\n"
    found = joined(tmp_path, {"labels.csv": rows}, ("a/1.jpg", "b/1.jpg"))
    assert [found.facts[index].diagnosis for index in (0, 1)] == ["nevus", "melanoma"]
    assert found.accounts[0].strangers == 1


FOUR = tuple(f"{number}.jpg" for number in range(4))


def test_columns_of_zeros_and_ones_beside_file_names_are_classes(tmp_path: Path) -> None:
    cells = ["1,0", "0,1", "1,0", "0,0"]
    rows = "".join(f"{name},{row}\n" for name, row in zip(FOUR, cells, strict=True))
    found = joined(tmp_path, {"_classes.csv": f"filename,ring,scar\n{rows}"}, FOUR)
    assert [found.facts[index].diagnosis for index in range(4)] == ["ring", "scar", "ring", None]


@pytest.mark.parametrize("cells", [["1,0", "1,1", "0,1", "0,0"], ["1,0", "0,0", "0,0", "0,0"]])
def test_columns_of_symptoms_beside_file_names_are_no_classes(tmp_path: Path, cells: list[str]) -> None:
    rows = "".join(f"{name},{row}\n" for name, row in zip(FOUR, cells, strict=True))
    with pytest.raises(DataError, match="has columns that are not understood: 'filename, itch, bleed'"):
        joined(tmp_path, {"symptoms.csv": f"filename,itch,bleed\n{rows}"}, FOUR)


@pytest.mark.parametrize("cells", [["1,0", "0,0", "0,0", "0,0"], ["1,1", "1,1", "1,0", "0,1"]])
def test_columns_that_are_named_after_diagnoses_are_classes_however_many_rows_have_a_one(
    tmp_path: Path, cells: list[str]
) -> None:
    rows = "".join(f"{name},{cell}\n" for name, cell in zip(FOUR, cells, strict=True))
    found = joined(tmp_path, {"_classes.csv": f"filename,melanoma,nevus\n{rows}"}, FOUR).facts
    named = [found[at].diagnosis if at in found else None for at in range(4)]
    expected = {"1,0": "melanoma", "0,1": "nevus"}
    assert named == [expected.get(cell) for cell in cells]


def test_the_ground_truths_of_isic_2016_have_the_same_classes(tmp_path: Path) -> None:
    """The test part has the labels 1.0 and 0.0. Earlier, these became classes of their own."""
    tables = {
        "ISBI2016_ISIC_Part3_Training_GroundTruth.csv": f"{ID},malignant\n",
        "ISBI2016_ISIC_Part3_Test_GroundTruth.csv": f"{OTHER},1.0\n",
    }
    assert [facts.diagnosis for facts in joined(tmp_path, tables).facts.values()] == ["malignant"] * 2
    own = joined(tmp_path / "own", {"mine.csv": f"{ID},1.0\n{OTHER},0.0\n"}).facts.values()
    assert [facts.diagnosis for facts in own] == ["1.0", "0.0"]


def test_a_number_of_a_lesion_that_begins_anew_for_each_person_counts_with_the_person(tmp_path: Path) -> None:
    # The photos are those of person A's lesion 1 (two photos), B's lesion 1, B's lesion 2, C's lesion 1, and the
    # lesion 1 of two persons who are not known.
    rows = ["A,1", "A,1", "B,1", "B,2", "C,1", ",1", ",1"]
    names = tuple(f"p{at}.jpg" for at in range(len(rows)))
    table = "image,label,patient,lesion\n" + "".join(
        f"{name},nevus,{row}\n" for name, row in zip(names, rows, strict=True)
    )
    facts = joined(tmp_path, {"t.csv": table}, names).facts
    lesions = [facts[at].lesion_id for at in range(len(rows))]
    assert lesions[0] == lesions[1] != ""
    assert len(set(lesions[1:5])) == 4
    assert lesions[5:] == ["", ""]
    assert not facts[5].groups
    assert not set(facts[0].groups) & set(facts[2].groups)

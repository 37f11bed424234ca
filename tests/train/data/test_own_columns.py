"""In tables without a publisher, the columns of photos, classes and persons are found, whatever their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.group_names import compact_name
from dermedge.train.data.labelling import LabelledFiles, label_files
from dermedge.train.data.own_columns import own_format
from dermedge.train.data.table_files import TableText
from dermedge.train.data.tables import PhotoFacts, TableAccount, read_tables

NAMES = [f"mole {number}" for number in range(1, 9)]


def read(
    folder: Path, header: str, *rows: str, names: list[str] = NAMES
) -> tuple[list[PhotoFacts], TableAccount]:
    """The facts about each photo, and how the table was understood.

    ``{}`` in a row stands for the name of a photo.
    """
    folder.mkdir(exist_ok=True)
    lines = [header, *(rows[number % len(rows)].format(name) for number, name in enumerate(names))]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    photos = [FoundPhoto(folder / f"{name}.jpg", folder, ()) for name in names]
    found = read_tables([folder / "table.csv"], photos)
    return [found.facts.get(number, PhotoFacts()) for number in range(len(names))], found.accounts[0]


def diagnoses(facts: list[PhotoFacts]) -> list[str | None]:
    return [one.diagnosis for one in facts]


@pytest.mark.parametrize(
    "column",
    [
        *(
            "PatientID",
            "patient id",
            "Patient-ID",
            "Patient No.",
            "patients_nr",
            "anon_patient_id",
            "MRN",
            "Subject",
        ),
        *(
            "lesionId",
            "Lesion #",
            "ID lesion",
            "mole number",
            "Case No",
            "biopsy id",
            "Participant",
            "pat_id",
            "GROUP",
        ),
        *(
            "Patienten-ID",
            "Patientennummer",
            "Fall-Nr.",
            "L\u00e4sion",
            "ID du patient",
            "num\u00e9ro de patient",
            "N\u00b0 patient",
            "paciente",
            "id_paciente",
            "ID paziente",
            "PID",
            "Code patient",
            "Identifiant patient",
            "código paciente",
            "patient_uuid",
            "PatientIDHash",
            "Pseudonym",
            "Laesions-ID",
            "nevus_id",
            "record_id",
        ),
    ],
)
def test_persons_and_lesions_are_groups_whatever_their_column_is_called(tmp_path: Path, column: str) -> None:
    facts, account = read(tmp_path, f"image,label,{column}", "{},nevus,A", "{},melanoma,B")
    assert [
        set(one.groups) == set(facts[number % 2].groups) != set() for number, one in enumerate(facts)
    ] == [True] * 8
    assert set(facts[0].groups).isdisjoint(facts[1].groups)
    assert len(account.groups) == 1


@pytest.mark.parametrize(
    "column",
    [
        "pathologist",
        "groupsize",
        "camera",
        "lesion_diameter",
        "num_lesion",
        "n_lesion",
        "no_case",
        "patient_age",
        "casein",
        "fall",
        "nevus",
        "\u60a3\u8005ID",
        "note",
        "nevi",
    ],
)
def test_other_columns_are_no_groups(tmp_path: Path, column: str) -> None:
    facts, _ = read(tmp_path, f"image,label,{column}", "{},nevus,7")
    assert not any(one.groups for one in facts)


@pytest.mark.parametrize("cell", ["", "NA", "n/a", "unknown", "None", "'", "..."])
def test_an_unknown_person_is_no_group(tmp_path: Path, cell: str) -> None:
    facts, _ = read(tmp_path, "image,label,patient_id", f"{{}},nevus,{cell}")
    assert not any(one.groups for one in facts)


def test_spellings_of_one_id_are_one_person(tmp_path: Path) -> None:
    """Earlier, P07 and p-07 were two persons, and could come into two splits. So could 007 and 7."""
    written = ("P07", "p07", "P 7", "p-07")
    facts, _ = read(tmp_path, "image,label,patient", *(f"{{}},nevus,{name}" for name in written))
    assert set.intersection(*(set(one.groups) for one in facts)) == {f"{tmp_path.name} patient p 7"}
    facts, _ = read(tmp_path, "image,label,patient", "{},nevus,1-12", "{},nevus,11-2")
    assert set(facts[0].groups).isdisjoint(facts[1].groups)


def test_a_person_beside_a_publishers_columns_is_a_group(tmp_path: Path) -> None:
    names = [f"ISIC_000000{number}" for number in range(4)]
    facts, account = read(tmp_path, "lesion_id,image_id,dx,Patient ID", "L,{},nv,7", names=names)
    assert account.format == "HAM10000"
    assert set(facts[0].groups) == {
        "L",
        *(f"{tmp_path.name} {column} 7" for column in ("patient_id", "patientid")),
    }


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image,label,dx", "{},1,mel"),
        ("image,target,diagnosis", "{},1,melanoma"),
        ("image,class,category", "{},high risk,Melanoma"),
        ("image,dx,benign_malignant", "{},melanoma,malignant"),
        ("image,age_approx,category", "{},50,melanoma"),
        ("image,lesion", "{},melanoma"),
        ("Bild,Befund", "{},melanoma"),
        ("id,label", "{},melanoma"),
        ("number,photo name,label", "1,{},melanoma"),
    ],
)
def test_the_column_of_diagnoses_is_the_class(tmp_path: Path, header: str, row: str) -> None:
    facts, _ = read(tmp_path, header, row)
    assert diagnoses(facts) == ["melanoma"] * 8
    assert not any(one.groups for one in facts)


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    _, account = read(tmp_path, "image,Target,diagnosis,fold,empty", "{},1,melanoma,3,")
    assert account.unused == ("Target", "fold")


def test_two_columns_of_diagnoses_without_a_usual_name_stop(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"several columns of diagnoses: 'befund', 'histo'\. Rename the right one"
    ):
        read(tmp_path, "Bild,Befund,Histo", "{},melanoma,nevus")


def test_a_name_of_a_column_with_several_lines_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not understood: 'image, network \(AT/T\)'\. Expected") as caught:
        read(tmp_path, 'image,"network\n(AT/T)"', "{},X")
    assert "\n" not in str(caught.value)


def test_two_columns_of_one_name_stop(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns 'label'; rename or delete one"):
        read(tmp_path, "image,label,Label", "{},melanoma,nevus")


@pytest.mark.parametrize(
    "rows",
    [
        ("{},1,0,44", "{},0,1,44"),
        ("{},1.0,0.0,44", "{},0.0,1.0,44"),
        ('{},"1,0","0,0",44', '{},"0,0","1,0",44'),
        ("{},True,False,44", "{},false,true,44"),
    ],
)
def test_a_column_for_each_class(tmp_path: Path, rows: tuple[str, ...]) -> None:
    facts, _ = read(tmp_path, "image,Melanoma,ring,age", *rows)
    assert diagnoses(facts) == ["melanoma", "ring"] * 4
    assert facts[0].people["age"] == "44"


@pytest.mark.parametrize(
    "header",
    ["filename,melanoma,nevus,bcc,akiec,bkl,df,vasc", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"],
)
def test_the_answers_of_a_network_are_no_labels(tmp_path: Path, header: str) -> None:
    with pytest.raises(
        DataError, match="the table holds probabilities, not labels; write one label for each photo"
    ):
        read(tmp_path, header, "{},0.7,0.1,0.05,0.05,0.05,0.03,0.02")
    with pytest.raises(OptionError, match="the table holds probabilities"):
        read_tables(
            [tmp_path / "table.csv"], [FoundPhoto(tmp_path / "a.jpg", tmp_path, ())], [tmp_path / "table.csv"]
        )


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("image,label", ("{0},melanoma\n{0},nevus",)),
        ("image,label", ("{0},ring\n{0},scar\n{0},ring",)),
        ("image,label,dx", ("{},melanoma,nevus",)),
        ("image;label", ("{};melanoma, nevus", "{};nevus, melanoma", "{};MEL|NV", "{};bcc or nevus")),
        ("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", ("{},1,1,0,0,0,0,0",)),
    ],
)
def test_a_table_that_contradicts_itself_is_not_believed(
    tmp_path: Path, header: str, rows: tuple[str, ...]
) -> None:
    facts, _ = read(tmp_path, header, *rows)
    assert all(one.undecided for one in facts)


@pytest.mark.parametrize(("mark", "other"), [("x", ""), ("1", ""), ("ja", "nein"), ("+", "-")])
def test_columns_of_diagnoses_with_other_marks_than_1_stop(tmp_path: Path, mark: str, other: str) -> None:
    """The columns were not read, and folders such as those of two clinics became the classes. Two columns of zeros and
    ones about something else became the classes, too.
    """
    header = "image,patient,Melanom,Atypical Nevus,bcc,asymmetric,round"
    rows = [
        f"{{}},p1,{mark},{other},{other},0,1",
        f"{{}},p2,{other},{mark},{other},1,0",
        f"{{}},p3,{other},{other},{mark},0,1",
    ]
    with pytest.raises(
        DataError, match=f"'melanom', 'atypical_nevus', 'bcc' hold .*'{re.escape(mark)}'.*write 1"
    ):
        read(tmp_path, header, *rows)
    # columns about the history of the person are no classes
    header = "image,patient,Melanom,BCC,label"
    facts, _ = read(tmp_path / "history", header, "{},p1,ja,nein,ring", "{},p2,nein,nein,scar")
    assert diagnoses(facts) == ["ring", "scar"] * 4
    facts, account = read(tmp_path / "no_label", header[:-6], "{},p1,ja,nein", "{},p2,nein,nein")
    assert diagnoses(facts) == [None] * 8
    assert account.unused == ("Melanom", "BCC")


@pytest.mark.parametrize("column", ["Diagnose", "Diagnosi", "Diagn\u00f3stico", "Diagnos"])
def test_the_label_of_another_language_is_read_whatever_its_cells(tmp_path: Path, column: str) -> None:
    """Where a third of the cells were no known diagnoses, the column was not read, and clinics became the classes."""
    facts, account = read(tmp_path, f"image,{column},patient", "{},Melanom,7", "{},Narbe,8", "{},Ekzem,9")
    assert diagnoses(facts)[:3] == ["melanoma", "Narbe", "Ekzem"]
    assert account.unused == ()


def test_columns_of_zeros_and_ones_are_classes_only_if_nearly_each_row_has_one_1(tmp_path: Path) -> None:
    header = "image,patient id,ring,scar"
    facts, account = read(tmp_path / "classes", header, "{},p1,1,0", "{},p2,0,1")
    assert diagnoses(facts) == ["ring", "scar"] * 4
    assert account.unused == ()
    # Half of the photos have neither ring nor scar, so the columns are symptoms and not classes.
    facts, account = read(tmp_path / "symptoms", header, "{},p1,1,0", "{},p2,0,0")
    assert diagnoses(facts) == [None] * 8
    assert account.unused == ("ring", "scar")
    # The columns are also symptoms if half of the photos have both.
    facts, _ = read(tmp_path / "both", header, "{},p1,1,0", "{},p2,1,1")
    assert diagnoses(facts) == [None] * 8


@pytest.mark.parametrize(
    "column",
    [
        "patient",
        "Pat ID",
        "subject no",
        "person",
        "MRN",
        "ID patient",
        "n\u00b0 patient",
        "anon_patient_id",
        "Proband",
    ],
)
def test_a_column_of_persons_names_the_person_and_a_column_of_lesions_the_lesion(
    tmp_path: Path, column: str
) -> None:
    facts, _ = read(tmp_path / "persons", f"image,label,{column}", "{},nevus,A")
    assert all(one.patient_id and not one.lesion_id for one in facts)
    for lesion in ("lesion id", "ID lesion", "L\u00e4sionsnummer", "unique_lesion_id"):
        facts, _ = read(tmp_path / "lesions", f"image,label,{lesion}", "{},nevus,A")
        assert all(one.lesion_id and not one.patient_id for one in facts)
    # A case may be a lesion or a person.
    facts, _ = read(tmp_path / "cases", "image,label,case id", "{},nevus,A")
    assert not any(one.lesion_id or one.patient_id for one in facts)
    assert all(one.groups for one in facts)


def test_of_two_label_columns_the_one_of_diagnoses_is_read(tmp_path: Path) -> None:
    rows = ["{},ring,nevus"] * 3 + ["{},nevus,nevus"]
    facts, _ = read(tmp_path / "few", "image,label,dx", *rows)
    assert diagnoses(facts) == ["nevus"] * 8
    # Half of the cells of the first column are diagnoses. So both columns state diagnoses, and the first one is used.
    rows = ["{},ring,nevus", "{},nevus,nevus"]
    facts, _ = read(tmp_path / "half", "image,label,dx", *rows)
    assert diagnoses(facts) == ["ring", "nevus"] * 4


def test_a_finer_name_for_the_same_photo_contradicts_nothing(tmp_path: Path) -> None:
    facts, _ = read(tmp_path, "image,dx,benign_malignant", "{0},nevus,benign\n{0},,benign")
    assert diagnoses(facts) == ["nevus"] * 8
    assert not any(one.undecided or one.contradicted for one in facts)


def photos_and_table(folder: Path, table: str) -> LabelledFiles:
    for name in ("nevus/a.jpg", "nevus/b.jpg", "melanoma/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "table.csv").write_text(table)
    return label_files([folder])


def test_a_photo_of_two_labels_has_none_even_where_its_folder_has_one(tmp_path: Path) -> None:
    found = photos_and_table(tmp_path / "set", "image,label\na,nevus\na,melanoma\nc,melanoma\n")
    assert {one.name: (one.photo.diagnosis, one.undecided, one.reference) for one in found.files} == {
        "set/nevus/a.jpg": ("", True, ""),
        "set/nevus/b.jpg": ("nevus", False, ""),
        "set/melanoma/c.jpg": ("melanoma", False, "melanoma"),
    }


def test_labels_of_which_none_is_used_are_not_told_as_if_one_were_preferred(tmp_path: Path) -> None:
    found = photos_and_table(tmp_path / "set", "image,label\na,nevus\na,melanoma\nc,melanoma\n")
    assert not any("contradict each other" in line for line in found.account)


def test_what_is_not_understood_is_told(tmp_path: Path) -> None:
    found = photos_and_table(
        tmp_path / "set",
        "image,label,age,site,fold\na,nevus,old,back,1\nb,nevus,44,Ruecken,2\nc,melanoma,NA,back,1\n",
    )
    assert "columns of 'table.csv' that are not read: 'fold'" in found.account
    assert "cells of 'table.csv' that are not understood: age 'old' 1, site 'Ruecken' 1" in found.account


def test_a_column_of_file_names_goes_before_one_that_numbers_the_rows(tmp_path: Path) -> None:
    """Earlier, the row number was read as the number of the photo, and the photos got the labels of other rows."""
    names = [f"{number}" for number in range(1, 9)]
    for at, (columns, cell) in enumerate((("ID,Foto", ".jpg"), ("Nr,Aufnahme", ".jpg"), ("ID,Foto", ""))):
        folder = tmp_path / str(at)
        folder.mkdir()
        labels = ["nevus" if int(name) < 4 else "melanoma" for name in names]
        rows = [f"{9 - int(name)},{name}{cell},{label}" for name, label in zip(names, labels, strict=True)]
        (folder / "table.csv").write_text("\n".join([f"{columns},Befund", *rows]))
        photos = [FoundPhoto(folder / f"{name}.jpg", folder, ()) for name in names]
        found = read_tables([folder / "table.csv"], photos).facts
        assert [found[index].diagnosis for index in range(8)] == labels
        # the photos of the other rows are missing
        if cell:
            half = read_tables([folder / "table.csv"], photos[:4]).facts
            assert [half[index].diagnosis for index in range(4)] == labels[:4]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        # Masks have the numbers of their photos, and some photos have none.
        ("image_id,outline", ["1.png", "2.png", ""]),
        ("ID,outline", ["1.png", "2.png", ""]),
        ("image,nearest", ["2.jpg", "3.jpg", "1.jpg"]),
    ],
)
def test_file_names_beside_the_numbers_of_the_photos_do_not_name_the_photos(
    tmp_path: Path, header: str, cells: list[str]
) -> None:
    """Earlier, the numbers were not used, and photos without a mask had no label."""
    rows = [f"{at},{cell},{name}" for at, (cell, name) in enumerate(zip(cells, "abc", strict=True), 1)]
    (tmp_path / "table.csv").write_text("\n".join([f"{header},label", *rows]))
    photos = [FoundPhoto(tmp_path / f"{number}.jpg", tmp_path, ()) for number in (1, 2, 3)]
    found = read_tables([tmp_path / "table.csv"], photos)
    assert [found.facts[index].diagnosis for index in range(3)] == ["a", "b", "c"]
    assert not any(facts.groups for facts in found.facts.values())
    assert found.accounts[0].unused == (header.partition(",")[2],)


@pytest.mark.parametrize("column", ["previous", "similar", "duplicate of", "old name"])
def test_a_column_of_photos_that_have_rows_of_their_own_names_no_further_photos(
    tmp_path: Path, column: str
) -> None:
    """Earlier, each photo also got the label of another row. The two labels excluded each other, and none was used."""
    labels = ["nevus", "melanoma"] * 4
    rows = [f"{name}.jpg,{NAMES[at - 1]}.jpg,{labels[at]}" for at, name in enumerate(NAMES[:8])]
    (tmp_path / "table.csv").write_text("\n".join([f"photo,{column},diagnosis", *rows]))
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in NAMES[:8]]
    found = read_tables([tmp_path / "table.csv"], photos)
    assert [found.facts[at].diagnosis for at in range(8)] == labels
    assert not any(facts.groups for facts in found.facts.values())
    assert found.accounts[0].unused == (column,)


def test_two_columns_of_numbers_that_may_be_those_of_the_photos_stop(tmp_path: Path) -> None:
    """Earlier, the first one was used."""
    names = [f"{number}" for number in range(1, 9)]
    rows = [f"{9 - int(name)},{name},nevus" for name in names]
    (tmp_path / "table.csv").write_text("\n".join(["nr,aufnahme,label", *rows]))
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in names]
    with pytest.raises(
        OptionError, match=r"'nr' and 'aufnahme' both hold numbers of photos\. Rename the right one to 'path'"
    ):
        read_tables([tmp_path / "table.csv"], photos, [tmp_path / "table.csv"])
    same = [f"{name},{name},nevus" for name in names]
    (tmp_path / "table.csv").write_text("\n".join(["nr,aufnahme,label", *same]))
    assert len(read_tables([tmp_path / "table.csv"], photos).facts) == 8


def test_all_photos_of_a_row_have_its_label_and_are_one_group(tmp_path: Path) -> None:
    """Earlier, the second photo had no label and no group, and could come into another split than the first one."""
    rows = ["mole 1.jpg,mole 2.jpg,,nevus", "mole 3.jpg,mole 4.jpg,mole 5.jpg,melanoma", "mole 6.jpg,,,nevus"]
    rows += ["mole 7.jpg,gone.jpg,missing.jpg,nevus"]
    (tmp_path / "table.csv").write_text("\n".join(["dermoscopic,clinical,overview,diagnosis", *rows]))
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in NAMES[:6]]
    found = read_tables([tmp_path / "table.csv"], photos)
    assert [found.facts[at].diagnosis for at in range(6)] == ["nevus"] * 2 + ["melanoma"] * 3 + ["nevus"]
    groups = [set(found.facts[at].groups) for at in range(6)]
    assert groups[0] == groups[1] != set()
    assert groups[2] == groups[3] == groups[4] != groups[0]
    assert groups[5] == set()
    assert found.accounts[0].unused == ()


def test_a_column_of_masks_or_of_ambiguous_names_names_no_further_photos(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "gt"]
    photos = [
        FoundPhoto(folder / f"{name}.jpg", tmp_path, (folder.name,)) for folder in folders for name in "xy"
    ]
    rows = [f"{folder}/{name}.jpg,{name},gt/{name}.jpg,nevus" for folder in "ab" for name in "xy"]
    (tmp_path / "table.csv").write_text("\n".join(["file,title,mask file,label", *rows]))
    found = read_tables([tmp_path / "table.csv"], photos)
    assert sorted(found.facts) == [0, 1, 2, 3]
    assert found.accounts[0].unused == ("title", "mask file")


@pytest.mark.parametrize("cell", ["1200", "1,200", "1.200", "1 200", "1200.0", "01200"])
def test_a_number_means_the_photo_of_that_number(tmp_path: Path, cell: str) -> None:
    (tmp_path / "table.csv").write_text(f"image;label\n{cell};nevus\n")
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in ("001200", "1", "120")]
    facts = read_tables([tmp_path / "table.csv"], photos).facts
    assert {index: one.diagnosis for index, one in facts.items()} == {0: "nevus"}


def test_a_file_of_that_very_name_goes_before_one_of_that_number(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,label\n012,nevus\n")
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in ("12", "012")]
    assert list(read_tables([tmp_path / "table.csv"], photos).facts) == [1]


def test_answers_and_submissions_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"the table holds answers of dermedge predict, not labels; give a table .*, move it to another folder",
    ):
        read(tmp_path, "path,headline,label,probability,uncertain,alert", "{},nevus,nevus,0.9,False,")
    with pytest.raises(DataError, match="the table holds probabilities, not labels"):
        read(tmp_path, "image_name,target", "{},0.25")


def test_a_catalogue_states_the_diagnosis_and_not_the_class_and_all_its_columns_are_known(
    tmp_path: Path,
) -> None:
    names = ["HAM_1", "2", "3"]
    photos = [
        Photo(
            path=f"{name}.jpg",
            image_id=f"set/{name}",
            lesion_id=f"les {name}",
            group="all",
            diagnosis="basal cell carcinoma",
            label="none of these",
            source="clinic",
            split="val",
            original_label="bcc",
            patient_id="p1",
            age="44",
            digest="0123456789abcdef",
            root="/moved",
        )
        for name in names
    ]
    header, *rows = Catalogue(tuple(photos), (), {}).to_csv().splitlines()
    rows = [f"{row},mine" for row in rows]
    rows[2] = rows[2].replace("none of these", "melanoma")  # corrected by hand: now two columns contradict
    (tmp_path / "table.csv").write_text("\n".join([f"{header},Remark", *rows]) + "\n")
    found = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in names]
    tables = read_tables([tmp_path / "table.csv"], found)
    account, first = tables.accounts[0], tables.facts[0]
    assert (account.format, account.photos, account.unused) == ("catalogue of dermedge", 3, ("Remark",))
    assert (first.diagnosis, first.original_label, first.part) == ("basal cell carcinoma", "bcc", "val")
    assert (first.lesion_id, first.patient_id) == ("les HAM_1", "p1")
    assert (first.people["age"], first.people["source"]) == ("44", "clinic")
    assert [tables.facts[number].undecided for number in range(3)] == [False, False, True]
    assert set.intersection(*(set(tables.facts[number].groups) for number in range(3)))


@pytest.mark.parametrize("row", ["{},nevus", "nevus,{}.jpg", "7,{}.jpg,nevus"])
def test_a_first_line_that_names_a_photo_and_not_the_columns_stops(tmp_path: Path, row: str) -> None:
    """Earlier, the photo in the first line had no label, and no message said why."""
    table = tmp_path / "table.csv"
    table.write_text("\n".join(row.format(name) for name in NAMES) + "\n")
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in NAMES]
    with pytest.raises(DataError, match=r"first line names the photo 'mole 1(.jpg)?' and not the columns"):
        read_tables([table], photos)


def test_further_columns_of_a_table_without_a_header_are_told(tmp_path: Path) -> None:
    facts, account = read(tmp_path / "set", f"{NAMES[0]}.jpg,nevus,P1", "{}.jpg,nevus,P1", names=NAMES[1:])
    assert diagnoses(facts)[:7] == ["nevus"] * 7
    assert account.unused == ("column 3",)


def test_a_template_for_answers_to_a_challenge_states_no_labels(tmp_path: Path) -> None:
    """Kaggle puts sample_submission.csv beside the photos. Earlier, all photos of the test part got the class 0."""
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in NAMES]
    for name, numbers, stops in (
        ("sample_submission", "00000000", True),
        ("my submission", "01010101", False),
        ("benign", "00000000", False),
    ):
        table = tmp_path / f"{name}.csv"
        rows = (f"{photo},{number}\n" for photo, number in zip(NAMES, numbers, strict=True))
        table.write_text("image_name,target\n" + "".join(rows))
        if stops:
            with pytest.raises(DataError, match="template for answers to a challenge"):
                read_tables([table], photos)
        else:
            assert [facts.diagnosis for facts in read_tables([table], photos).facts.values()] == [*numbers]


@pytest.mark.parametrize("column", ["lesion", "lesion_id", "Lesion #", "mole number", "ID lesion"])
@pytest.mark.parametrize("patient", ["patient", "id_patient", "participant"])
def test_numbers_of_lesions_that_begin_anew_for_each_person_name_lesions_of_the_person(
    tmp_path: Path, column: str, patient: str
) -> None:
    """Earlier, the lesions 1 of all persons were one lesion. Their photos were left out if the labels differed."""
    table = tmp_path / "table.csv"
    rows = [f"{name},P{at // 2},{at % 2 + 1}" for at, name in enumerate(NAMES)]
    table.write_text("\n".join([f"image,{patient},{column}", *rows, ""]))
    photos = [FoundPhoto(tmp_path / f"{name}.jpg", tmp_path, ()) for name in NAMES]
    found = read_tables([table], photos).facts
    assert len({one.lesion_id for one in found.values()}) in (1, 8)  # a mole has no lesion_id
    assert not any(set(found[0].groups) & set(found[at].groups) for at in range(2, 8))
    assert set(found[0].groups) & set(found[1].groups) == {
        f"{tmp_path.name} {name}" for name in (f"{patient} P0", f"{compact_name(patient)} p 0")
    }


def test_a_lesion_that_two_persons_have_is_one_lesion(tmp_path: Path) -> None:
    """A column such as pid may contain numbers of photos instead of persons."""
    names = [f"q{number}" for number in range(20)]
    rows = [f"{name},nevus,{at},L{at // 2}" for at, name in enumerate(names)]
    facts, _ = read(tmp_path, "image,label,pid,lesion", *rows, names=names)
    assert len({one.lesion_id for one in facts}) == 10
    assert set(facts[0].groups) & set(facts[1].groups) == {
        f"{tmp_path.name} lesion {name}" for name in ("L0", "l 0")
    }


def test_ids_of_lesions_that_are_unique_stay_as_they_are(tmp_path: Path) -> None:
    facts, _ = read(tmp_path, "image,label,patient,lesion", "{},nevus,P1,L1", "{},nevus,P2,L2")
    assert {one.lesion_id for one in facts} == {f"{tmp_path.name} lesion L1", f"{tmp_path.name} lesion L2"}


@pytest.mark.parametrize(("strangers", "found"), [(0, True), (1, True), (2, False)])
def test_a_column_of_any_name_states_the_diagnosis_if_nine_of_ten_cells_are_diagnoses(
    tmp_path: Path, strangers: int, found: bool
) -> None:
    names = [f"mole {number}" for number in range(10)]
    cells = ["ring"] * strangers + ["nevus"] * (10 - strangers)
    facts, account = read(
        tmp_path, "image,patient,told,camera", *(f"{{}},p1,{cell},X1" for cell in cells), names=names
    )
    assert diagnoses(facts) == (cells if found else [None] * 10)
    # The columns that are not read are told.
    assert account.unused == (("camera",) if found else ("told", "camera"))


@pytest.mark.parametrize(("without", "found"), [(1, True), (2, False)])
def test_columns_of_zeros_and_ones_are_classes_if_nine_of_ten_rows_have_one_1(
    tmp_path: Path, without: int, found: bool
) -> None:
    names = [f"mole {number}" for number in range(10)]
    cells = ["0,0"] * without + ["1,0"] * (10 - without)
    facts, _ = read(tmp_path, "image,patient,ring,scar", *(f"{{}},p1,{one}" for one in cells), names=names)
    assert (diagnoses(facts)[without:] == ["ring"] * (10 - without)) == found
    assert diagnoses(facts)[:without] == [None] * without


def test_a_single_column_of_ones_is_no_class(tmp_path: Path) -> None:
    facts, account = read(tmp_path, "image,patient,consent", "{},p1,1")
    assert diagnoses(facts) == [None] * 8
    assert account.unused == ("consent",)


def test_the_columns_that_are_not_read_can_be_listed_more_than_once() -> None:
    text = TableText(Path("t.csv"), ("image", "label", "camera", "empty"), "a.jpg,nevus,X1,\n", 2, ",")
    found = own_format(text, lambda cell: [0] if cell == "a.jpg" else [])
    assert found
    assert [tuple(found.unused) for _ in range(2)] == [("camera",)] * 2

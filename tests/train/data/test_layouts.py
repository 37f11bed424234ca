"""The folders and tables that people have are understood and reported. If not, an error names a cure that works."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge import cli
from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.build import build_catalogue
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.data.scoring import labelled_photos
from dermedge.train.data.splits import find_leaks

_SIDE = 24


def put_photo(path: Path, seed: str = "") -> Path:
    """A photo that resembles only photos with the same seed. The seed is the path if none is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list((seed or str(path)).encode())).integers(0, 256, (12, 12, 3), np.uint8)
    photo = cv2.resize(noise, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    suffix = path.suffix if path.suffix.lower() in (".jpg", ".png", ".webp") else ".png"
    path.write_bytes(cv2.imencode(suffix, photo)[1].tobytes())
    return path


def put_photos(root: Path, folders: dict[str, int], stem: str = "photo", suffix: str = ".jpg") -> Path:
    """Writes this number of photos into each folder below ``root``, with different names."""
    number = 0
    for folder, count in folders.items():
        for _ in range(count):
            put_photo(root / folder / f"{stem}{number:03}{suffix}")
            number += 1
    return root


def put_ids(root: Path, ids: Iterable[str], suffix: str = ".jpg") -> Path:
    """A photo for each id."""
    for name in ids:
        put_photo(root / f"{name}{suffix}")
    return root


def isic(first: int, count: int) -> list[str]:
    """Ids of the ISIC archive."""
    return [f"ISIC_{number:07}" for number in range(first, first + count)]


def put_table(path: Path, header: str, rows: Iterable[str], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n", encoding=encoding)
    return path


class Understood:
    """A catalogue with the lines that tell how it was understood."""

    def __init__(self, *paths: Path, **options: object) -> None:
        self.account: list[str] = []
        self.catalogue: Catalogue = build_catalogue(list(paths), say=self.account.append, **options)  # type: ignore[arg-type]

    @property
    def labels(self) -> dict[str, int]:
        return dict(Counter(photo.label for photo in self.catalogue.photos))

    @property
    def sources(self) -> dict[str, int]:
        return dict(Counter(photo.source for photo in self.catalogue.photos))

    @property
    def groups(self) -> dict[str, str]:
        """Name of a file -> its group."""
        return {Path(photo.path).name: photo.group for photo in self.catalogue.photos}

    def says(self, *words: str) -> bool:
        """Whether one line has all these words."""
        return any(all(word in line for word in words) for line in self.account)


def command(*arguments: object) -> int:
    """The exit status of ``dermedge data catalogue`` with these arguments."""
    return cli.main(["data", "catalogue", *map(str, arguments)])


TWO = {"benign": 8, "malignant": 8}


def stopped(*paths: Path, **options: object) -> str:
    with pytest.raises(DataError) as stop:
        Understood(*paths, **options)
    return str(stop.value)


# Folders


def test_a_folder_per_class(tmp_path: Path) -> None:
    seen = Understood(put_photos(tmp_path / "pets", {"cat": 8, "dog": 9}))
    assert seen.labels == {"cat": 8, "dog": 9}
    assert seen.sources == {"pets": 17}
    assert seen.account[0] == "classes from folder names of 'pets': dog 9, cat 8"


def test_numbers_are_classes(tmp_path: Path) -> None:
    assert Understood(put_photos(tmp_path / "set", {"0": 8, "1": 8})).labels == {"0": 8, "1": 8}


@pytest.mark.parametrize(
    "folders",
    [
        {"train/benign": 5, "train/malignant": 5, "valid/benign": 5, "Test/malignant": 5},
        {"benign/train": 5, "malignant/train": 5, "benign/val": 5, "malignant/Test": 5},
        {"images/train_images/benign": 10, "images/test_images/malignant": 10},
        {"benign/images": 10, "malignant/images": 10},
        {"skin/benign": 10, "skin/malignant": 10},
    ],
)
def test_parts_and_containers_are_no_classes(tmp_path: Path, folders: dict[str, int]) -> None:
    assert Understood(put_photos(tmp_path / "set", folders)).labels == {"benign": 10, "malignant": 10}


def test_months_below_classes_are_groups_and_too_few_of_them_are_told(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "photos", {f"{c}/{m}": 6 for c in TWO for m in ("may", "june")})
    message = stopped(root)
    assert "class 'benign' has 12 photos in 2 groups, class 'malignant' has 12 photos in 2 groups" in message
    assert "--groups-from table" in message
    seen = Understood(root, groups_from="table")
    assert seen.labels == {"benign": 12, "malignant": 12}
    assert len(set(seen.groups.values())) == 24
    many = put_photos(tmp_path / "year", {f"{c}/2021-{m:02}": 2 for c in TWO for m in range(1, 7)})
    assert len(set(Understood(many).groups.values())) == 12


def test_persons_below_classes_are_groups(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {f"benign/patient_{n:02}": 2 for n in range(6)})
    put_photos(root, {f"malignant/patient_{n:02}/left_arm": 2 for n in range(5, 12)}, "mark")
    seen = Understood(root)
    assert seen.labels == {"benign": 12, "malignant": 14}
    # patient_05 has photos of both classes, and is one person.
    assert len(set(seen.groups.values())) == 12
    assert seen.says("groups from", "12 folders of lesions or persons")


def test_classes_below_persons(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {f"case {n}/{c}": 2 for n in range(8) for c in ("melanoma", "nevus")})
    seen = Understood(root)
    assert seen.labels == {"melanoma": 16, "nevus": 16}
    assert len(set(seen.groups.values())) == 8


def test_dates_or_persons_alone_are_no_classes(tmp_path: Path) -> None:
    for name, folders in {
        "dates": {"may": 8, "june": 8},
        "persons": {f"patient{n}": 3 for n in range(8)},
        "flat": {".": 9},
        "parts": {"imgs_part_1": 5, "imgs_part_2": 5, "imgs_part_3": 5},
    }.items():
        message = stopped(put_photos(tmp_path / name, folders))
        assert "none of" in message
        assert "--labels-from folder" in message
    seen = Understood(tmp_path / "dates", labels_from="folder")
    assert seen.labels == {"may": 8, "june": 8}


def test_sets_with_the_same_classes_are_sources(tmp_path: Path) -> None:
    root = put_photos(
        tmp_path / "set", {f"{clinic}/{c}": 4 for clinic in ("north", "south") for c in ("melanoma", "nevus")}
    )
    seen = Understood(root)
    assert seen.labels == {"melanoma": 8, "nevus": 8}
    assert seen.sources == {"north": 8, "south": 8}
    mixed = put_photos(tmp_path / "mixed", {"cat": 6, "dog": 6, "more/cat": 2, "more/dog": 2})
    assert Understood(mixed).labels == {"cat": 8, "dog": 8}


@pytest.mark.parametrize(
    ("folders", "first", "second"),
    [
        (
            {f"{a}/{b}": 10 for a in ("north", "south") for b in ("red", "blue")},
            {"north": 20, "south": 20},
            {"red": 20, "blue": 20},
        ),
        (
            {"benign/nevus": 10, "benign/dermatofibroma": 10, "malignant/melanoma": 10},
            {"benign": 20, "malignant": 10},
            {"nevus": 10, "dermatofibroma": 10, "melanoma": 10},
        ),
    ],
)
def test_two_readings_stop_and_both_cures_work(
    tmp_path: Path, folders: dict[str, int], first: dict[str, int], second: dict[str, int]
) -> None:
    root = put_photos(tmp_path / "set", folders)
    message = stopped(root)
    assert all(name in message for name in (*first, *second))
    assert "--labels-from folder" in message
    assert "--labels-from parent" in message
    assert Understood(root, labels_from="folder", groups_from="table").labels == first
    assert Understood(root, labels_from="parent").labels == second


def test_the_folders_of_classes_may_be_given_one_by_one(tmp_path: Path) -> None:
    put_photos(tmp_path, {"melanoma": 8, "nevus": 8})
    assert Understood(tmp_path / "melanoma", tmp_path / "nevus").labels == {"melanoma": 8, "nevus": 8}


def test_the_cure_for_classes_of_other_names_that_are_given_one_by_one_works(tmp_path: Path) -> None:
    put_photos(tmp_path / "set", {"acne": 8, "rosacea": 8})
    message = stopped(tmp_path / "set" / "acne", tmp_path / "set" / "rosacea")
    assert "If the given folders acne, rosacea are the classes, give the folder that contains them" in message
    assert f"such as '{tmp_path / 'set'}'" in message
    assert Understood(tmp_path / "set").labels == {"acne": 8, "rosacea": 8}


def test_two_sets_of_one_name_stay_apart(tmp_path: Path) -> None:
    for place in ("a", "b"):
        put_photos(tmp_path / place / "train", {"cat": 5, "dog": 5})
    seen = Understood(tmp_path / "a" / "train", tmp_path / "b" / "train")
    assert len({photo.image_id for photo in seen.catalogue.photos}) == 20


def test_a_collection_of_sets(tmp_path: Path) -> None:
    root = tmp_path / "all"
    put_ids(root / "vienna" / "images", isic(1, 12), ".webp")
    put_photos(root / "nine", {"Train/melanoma": 4, "Train/nevus": 4, "Test/melanoma": 4})
    put_photos(root / "strangers", {"clothing": 3, "hands": 3}, "IMG_", ".JPG")
    rows = [
        f"HAM_{n:07},{name},{'mel' if n % 2 else 'nv'},histo,50,male,back"
        for n, name in enumerate(isic(1, 12))
    ]
    put_table(
        root / "metadata" / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization",
        rows,
    )
    seen = Understood(root, classes=["melanoma", "nevus"])
    assert seen.labels == {"melanoma": 14, "nevus": 10, "none of these": 6}
    assert seen.sources == {"vienna": 12, "nine": 12, "strangers": 6}
    assert {p.diagnosis for p in seen.catalogue.photos if p.source == "strangers"} == {"clothing", "hands"}
    assert {(p.view, p.age, p.sex, p.site) for p in seen.catalogue.photos if p.source == "vienna"} == {
        ("dermoscopic", "50", "male", "trunk")
    }


# What is no data


def test_hidden_and_system_folders_are_no_data(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    for folder in (".ipynb_checkpoints", "@eaDir", ".git", "__MACOSX", "benign/@eaDir", "benign/.thumbnails"):
        shutil.copytree(root / "malignant", root / folder)
    put_photo(root / "benign" / "._photo000.jpg")
    (root / ".DS_Store").write_text("x")
    (root / "benign" / "Thumbs.db").write_text("x")
    seen = Understood(root)
    assert seen.labels == TWO
    assert seen.catalogue.left_out == {"in a hidden or system folder, or hidden itself": 49}


def test_masks_beside_photos_are_no_data(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    for photo in list(root.rglob("*.jpg")):
        put_photo(root / "segmentations" / f"{photo.stem}_segmentation.png")
        put_photo(root / "lesion_masks" / f"{photo.stem}.png")
    seen = Understood(root)
    assert seen.labels == TWO
    assert seen.catalogue.left_out == {"a segmentation mask of another photo": 32}
    faces = put_photos(tmp_path / "faces", {"mask": 6, "no_mask": 6})
    assert Understood(faces).labels == {"mask": 6, "no_mask": 6}


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    for name in ("a.txt", "b.txt", "c.pdf"):
        (root / "benign" / name).write_text("x")
    assert Understood(root).catalogue.left_out == {
        "not a photo that can be read: '.txt'": 2,
        "not a photo that can be read: '.pdf'": 1,
    }


def test_linked_folders_are_followed_once_and_broken_links_stop(tmp_path: Path) -> None:
    elsewhere = put_photos(tmp_path / "elsewhere", {"photos": 8})
    root = put_photos(tmp_path / "set", {"benign": 8})
    (root / "malignant").symlink_to(elsewhere / "photos")
    (root / "benign" / "loop").symlink_to(root)
    assert Understood(root).labels == TWO
    (root / "benign" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert "gone.jpg' leads nowhere" in stopped(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_without_permission_stops(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    (root / "benign").chmod(0)
    try:
        assert f"cannot read the folder '{root / 'benign'}'" in stopped(root)
    finally:
        (root / "benign").chmod(0o755)


def test_what_does_not_exist_fails_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path / "nosuch", "--output", tmp_path / "c.csv") == 2
    assert capsys.readouterr().err == (
        f"dermedge: error: there is no file or folder '{tmp_path / 'nosuch'}'; check the path\n"
    )


# Names of classes


def test_spellings_of_one_class_are_one_class(tmp_path: Path) -> None:
    root = put_photos(
        tmp_path / "set", {"Benign": 5, "benign": 3, "benign ": 2, "Odd Mole": 6, "odd_mole": 2}
    )
    seen = Understood(root)
    assert seen.labels == {"benign": 10, "Odd Mole": 8}
    assert seen.says("the folders 'Benign', 'benign', 'benign ' are one class: 'Benign'")
    assert seen.says("are one class: 'Odd Mole'")


NINE = (
    *("actinic keratosis", "basal cell carcinoma", "dermatofibroma", "melanoma", "nevus"),
    *("pigmented benign keratosis", "seborrheic keratosis", "squamous cell carcinoma", "vascular lesion"),
)


def test_nine_folders_tell_what_becomes_of_them_and_all_keeps_them(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "nine", dict.fromkeys(NINE, 6))
    seen = Understood(root)
    assert seen.labels == {
        "melanoma": 6,
        "dermatofibroma": 6,
        "nevus": 6,
        "squamous cell carcinoma": 6,
        "none of these": 30,
    }
    assert seen.says("class 'none of these', 30 photos", "pigmented benign keratosis 6", "vascular lesion 6")
    assert Understood(root, classes=["all"]).labels == dict.fromkeys(NINE, 6)
    own = Understood(root, classes=["melanoma", "seborrheic keratosis"])
    assert own.labels == {"melanoma": 6, "seborrheic keratosis": 6, "none of these": 42}
    wider = Understood(root, classes=["Melanoma", "benign keratosis"])
    assert wider.labels == {"Melanoma": 6, "benign keratosis": 12, "none of these": 36}


def test_the_nine_classes_of_the_models(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "nine", {**dict.fromkeys(NINE, 6), "shirts": 6})
    classes = [
        "melanoma",
        "dermatofibroma",
        "nevus",
        "squamous cell carcinoma",
        "basal cell carcinoma",
        "actinic keratosis",
        "benign keratosis",
        "vascular lesion",
        "none of these",
    ]
    seen = Understood(root, classes=classes)
    assert seen.catalogue.classes == tuple(classes)
    assert seen.labels == {**dict.fromkeys(classes, 6), "benign keratosis": 12}


def test_a_label_that_leaves_the_class_open_is_left_out(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", dict.fromkeys(("mel", "nv", "df", "scc", "akiec", "shirt"), 6))
    seen = Understood(root)
    assert seen.labels["none of these"] == 6
    assert seen.catalogue.left_out == {"the label 'akiec' can mean more than one class": 6}
    assert Understood(root, classes=["mel", "akiec"]).labels == {"mel": 6, "akiec": 6, "none of these": 24}


def test_names_with_commas_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = put_photos(tmp_path / "set", {"Nevus, Reed": 6, "melanoma": 6})
    arguments = (root, "--output", tmp_path / "c.csv", "--classes", '"Nevus, Reed", melanoma')
    assert command(*arguments) == 0
    assert "classes: Nevus, Reed 6, melanoma 6" in capsys.readouterr().out
    with pytest.raises(OptionError, match=r"no photo shows the class 'scar'\. There are: .*Nevus, Reed"):
        Understood(root, classes=["melanoma", "scar"])


# Tables


def ham(root: Path, **written: str) -> Path:
    ids = isic(24306, 24)
    put_ids(root / "HAM10000_images_part_1", ids[:12])
    put_ids(root / "HAM10000_images_part_2", ids[12:])
    rows = [
        f"HAM_{n // 2:07},{name},{'mel' if n < 12 else 'nv'},histo,45.0,female,scalp"
        for n, name in enumerate(ids)
    ]
    header = "lesion_id,image_id,dx,dx_type,age,sex,localization"
    if written.get("delimiter"):
        header, rows = header.replace(",", ";"), [row.replace(",", ";") for row in rows]
    put_table(root / "HAM10000_metadata.csv", header, rows, written.get("encoding", "utf-8"))
    return root


@pytest.mark.parametrize(
    "written", [{}, {"delimiter": ";"}, {"encoding": "utf-8-sig"}, {"delimiter": ";", "encoding": "utf-16"}]
)
def test_ham10000_as_it_is_downloaded_and_saved(tmp_path: Path, written: dict[str, str]) -> None:
    root = ham(tmp_path / "ham", **written)
    shutil.copytree(root / "HAM10000_images_part_1", root / "HAM10000_segmentations_lesion_tschandl")
    for mask in (root / "HAM10000_segmentations_lesion_tschandl").iterdir():
        mask.rename(mask.with_name(f"{mask.stem}_segmentation.png"))
    seen = Understood(root)
    assert seen.labels == {"melanoma": 12, "nevus": 12}
    assert seen.says("labels from 'HAM10000_metadata.csv' (HAM10000): 24 photos")
    assert seen.says("groups from: lesion_id of 'HAM10000_metadata.csv'")
    assert len(set(seen.groups.values())) == 12
    assert {(p.age, p.sex, p.site, p.view, p.source) for p in seen.catalogue.photos} == {
        ("45", "female", "head and neck", "dermoscopic", "ham")
    }


def test_ham10000_without_its_table_stops_and_the_table_cures(tmp_path: Path) -> None:
    root = ham(tmp_path / "ham")
    table = (root / "HAM10000_metadata.csv").rename(tmp_path / "elsewhere.csv")
    message = stopped(root)
    assert "not read as classes: HAM10000_images_part_1, HAM10000_images_part_2. Give a table" in message
    assert Understood(root, table).labels == {"melanoma": 12, "nevus": 12}


def test_the_archives_export(tmp_path: Path) -> None:
    names = ["Nevus", "Melanoma in situ", "Squamous cell carcinoma, NOS", "", "Dermatofibroma"]
    firsts = ["Benign", "Malignant", "Malignant", "Malignant", "Benign"]
    rows = [
        f'{name},"Some Hospital; Vienna",CC-BY,45,lower extremity,,{firsts[n % 5]},,"{names[n % 5]}",dermoscopic,'
        f"IL_{n:07},IP_{n // 2:07},male"
        for n, name in enumerate(isic(1, 30))
    ]
    root = put_ids(tmp_path / "isic", isic(1, 30), ".JPG")
    put_table(
        root / "metadata.csv",
        "isic_id,attribution,copyright_license,age_approx,anatom_site_general,anatom_site_special,diagnosis_1,"
        "diagnosis_2,diagnosis_3,image_type,lesion_id,patient_id,sex",
        rows,
    )
    seen = Understood(root)
    assert seen.labels == {"nevus": 6, "melanoma": 6, "squamous cell carcinoma": 6, "dermatofibroma": 6}
    # a bare "Malignant" may be a melanoma
    assert seen.catalogue.left_out == {"the label 'Malignant' can mean more than one class": 6}
    assert {p.site for p in seen.catalogue.photos} == {"lower extremity"}
    # two photos of one person are one group
    assert seen.groups["ISIC_0000001.JPG"] == seen.groups["ISIC_0000002.JPG"]


def test_isic_2019_with_both_its_tables(tmp_path: Path) -> None:
    ids = [f"{name}_downsampled" if n % 3 == 0 else name for n, name in enumerate(isic(1, 16))]
    root = put_ids(tmp_path / "set" / "ISIC_2019_Training_Input", ids)
    put_table(
        root.parent / "ISIC_2019_Training_GroundTruth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
        [f"{name},{1 - n % 2:.1f},{n % 2:.1f},0.0,0.0,0.0,0.0,0.0,0.0,0.0" for n, name in enumerate(ids)],
    )
    put_table(
        root.parent / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex",
        [f"{name},30.0,anterior torso,MSK4_{n // 4:07},male" for n, name in enumerate(ids)]
        + ["ISIC_0009999,,,,"],
    )
    with pytest.raises(DataError, match=r"0 photos in 0 groups.*Left out: 16 \(the label contradicts"):
        Understood(root.parent)
    put_ids(root, isic(101, 10))
    more = [f"{name},{n % 2},{1 - n % 2},0,0,0,0,0,0,0" for n, name in enumerate(isic(101, 10))]
    with (root.parent / "ISIC_2019_Training_GroundTruth.csv").open("a") as table:
        table.write("\n".join(more) + "\n")
    seen = Understood(root.parent)
    # four lesions have photos of two diagnoses, and are left out
    assert seen.catalogue.left_out == {"the label contradicts that of another photo of the lesion": 16}
    assert seen.labels == {"melanoma": 5, "nevus": 5}


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        # ISIC 2016: no header
        ("", lambda n, name: f"{name},{'malignant' if n % 2 else 'benign'}", {"benign": 10, "malignant": 10}),
        (
            "image_id,melanoma,seborrheic_keratosis",
            lambda n, name: f"{name},{float(n % 4 == 0)},{float(n % 4 == 1)}",
            {"melanoma": 5, "benign keratosis": 5, "nevus": 10},
        ),
        (
            "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC",
            lambda n, name: f"{name},{float(n % 2 == 0)},0.0,0.0,{float(n % 2 == 1)},0.0,0.0,0.0",
            {"melanoma": 10, "akiec": 10},
        ),
        (
            "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
            lambda n, name: (
                f"{name},IP_{n},IL_{n},male,45.0,torso,{('melanoma', 'unknown')[n % 2]},"
                f"{('malignant', 'benign')[n % 2]},{1 - n % 2}"
            ),
            {"melanoma": 10, "benign": 10},
        ),
        (
            "isic_id,target,patient_id,age_approx,sex,anatom_site_general,image_type,lesion_id,iddx_full,iddx_1,iddx_2,iddx_3",
            lambda n, name: (
                f"{name},{n % 2},IP_{n},60.0,male,torso,TBP tile: close-up,IL_{n},x,"
                f"{('Benign', 'Malignant')[n % 2]},,{('', 'Melanoma Invasive')[n % 2]}"
            ),
            {"melanoma": 10, "benign": 10},
        ),
        ("isic_id,malignant", lambda n, name: f"{name},{float(n % 2)}", {"benign": 10, "malignant": 10}),
    ],
    ids=["2016", "2017", "2018", "2020", "2024", "2024 ground truth"],
)
def test_the_challenges_of_isic(
    tmp_path: Path, header: str, row: Callable[[int, str], str], expected: dict[str, int]
) -> None:
    root = put_ids(tmp_path / "set" / "Data", isic(1, 20))
    put_table(root.parent / "GroundTruth.csv", header, [row(n, name) for n, name in enumerate(isic(1, 20))])
    seen = Understood(root.parent)
    assert seen.labels == expected
    assert seen.says("labels from 'GroundTruth.csv'", "20 photos")


def test_duplicates_that_isic_2020_lists_are_one_group(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {"benign": 7, "malignant": 7})
    put_ids(root / "benign", isic(1, 4))
    put_table(
        root / "ISIC_2020_Training_Duplicates.csv", "image_name_1,image_name_2", ["ISIC_0000001,ISIC_0000003"]
    )
    groups = Understood(root).groups
    assert groups["ISIC_0000001.jpg"] == groups["ISIC_0000003.jpg"]
    assert groups["ISIC_0000001.jpg"] != groups["ISIC_0000002.jpg"]


def pad(root: Path) -> Path:
    rows = []
    for n in range(40):
        name = f"PAT_{n // 2}_{n}_{100 + n}"
        put_photo(root / "images" / f"imgs_part_{n % 3 + 1}" / f"{name}.png")
        rows.append(
            f"PAT_{n // 2},{n},False,60,MALE,2.0,FACE,{('BCC', 'ACK', 'NEV', 'SEK')[n // 10]},{name}.png,True"
        )
    header = "patient_id,lesion_id,smoke,age,gender,fitspatrick,region,diagnostic,img_id,biopsed"
    put_table(root / "metadata.csv", header, rows)
    return root


def test_pad_ufes_with_and_without_its_table(tmp_path: Path) -> None:
    root = pad(tmp_path / "pad")
    seen = Understood(root)
    assert seen.labels == dict.fromkeys(
        ("basal cell carcinoma", "actinic keratosis", "nevus", "benign keratosis"), 10
    )
    assert {(p.age, p.sex, p.site, p.fitzpatrick, p.view) for p in seen.catalogue.photos} == {
        ("60", "male", "head and neck", "2", "close-up")
    }
    # two photos of one person are one group
    assert len({p.group for p in seen.catalogue.photos}) == 20
    (root / "metadata.csv").rename(tmp_path / "metadata.csv")
    assert "not read as classes: imgs_part_1, imgs_part_2, imgs_part_3. Give" in stopped(root)


def test_milk10k_with_its_three_tables(tmp_path: Path) -> None:
    root = tmp_path / "milk"
    diagnoses = ["Melanoma Invasive", "Keratoacanthoma", "Nevus, Reed", "Basal cell carcinoma"]
    photos, supplement, truth = [], [], []
    for n in range(24):
        dermoscopic, close_up = isic(1000 + n, 1)[0], isic(2000 + n, 1)[0]
        put_photo(root / "images" / f"{dermoscopic}.jpg")
        put_photo(root / "images" / f"{close_up}.jpg")
        for name, view in ((dermoscopic, "dermoscopic"), (close_up, "clinical: close-up")):
            photos.append(f"IL_{n:07},{view},{name},70,male,3,head_neck_face")
            supplement.append(f'{name},"{diagnoses[n % 4]}",histopathology,')
        truth.append(
            f"IL_{n:07}," + ",".join(str(float(n % 4 == at)) for at in (9, 3, 9, 9, 9, 9, 9, 0, 2, 1, 9))
        )
    put_table(
        root / "MILK10k_Training_GroundTruth.csv",
        "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC",
        truth,
    )
    header = "lesion_id,image_type,isic_id,age_approx,sex,skin_tone_class,site"
    put_table(root / "MILK10k_Training_Metadata.csv", header, photos)
    put_table(
        root / "MILK10k_Training_Supplement.csv",
        "isic_id,diagnosis_full,diagnosis_confirm_type,thickness",
        supplement,
    )
    seen = Understood(root)
    assert seen.labels == {
        "melanoma": 12,
        "squamous cell carcinoma": 12,
        "nevus": 12,
        "basal cell carcinoma": 12,
    }
    assert {p.diagnosis for p in seen.catalogue.photos if p.label == "squamous cell carcinoma"} == {
        "keratoacanthoma"
    }
    assert {(p.age, p.sex, p.skin_tone, p.site) for p in seen.catalogue.photos} == {
        ("70", "male", "3", "head and neck")
    }
    assert {p.view for p in seen.catalogue.photos} == {"dermoscopic", "close-up"}
    # The close-up is in the group of its dermoscopic photo.
    assert seen.groups["ISIC_0001005.jpg"] == seen.groups["ISIC_0002005.jpg"]
    (root / "MILK10k_Training_Supplement.csv").unlink()
    assert Understood(root).labels == seen.labels


def test_roboflow_as_a_table_a_part(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for part, numbers in (("train", range(0, 16)), ("valid", range(8, 20)), ("test", range(16, 24))):
        rows = []
        for n in numbers:
            name = f"IMG_{n}_jpg.rf.{part}{n:04}abc.jpg"
            put_photo(root / part / name)
            rows.append(f"{name}, {n % 2}, {1 - n % 2}")
        put_table(root / part / "_classes.csv", "filename, Benign mole, Melanoma", rows)
    seen = Understood(root)
    assert seen.labels == {"Benign mole": 18, "melanoma": 18}
    assert find_leaks(seen.catalogue.photos) == []
    # Several exports of one photo are one group.
    assert len(set(seen.groups.values())) == 24


def test_augmented_photos_stay_with_the_photo_they_were_made_from(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n in range(12):
        folder = root / ("benign" if n % 2 else "malignant")
        for name in (f"IMG_{n}", f"IMG_{n}_rot90", f"IMG_{n}_aug_2", f"IMG_{n}-flipped"):
            put_photo(folder / f"{name}.jpg")
    assert len(set(Understood(root).groups.values())) == 12
    numbered = put_photos(tmp_path / "numbered", TWO, "lesion (")
    assert len(set(Understood(numbered).groups.values())) == 16


# A person's own table


def own(root: Path, header: str = "path,label,group,split,source", **written: str) -> Path:
    rows = []
    parts = ("train", "validation", "test")
    for n in range(24):
        name = f"{'ab'[n % 2]}/{n // 2}.jpg"
        put_photo(root / name)
        rows.append(f"{name},{('ring', 'scar')[n % 2]},person {n // 2},{parts[n // 2 % 3]},clinic {n % 3}")
    put_table(root / "labels.csv", header, rows)
    return root


def test_your_own_table(tmp_path: Path) -> None:
    seen = Understood(own(tmp_path / "set"))
    assert seen.labels == {"ring": 12, "scar": 12}
    assert seen.sources == {"clinic 0": 8, "clinic 1": 8, "clinic 2": 8}
    assert len({p.group for p in seen.catalogue.photos}) == 12
    assert seen.account[0] == "datasets: clinic 0 8, clinic 1 8, clinic 2 8"
    kept = Understood(tmp_path / "set", keep_parts=True)
    assert {Path(p.path).stem: p.split for p in kept.catalogue.photos} == {
        str(n): ("train", "val", "test")[n % 3] for n in range(12)
    }


@pytest.mark.parametrize(
    "header", ["Filename,Class,Patient_ID,Subset,Dataset", "image,diagnosis,patient,part,origin"]
)
def test_your_own_table_under_other_usual_names(tmp_path: Path, header: str) -> None:
    seen = Understood(own(tmp_path / "set", header))
    assert seen.labels == {"ring": 12, "scar": 12}
    assert len({p.group for p in seen.catalogue.photos}) == 12


def test_paths_from_windows_and_cells_that_name_two_photos(tmp_path: Path) -> None:
    root = own(tmp_path / "set")
    table = root / "labels.csv"
    table.write_text("\ufeff" + table.read_text().replace("a/", "C:\\photos\\a\\").replace(",", ";"))
    assert Understood(root).labels == {"ring": 12, "scar": 12}
    put_table(table, "file,label", [f"{n}.jpg,ring" for n in range(12)])
    message = stopped(root)
    assert (
        "line 2: '0.jpg' names 2 photos, such as 'set/a/0.jpg', 'set/b/0.jpg'; write the photo's folder"
        in message
    )


def test_a_table_that_is_not_understood_stops_where_it_names_photos(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    rows = [f"{path.name},{n % 2}" for n, path in enumerate(sorted(root.rglob("*.jpg")))]
    table = put_table(root / "labels.csv", "Bild,Befund", rows)
    message = stopped(root)
    assert "labels.csv' names 16 of the photos" in message
    assert "'Bild, Befund'" in message
    assert Understood(root, labels_from="folder").labels == TWO
    put_table(table, "path,label", rows)
    assert Understood(root).labels == {"0": 8, "1": 8}


def test_rows_that_name_no_photo_are_counted(tmp_path: Path) -> None:
    root = own(tmp_path / "set")
    with (root / "labels.csv").open("a") as table:
        table.write("a/gone.jpg,ring,,,\nb/gone.jpg,scar,,,\n")
    assert Understood(root).says(
        "labels from 'labels.csv' (your own table): 24 photos; rows that name none of the photos: 2"
    )


def test_tables_of_the_parts_state_them(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for part, first in (("train", 0), ("val", 16), ("test", 24)):
        names = [f"IMG_{n}.jpg" for n in range(first, first + 8 * (1 + (part == "train")))]
        put_ids(root / "images", [name.removesuffix(".jpg") for name in names])
        put_table(
            root / f"{part}.csv", "filename,label", [f"{name},{'ab'[n % 2]}" for n, name in enumerate(names)]
        )
    photos = Understood(root, keep_parts=True).catalogue.photos
    assert Counter(photo.split for photo in photos) == {"train": 16, "val": 8, "test": 8}


def test_fitzpatrick17k_and_ddi(tmp_path: Path) -> None:
    hashes = [f"{n:032x}" for n in range(0xABC, 0xABC + 16)]
    root = put_ids(tmp_path / "fitz" / "images", hashes)
    rows = [f"{name},{n % 6 + 1},{('melanoma', 'psoriasis')[n % 2]}" for n, name in enumerate(hashes)]
    put_table(root.parent / "fitzpatrick17k.csv", "md5hash,fitzpatrick_scale,label", rows)
    seen = Understood(root.parent)
    assert seen.labels == {"melanoma": 8, "psoriasis": 8}
    assert Counter(photo.fitzpatrick for photo in seen.catalogue.photos)["1"] == 3
    root = put_ids(tmp_path / "ddi" / "images", [f"{n:06}" for n in range(1, 17)], ".png")
    diseases = ("melanocytic-nevi", "basal-cell-carcinoma")
    rows = [f"{n - 1},{n},{n:06}.png,56,True,{diseases[n % 2]}" for n in range(1, 17)]
    put_table(root.parent / "ddi_metadata.csv", ",DDI_ID,DDI_file,skin_tone,malignant,disease", rows)
    seen = Understood(root.parent)
    assert seen.labels == {"nevus": 8, "basal cell carcinoma": 8}
    assert {photo.view for photo in seen.catalogue.photos} == {"close-up"}


def test_a_spreadsheet_that_names_photos_stops(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    cells = "".join(f"<si><t>{path.name}</t></si>" for path in root.rglob("*.jpg"))
    with zipfile.ZipFile(root / "labels.xlsx", "w") as package:
        package.writestr("xl/sharedStrings.xml", f"<sst>{cells}</sst>")
    assert "labels.xlsx' names 16 of the photos, but is an Excel file; save it as CSV" in stopped(root)
    (root / "labels.xlsx").write_bytes(b"x")
    assert Understood(root).says("not read: 'labels.xlsx'")


def test_stray_tables_are_one_line_each(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    (root / "notes.csv").write_bytes("Datum,Notiz\n1.5.,schönes Licht\n".encode("latin-1"))
    (root / "._labels.csv").write_bytes(b"\0\5\26\7\0\2")
    (root / "empty.csv").touch()
    put_table(root / "HAM10000_metadata.csv", "lesion_id,image_id,dx", ["HAM_1,ISIC_0000001,nv"])
    seen = Understood(root)
    assert seen.labels == TWO
    assert seen.says("table not read: 'notes.csv' has columns that are not understood: 'Datum, Notiz'")
    assert seen.says("not read: 'empty.csv'")
    assert seen.says("table not used: 'HAM10000_metadata.csv' (HAM10000) names none of the photos")
    assert seen.catalogue.left_out == {"in a hidden or system folder, or hidden itself": 1}


def test_a_table_overrides_folders_and_says_for_how_many(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put_ids(root / "benign", isic(1, 10))
    put_ids(root / "malignant", isic(11, 10))
    put_table(
        root / "labels.csv",
        "isic_id,diagnosis_1,diagnosis_3",
        [f"{name},Benign,Nevus" for name in isic(1, 10)],
    )
    seen = Understood(root, classes=["nevus", "malignant"])
    assert seen.labels == {"nevus": 10, "malignant": 10}
    assert seen.says("states another diagnosis than the folder for 10 photos (in the folders: benign 10)")
    assert Understood(root, labels_from="folder").labels == {"benign": 10, "malignant": 10}
    # The table alone states only one class.
    assert "two classes or more; found: nevus" in stopped(root, labels_from="table")


# Official splits


def test_official_parts_are_kept_and_checked_for_leaks(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {f"{part}/{c}": 8 for part in ("Train", "Test") for c in TWO})
    leaked = put_photo(
        root / "Train" / "benign" / "again.jpg", str(root / "Test" / "benign" / "photo016.jpg")
    )
    assert leaked.read_bytes() == (root / "Test" / "benign" / "photo016.jpg").read_bytes()
    seen = Understood(root, keep_parts=True)
    splits = {Path(p.path).relative_to(root).parts[0]: set() for p in seen.catalogue.photos}
    for photo in seen.catalogue.photos:
        splits[Path(photo.path).relative_to(root).parts[0]].add(photo.split)
    assert splits == {"Test": {"test"}, "Train": {"train", "val"}}
    assert seen.catalogue.left_out == {
        "a duplicate, or a photo of the same lesion or person, is in a held-out part": 1
    }
    assert find_leaks(seen.catalogue.photos) == []
    assert seen.says(
        "splits that folders or tables state: train 17, test 16. Without --keep-parts, the photos are"
    )
    mixed = {photo.split for photo in Understood(root).catalogue.photos if "/Test/" in photo.path}
    assert mixed == {"train", "val", "test"}


def test_parts_that_are_not_there_cannot_be_kept(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    assert "has no split. Put it into a folder named train, val or test" in stopped(root, keep_parts=True)
    only = put_photos(tmp_path / "only", {f"Test/{c}": 8 for c in TWO})
    assert "no photo is in train, only in test" in stopped(only, keep_parts=True)


def test_a_folder_that_tells_more_than_an_open_table_is_believed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    put_ids(root / "squamous cell carcinoma", isic(1, 8))
    put_ids(root / "nevus", isic(11, 8))
    rows = [f"HAM_{n},{name},akiec" for n, name in enumerate(isic(1, 20))]
    put_table(root / "ham.csv", "lesion_id,image_id,dx", rows)
    # The folder states nevus, and the table contradicts it with akiec. Then the table is believed.
    assert Understood(root).labels == {"squamous cell carcinoma": 8, "akiec": 8}


def test_the_account_travels_with_the_catalogue(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "pets", {"cat": 8, "dog": 9})
    seen = Understood(root)
    assert seen.catalogue.account == tuple(seen.account)
    assert '"understood"' in seen.catalogue.to_json()
    told: list[str] = []
    photos = labelled_photos(root, ["cat", "dog"], say=told.append)
    assert len(photos) == 17
    assert told == ["classes from folder names of 'pets': dog 9, cat 8"]


@pytest.mark.parametrize("first", [1, 96, 120])
def test_folders_of_lesions_may_have_the_name_of_the_class_and_a_number(tmp_path: Path, first: int) -> None:
    numbers = range(first, first + 8)
    folders = {f"{name}/{name}_{number:03}": 2 for name in ("melanoma", "nevus") for number in numbers}
    seen = Understood(put_photos(tmp_path / "set", folders))
    assert seen.labels == {"melanoma": 16, "nevus": 16}
    assert len({photo.group for photo in seen.catalogue.photos}) == 16


def test_a_folder_a_lesion_is_told_apart_from_small_classes(tmp_path: Path) -> None:
    # PH2 has a folder for each lesion. In it, the photo and its mask have folders of their own.
    root = tmp_path / "PH2Dataset"
    for number in range(2, 14):
        name = f"IMD{number:03}"
        put_photo(root / "PH2 Dataset images" / name / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        put_photo(root / "PH2 Dataset images" / name / f"{name}_lesion" / f"{name}_lesion.bmp")
    message = stopped(root)
    assert "class 'IMD002' has 1 photo in 1 group" in message
    assert "and 8 more classes have too few groups" in message
    assert "give a table with the class of each photo (path,label)" in message
    rows = [f"IMD{n:03}.bmp,{('nevus', 'melanoma')[n % 2]}" for n in range(2, 14)]
    table = put_table(tmp_path / "labels.csv", "path,label", rows)
    seen = Understood(root, table)
    assert seen.labels == {"nevus": 6, "melanoma": 6}
    assert seen.catalogue.left_out == {"a segmentation mask of another photo": 12}
    few = put_photos(tmp_path / "few", {"cat": 8, "dog": 8, "owl": 2})
    assert "class 'owl' has 2 photos in 2 groups" in stopped(few)
    assert "remove all photos of the class" in stopped(few)


def test_derm7pt_names_two_photos_of_a_lesion_in_a_row(tmp_path: Path) -> None:
    root = tmp_path / "release_v0"
    rows = []
    for number in range(12):
        folder = "NEL" if number % 2 else "FAL"
        put_photo(root / "images" / folder / f"Nel{number:03}.jpg")
        put_photo(root / "images" / folder / f"Ngl{number:03}.jpg")
        diagnosis = ("clark nevus", "melanoma (in situ)")[number % 2]
        rows.append(
            f"{number},{diagnosis},2,female,back,{folder}/Ngl{number:03}.jpg,{folder}/Nel{number:03}.jpg"
        )
    header = "case_num,diagnosis,seven_point_score,sex,location,clinic,derm"
    put_table(root / "meta" / "meta.csv", header, rows)
    seen = Understood(root)
    assert seen.labels == {"nevus": 12, "melanoma": 12}
    assert {(Path(p.path).name[:3], p.view, p.sex, p.site) for p in seen.catalogue.photos} == {
        ("Nel", "dermoscopic", "female", "trunk"),
        ("Ngl", "close-up", "female", "trunk"),
    }
    assert seen.groups["Nel003.jpg"] == seen.groups["Ngl003.jpg"]
    assert len(set(seen.groups.values())) == 12


def test_who_says_which_folder_it_is_gets_it(tmp_path: Path) -> None:
    root = put_photos(
        tmp_path / "set", {f"train/{m}/patient_{n}": 3 for m in ("may", "june") for n in range(6)}
    )
    said = stopped(root)
    assert "none of 36 photos has a label" in said
    assert "patient_0, patient_1, patient_2" in said
    assert Understood(root, labels_from="folder", groups_from="table").labels == {"may": 18, "june": 18}
    by_parent = Understood(root, labels_from="parent", groups_from="table")
    assert by_parent.labels == {f"patient_{n}": 6 for n in range(6)}


def test_class_folders_and_loose_photos_beside_sets(tmp_path: Path) -> None:
    root = put_photos(
        tmp_path / "all", {"nine/Train/melanoma": 6, "nine/Test/nevus": 6, "melanoma": 3, "nevus": 3}
    )
    put_photo(root / "loose.jpg")
    seen = Understood(root)
    assert seen.labels == {"melanoma": 9, "nevus": 9}
    assert seen.sources == {"nine": 12, "all": 6}
    assert seen.catalogue.left_out == {"no table and no folder states a label": 1}


def test_parts_below_a_folder_make_it_a_set(tmp_path: Path) -> None:
    folders = {
        f"{s}/{part}/{c}": 3 for s in ("one", "two") for part in ("Train", "Test") for c in ("red", "blue")
    }
    seen = Understood(put_photos(tmp_path / "set", folders))
    assert seen.labels == {"red": 12, "blue": 12}
    assert seen.sources == {"one": 12, "two": 12}
    # The part below a class does not make the class a dataset.
    inside = put_photos(
        tmp_path / "inside", {f"{c}/train/{n}": 2 for c in ("red", "blue") for n in ("may", "june")}
    )
    assert "class 'blue' has 4 photos in 2 groups" in stopped(inside)


def test_a_person_in_two_tables_of_a_folder_is_one_and_in_two_folders_are_two(tmp_path: Path) -> None:
    for clinic in ("a", "b"):
        for part in ("train", "test"):
            names = [f"{clinic}_{part}_{n}.jpg" for n in range(6)]
            for name in names:
                put_photo(tmp_path / "set" / clinic / name)
            rows = [f"{name},{('ring', 'scar')[n % 2]},{n}" for n, name in enumerate(names)]
            put_table(tmp_path / "set" / clinic / f"{part}.csv", "file,label,person", rows)
    groups = Understood(tmp_path / "set").groups
    assert groups["a_train_3.jpg"] == groups["a_test_3.jpg"]
    assert groups["a_train_3.jpg"] != groups["b_train_3.jpg"]


def test_a_table_beside_a_folder_that_holds_none_of_its_photos_is_refused(tmp_path: Path) -> None:
    old = put_photos(tmp_path / "old", {"nevus": 6, "melanoma": 6})
    new = put_photos(tmp_path / "new", {"seen": 4}, stem="frame")
    names = sorted(path.name for path in (new / "seen").iterdir())
    put_table(new / "review.csv", "image,label", [f"{name},nevus" for name in names])
    said = stopped(old, new / "review.csv")
    assert f"'{new / 'review.csv'}' names none of the photos" in said
    assert f"such as '{new}'" in said
    # The cure that the message names works.
    assert sum(Understood(old, new).labels.values()) == 16
    # The folder of the table is already searched, because it is given or because the table alone is given.
    wrong = put_table(old / "wrong.csv", "image,label", ["gone.jpg,nevus"])
    for paths in ([wrong], [old, wrong], [tmp_path, wrong]):
        assert stopped(*paths).endswith(
            f"'{wrong}' names none of the photos. Correct the names of the photos in this table, or leave the table out"
        )


def test_tables_that_contradict_one_another_are_told(tmp_path: Path) -> None:
    root = put_ids(tmp_path / "set", isic(1, 12))
    mine = [f"{name},{('nevus', 'melanoma')[n % 2]}" for n, name in enumerate(isic(1, 12))]
    theirs = [f"H{n},{name},{('nv', 'mel')[n % 2] if n else 'mel'}" for n, name in enumerate(isic(1, 12))]
    put_table(root / "mine.csv", "image,label", mine)
    put_table(root / "theirs.csv", "lesion_id,image_id,dx", theirs)
    seen = Understood(root)
    assert seen.labels == {"nevus": 6, "melanoma": 6}
    assert seen.says("tables contradict each other on the diagnosis of 1 photo. dermedge prefers a specific")
    assert not Understood(root, labels_from="table").says("a table states another diagnosis than the folder")


def test_a_table_alone_labels_the_photos_of_its_own_folder_and_no_folder_is_a_class(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {"nevus": 12, "other": 2})
    rows = [
        f"{path.relative_to(root)},{'ab'[number % 2]}"
        for number, path in enumerate(sorted(root.glob("nevus/*")))
    ]
    table = put_table(root / "labels.csv", "path,label", [*rows[:11], f"{rows[11].split(',')[0]},"])
    read = Understood(table).catalogue
    assert Counter(photo.label for photo in read.photos) == {"a": 6, "b": 5}
    assert read.left_out["the table that names the photo states no diagnosis"] == 1
    assert read.left_out["no table and no folder states a label"] == 2


# What people do that no publisher does


def test_many_small_folders_above_the_classes_are_persons(tmp_path: Path) -> None:
    names = (
        "Smith",
        "Jones",
        "Brown",
        "Adams",
        "Clark",
        "Davis",
        "Evans",
        "Frank",
        "Ghosh",
        "Hills",
        "Irwin",
        "Jacob",
    )
    root = put_photos(
        tmp_path / "set", {f"{name}/{'melanoma' if n % 2 else 'nevus'}": 3 for n, name in enumerate(names)}
    )
    seen = Understood(root)
    assert seen.sources == {"set": 36}
    assert len(set(seen.groups.values())) == 12
    assert seen.says("groups from: 12 folders of lesions or persons")
    clinics = put_photos(
        tmp_path / "clinics", {f"{name}/{label}": 8 for name in names[:8] for label in ("melanoma", "nevus")}
    )
    assert len(Understood(clinics).sources) == 8


def test_folders_that_hold_all_are_passed_over_at_any_depth(tmp_path: Path) -> None:
    assert Understood(
        put_photos(tmp_path / "set", {f"a/b/c/d/{c}": 8 for c in ("melanoma", "nevus")})
    ).labels == {
        "melanoma": 8,
        "nevus": 8,
    }
    one = put_photos(tmp_path / "one", {f"nevus/clinic {c}": 8 for c in "ab"})
    assert "a classifier needs two classes or more; found: nevus" in stopped(one)


def test_development_and_holdout_are_parts(tmp_path: Path) -> None:
    parts = {"training": "train", "dev": "val", "hold-out": "test"}
    root = put_photos(tmp_path / "set", {f"{part}/{c}": 6 for part in parts for c in ("melanoma", "nevus")})
    photos = Understood(root, keep_parts=True).catalogue.photos
    assert {(Path(photo.path).parts[-3], photo.split) for photo in photos} == set(parts.items())


def test_frames_of_a_video_are_one_group(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for video in range(10):
        for frame in range(3):
            put_photo(root / ("melanoma", "nevus")[video % 2] / f"clip{video}_frame{frame:04}.png")
    put_photo(root / "nevus" / "nevus_frame_1.png")
    put_photo(root / "nevus" / "nevus_frame_2.png")
    assert len(set(Understood(root).groups.values())) == 12


def test_names_that_suggest_several_photos_of_a_lesion_are_told(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for lesion in range(10):
        for number in range(3):
            put_photo(root / ("melanoma", "nevus")[lesion % 2] / f"case{lesion}-{number:02}.png")
    seen = Understood(root)
    assert seen.says(
        "names of 30 photos differ only in the number at the end, or in the last word",
        "'case0-00.png' and 'case0-01.png'",
    )
    rows = [f"{path.name},{path.name[:5]}" for path in root.rglob("*.png")]
    put_table(root / "lesions.csv", "image,lesion_id", rows)
    cured = Understood(root)
    assert not cured.says("differ only in the number at the end")
    assert len(set(cured.groups.values())) == 10


def test_thumbnails_and_masks_without_their_photo_are_no_data(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    for path in list(root.rglob("*.jpg")):
        put_photo(path.parent / "Thumbs" / path.name)
    for number in range(4):
        put_photo(root / "Task1" / f"ISIC_000000{number}_segmentation.png")
    seen = Understood(root)
    assert seen.labels == TWO
    assert seen.catalogue.left_out == {
        "a segmentation mask of another photo": 4,
        "a thumbnail of another photo": 16,
    }
    only = put_photos(tmp_path / "only", {f"thumbs/{name}": count for name, count in TWO.items()})
    assert Understood(only).catalogue.left_out == {}


def test_different_photos_with_names_of_copies_stop_and_the_cure_works(tmp_path: Path) -> None:
    for label in TWO:
        for number in range(8):
            put_photo(tmp_path / "set" / label / f"img_crop_{number}.jpg")
    message = stopped(tmp_path / "set")
    assert "class 'benign' has 8 photos in 1 group" in message
    assert "Names such as img_crop_1.jpg and img_crop_2.jpg mean copies of one photo" in message
    assert "If your photos show different lesions, rename them" in message
    for photo in (tmp_path / "set").rglob("*.jpg"):
        photo.rename(photo.with_name(photo.name.replace("_crop_", "")))
    assert Understood(tmp_path / "set").labels == TWO


def test_archives_and_single_photos_are_refused_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    packed = tmp_path / "set" / "photos.zip"
    packed.write_bytes(b"PK")
    assert stopped(packed).endswith("photos.zip' is an archive; unpack it, and give the unpacked folder")
    assert stopped(tmp_path / "set").endswith("unpack the archive")
    photo = put_photo(tmp_path / "a.jpg")
    assert stopped(photo).endswith("a.jpg' is one photo; give the folder that holds the photos")


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", TWO)
    (root / "benign" / "loop").symlink_to("loop")
    assert "benign/loop' leads nowhere; correct or delete it" in stopped(root)


def test_a_line_break_in_the_name_of_a_folder_is_a_space(tmp_path: Path) -> None:
    assert Understood(put_photos(tmp_path / "set", {"ring": 8, "scar\n2": 8})).labels == {
        "ring": 8,
        "scar 2": 8,
    }


@pytest.mark.parametrize("classes", [None, ["melanoma", "nevus"]])
def test_a_misspelled_diagnosis_stops_and_both_cures_work(tmp_path: Path, classes: list[str] | None) -> None:
    root = put_photos(tmp_path / "set", {"melanoma": 8, "melonoma": 8, "nevus": 8})
    assert "the label 'melonoma' of 8 photos is not a known diagnosis. If it means 'melanoma'" in stopped(
        root, classes=classes
    )
    assert (
        "melonoma" in Understood(root, classes=["all"] if classes is None else [*classes, "melonoma"]).labels
    )
    (root / "melonoma").rename(root / "melanoma 2")
    (root / "melanoma 2").rename(root / "2. Melanoma")
    assert Understood(root, classes=classes).labels == {"melanoma": 16, "nevus": 8}


def test_scoring_tells_what_became_of_each_label(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {"Melanom": 3, "Hand": 2, "akiec": 4, "images": 1})
    told: list[str] = []
    photos = labelled_photos(root, ["melanoma", "squamous cell carcinoma", "none of these"], say=told.append)
    assert len(photos) == 5
    assert told[-4:] == [
        "class 'melanoma', 3 photos with the labels: Melanom 3",
        "class 'none of these', 2 photos with the labels: Hand 2",
        "not scored: 1 photo without a label",
        "not scored: 4 photos whose label can mean more than one class: akiec",
    ]
    (root / "Hand").rename(root / "Melonoma")
    with pytest.raises(DataError, match="the label 'Melonoma' of 2 photos is not a known diagnosis"):
        labelled_photos(root, ["melanoma", "none of these"])


def test_a_class_of_many_small_sources_is_in_every_part(tmp_path: Path) -> None:
    table = ["image,label,source,patient_id"]
    for number in range(40):
        put_photo(tmp_path / "set" / f"p{number:02}.png")
        table.append(f"p{number:02},{('ring', 'scar')[number % 2]},clinic {number // 2},{number}")
    put_table(tmp_path / "set" / "labels.csv", table[0], table[1:])
    counts = Counter((photo.label, photo.split) for photo in Understood(tmp_path / "set").catalogue.photos)
    assert counts["ring", "val"] == counts["scar", "val"] == 3
    assert counts["ring", "train"] >= 13


def test_a_class_with_more_photos_held_out_than_in_training_is_told(tmp_path: Path) -> None:
    rows = []
    for number in range(60):
        put_photo(tmp_path / "set" / f"p{number:02}.png")
        rows.append(f"p{number:02},{('ring', 'scar')[number % 2]},{'one' if number < 40 else number}")
    put_table(tmp_path / "set" / "labels.csv", "image,label,patient_id", rows)
    told = {seed: Understood(tmp_path / "set", seed=seed) for seed in range(6)}
    for seen in told.values():
        counts = Counter(photo.split for photo in seen.catalogue.photos if photo.label == "ring")
        is_lopsided = counts["train"] < max(counts["val"], counts["test"])
        assert seen.says("'ring' has only", "in train", "Its largest group has 20 of 30") == is_lopsided
    assert len({seen.says("'ring' has only") for seen in told.values()}) == 2


def test_a_table_alone_labels_the_photos_to_score(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {"images": 6})
    table = put_table(
        root / "labels.csv", "image,dx", [f"photo{n:03},{('mel', 'nv')[n % 2]}" for n in range(6)]
    )
    photos = labelled_photos(table, ["melanoma", "nevus"])
    assert Counter(photo.label_index for photo in photos) == {0: 3, 1: 3}
    with pytest.raises(OptionError, match="--split can only be used with the catalogue"):
        labelled_photos(table, ["melanoma", "nevus"], "val")


def test_a_class_that_the_model_lacks_is_told_in_one_short_line(tmp_path: Path) -> None:
    root = put_photos(tmp_path / "set", {"velvet": 2, "daisy": 2})
    with pytest.raises(DataError) as raised:
        labelled_photos(root, ["daisy", *(f"class {number}" for number in range(1000))])
    shown = ", ".join(["daisy", *(f"class {number}" for number in range(11))])
    assert str(raised.value) == (
        f"the model has no class 'velvet'. Its classes: {shown}, … (1,001 classes). Rename the folder or the label to "
        "a class of the model, or name the outputs of the model with --labels"
    )

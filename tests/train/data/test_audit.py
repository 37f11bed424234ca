"""What an audit finds in generated sets, and in the real ones."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import dermedge
from dermedge import cli
from dermedge.train.data.audit.findings import AuditFinding
from dermedge.train.data.audit.report import to_html, to_json, to_text
from dermedge.train.data.audit.run import Audit, run_audit

Draw = Callable[[int], NDArray[np.uint8]]

HAM = "lesion_id,image_id,dx\n"


@pytest.fixture
def clean_set(tmp_path: Path, lesion: Draw) -> Path:
    """Twelve different lesions of two classes, in folders, named as the archive names them."""
    root = tmp_path / "set"
    for number in range(12):
        save(root / ("melanoma" if number < 6 else "nevus") / f"ISIC_{number:07}.png", lesion(number))
    return root


def save(path: Path, photo: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), photo)
    return path


def by_kind(audit: Audit) -> dict[str, AuditFinding]:
    return {finding.kind: finding for finding in audit.findings}


def names(audit: Audit, finding: AuditFinding, case: int = 0) -> list[str]:
    return [audit.photos[index].name for index in finding.examples[case].files]


def test_nothing_is_found_where_nothing_is_wrong(clean_set: Path) -> None:
    audit = run_audit([clean_set])
    assert audit.findings == ()
    assert "0 errors, 0 warnings, 0 notes in 12 files" in to_text(audit)
    assert "Nothing was found" in to_html(audit, "")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_copy_under_another_label_is_an_error(clean_set: Path, lesion: Draw, suffix: str) -> None:
    save(clean_set / "nevus" / f"copy{suffix}", lesion(2))
    audit = run_audit([clean_set])
    finding = by_kind(audit)["one photo, two labels"]
    assert (finding.severity, finding.count, finding.files) == ("error", 1, 2)
    assert names(audit, finding) == ["set/melanoma/ISIC_0000002.png", f"set/nevus/copy{suffix}"]
    assert ("equal bytes" in finding.examples[0].detail) == (suffix == ".png")
    assert (
        "1 of the 6 files labelled 'melanoma'" in finding.breakdown[0][0]
        or "1 of the 7 files labelled 'nevus'" in finding.breakdown[0][0]
    )


def test_labels_of_one_meaning_do_not_contradict(tmp_path: Path, lesion: Draw) -> None:
    for folder in ("seborrheic keratosis", "pigmented benign keratosis"):
        save(tmp_path / "set" / folder / "a.png", lesion(1))
    assert "one photo, two labels" not in by_kind(run_audit([tmp_path / "set"]))


def test_a_folder_is_held_against_the_tables(clean_set: Path, tmp_path: Path) -> None:
    table = tmp_path / "reference.csv"
    table.write_text(HAM + "L0,ISIC_0000000,mel\nL1,ISIC_0000001,nv\n")
    assert run_audit([clean_set]).findings == ()
    audit = run_audit([clean_set], [table])
    finding = by_kind(audit)["label against the table"]
    assert finding.breakdown == (("in 'melanoma', but the table says nevus", 1),)
    assert names(audit, finding) == ["set/melanoma/ISIC_0000001.png"]


def test_a_lesion_of_two_diagnoses_is_an_error(clean_set: Path, tmp_path: Path) -> None:
    (clean_set / "table.csv").write_text(HAM + "L0,ISIC_0000000,mel\nL0,ISIC_0000007,nv\n")
    finding = by_kind(run_audit([clean_set]))["one lesion, two diagnoses"]
    assert finding.breakdown == (("melanoma and nevus", 1),)


def test_copies_and_lesions_in_two_splits_are_errors(tmp_path: Path, lesion: Draw) -> None:
    root = tmp_path / "set"
    for number in range(6):
        save(root / ("Train" if number < 4 else "Test") / "nevus" / f"ISIC_{number:07}.png", lesion(number))
    save(root / "Test" / "nevus" / "smaller.jpg", cv2.resize(lesion(0)[:, ::-1], (200, 150)))
    (root / "table.csv").write_text(HAM + "L1,ISIC_0000001,nv\nL1,ISIC_0000005,nv\n")
    for paths in ([root], [root / "Train", root / "Test", root / "table.csv"]):
        audit = run_audit(paths)
        found = by_kind(audit)
        assert found["one photo, two splits"].breakdown == (("test and train of set", 1),)
        assert "rotated or mirrored" in found["one photo, two splits"].examples[0].detail
        assert found["one lesion, two splits"].count == 1
        assert "one photo, two sets" not in found


def test_copies_and_lesions_in_two_sets_are_warnings(clean_set: Path, tmp_path: Path, lesion: Draw) -> None:
    other = tmp_path / "other"
    save(other / "melanoma" / "ISIC_0000003.jpg", cv2.resize(lesion(3), (200, 150)))
    save(other / "nevus" / "ISIC_0000099.jpg", lesion(99))
    (other / "table.csv").write_text(HAM + "L,ISIC_0000008,nv\nL,ISIC_0000099,nv\n")
    found = by_kind(run_audit([clean_set, other]))
    assert found["one photo, two sets"].breakdown == (("other and set (1 under the same id)", 1),)
    assert found["one photo, two sets"].severity == "warning"
    assert "400x300" in found["one photo, two sets"].examples[0].detail
    assert found["one lesion, two sets"].examples[0].detail == "lesion L"


def test_copies_within_a_class_are_counted(clean_set: Path, lesion: Draw) -> None:
    shutil.copy(clean_set / "nevus" / "ISIC_0000007.png", clean_set / "nevus" / "again.png")
    save(clean_set / "nevus" / "turned.jpg", np.rot90(lesion(8)))
    finding = by_kind(run_audit([clean_set]))["copies"]
    assert (finding.count, finding.severity) == (2, "warning")
    assert finding.breakdown == (("nevus in set (1 with equal bytes)", 2),)


def test_a_squashed_set_is_told_from_a_cut_one(clean_set: Path, tmp_path: Path, lesion: Draw) -> None:
    for number in range(3):
        save(tmp_path / "squashed" / "melanoma" / f"s{number}.png", cv2.resize(lesion(number), (180, 180)))
    for number in range(3, 5):
        centre = cv2.resize(lesion(number)[:, 50:350], (224, 224), interpolation=cv2.INTER_AREA)
        save(tmp_path / "cut" / "melanoma" / f"c{number}.png", centre)
    found = by_kind(run_audit([clean_set, tmp_path / "squashed", tmp_path / "cut"]))
    assert found["squashed"].breakdown == (("180x180 in squashed and 400x300 in set", 3),)
    assert found["cut"].breakdown == (("224x224 in cut and 400x300 in set", 2),)


def test_a_folder_of_squares_is_noted(tmp_path: Path, lesion: Draw) -> None:
    for number in range(10):
        save(tmp_path / "set" / "nevus" / f"{number}.png", cv2.resize(lesion(number), (100, 100)))
    assert by_kind(run_audit([tmp_path / "set"]))["all square"].breakdown == (("set/nevus: 10 files", 1),)


def test_files_that_cannot_be_decoded_do_not_stop_the_audit(clean_set: Path, lesion: Draw) -> None:
    (clean_set / "nevus" / "text.jpg").write_text("no picture")
    (clean_set / "nevus" / "empty.jpg").touch()
    content = cv2.imencode(".jpg", lesion(50))[1].tobytes()
    (clean_set / "nevus" / "cut.jpg").write_bytes(content[: len(content) // 2])
    audit = run_audit([clean_set])
    finding = by_kind(audit)["unreadable"]
    assert finding.count == 3
    reasons = {where for where, _ in finding.breakdown}
    assert reasons == {"not a photo that can be decoded", "the file is empty"}
    assert "cannot be decoded" in to_html(audit, "")


def test_one_id_of_two_pictures_is_a_warning(clean_set: Path, lesion: Draw) -> None:
    save(clean_set / "more" / "melanoma" / "ISIC_0000001.png", lesion(77))
    assert by_kind(run_audit([clean_set]))["one id, two photos"].count == 1


def test_tiny_and_plain_pictures_are_warnings(clean_set: Path, lesion: Draw) -> None:
    save(clean_set / "nevus" / "tiny.png", cv2.resize(lesion(60), (40, 30)))
    for grey in (0, 128):
        save(clean_set / "nevus" / f"plain{grey}.png", np.full((300, 400, 3), grey, np.uint8))
    found = by_kind(run_audit([clean_set]))
    assert found["tiny"].breakdown == (("40x30 in set", 1),)
    assert found["plain"].count == 2
    assert "copies" not in found


def test_the_balance_of_classes_and_sets_is_told(tmp_path: Path, lesion: Draw) -> None:
    for number in range(25):
        source, label = ("a", "nevus") if number < 23 else ("b", "melanoma")
        save(tmp_path / source / label / f"{number}.png", cv2.resize(lesion(number), (120, 90)))
    found = by_kind(run_audit([tmp_path / "a", tmp_path / "b"]))
    assert found["imbalance"].breakdown == (("melanoma: 2 files, against 23", 1),)
    assert {where for where, _ in found["class from one set"].breakdown} == {
        "melanoma: 2 of 2 files from b",
        "nevus: 23 of 23 files from a",
    }


def test_photos_without_a_label_are_noted(tmp_path: Path, lesion: Draw) -> None:
    for number in range(3):
        save(tmp_path / "images" / f"ISIC_{number:07}.png", lesion(number))
    assert by_kind(run_audit([tmp_path / "images"]))["no label"].count == 3
    (tmp_path / "images" / "table.csv").write_text(HAM + "L,ISIC_0000002,nv\n")
    assert by_kind(run_audit([tmp_path / "images"]))["no label"].count == 2


def test_the_gravest_come_first_and_the_text_stays_short(clean_set: Path, lesion: Draw) -> None:
    for number in range(6):
        save(clean_set / "nevus" / f"copy{number}.png", lesion(number))
        save(clean_set / "nevus" / f"mirrored{number}.png", lesion(number)[:, ::-1])
    save(clean_set / "nevus" / "tiny.png", cv2.resize(lesion(60), (40, 30)))
    audit = run_audit([clean_set])
    severities = [finding.severity for finding in audit.findings]
    assert severities == sorted(severities, key=("error", "warning", "note").index)
    text = to_text(audit)
    assert text.index("ERRORS") < text.index("6 photos filed under two labels") < text.index("WARNINGS")
    assert text.count("e.g.") <= 2 * len(audit.findings)
    assert dermedge.DISCLAIMER in text


def test_the_json_names_all_cases_in_full(clean_set: Path, lesion: Draw) -> None:
    for number in range(6):
        save(clean_set / "nevus" / f"copy{number}.png", lesion(number))
    values = json.loads(to_json(run_audit([clean_set]), "dermedge data audit set"))
    assert values["schema"] == "dermedge-audit/1"
    assert values["files"] == 18
    assert values["classes"] == {"nevus": {"set": 12}, "melanoma": {"set": 6}}
    (finding,) = values["findings"]
    assert (finding["kind"], finding["severity"], finding["count"]) == ("one photo, two labels", "error", 6)
    assert len(finding["cases"]) == 6
    assert all(Path(path).is_file() for case in finding["cases"] for path in case["files"])
    assert dermedge.DISCLAIMER in values["disclaimer"]


def test_the_page_needs_no_network_and_shows_the_pictures(clean_set: Path, lesion: Draw) -> None:
    save(clean_set / "nevus" / "<b>.png", lesion(0))
    page = to_html(run_audit([clean_set]), "dermedge data audit <set>")
    assert page.count("data:image/jpeg;base64,") == 2
    assert re.findall(r"""(?:src|href)="(?!data:|#)|url\(|http""", page) == []
    assert "<b>.png" not in page
    assert "<li>classes from folder names of &#39;set&#39;: nevus 7, melanoma 6</li>" in page
    assert "not a medical device" in page
    assert "prefers-color-scheme: dark" in page


def test_sets_that_tell_the_class_or_are_blurred_are_told(tmp_path: Path, lesion: Draw) -> None:
    for number in range(24):
        source, label = (("a", "nevus"), ("b", "melanoma"), ("c", ("nevus", "melanoma")[number % 2]))[
            number % 3
        ]
        side = 60 if source == "b" else 160
        save(
            tmp_path / "sets" / source / "train" / label / f"{number}.png",
            cv2.resize(lesion(number), (side, side)),
        )
    found = by_kind(run_audit([tmp_path / "sets"]))
    assert found["set of one class"].breakdown == (
        ("a: 8 of 8 files are nevus", 1),
        ("b: 8 of 8 files are melanoma", 1),
    )
    assert found["small set"].breakdown == (("b: 60 pixels; the median of all datasets is 160", 1),)


def test_lesions_with_many_photos_are_counted(clean_set: Path, lesion: Draw) -> None:
    rows = [f"L{0 if n < 6 else n},ISIC_{n:07},{'mel' if n < 6 else 'nv'}" for n in range(12)]
    (clean_set / "table.csv").write_text(HAM + "\n".join(rows))
    found = by_kind(run_audit([clean_set]))["many photos of a lesion"]
    assert (found.count, found.breakdown) == (1, (("melanoma", 1),))
    assert found.examples[0].detail == "6 photos of L0"
    save(clean_set / "melanoma" / "again.png", lesion(0))
    (clean_set / "table.csv").write_text(HAM + "\n".join(rows[1:]))
    assert "many photos of a lesion" not in by_kind(run_audit([clean_set]))


def _sample_of(real_data: Path, folder: Path) -> Path:
    """Links to photos of the nine-class set, to the same photos in other sets, and to some photos of the others."""
    whole = ("nevus", "seborrheic keratosis", "melanoma", "actinic keratosis")
    nine = sorted((real_data / "kaggle9").rglob("*.jpg"))
    few = {path.stem for path in nine[::3]}
    chosen = [path for path in nine if path.parent.name in whole or path.stem in few]
    chosen += [path for path in (real_data / "ham10000" / "images").iterdir() if path.stem in few]
    for name in ("isic2019", "isic2019_84px", "milk10k", "pad_ufes"):
        chosen += sorted((real_data / name / "images").iterdir())[:150]
    sharp = {path.stem for path in sorted((real_data / "isic2019" / "images").iterdir())[:150]}
    chosen += [path for path in (real_data / "isic2019_84px" / "images").iterdir() if path.stem in sharp]
    for path in dict.fromkeys(chosen):
        link = folder / path.relative_to(real_data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    (folder / "metadata").symlink_to(real_data / "metadata")
    return folder


@pytest.mark.slow
def test_the_traps_of_the_real_sets_are_found(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _sample_of(real_data, tmp_path / "data")
    assert cli.main(["data", "audit", str(root), "--json", str(tmp_path / "audit.json")]) == 0
    told = capsys.readouterr().out
    assert "labels from 'ISIC_2019_Training_GroundTruth.csv' (ISIC 2019 ground truth)" in told
    content = json.loads((tmp_path / "audit.json").read_text())
    found = {finding["kind"]: finding for finding in content["findings"]}

    def line(kind: str, *words: str) -> tuple[int, int]:
        """The number of cases in a line of the breakdown, and how many of them have equal bytes or the same id."""
        (one,) = [x for x in found[kind]["breakdown"] if all(word in x["where"] for word in words)]
        inside = re.search(r"\((\d+) ", one["where"])
        return one["count"], int(inside[1]) if inside else 0

    # Some photos in 'nevus' are byte-identical to files in 'actinic keratosis'.
    assert line("one photo, two labels", "'actinic keratosis'", "'nevus'")[1] >= 50
    assert line("label against the table", "in 'nevus'", "actinic keratosis")[0] >= 50
    # nearly all seborrheic keratoses are byte-identical to files in melanoma
    count, equal = line("one photo, two labels", "'melanoma'", "'seborrheic keratosis'")
    assert equal >= 0.9 * len(list((real_data / "kaggle9").glob("*/seborrheic keratosis/*.jpg")))
    assert count >= equal
    # Train and Test share files. They also share lesions, with different photos.
    assert line("one photo, two splits", "test and train of kaggle9")[1] >= 10
    assert line("one lesion, two splits", "test and train of kaggle9")[0] >= 2
    # Hundreds of photos are in HAM10000 too, under the same id.
    count, same_id = line("one photo, two sets", "ham10000", "kaggle9")
    assert count == same_id >= 300
    # Files of one id that differ in size are one photo.
    assert line("one photo, two sets", "isic2019 and isic2019_84px")[1] >= 1
    # All photos of isic2019 show one class, so the source reveals the class. The photos of isic2019_84px are small.
    assert line("set of one class", "isic2019: ", "melanoma")[0] == 1
    assert line("small set", "isic2019_84px: 84 pixels")[0] == 1
    assert content["not_looked_at"] == {}


def test_correct_downloads_contradict_no_table(tmp_path: Path, lesion: Draw) -> None:
    root = tmp_path / "ham"
    for number in range(8):
        folder = root / f"HAM10000_images_part_{number % 2 + 1}"
        save(folder / f"ISIC_{number:07}.png", lesion(number))
    rows = [f"HAM_{n},ISIC_{n:07},{('nv', 'mel')[n % 2]}" for n in range(8)]
    (root / "HAM10000_metadata.csv").write_text(HAM + "\n".join(rows))
    found = by_kind(run_audit([root]))
    assert set(found) <= {"all square"}


def test_a_sort_into_benign_and_malignant_contradicts_where_it_is_wrong(tmp_path: Path, lesion: Draw) -> None:
    root = tmp_path / "sort"
    truths = ["nv", "df", "bkl", "mel", "bcc", "akiec"]
    rows = []
    for number, truth in enumerate(truths):
        # Photo 3, a melanoma, lies in the wrong folder. An akiec may be in either folder.
        folder = "benign" if number in (0, 1, 2, 3) else "malignant"
        save(root / folder / f"ISIC_{number:07}.png", lesion(number))
        rows.append(f"HAM_{number},ISIC_{number:07},{truth}")
    (root / "table.csv").write_text(HAM + "\n".join(rows))
    finding = by_kind(run_audit([root]))["label against the table"]
    assert finding.breakdown == (("in 'benign', but the table says melanoma", 1),)
    assert "one photo, two labels" not in by_kind(run_audit([root]))


def test_a_class_folder_of_another_name_contradicts_nothing(tmp_path: Path, lesion: Draw) -> None:
    for number in range(4):
        save(
            tmp_path / "set" / f"group_{'ab'[number % 2]}" / "train" / f"ISIC_{number:07}.png", lesion(number)
        )
    (tmp_path / "set" / "table.csv").write_text(HAM + "\n".join(f"H{n},ISIC_{n:07},nv" for n in range(4)))
    assert by_kind(run_audit([tmp_path / "set"])) == {}


@pytest.mark.parametrize(("side", "is_small"), [(79, True), (80, False)])
def test_a_set_is_small_below_half_the_usual_size(
    tmp_path: Path, lesion: Draw, side: int, is_small: bool
) -> None:
    for number, source in enumerate("abc"):
        size = side if source == "b" else 160
        photo = cv2.resize(lesion(number), (size, size))
        save(tmp_path / "sets" / source / "train" / "nevus" / f"{number}.png", photo)
    assert ("small set" in by_kind(run_audit([tmp_path / "sets"]))) == is_small

"""For every publisher's table, a header and a row show which columns are read and what they state."""

from __future__ import annotations

from pathlib import Path

import pytest

from dermedge.train.data.folders import FoundPhoto
from dermedge.train.data.tables import PhotoFacts, read_tables

ISIC = "ISIC_0024306"


def facts_of(tmp_path: Path, header: str, row: str, name: str = f"{ISIC}.jpg") -> PhotoFacts:
    """What a table with one row states about the photo of this name."""
    table = tmp_path / "mine" / "table.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text(f"{header}\n{row}\n" if header else f"{row}\n")
    photo = FoundPhoto(tmp_path / "images" / name, tmp_path, ("images",))
    tables = read_tables([table], [photo])
    assert tables.accounts[0].photos == 1
    return tables.facts[0]


ARCHIVE = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,anatom_site_special,concomitant_biopsy,"
    "diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_confirm_type,image_manipulation,image_type,lesion_id,melanocytic,"
    "pixels_x,pixels_y,sex"
)
MILK = (
    "lesion_id,image_type,isic_id,attribution,copyright_license,image_manipulation,age_approx,sex,skin_tone_class,site,"
    "MONET_ulceration_crust,MONET_hair"
)
PAD = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,skin_cancer_history,"
    "cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,itch,grew,hurt,"
    "changed,bleed,elevation,img_id,biopsed"
)
ISIC_2024 = (
    "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,image_type,tbp_tile_type,"
    "attribution,copyright_license,lesion_id,iddx_full,iddx_1,iddx_2,iddx_3,iddx_4,iddx_5,mel_mitotic_index,mel_thick_mm"
)


@pytest.mark.parametrize(
    ("header", "row", "original", "diagnosis", "lesion", "patient", "people"),
    [
        (
            "lesion_id,image_id,dx,dx_type,age,sex,localization",
            f"HAM_0000118,{ISIC},bkl,histo,80.0,male,scalp",
            *("bkl", "benign keratosis", "HAM_0000118", ""),
            {"age": "80", "sex": "male", "site": "head and neck", "view": "dermoscopic"},
        ),
        (
            ARCHIVE,
            f"{ISIC},MILK study team,CC-BY-NC,45,lower extremity,acral NOS,False,Benign,Benign melanocytic "
            "proliferations,Nevus,histopathology,,dermoscopic,IL_7252831,True,600,450,female",
            *("Nevus", "nevus", "IL_7252831", ""),
            {"age": "45", "sex": "female", "site": "hand or foot", "view": "dermoscopic"},
        ),
        (
            "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
            f"{ISIC}_downsampled,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,0.0",
            *("scc", "squamous cell carcinoma", "", ""),
            {"view": "dermoscopic"},
        ),
        (
            "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
            f"{ISIC},0,0,0,0,0,0,0,0,1",
            *("", None, "", ""),
            {"view": "dermoscopic"},
        ),
        (
            "image,age_approx,anatom_site_general,lesion_id,sex",
            f"{ISIC},55.0,posterior torso,MSK4_0011169,female",
            *("", None, "MSK4_0011169", ""),
            {"age": "55", "sex": "female", "site": "trunk"},
        ),
        (
            "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC",
            f"{ISIC},0.0,0.0,0.0,1.0,0.0,0.0,0.0",
            *("akiec", "akiec", "", ""),
            {"view": "dermoscopic"},
        ),
        (
            "image,lesion_id,diagnosis_confirm_type",
            f"{ISIC},HAM_0000001,histopathology",
            *("", None, "HAM_0000001", ""),
            {},
        ),
        (
            "image_id,melanoma,seborrheic_keratosis",
            f"{ISIC},0.0,0.0",
            *("nevus", "nevus", "", ""),
            {"view": "dermoscopic"},
        ),
        (
            "image_id,age_approximate,sex",
            f"{ISIC},55,female",
            *("", None, "", ""),
            {"age": "55", "sex": "female"},
        ),
        ("", f"{ISIC},benign", *("benign", "benign", "", ""), {}),
        (
            "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
            f"{ISIC},IP_7279968,male,45.0,head/neck,unknown,benign,0",
            *("benign", "benign", "", "IP_7279968"),
            {"age": "45", "sex": "male", "site": "head and neck"},
        ),
        (
            "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target",
            f"{ISIC},IP_7279968,IL_7972535,male,45.0,torso,seborrheic keratosis,benign,0",
            *("seborrheic keratosis", "benign keratosis", "IL_7972535", "IP_7279968"),
            {"age": "45", "sex": "male", "site": "trunk"},
        ),
        (
            ISIC_2024,
            f"{ISIC},1,IP_1234567,60.0,male,upper extremity,3.04,TBP tile: close-up,3D: white,a,b,IL_1234567,"
            "Malignant::x,Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma in situ,,,,",
            *("Melanoma in situ", "melanoma", "IL_1234567", "IP_1234567"),
            {"age": "60", "sex": "male", "site": "upper extremity", "view": "close-up"},
        ),
        (
            "isic_id,patient_id,lesion_id,iddx_full,iddx_1,iddx_2,iddx_3",
            f"{ISIC},IP_1234567,IL_1234567,Malignant::x,Malignant,x,Melanoma Invasive",
            *("Melanoma Invasive", "melanoma", "IL_1234567", "IP_1234567"),
            {},
        ),
        (
            "isic_id,target,patient_id,age_approx,sex,anatom_site_general",
            f"{ISIC},1,IP_1234567,60.0,male,lower extremity",
            *("malignant", "malignant", "", "IP_1234567"),
            {"age": "60", "sex": "male", "site": "lower extremity"},
        ),
        ("isic_id,malignant", f"{ISIC},0.0", *("benign", "benign", "", ""), {}),
        (
            MILK,
            f"IL_0000652,clinical: close-up,{ISIC},MILK study team,CC-BY-NC,altered,70,male,1,head_neck_face,0.1,0.2",
            *("", None, "IL_0000652", ""),
            {"age": "70", "sex": "male", "site": "head and neck", "skin_tone": "1", "view": "close-up"},
        ),
        (
            "isic_id,diagnosis_full,diagnosis_confirm_type,invasion_thickness_interval",
            f'{ISIC},"Squamous cell carcinoma in situ, Bowens disease",histopathology,',
            *("Squamous cell carcinoma in situ, Bowens disease", "squamous cell carcinoma", "", ""),
            {},
        ),
    ],
)
def test_a_table_of_an_archive(
    tmp_path: Path,
    header: str,
    row: str,
    original: str,
    diagnosis: str | None,
    lesion: str,
    patient: str,
    people: dict[str, str],
) -> None:
    facts = facts_of(tmp_path, header, row)
    assert (facts.original_label, facts.diagnosis) == (original, diagnosis)
    assert (facts.lesion_id, facts.patient_id) == (lesion, patient)
    assert set(facts.groups) == {lesion, patient} - {""}
    assert facts.people == people


def test_pad_ufes(tmp_path: Path) -> None:
    row = (
        "PAT_46,881,False,False,POMERANIA,POMERANIA,55,False,FEMALE,True,True,True,True,3.0,NECK,6.0,5.0,ACK,True,True,"
        "False,True,True,True,PAT_46_881_939.png,True"
    )
    facts = facts_of(tmp_path, PAD, row, "PAT_46_881_939.webp")
    assert (facts.original_label, facts.diagnosis) == ("ACK", "actinic keratosis")
    assert set(facts.groups) == {"PAT_46", "PAT_46 lesion 881"}
    assert facts.people == {
        "age": "55",
        "sex": "female",
        "site": "head and neck",
        "fitzpatrick": "3",
        "view": "close-up",
    }


def test_your_own_table_with_all_its_columns(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        "path;label;group;split;source;age;sex;site;skin_tone;fitzpatrick;view",
        "images/IMG 1.jpg;Odd Mole;g1;Validation;my clinic;33;w;arm;4;II;smartphone",
        "IMG 1.jpg",
    )
    assert (facts.original_label, facts.diagnosis, facts.part) == ("Odd Mole", "Odd Mole", "val")
    assert set(facts.groups) == {"mine group g1", "mine group g 1"}
    assert facts.people == {
        "source": "my clinic",
        "age": "33",
        "sex": "female",
        "site": "upper extremity",
        "skin_tone": "4",
        "fitzpatrick": "2",
        "view": "close-up",
    }


@pytest.mark.parametrize(
    ("first", "second", "believed"),
    [
        # ISIC 2019 states the diagnosis that HAM10000's akiec leaves open.
        (
            "lesion_id,image_id,dx\nL,{},akiec",
            "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC\n{},0,0,0,0,0,0,0,1",
            "squamous cell carcinoma",
        ),
        # The finer diagnosis of the archive goes before that of the challenge.
        (
            "isic_id,diagnosis_1,diagnosis_3\n{},Benign,Nevus",
            "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n{},1,0,0,0,0,0,0",
            "nevus",
        ),
        # A person's own table goes before all other tables.
        ("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC\n{},1,0,0,0,0,0,0,0", "image,label\n{},my own", "my own"),
        # But a table that leaves the diagnosis open goes after all others.
        ("isic_id,target,patient_id\n{},1,IP_1", "isic_id,diagnosis_full\n{},Nevus", "nevus"),
    ],
)
def test_which_of_two_tables_is_believed(tmp_path: Path, first: str, second: str, believed: str) -> None:
    photo = FoundPhoto(tmp_path / f"{ISIC}.jpg", tmp_path, ())
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, text in zip(paths, (first, second), strict=True):
        path.write_text(text.format(ISIC) + "\n")
    for order in (paths, paths[::-1]):
        assert read_tables(order, [photo]).facts[0].diagnosis == believed


def test_a_number_of_a_lesion_of_two_persons_is_two_lesions(tmp_path: Path) -> None:
    names = ["PAT_302_651_529", "PAT_1180_651_559"]
    photos = [FoundPhoto(tmp_path / f"{name}.png", tmp_path, ()) for name in names]
    rows = [f"PAT_302,651,BCC,{names[0]}.png", f"PAT_1180,651,NEV,{names[1]}.png"]
    (tmp_path / "metadata.csv").write_text(
        "\n".join(["patient_id,lesion_id,diagnostic,img_id", *rows]) + "\n"
    )
    facts = read_tables([tmp_path / "metadata.csv"], photos).facts
    assert set(facts[0].groups).isdisjoint(facts[1].groups)


def test_lesions_and_persons_of_your_own_table_have_names_of_their_own(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, "path,label,lesion_id,patient_id", "IMG_1.jpg,ring,7,p1", "IMG_1.jpg")
    assert facts.lesion_id == "mine lesion_id 7"
    assert facts.patient_id == "mine patient_id p1"
    # another table may call these columns LesionID and PatientID, and write P-1 for p1
    links = {"mine lesion_id 7", "mine lesionid 7", "mine patient_id p1", "mine patientid p 1"}
    assert set(facts.groups) == links
    shared = facts_of(
        tmp_path, "path,label,lesion_id,patient_id", "IMG_1.jpg,ring,HAM_0000118,IP_7279968", "IMG_1.jpg"
    )
    assert (shared.lesion_id, shared.patient_id) == ("HAM_0000118", "IP_7279968")

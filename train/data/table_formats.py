"""The formats of publishers' tables. A table is recognized by the names of its columns; the file name does not matter.

The names of these columns were read in the publishers' files: HAM10000 (Harvard Dataverse DBW86T), ISIC 2019, ISIC 2018
task 3, MILK10k, PAD-UFES-20 (Mendeley zr7vgbcyr2), and the ISIC archive's export.

The names of the following columns were read on the pages of the challenges, and in public code that reads the files:
- ISIC 2016 part 3: no header; the columns are the id, and benign or malignant (in the test part 0.0 or 1.0)
- ISIC 2017 part 3: image_id, melanoma, seborrheic_keratosis; all other photos are nevi
- ISIC 2020: image_name, patient_id, …, diagnosis, benign_malignant; version 2 adds lesion_id
- ISIC 2024: isic_id, target, …, iddx_full, iddx_1 to iddx_5
- DDI: DDI_file, disease
- derm7pt: case_num, diagnosis, derm, clinic
- Roboflow's ``_classes.csv``: filename, and one column for each class

When names of columns are compared, upper and lower case do not matter, and spaces count as underscores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dermedge.edge.model.manifest import CLOSE_UP
from dermedge.edge.model.photo_view import DERMOSCOPIC
from dermedge.train.data.catalogue import REQUIRED_COLUMNS

__all__ = [
    "CATALOGUE",
    "FORMATS",
    "HEADERLESS",
    "ISIC_2016",
    "ONE_HOT",
    "OWN",
    "OWN_COLUMNS",
    "TableFormat",
    "format_of",
]


@dataclass(frozen=True)
class TableFormat:
    """The columns of one kind of table.

    If a row has several columns for the same value, such as the age, the first column that is not empty is used.

    Attributes:
        name: name of the publisher or challenge.
        required: columns that every such table has.
        absent: columns that no such table has.
        image: columns with the id or file name of the photo; empty if each row describes a lesion.
        labels: columns with the diagnosis. The column with the most specific names comes first.
        one_hot: the one-hot columns, each with the diagnosis that a 1 in the column means.
        otherwise: the diagnosis of a row that has no 1 in the one-hot columns; empty if such a row has no diagnosis.
        closed: whether a row with an unknown or missing diagnosis is an error.
        lesion: columns with the id of the lesion.
        lesion_of_patient: whether the id of a lesion is unique only within a person.
        patient: columns with the id of the person.
        same_photo: a column with the id of another file that shows the same photo.
        people: columns with other values of a photo. The key is the name of the value, such as age, view or split.
        groups: further columns that name a lesion, a person or another group.
        of_person: the columns in ``groups`` whose ids are unique only within a person, such as numbers of lesions.
        unused: columns that are not read.
        view: view of all photos of the table, if no column states the view.
        image_of_view: for a table whose rows name several photos: each column that names a photo, with the view of the
            photos in this column.
        rank: rank of the table's labels. If tables disagree, the label with the lowest rank is used, but a specific
            label is always preferred to an ambiguous one.
    """

    name: str
    required: frozenset[str]
    absent: frozenset[str] = frozenset()
    image: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    one_hot: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = ""
    closed: bool = False
    lesion: tuple[str, ...] = ()
    lesion_of_patient: bool = False
    patient: tuple[str, ...] = ()
    same_photo: str = ""
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    of_person: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    view: str = ""
    image_of_view: Mapping[str, str] = field(default_factory=dict)
    rank: int = 50


_DIAGNOSIS_CODES = ("mel", "nv", "bcc", "ak", "akiec", "bkl", "df", "vasc", "scc", "unk")
_MILK_CODES = {
    "akiec": "akiec",
    "bcc": "bcc",
    "ben_oth": "benign - other",
    "bkl": "bkl",
    "df": "df",
    "inf": "inflammatory or infectious diseases",
    "mal_oth": "malignant",
    "mel": "mel",
    "nv": "nv",
    "sccka": "squamous cell carcinoma",
    "vasc": "vasc",
}
_ARCHIVE_PEOPLE = {
    "age": ("age_approx", "age_approximate", "age"),
    "sex": ("sex",),
    "site": ("anatom_site_special", "anatom_site_general", "anatom_site_general_challenge"),
    "fitzpatrick": ("fitzpatrick_skin_type",),
    "view": ("image_type",),
}
_ONE_ISIC_IMAGE = ("image", "image_name", "image_id", "isic_id")


def _columns(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The formats of publishers. If the columns of a table fit several formats, the first of them in this order is used.
FORMATS = (
    TableFormat(
        "HAM10000",
        _columns("lesion_id image_id dx"),
        image=("image_id",),
        labels=("dx",),
        closed=True,
        lesion=("lesion_id",),
        people={"age": ("age",), "sex": ("sex",), "site": ("localization",)},
        view=DERMOSCOPIC,
        rank=40,
    ),
    TableFormat(
        "MILK10k lesions",
        _columns("lesion_id akiec bcc sccka"),
        lesion=("lesion_id",),
        one_hot=_MILK_CODES,
        rank=45,
    ),
    TableFormat(
        "MILK10k diagnoses",
        _columns("isic_id diagnosis_full"),
        image=("isic_id",),
        labels=("diagnosis_full",),
        rank=10,
    ),
    TableFormat(
        "MILK10k photos",
        _columns("isic_id lesion_id skin_tone_class image_type"),
        image=("isic_id",),
        lesion=("lesion_id",),
        people=_ARCHIVE_PEOPLE | {"site": ("site",), "skin_tone": ("skin_tone_class",)},
    ),
    TableFormat(
        "PAD-UFES-20",
        _columns("patient_id lesion_id img_id diagnostic"),
        image=("img_id",),
        labels=("diagnostic",),
        closed=True,
        lesion=("lesion_id",),
        # lesions of different persons may have the same number: 651 is a lesion of PAT_302 and a lesion of PAT_1180
        lesion_of_patient=True,
        patient=("patient_id",),
        people={
            "age": ("age",),
            "sex": ("gender",),
            "site": ("region",),
            "fitzpatrick": ("fitspatrick", "fitzpatrick"),
        },
        view=CLOSE_UP,
        rank=30,
    ),
    TableFormat(
        "ISIC 2019 ground truth",
        _columns("image mel nv bcc ak bkl df vasc scc"),
        image=("image",),
        one_hot=dict(zip(_DIAGNOSIS_CODES, _DIAGNOSIS_CODES, strict=True)),
        view=DERMOSCOPIC,
        rank=15,
    ),
    TableFormat(
        "ISIC 2018 ground truth",
        _columns("image mel nv bcc akiec bkl df vasc"),
        image=("image",),
        one_hot=dict(zip(_DIAGNOSIS_CODES, _DIAGNOSIS_CODES, strict=True)),
        view=DERMOSCOPIC,
        rank=35,
    ),
    TableFormat(
        "ISIC 2017 ground truth",
        _columns("image_id melanoma seborrheic_keratosis"),
        image=("image_id",),
        one_hot={"melanoma": "melanoma", "seborrheic_keratosis": "seborrheic keratosis"},
        otherwise="nevus",
        view=DERMOSCOPIC,
        rank=36,
    ),
    TableFormat(
        "ISIC 2020 duplicates",
        _columns("image_name_1 image_name_2"),
        image=("image_name_1",),
        same_photo="image_name_2",
    ),
    TableFormat(
        "ISIC 2024",
        _columns("isic_id iddx_full iddx_1"),
        image=("isic_id",),
        labels=("iddx_5", "iddx_4", "iddx_3", "iddx_2", "iddx_1"),
        lesion=("lesion_id",),
        patient=("patient_id",),
        people=_ARCHIVE_PEOPLE,
        rank=20,
    ),
    TableFormat(
        "ISIC archive",
        _columns("isic_id diagnosis_1"),
        image=("isic_id",),
        labels=(
            "diagnosis_5",
            "diagnosis_4",
            "diagnosis_3",
            "diagnosis_2",
            "diagnosis_1",
            "diagnosis",
            "benign_malignant",
        ),
        lesion=("lesion_id",),
        patient=("patient_id",),
        people=_ARCHIVE_PEOPLE,
        rank=20,
    ),
    TableFormat(
        "ISIC 2024 ground truth",
        _columns("isic_id malignant"),
        image=("isic_id",),
        one_hot={"malignant": "malignant"},
        otherwise="benign",
        patient=("patient_id",),
        people=_ARCHIVE_PEOPLE,
        rank=48,
    ),
    TableFormat(
        "ISIC 2024",
        _columns("isic_id target patient_id"),
        image=("isic_id",),
        one_hot={"target": "malignant"},
        otherwise="benign",
        patient=("patient_id",),
        people=_ARCHIVE_PEOPLE,
        rank=48,
    ),
    TableFormat(
        "ISIC challenge",
        _columns("benign_malignant"),
        absent=_columns("label labels class class_name category diagnostic dx"),
        image=_ONE_ISIC_IMAGE,
        labels=("diagnosis", "benign_malignant"),
        lesion=("lesion_id",),
        patient=("patient_id",),
        people=_ARCHIVE_PEOPLE,
        rank=25,
    ),
    TableFormat(
        "DDI",
        _columns("ddi_file disease"),
        image=("ddi_file",),
        labels=("disease",),
        view=CLOSE_UP,
        rank=30,
    ),
    TableFormat(
        "derm7pt",
        _columns("case_num diagnosis derm clinic"),
        image=("derm", "clinic"),
        image_of_view={"derm": DERMOSCOPIC, "clinic": CLOSE_UP},
        labels=("diagnosis",),
        lesion=("case_num",),
        people={"sex": ("sex",), "site": ("location",)},
        rank=30,
    ),
    TableFormat(
        "ISIC metadata",
        _columns("age_approx"),
        absent=_columns(
            "label labels class class_name category diagnosis diagnostic dx target benign_malignant"
        ),
        image=_ONE_ISIC_IMAGE,
        lesion=("lesion_id",),
        patient=("patient_id",),
        people=_ARCHIVE_PEOPLE,
    ),
    TableFormat(
        "ISIC 2017 metadata",
        _columns("image_id age_approximate sex"),
        image=("image_id",),
        people=_ARCHIVE_PEOPLE,
    ),
    TableFormat(
        "ISIC 2018 lesion groupings",
        _columns("image lesion_id diagnosis_confirm_type"),
        image=("image",),
        lesion=("lesion_id",),
    ),
)

# A table without a header. The first column holds a file name or id, the second one the label.
HEADERLESS = TableFormat("table without a header", frozenset(), image=("0",), labels=("1",), rank=47)
# The ground truth of the test part of ISIC 2016, part 3.
ISIC_2016 = TableFormat(
    "ISIC 2016 ground truth",
    frozenset(),
    image=("0",),
    one_hot={"1": "malignant"},
    otherwise="benign",
    view=DERMOSCOPIC,
    rank=47,
)
# A table with the column filename and one column for each class. The classes are read from the header of the table.
ONE_HOT = TableFormat("Roboflow classes", frozenset({"filename"}), image=("filename",), rank=5)

# The usual names of the columns in a user's own table. Only the letters and digits of a name are compared. Columns that
# define groups are recognized by a pattern in `dermedge.train.data.group_names`.
OWN_COLUMNS = {
    "image": (
        "path filepath file_path image_path img_path photo_path file filename file_name image_name imagename image "
        "photo img image_id img_id photo_id isic_id picture md5hash image_file photo_file img_name photo_name "
        "picture_name relative_path foto fotoname bild bildname datei dateiname fichier imagen archivo immagine "
        "id id_code"
    ),
    "label": (
        "label labels class class_name classname class_label category diagnosis dx diagnostic histology pathology "
        "disease target benign_malignant label_name label_text category_name target_name diagnose diagnos diagnosi "
        "diagnostico"
    ),
    "split": "split set part partition subset phase",
    "source": "source dataset origin collection",
    "age": "age age_approx age_years patient_age",
    "sex": "sex gender patient_sex",
    "site": "site body_site localization location anatom_site_general region",
    "skin_tone": "skin_tone skin_tone_class",
    "fitzpatrick": "fitzpatrick fitspatrick fitzpatrick_skin_type fitzpatrick_scale skin_type",
    "view": "view image_type modality",
}
# The format of a user's own table. Its columns are not known in advance: `dermedge.train.data.own_columns` finds them.
OWN = TableFormat("your own table", frozenset(), rank=0)
# The table that `dermedge.train.data.catalogue` writes. A corrected table of the user is preferred to a catalogue.
CATALOGUE = TableFormat(
    "catalogue of dermedge",
    REQUIRED_COLUMNS,
    image=("path",),
    labels=("original_label", "diagnosis", "label"),
    lesion=("lesion_id",),
    patient=("patient_id",),
    people={
        name: (name,)
        for name in ("split", "source", "age", "sex", "site", "skin_tone", "fitzpatrick", "view")
    },
    rank=1,
)


def format_of(columns: frozenset[str]) -> TableFormat | None:
    """Returns the publisher's format of a table; None if no format fits.

    ``columns`` holds the names of the table's columns in lower case.
    """
    for known in FORMATS:
        has_image = not known.image or not columns.isdisjoint(known.image)
        if columns >= known.required and has_image and columns.isdisjoint(known.absent):
            return known
    return None

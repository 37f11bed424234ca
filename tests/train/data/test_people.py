"""Cells of tables and the value that each means."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dermedge.train.data.people import age_of, fitzpatrick_of, sex_of, site_of, skin_tone_of, view_of


@pytest.mark.parametrize(
    ("read", "cells"),
    [
        (age_of, {"45": "45", "45.0": "45", "45,0": "45", "85+": "85", "0.0": "0", "": "", "unknown": ""}),
        (age_of, {"-5": "", "121": "", "nan": "", "120": "120"}),
        (sex_of, {"male": "male", "MALE": "male", "F": "female", "female": "female", "unknown": "", "": ""}),
        (skin_tone_of, {"0": "0", "5": "5", "3.0": "3", "6": "", "": "", "-1": ""}),
        (fitzpatrick_of, {"1": "1", "6.0": "6", "II": "2", "Type IV": "4", "0": "", "7": "", "": ""}),
        (
            view_of,
            {
                "dermoscopic": "dermoscopic",
                "clinical: close-up": "close-up",
                "TBP tile: close-up": "close-up",
                "clinical: overview": "",
                "": "",
            },
        ),
        (
            site_of,
            {
                "head/neck": "head and neck",
                "head_neck_face": "head and neck",
                "FACE": "head and neck",
                "scalp": "head and neck",
                "anterior torso": "trunk",
                "back": "trunk",
                "ABDOMEN": "trunk",
                "upper_extremity": "upper extremity",
                "FOREARM": "upper extremity",
                "lower extremity": "lower extremity",
                "THIGH": "lower extremity",
                "palms/soles": "hand or foot",
                "hand": "hand or foot",
                "acral NOS": "hand or foot",
                "oral/genital": "mouth or genitals",
                "genital": "mouth or genitals",
                "unknown": "",
                "": "",
            },
        ),
    ],
)
def test_what_a_cell_means(read: Callable[[str], str], cells: dict[str, str]) -> None:
    assert {cell: read(cell) for cell in cells} == cells


@pytest.mark.parametrize(
    ("cell", "age"),
    [
        ("55-60", "57"),
        ("50-60", "55"),
        ("50-61", ""),
        ("50 to 59", "54"),
        ("55 - 60", "57"),
        ("20-80", ""),
        ("60-55", ""),
        ("55-", ""),
    ],
)
def test_the_age_of_a_range_is_its_middle(cell: str, age: str) -> None:
    assert age_of(cell) == age


@pytest.mark.parametrize(
    ("cell", "site"),
    [
        ("Left upper back", "trunk"),
        ("thigh (right)", "lower extremity"),
        ("sole", "hand or foot"),
        ("left", ""),
        ("back of hand", ""),
    ],
)
def test_the_side_does_not_change_the_site(cell: str, site: str) -> None:
    assert site_of(cell) == site


def test_sexes_in_other_languages() -> None:
    assert {sex_of(cell) for cell in ("weiblich", "Mujer", "femme")} == {"female"}
    assert {sex_of(cell) for cell in ("Männlich", "hombre", "masculino")} == {"male"}

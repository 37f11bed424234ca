"""Only lesions that are in no other source count as those of other clinics."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.benchmarks.lab.other_clinics import main, photos_of_other_clinics
from dermedge.edge.errors import DataError
from dermedge.edge.model.shipped import SHIPPED
from dermedge.train.data.catalogue import Photo


def photo(name: str, group: str, source: str, split: str = "train") -> Photo:
    return Photo(name, name, "", group, "nevus", "nevus", source, split)


def test_a_lesion_with_a_photo_of_another_source_is_left_out() -> None:
    photos = [
        photo("a", "one", "new"),
        photo("b", "one", "newer"),
        photo("c", "two", "new"),
        photo("d", "two", "old"),
        photo("e", "three", "old", "test"),
    ]
    found = photos_of_other_clinics(photos, {"new", "newer"})
    assert [(one.path, one.split) for one in found] == [("a", "test"), ("b", "test")]
    [alone] = photos_of_other_clinics(photos, {"old"}, "test")
    assert alone.path == "e"
    with pytest.raises(DataError, match="no lesion has photos only from the sources old;"):
        photos_of_other_clinics(photos[:4], {"old"})


def test_the_chosen_classes_are_scored_by_groups_of_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["path,image_id,lesion_id,group,diagnosis,label,source,split,sex"]
    for number, label in enumerate(
        ("melanoma", "nevus", "melanoma", "nevus", "basal cell carcinoma", "nevus")
    ):
        image = np.random.default_rng(number).integers(0, 256, (96, 128, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        source = "old" if number == 5 else "new"
        lines.append(f"{tmp_path}/{number}.png,{number},,{number},{label},{label},{source},train,female")
    catalogue, output = tmp_path / "all.csv", tmp_path / "out"
    catalogue.write_text("\n".join(lines) + "\n")
    options = ["--data", str(catalogue), "--sources", "new", "--output", str(output)]
    assert main([*options, "--models", str(SHIPPED["dermedge-128"]), "--classes", "melanoma,nevus"]) == 0
    assert "5 photos of 5 lesions" in capsys.readouterr().out
    scored = json.loads((output / "evaluation.json").read_text())
    assert scored["labels"] == ["melanoma", "nevus", "none of these"]
    assert scored["models"][0]["facts"]["file"] == "dermedge-128"
    assert scored["models"][0]["slices"]["sex"]["female"]["photos"] == 5

"""The rules for parents of a run: which photos they learned from, and which network they have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

from dermedge.edge.errors import DataError, OptionError
from dermedge.train.data.catalogue import Catalogue, Photo
from dermedge.train.data.learned import learned_photos, merge_learned
from dermedge.train.fit import parents
from dermedge.train.fit.parents import check_parents, learned_before, learned_by
from dermedge.train.fit.run_folder import Config, RunFolder, RunProgress

CONFIG = Config(
    architecture="cnn",
    classes=("a", "b"),
    size=32,
    weights="none",
    epochs=1,
    qat_epochs=0,
    photos_per_epoch=10,
    batch_size=2,
    learning_rate=1e-3,
    qat_learning_rate=1e-5,
    seed=0,
    data=("photos",),
    data_digest="",
    command="",
)


def photo(name: str, split: str, group: str = "") -> Photo:
    return Photo(
        f"/photos/{name}.png", name, "", group or f"lesion of {name}", "a", "a", "s", split, digest=name
    )


def parent(folder: Path, photos: list[Photo], config: Config = CONFIG, trained: bool = True) -> str:
    run = RunFolder(folder)
    run.create(config, Catalogue(tuple(photos), config.classes, {}))
    if trained:
        run.weights_path("float").touch()
        run.save_progress(RunProgress(stage="qat"))
    return str(folder)


def child(role: str, path: str) -> Config:
    return replace(CONFIG, **({"teachers": (path,)} if role == "teacher" else {"weights": path}))


@pytest.mark.parametrize("role", ["teacher", "starting run"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_parent_that_learned_what_the_run_holds_out_is_refused(
    tmp_path: Path, role: str, split: str
) -> None:
    path = parent(tmp_path / "parent", [photo("one", "train"), photo("two", "train"), photo("three", "val")])
    config = child(role, path)
    check_parents(config, [photo("one", "train"), photo("three", split), photo("four", split)])
    with pytest.raises(
        DataError, match=f"the {role} '.*parent' has learned lesions that are in .* They have 1 photo in"
    ):
        check_parents(config, [photo("one", split)])
    # The second photo shows a lesion that the parent has learned from another photo.
    with pytest.raises(DataError, match=r"2 photos in these splits, for instance 'another'"):
        check_parents(config, [photo("one", split), photo("another", split, "lesion of two")])


@pytest.mark.parametrize("role", ["teacher", "starting run"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_parent_whose_own_parent_learned_what_the_run_holds_out_is_refused(
    tmp_path: Path, role: str, split: str
) -> None:
    path = parent(tmp_path / "parent", [photo("one", "train")])
    RunFolder(Path(path)).keep_learned_before(learned_photos([published(2, "train")]))
    config = child(role, path)
    check_parents(config, [published(2, "train"), published(3, split)])
    with pytest.raises(
        DataError,
        match=f"the {role} '.*parent' has learned from another model, which was trained on 1 of the .* run, "
        r"such as '/photos/ISIC_0000002\.png'",
    ):
        check_parents(config, [published(2, split), published(3, split)])


@pytest.mark.parametrize("role", ["teacher", "starting run"])
def test_a_parent_has_the_same_classes_and_is_trained(tmp_path: Path, role: str) -> None:
    swapped = parent(tmp_path / "swapped", [photo("one", "train")], replace(CONFIG, classes=("b", "a")))
    with pytest.raises(OptionError, match=f"the {role} '.*swapped' has the classes b, a, which differ"):
        check_parents(child(role, swapped), [])
    with pytest.raises(OptionError, match="or leave out --classes to use the classes of that run"):
        check_parents(child(role, swapped), [])
    with pytest.raises(OptionError, match=r"give a run with the same classes in the same order$"):
        check_parents(replace(child(role, swapped), validated="run"), [])
    fewer = parent(tmp_path / "fewer", [photo("one", "train")])
    more = replace(child(role, fewer), classes=("a", "b", "none of these"))
    with pytest.raises(
        OptionError, match="a, b, none of these; remove the photos of 'none of these' from --data"
    ):
        check_parents(more, [])
    fresh = parent(tmp_path / "fresh", [photo("one", "train")], trained=False)
    with pytest.raises(OptionError, match=f"the {role} '.*fresh' is not finished yet"):
        check_parents(child(role, fresh), [])


@pytest.mark.parametrize("role", ["teacher", "starting run"])
def test_a_parent_that_was_stopped_within_its_float_stage_is_refused(tmp_path: Path, role: str) -> None:
    run = RunFolder(Path(parent(tmp_path / "parent", [photo("one", "train")])))
    run.save_progress(RunProgress(stage="float", epoch=3, checkpoint="checkpoints/float-003"))
    with pytest.raises(
        OptionError, match=f"the {role} '.*parent' is not finished yet; finish it with: .*--res"
    ):
        check_parents(child(role, str(run.path)), [])
    # without an int8 stage, the run ends in the float stage
    run.save_progress(RunProgress(stage="float", epoch=4, finished=True))
    check_parents(child(role, str(run.path)), [])


@pytest.mark.parametrize("role", ["teacher", "starting run"])
def test_photos_that_a_parent_learned_are_known_after_their_folder_was_renamed(
    tmp_path: Path, role: str
) -> None:
    path = parent(tmp_path / "parent", [photo("one", "train"), replace(photo("two", "train"), digest="")])
    renamed = replace(photo("other/one", "test"), digest="one")
    with pytest.raises(DataError, match="They have 1 photo in these splits, for instance 'other/one'"):
        check_parents(child(role, path), [renamed])
    # Photos of old catalogues have no digest, and are not taken for one photo because of that.
    check_parents(child(role, path), [replace(photo("three", "test"), digest="")])


def test_a_start_is_of_the_same_architecture_and_a_teacher_of_any(tmp_path: Path) -> None:
    other = parent(tmp_path / "other", [photo("one", "train")], replace(CONFIG, architecture="mobilenet_v2"))
    check_parents(child("teacher", other), [])
    with pytest.raises(
        OptionError,
        match="has the architecture mobilenet_v2, and a network of cnn cannot start with its weights",
    ):
        check_parents(child("starting run", other), [])


def test_a_run_has_learned_from_its_training_photos_alone(tmp_path: Path) -> None:
    photos = [photo("one", "train"), photo("two", "val"), photo("three", "test"), photo("four", "train")]
    run = RunFolder(Path(parent(tmp_path / "run", photos)))
    assert learned_by(run) == learned_photos([photos[0], photos[3]])


def published(number: int, split: str) -> Photo:
    return photo(f"ISIC_{number:07}", split)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_file_that_learned_what_the_run_holds_out_is_refused(
    monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    config = replace(CONFIG, weights="start.tflite")
    photos = [published(1, "train"), published(2, "train"), published(3, split)]
    known: list[bytes | None] = [learned_photos(photos[:2]), learned_photos(photos), None]
    monkeypatch.setattr(parents, "read_associated", lambda path, name: known.pop(0))
    check_parents(config, photos)
    with pytest.raises(
        DataError,
        match=r"'start\.tflite' was trained on 1 of the photos in the validation or test .*ISIC_0000003\.png'",
    ):
        check_parents(config, photos)
    # a file that does not state its photos cannot be checked
    check_parents(config, photos)


def test_what_was_learned_before_is_from_all_parents_and_from_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [published(number, "train") for number in range(6)]
    first, second, third = (
        parent(tmp_path / name, [photos[at], published(9, "val"), published(8, "test")])
        for at, name in enumerate(("first", "second", "third"))
    )
    # the first parent has a parent of its own
    RunFolder(Path(first)).keep_learned_before(learned_photos([photos[4]]))
    assert learned_by(RunFolder(Path(first))) == learned_photos([photos[0], photos[4]])
    assert learned_before(CONFIG) == b""
    config = replace(CONFIG, weights=second, averaged=(third,), teachers=(first,))
    assert learned_before(config) == learned_photos([*photos[:3], photos[4]])
    from_file = replace(CONFIG, weights="start.tflite", teachers=(first,))
    monkeypatch.setattr(parents, "read_associated", lambda path, name: learned_photos([photos[5]]))
    assert learned_before(from_file) == learned_photos([photos[0], photos[4], photos[5]])
    monkeypatch.setattr(parents, "read_associated", lambda path, name: None)
    assert learned_before(from_file) is None, "not known, which is not the same as nothing"
    assert merge_learned([learned_photos(photos), learned_photos(photos[2:4])]) == learned_photos(photos)

"""A run folder finds the files that its settings name, wherever the program runs."""

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dermedge.edge.errors import DataError, StorageError
from dermedge.edge.model.shipped import SHIPPED
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.fit import run_folder
from dermedge.train.fit.run_folder import IMAGENET, NO_WEIGHTS, Config, RunFolder, RunProgress, is_run


@pytest.mark.parametrize("name", [*SHIPPED, IMAGENET, NO_WEIGHTS])
@pytest.mark.parametrize("folder", ["", "runs"])
def test_a_run_with_the_name_of_its_start_weights_does_not_start_with_itself(
    tmp_path: Path, run_settings: Config, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder(Path(folder, name))
    run.create(replace(run_settings, weights=name), Catalogue((), ("a", "b"), {}))
    assert run.config().weights == name
    assert not is_run(name)
    assert run.config().starts == ()


def test_a_run_that_is_named_from_within_finds_what_lies_beside_it(
    tmp_path: Path, run_settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, run = tmp_path / "old" / "runs", tmp_path / "runs"
    (run / "parent").mkdir(parents=True)
    RunFolder(run / "mine").create(
        replace(run_settings, weights=str(old / "parent")), Catalogue((), ("a", "b"), {})
    )
    monkeypatch.chdir(run / "mine")
    within = RunFolder(Path())
    assert within.cache == run / ".cache"
    assert within.config().weights == str(run / "parent")


def test_a_run_is_not_taken_for_a_lost_run_of_the_same_name(tmp_path: Path, run_settings: Config) -> None:
    lost = str(tmp_path / "lost" / "mine")
    run = RunFolder(tmp_path / "runs" / "mine")
    settings = replace(run_settings, weights=lost, teachers=(lost,), validated=lost)
    run.create(settings, Catalogue((), ("a", "b"), {}))
    found = run.config()
    assert (found.weights, found.teachers, found.validated) == (lost, (lost,), lost)


@pytest.mark.parametrize(
    "content", ["[]", "null", '{"architectures": ["ResNet"], "hidden_sizes": [64]}', "{", ""]
)
def test_a_folder_with_another_programs_config_is_not_a_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"is not a run folder of dermedge train.* no readable config\.json"):
        RunFolder(tmp_path).config()
    (tmp_path / "progress.json").write_text("[]")
    with pytest.raises(DataError, match=r"no readable progress\.json; give the folder"):
        RunFolder(tmp_path).progress()


def test_what_the_parents_learned_is_stored_before_the_run_can_be_resumed(
    tmp_path: Path, run_settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    steps: list[bytes] = []
    write_text = run_folder.write_text

    def note(path: Path, content: str) -> None:
        if path.name == "config.json":
            steps.append(run.learned_before())
        write_text(path, content)

    monkeypatch.setattr(run_folder, "write_text", note)
    run.create(run_settings, Catalogue((), ("a", "b"), {}), b"four")
    assert steps == [b"four"]


def test_two_processes_do_not_train_one_run(tmp_path: Path) -> None:
    run, other = RunFolder(tmp_path), RunFolder(tmp_path / ".." / tmp_path.name)
    with run.locked():
        refused = pytest.raises(
            StorageError, match=r"another process is training '.*'; wait until it has ended"
        )
        with refused, other.locked():
            pass
    with other.locked():
        pass


def test_a_run_on_a_file_system_without_locks_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with RunFolder(tmp_path).locked():
        pass
    with pytest.raises(FileNotFoundError), RunFolder(tmp_path).locked():
        raise FileNotFoundError("from the block")


def test_a_file_among_the_checkpoints_does_not_end_the_training(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("float-001", "float-002"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "checkpoints" / ".DS_Store").touch()
    run.keep_checkpoint("checkpoints/float-002")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [".DS_Store", "float-002"]


def test_a_history_with_the_columns_of_another_version_is_continued(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.history_path.write_text("stage,epoch,loss,lesions\nfloat,1,0.9,30\nfloat,2,0.8,30\n")
    run.add_history({"stage": "float", "epoch": 2, "loss": 0.7, "val_loss": 0.6})
    assert run.history_path.read_text().splitlines() == [
        "stage,epoch,loss,val_loss,lesions",
        "float,1,0.9,,30",
        "float,2,0.7,0.6,",
    ]


def test_a_cross_validation_in_place_of_a_run_is_told_with_one_of_its_runs(tmp_path: Path) -> None:
    (tmp_path / "cv" / "fold-1").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"'.*cv' is a cross-validation.*; give one of these runs, such as '.*fold-1'"
    ):
        RunFolder(tmp_path / "cv").config()


def test_a_checkpoint_replaces_what_an_interrupted_epoch_left_in_its_folder(tmp_path: Path) -> None:
    """The run was stopped after its checkpoint, and before the progress named it. The epoch is trained again."""
    pytest.importorskip("tensorflow")
    run = RunFolder(tmp_path / "run")
    old, left = (run.path / "checkpoints" / name for name in ("float-001", "float-002"))
    for folder in (old, left):
        folder.mkdir(parents=True)
        (folder / "state").write_text("old")
    checkpoint = SimpleNamespace(write=lambda path: Path(path).write_text("new"))
    saved = run.save_checkpoint(checkpoint, RunProgress(stage="float", epoch=2))
    assert saved.checkpoint == run.progress().checkpoint == "checkpoints/float-002"
    assert (left / "state").read_text() == "new"
    assert not old.exists()

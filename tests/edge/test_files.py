"""Files are written whole or not at all."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from dermedge.edge.errors import StorageError
from dermedge.edge.files import check_file, check_writable, user_folder, write_beside, write_text


def test_a_file_appears_with_its_whole_content_and_no_part_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "whole")
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def write_half(target: Path, error: BaseException) -> None:
    with write_beside(target) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_the_old_file_survives_a_failure_and_no_part_is_left(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "a.png"
    target.write_text("old")
    with pytest.raises((StorageError, KeyboardInterrupt)):
        write_half(target, error)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk_is_said_with_its_cure() -> None:
    with (
        pytest.raises(StorageError, match="disk is full"),
        write_beside("somewhere.txt"),
        open("/dev/full", "w") as full,
    ):
        full.write("x" * 100_000)


def test_the_suffix_is_kept_for_writers_that_choose_by_it(tmp_path: Path) -> None:
    with write_beside(tmp_path / "a.png") as part:
        assert part.suffix == ".png"
        part.touch()


def test_a_link_keeps_pointing_to_the_file_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "there" / "b.txt")
    write_text(link, "whole")
    assert link.is_symlink()
    assert (tmp_path / "there" / "b.txt").read_text() == "whole"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("mode", [0o600, 0o200, 0o664])
def test_a_file_that_others_may_not_read_stays_so(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    write_text(path, "old")
    path.chmod(mode)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert path.read_text() == "new"


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StorageError, match="device or a pipe; give the name of a file"):
        write_text(pipe, "whole")
    assert pipe.is_fifo()


def test_a_file_where_a_folder_must_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(StorageError, match="a file is in the way"):
        write_text(tmp_path / "a" / "b.txt", "whole")


def test_a_name_that_is_not_utf8_leaves_json_that_can_be_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_text(tmp_path / "a.json", json.dumps(name, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text()) == name


def test_asking_whether_a_folder_can_be_written_makes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_the_content_is_on_the_disk_before_the_file_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        done.append(("fsync", os.fstat(descriptor).st_ino))
        # This fails unless the file is open for writing. Windows flushes only such files.
        os.write(descriptor, b"")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        done.append(("replace", source.stat().st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_text(tmp_path / "a.txt", "whole")
    inode = (tmp_path / "a.txt").stat().st_ino
    assert done == [("fsync", inode), ("replace", inode)]


def test_a_folder_must_be_writable_and_searchable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root has all permissions, so the test replaces the answer of the system
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.W_OK)
    with pytest.raises(StorageError, match="you have no permission"):
        check_writable(tmp_path / "new")


def test_a_file_is_refused_if_it_is_a_device_a_folder_or_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_file(tmp_path / "file")
    check_file(tmp_path / "new" / "file")
    for path, reason in (
        (Path("/dev/null"), "it is a device or a pipe"),
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "below", "a part of the path is a file"),
    ):
        with pytest.raises(StorageError, match=f"cannot write '.*': {reason}"):
            check_file(path)


def test_a_user_without_a_home_folder_is_told_which_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(unknown))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(StorageError, match="set the environment variable HOME or XDG_CACHE_HOME"):
        user_folder("XDG_CACHE_HOME", ".cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder("XDG_CACHE_HOME", ".cache") == tmp_path / "dermedge"

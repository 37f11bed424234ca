"""Images that several viewers save at once."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import StorageError
from dermedge.edge.views import saves as saves_module
from dermedge.edge.views.saves import Saves


def test_of_viewers_who_save_at_once_one_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def slow_fsync(descriptor: int) -> None:
        time.sleep(0.05)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    # On a busy machine, half a second may pass before the last viewer has its turn. So the least interval is set to a
    # minute.
    monkeypatch.setattr(saves_module, "_LEAST_INTERVAL_S", 60.0)
    saves, ready = Saves(tmp_path), threading.Barrier(8)
    saved, refused = list[str](), list[str]()

    def save() -> None:
        ready.wait(10)
        try:
            saved.append(saves.add(b"an image"))
        except StorageError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=save, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(saved), len(refused)) == (1, 7)
    assert [path.name for path in tmp_path.iterdir()] == saved


def test_two_images_are_half_a_second_apart_and_the_last_fifty_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [50.0]
    monkeypatch.setattr(saves_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    saves = Saves(tmp_path)
    first = saves.add(b"an image")
    clock[0] += 0.49
    with pytest.raises(StorageError, match="an image was saved a moment ago; try again"):
        saves.add(b"another")
    names = [first]
    for _ in range(50):
        clock[0] += 0.51
        names.append(saves.add(b"another"))
    assert saves.names == names[:0:-1]
    assert saves.path(first) is None
    assert saves.path(names[-1]) == tmp_path / names[-1]
    assert saves.path("../elsewhere.png") is None
    assert len(set(names)) == 51


def test_all_saved_images_of_a_folder_together_have_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saves_module, "_LEAST_INTERVAL_S", 0)
    assert saves_module.LIMIT_MB == 500
    monkeypatch.setattr(saves_module, "LIMIT_MB", 0.002)
    (tmp_path / "dermedge-earlier.png").write_bytes(bytes(1200))
    (tmp_path / "another.png").write_bytes(bytes(5000))
    saves = Saves(tmp_path)
    with pytest.raises(StorageError, match=r"have reached the limit of 0\.002 MB"):
        saves.add(bytes(801))
    assert saves.names == []
    assert (tmp_path / saves.add(bytes(800))).stat().st_size == 800


def test_a_broken_link_among_the_saved_images_stops_no_other(tmp_path: Path) -> None:
    """If the user deletes an image at the same moment, the same error occurs."""
    (tmp_path / "dermedge-linked.png").symlink_to(tmp_path / "gone.png")
    assert (tmp_path / Saves(tmp_path).add(b"png")).is_file()


def test_a_thumbnail_is_240_pixels_wide_and_keeps_the_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saves_module, "_LEAST_INTERVAL_S", 0)
    saves = Saves(tmp_path)
    content = cv2.imencode(".png", np.full((300, 480, 3), (200, 100, 50), np.uint8))[1].tobytes()
    small = saves.thumbnail(saves.add(content))
    assert small is not None
    image = cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (150, 240, 3)
    assert image.mean(axis=(0, 1)) == pytest.approx((200, 100, 50), abs=3)
    assert saves.thumbnail("unknown.png") is None
    assert saves.thumbnail(saves.add(b"no image")) is None


def test_an_image_that_cannot_be_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        Saves(tmp_path).add(b"an image")
    assert list(tmp_path.iterdir()) == []

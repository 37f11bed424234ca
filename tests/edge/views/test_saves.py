"""Images that several viewers save at once."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

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
    # on a busy machine, half a second may pass before the last viewer has its turn
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

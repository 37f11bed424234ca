"""A run folder may lack files or have damaged ones, as after an interrupted copy."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf

from dermedge.edge.errors import DataError
from dermedge.train.data.catalogue import Catalogue
from dermedge.train.fit.networks import build_network
from dermedge.train.fit.run_folder import Config, RunFolder, RunProgress
from dermedge.train.fit.run_networks import save_weights, start_network, trained_network


def _half_zeros(content: bytes) -> bytes:
    return content[: len(content) // 2].ljust(len(content), b"\0")


@pytest.mark.parametrize("damage", [lambda _: b"", lambda content: content[: len(content) // 2], _half_zeros])
def test_damaged_weights_are_named(
    tmp_path: Path, run_settings: Config, damage: Callable[[bytes], bytes]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(run_settings, Catalogue((), run_settings.classes, {}))
    weights = run.weights_path("float")
    save_weights(build_network("cnn", 32, 2), weights)
    trained_network(run, "float")
    weights.write_bytes(damage(weights.read_bytes()))
    said = f"cannot load the weights '{weights}': .*; copy the whole run folder again"
    with pytest.raises(DataError, match=said):
        trained_network(run, "float")
    with pytest.raises(DataError, match=said):
        start_network(replace(run_settings, weights=str(run.path)))


def test_a_checkpoint_is_on_the_disk_before_the_earlier_one_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    checkpoint = tf.train.Checkpoint(number=tf.Variable(3.0))
    earlier = tmp_path / run.save_checkpoint(checkpoint, RunProgress(epoch=1)).checkpoint
    on_disk: list[tuple[int, bool]] = []

    def note(handle: int) -> None:
        os.write(handle, b"")  # Windows flushes only files that are open for writing
        on_disk.append((os.fstat(handle).st_ino, earlier.is_dir()))

    monkeypatch.setattr(RunFolder, "save_progress", lambda *_: None)
    monkeypatch.setattr("os.fsync", note)
    later = tmp_path / run.save_checkpoint(checkpoint, RunProgress(epoch=2)).checkpoint
    assert not earlier.exists()
    files = list(later.iterdir())
    assert len(files) == 2
    assert {(path.stat().st_ino, True) for path in files} <= set(on_disk)


@pytest.mark.parametrize("damage", ["emptied", "cut", "removed", "all removed"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    run = RunFolder(tmp_path / "run")
    number = tf.Variable([3.0] * 100)
    progress = run.save_checkpoint(tf.train.Checkpoint(number=number), RunProgress(epoch=1))
    number.assign([0.0] * 100)
    run.restore_checkpoint(tf.train.Checkpoint(number=number), progress.checkpoint)
    assert number.numpy().tolist() == [3.0] * 100
    folder = run.path / progress.checkpoint
    [data] = folder.glob("*.data-*")
    if damage in ("emptied", "cut"):
        data.write_bytes(data.read_bytes()[: 8 if damage == "cut" else 0])
    for path in {"removed": [data], "all removed": list(folder.iterdir())}.get(damage, []):
        path.unlink()
    with pytest.raises(
        DataError, match=f"cannot read the checkpoint '{folder}': .*; copy the whole run folder"
    ):
        run.restore_checkpoint(tf.train.Checkpoint(number=number), progress.checkpoint)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    progress = run.save_checkpoint(tf.train.Checkpoint(kernel=tf.Variable([3.0] * 4)), RunProgress(epoch=1))
    with pytest.raises(
        DataError, match=r"cannot read the checkpoint '.*': Received incompatible tensor .* \(4,\)"
    ):
        run.restore_checkpoint(tf.train.Checkpoint(kernel=tf.Variable([0.0] * 5)), progress.checkpoint)

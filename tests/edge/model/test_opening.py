"""What a model is opened with: threads, and the preprocessing that it was trained with."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.errors import ModelError, OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import Manifest, attach, read_manifest, strip
from dermedge.edge.model.runtime import open_interpreter, without_native_log

TASKS = Path("/proc/self/task")


def threads_of_opening(model: Path, num_threads: int) -> int:
    """Returns how many threads the process starts for the open model."""
    before = len(list(TASKS.iterdir()))
    with Classifier(model, num_threads=num_threads) as classifier:
        assert classifier.num_threads == num_threads
        # tflite-runtime starts its threads only at the first inference
        classifier.predict(np.zeros((64, 64, 3), np.uint8))
        return len(list(TASKS.iterdir())) - before


@pytest.mark.skipif(not TASKS.is_dir(), reason="this system does not list the threads of a process")
def test_the_runtime_gets_the_number_of_threads(model_path: Path) -> None:
    one, two, four = (threads_of_opening(model_path, number) for number in (1, 2, 4))
    # The caller's own thread computes too, so one thread needs no other. tflite-runtime has two thread pools.
    assert (one, four) == (0, 3 * two)
    assert two in (1, 2)


@pytest.mark.skipif(not TASKS.is_dir(), reason="this system does not list the open files of a process")
def test_the_log_of_the_runtime_is_discarded_and_no_file_stays_open(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with without_native_log():
            os.write(2, b"a line of C++ code")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.write(2, b"a line of ours")
    assert capfd.readouterr().err == "a line of ours"


def without_digest(manifest: Manifest) -> str:
    """The manifest as an older version of dermedge wrote it."""
    return replace(manifest, network_sha256=None).to_json()


@pytest.mark.parametrize("states", [False, True])
def test_tflite_runtime_opens_an_unproven_file_in_a_child_process_first(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: bool
) -> None:
    pytest.importorskip("tflite_runtime")
    manifest = read_manifest(model_path)
    assert manifest is not None
    model = tmp_path / "m.tflite"
    model.write_bytes(strip(model_path.read_bytes()))
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr("dermedge.json", manifest.to_json() if states else without_digest(manifest))
    programs: list[object] = []

    def run(command: list[str], **settings: object) -> subprocess.CompletedProcess[bytes]:
        programs.append(command[0])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("dermedge.edge.model.runtime.subprocess.run", run)
    open_interpreter(model, 1, "tflite-runtime")
    assert programs == ([] if states else [sys.executable])


@pytest.mark.parametrize("number", [0, -1, 1025, 2**31, 10**20])
def test_a_number_of_threads_that_no_device_has_is_refused(model_path: Path, number: int) -> None:
    with pytest.raises(OptionError, match=f"--num-threads is {number}; it must be from 1 to 1024"):
        open_interpreter(model_path, number)


def test_a_model_of_another_preprocessing_is_refused(model_path: Path, tmp_path: Path) -> None:
    manifest = read_manifest(model_path)
    assert manifest is not None
    assert (
        manifest.preprocessing == "centre square less a rest of 1/15, 2x2 means, exact bilinear, RGB, uint8"
    )
    path = tmp_path / "other.tflite"
    path.write_bytes(attach(model_path.read_bytes(), replace(manifest, preprocessing="letterbox-2")))
    with pytest.raises(ModelError, match="needs the preprocessing 'letterbox-2', and this dermedge has"):
        Classifier(path)

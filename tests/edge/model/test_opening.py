"""What a model is opened with: threads, and the preprocessing that it was trained with."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermedge.edge.errors import ModelError, OptionError
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.manifest import attach, read_manifest
from dermedge.edge.model.runtime import open_interpreter, without_native_log

TASKS = Path("/proc/self/task")


def threads_of_opening(model: Path, num_threads: int) -> int:
    """How many threads the process has more while the model is open."""
    before = len(list(TASKS.iterdir()))
    with Classifier(model, num_threads=num_threads) as classifier:
        assert classifier.num_threads == num_threads
        # tflite-runtime starts its threads when they are needed first
        classifier.predict(np.zeros((64, 64, 3), np.uint8))
        return len(list(TASKS.iterdir())) - before


@pytest.mark.skipif(not TASKS.is_dir(), reason="this system does not list the threads of a process")
def test_the_runtime_gets_the_number_of_threads(model_path: Path) -> None:
    one, two, four = (threads_of_opening(model_path, number) for number in (1, 2, 4))
    # the caller's own thread computes too; tflite-runtime has two pools
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


def test_fewer_than_one_thread_is_refused(model_path: Path) -> None:
    with pytest.raises(OptionError, match="--num-threads is 0; it must be 1 or more"):
        open_interpreter(model_path, 0)


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

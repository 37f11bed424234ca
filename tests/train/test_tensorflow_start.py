"""TensorFlow starts without a line of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")

_STARTED = """
from dermedge.train.tensorflow_start import load_tensorflow
load_tensorflow()
import tensorflow as tf
assert (tf.constant(1) + 1).numpy() == 2
"""


def test_nothing_is_written() -> None:
    ended = subprocess.run([sys.executable, "-c", _STARTED], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

"""What the tests of the phone app need beside Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no Node.js; `make test-phone` installs it where it can")
    return path

"""A runtime opens a model without a word of its own on standard error."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dermedge.edge.model.runtime import open_interpreter, without_native_log

TIMEOUT_S = 60


def test_the_native_log_is_dropped_and_standard_error_is_there_again(
    model_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    open_interpreter(model_path)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


class RedirectingThread(threading.Thread):
    """A thread that keeps standard error redirected until it may leave."""

    def __init__(self) -> None:
        super().__init__()
        self.is_inside, self.may_leave = threading.Event(), threading.Event()

    def run(self) -> None:
        with without_native_log():
            self.is_inside.set()
            self.may_leave.wait()


def test_standard_error_is_there_again_after_two_threads_have_opened_models(
    capfd: pytest.CaptureFixture[str],
) -> None:
    other = RedirectingThread()
    with without_native_log():
        other.start()
        other.is_inside.wait(timeout=0.2)  # the other thread must not come in now
    other.may_leave.set()
    other.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_was_forked_during_a_redirection_can_open_models(model_path: Path) -> None:
    other = RedirectingThread()
    other.start()
    other.is_inside.wait()
    child = multiprocessing.get_context("fork").Process(target=open_interpreter, args=(model_path,))
    child.start()
    child.join(TIMEOUT_S)
    child.kill()
    other.may_leave.set()
    other.join()
    assert child.exitcode == 0


def test_a_model_opens_where_standard_error_is_closed(model_path: Path) -> None:
    program = "import os, sys; os.close(2)\n" + (
        "from dermedge.edge.model.runtime import open_interpreter; open_interpreter(sys.argv[1]); print('open')"
    )
    command = [sys.executable, "-c", program, str(model_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, "open\n")

"""Ctrl-C during the training."""

import os
import signal

import pytest

from dermedge.train.fit.interrupts import InterruptGuard


def test_an_interrupt_that_a_library_loses_is_raised_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with InterruptGuard() as guard:
        guard.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            guard.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_background_job_that_ignores_ctrl_c_goes_on() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with InterruptGuard() as guard:
            os.kill(os.getpid(), signal.SIGINT)
            guard.check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

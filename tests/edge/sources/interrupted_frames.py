"""Interrupts the consumer of live frames at random moments, again and again; prints how many sessions have ended."""

from __future__ import annotations

import faulthandler
import random
import signal
import sys
import time
from types import FrameType

import numpy as np

from dermedge.edge.sources.frame import Frame, FrameSource, live_frame
from dermedge.edge.sources.latest import LatestFrame

# A session lasts a few milliseconds. One that has not ended after this time hangs.
HANGS_S = 20.0


class Interrupted(BaseException):
    """The signal raises this exception, at whatever place the consumer is at that moment."""


class FastCamera(FrameSource):
    """A source of some thousand frames a second."""

    is_live = True

    def read(self) -> Frame:
        time.sleep(0.0002)
        return live_frame(np.zeros((4, 4, 3), np.uint8), 1, "camera")

    def close(self) -> None: ...


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def main(sessions: int) -> None:
    signal.signal(signal.SIGALRM, interrupt)
    moments = random.Random(1)
    ended = 0
    for _ in range(sessions):
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        try:
            with LatestFrame(FastCamera()) as latest:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.001, 0.006))
                while True:
                    latest.read()
                    latest.newer()
        except Interrupted:
            ended += 1
    print(ended)


if __name__ == "__main__":
    main(int(sys.argv[1]))

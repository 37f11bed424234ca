"""Makes sure that Ctrl-C has an effect even while the code of a library runs."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["InterruptGuard"]


class InterruptGuard:
    """Remembers whether Ctrl-C was pressed within a ``with`` block.

    A KeyboardInterrupt is lost if it is raised in a destructor, in a callback of C code, or in code whose errors a
    library catches with a bare ``except``. The method `check` raises such a lost interrupt again. Outside the main
    thread, the guard does nothing, because only the main thread receives signals. The guard also does nothing if the
    process ignores Ctrl-C, as a background job of a shell script does.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> InterruptGuard:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed since the block began."""
        if self._came:
            raise KeyboardInterrupt

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        signal.default_int_handler(number, frame)

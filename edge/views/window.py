"""Shows results in a window. The keys are listed in `_KEYS`.

dermedge installs the package opencv-python-headless, which cannot open a window. The package opencv-python can open a
window, but it needs libGL, which a machine without a desktop does not have. To use the window view, run ``pip uninstall
opencv-python-headless``, then ``pip install opencv-python``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

import cv2

from dermedge.edge.errors import OptionError, StorageError
from dermedge.edge.installation import pip_command
from dermedge.edge.photos import encode_image
from dermedge.edge.printable import printable
from dermedge.edge.results import FrameResult
from dermedge.edge.views.paint import paint_result
from dermedge.edge.views.saves import Saves

__all__ = ["WindowView", "why_no_window"]

_TITLE = "dermedge"
_KEYS = "q quits, s saves the frame, h shows or hides the heat map, space freezes the frame"
_KEY_WAIT_MS = 1
_FROZEN_WAIT_MS = 30
_QUIT_KEYS = (ord("q"), 27)


def why_no_window() -> str | None:
    """Returns None if a window can be opened. Otherwise, returns the reason and the cure."""
    gui = [line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")]
    if not gui or gui[0].split(":")[1].strip() in ("", "NONE"):
        return (
            "the installed OpenCV cannot open windows; replace it: "
            f"{pip_command('uninstall', 'opencv-python-headless')}, then {pip_command('install', 'opencv-python')}"
        )
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set); use --view terminal"
    return None


class WindowView:
    """Shows the painted frame in a window, and reacts to the keys that `_KEYS` lists.

    Raises:
        OptionError: if no window can be opened. The message names the cure.
    """

    def __init__(self) -> None:
        reason = why_no_window()
        if reason:
            raise OptionError(reason)
        self._last: FrameResult | None = None
        self._heat = False
        self._frozen = False
        self._saves = Saves(Path())

    def __enter__(self) -> WindowView:
        # silences a warning of Qt about missing fonts, which the window does not use
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        print(f"{_TITLE}: {_KEYS}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()

    def show(self, result: FrameResult) -> bool:
        if self._last is None:
            height, width = paint_result(result).shape[:2]
            cv2.resizeWindow(_TITLE, width, height)
        self._last = result
        self._repaint(result)
        going_on = self._handle_key(result, _KEY_WAIT_MS)
        while going_on and self._frozen:
            going_on = self._handle_key(result, _FROZEN_WAIT_MS)
        return going_on

    def finish(self) -> None:
        while self._last is not None and self._handle_key(self._last, _FROZEN_WAIT_MS):
            pass

    def _repaint(self, result: FrameResult) -> None:
        cv2.imshow(_TITLE, paint_result(result, self._heat))

    def _handle_key(self, result: FrameResult, wait_ms: int) -> bool:
        """Waits at most ``wait_ms`` for a key, and reacts to the key.

        Returns False if the user pressed a key that quits, or closed the window, and True otherwise.
        """
        key = cv2.waitKey(wait_ms) & 0xFF
        if key == ord(" "):
            self._frozen = not self._frozen
        elif key == ord("h"):
            self._heat = not self._heat
            self._repaint(result)
        elif key == ord("s") and result.frame is not None:
            self._save(encode_image(paint_result(result, self._heat), ".png"))
        return key not in _QUIT_KEYS and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def _save(self, content: bytes) -> None:
        """Saves a PNG image in the working folder. If saving fails, prints the reason and lets the run continue."""
        try:
            print(f"saved {self._saves.add(content)}")
        except StorageError as error:
            print(f"dermedge: error: {printable(str(error))}", file=sys.stderr)

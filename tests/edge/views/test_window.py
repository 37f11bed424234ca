"""When a window is possible, and its keys."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import OptionError
from dermedge.edge.results import Classification, FrameResult
from dermedge.edge.views.open import VIEWS, open_best
from dermedge.edge.views.terminal import TerminalView
from dermedge.edge.views.window import why_no_window

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_an_opencv_without_windows_names_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n")
    with pytest.raises(OptionError, match="pip uninstall opencv-python-headless"):
        VIEWS["window"]()


def test_without_a_screen_the_terminal_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           QT5\n")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert isinstance(open_best(), TerminalView)
    monkeypatch.setenv("DISPLAY", ":0")
    assert why_no_window() is None


class FakeScreen:
    """Takes the place of cv2's window functions. Each call of `waitKey` returns the next of ``keys``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
        self.keys = [ord(key) for key in keys]
        self.shown: list[np.ndarray] = []
        monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI: QT5\n")
        monkeypatch.setenv("DISPLAY", ":0")
        self.sizes: list[tuple[int, int]] = []
        monkeypatch.setattr(cv2, "resizeWindow", lambda title, *size: self.sizes.append(size))
        for name in ("namedWindow", "destroyAllWindows"):
            monkeypatch.setattr(cv2, name, lambda *arguments: None)
        monkeypatch.setattr(cv2, "imshow", lambda title, image: self.shown.append(image))
        monkeypatch.setattr(cv2, "waitKey", lambda wait: self.keys.pop(0) if self.keys else -1)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda title, what: 1.0)


def test_q_quits(monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult]) -> None:
    screen = FakeScreen(monkeypatch, "xq")
    with VIEWS["window"]() as view:
        assert view.show(make_result())
        assert not view.show(make_result())
    # the window has the size of the first image; the user may change it afterwards
    height, width = screen.shown[0].shape[:2]
    assert screen.sizes == [(width, height)]


def test_h_shows_the_heat_map(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult]
) -> None:
    screen = FakeScreen(monkeypatch, "h")
    with VIEWS["window"]() as view:
        view.show(make_result())
    plain, hot = screen.shown
    assert not np.array_equal(plain, hot)


def test_h_again_hides_the_heat_map_and_the_escape_key_quits(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = FakeScreen(monkeypatch, "hsh\x1b")
    with VIEWS["window"]() as view:
        assert [view.show(make_result()) for _ in range(4)] == [True, True, True, False]
    plain, hot, still_hot, _, *again = screen.shown
    assert np.array_equal(hot, still_hot)
    assert not np.array_equal(plain, hot)
    assert all(np.array_equal(plain, one) for one in again)
    [saved] = tmp_path.iterdir()
    assert np.array_equal(cv2.imread(str(saved)), hot), "an image is saved as it is shown"


def test_closing_the_window_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult]
) -> None:
    FakeScreen(monkeypatch, "x")
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, what: 0.0)
    with VIEWS["window"]() as view:
        assert not view.show(make_result())
        view.finish()


def test_s_saves_the_picture(
    monkeypatch: pytest.MonkeyPatch,
    make_result: Callable[..., FrameResult],
    make_classification: Callable[..., Classification],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = FakeScreen(monkeypatch, "s")
    with VIEWS["window"]() as view:
        view.show(make_result(classification=make_classification(number=42)))
    [saved] = tmp_path.iterdir()
    assert re.fullmatch(r"dermedge-\d{8}T\d{6}\.\d{3}Z\.png", saved.name)
    assert np.array_equal(cv2.imread(str(saved)), screen.shown[0])


def test_s_overwrites_no_image_of_an_earlier_run(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        FakeScreen(monkeypatch, "s")
        with VIEWS["window"]() as view:
            view.show(make_result())
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_told_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    make_result: Callable[..., FrameResult],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)
    FakeScreen(monkeypatch, "sx")
    with VIEWS["window"]() as view:
        assert view.show(make_result())
    assert "the disk is full; free some space and try again" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_space_freezes_until_space(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult]
) -> None:
    screen = FakeScreen(monkeypatch, " xx q")
    with VIEWS["window"]() as view:
        assert view.show(make_result())
        assert screen.keys == [ord("q")], "the frozen picture waits for the second space"
        assert not view.show(make_result())


def test_the_window_of_a_picture_stays_until_a_key(
    monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., FrameResult]
) -> None:
    screen = FakeScreen(monkeypatch, "xxxq")
    with VIEWS["window"]() as view:
        view.show(make_result())
        view.finish()
    assert screen.keys == []

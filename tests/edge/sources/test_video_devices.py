"""Cameras are found by links, and by what sysfs tells about them. The tests use trees of temporary files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.edge.errors import SourceError
from dermedge.edge.sources import video_devices
from dermedge.edge.sources.camera import CameraMode, CameraOpener
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.video_devices import find_again, identify, is_device

MODE = CameraMode()


class Machine:
    """A machine with its own /dev and /sys, into which a test plugs cameras."""

    def __init__(self, folder: Path) -> None:
        self.dev = folder / "dev"
        self.sys = folder / "sys"
        self.classes = self.sys / "class" / "video4linux"
        for one in (self.dev / "v4l" / "by-id", self.classes):
            one.mkdir(parents=True)

    def plug(
        self, number: int, port: str = "1-1", serial: str = "", product: str = "0825", index: int = 0
    ) -> Path:
        """Plugs a USB camera into a port, and returns its node."""
        device = self.sys / "devices" / "usb1" / port
        interface = device / f"{port}:1.0"
        entry = interface / "video4linux" / f"video{number}"
        entry.mkdir(parents=True)
        for name, text in (("idVendor", "046d"), ("idProduct", product), ("serial", serial)):
            if text:
                (device / name).write_text(f"{text}\n")
        (entry / "index").write_text(f"{index}\n")
        (entry / "name").write_text("Webcam\n")
        (entry / "device").symlink_to(interface)
        (self.classes / entry.name).symlink_to(entry)
        node = self.dev / entry.name
        node.write_bytes(b"")
        return node

    def unplug(self, node: Path) -> None:
        entry = self.classes / node.name
        shutil.rmtree(entry.resolve())
        entry.unlink()
        node.unlink()


class Node:
    """A cv2.VideoCapture of a node. It is open if the node exists."""

    def __init__(self, machine: Machine, target: int | str) -> None:
        self.target = target
        node = machine.dev / f"video{target}" if isinstance(target, int) else Path(target)
        self._is_there = node.exists()

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self._is_there

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((48, 64, 3), np.uint8)

    def get(self, key: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0}.get(key, 0.0)

    def release(self) -> None: ...


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(video_devices, "_DEV", made.dev)
    monkeypatch.setattr(video_devices, "_SYSFS", made.classes)
    return made


@pytest.fixture
def opened(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[int | str]:
    """The calls that open a camera, in their order."""
    asked: list[int | str] = []

    def open_node(target: int | str, *_: object) -> Node:
        asked.append(target)
        return Node(machine, target)

    monkeypatch.setattr(cv2, "VideoCapture", open_node)
    return asked


def test_cameras_are_sought_where_linux_keeps_them() -> None:
    assert Path("/dev") == video_devices._DEV
    assert Path("/sys/class/video4linux") == video_devices._SYSFS


def test_a_link_to_a_camera_is_a_camera_and_other_links_are_not(machine: Machine, tmp_path: Path) -> None:
    link = machine.dev / "v4l" / "by-id" / "usb-Webcam-video-index0"
    link.symlink_to("../../video2")
    mine = tmp_path / "my camera"
    mine.symlink_to(link)
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"")
    other = tmp_path / "link"
    other.symlink_to(photo)
    assert all(map(is_device, ("0", "12", "/dev/null", str(link), str(mine), str(machine.dev / "video7"))))
    assert not any(
        map(is_device, ("demo", str(other), str(machine.dev), "12345678901234567890", "", "x" * 5000))
    )


def test_a_link_is_followed_at_each_opening(machine: Machine, opened: list[int | str]) -> None:
    link = machine.dev / "v4l" / "by-id" / "usb-Webcam-video-index0"
    open_again = CameraOpener(str(link), MODE)
    for number in (2, 5):
        machine.plug(number)
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../video{number}")
        open_again()
        machine.unplug(machine.dev / f"video{number}")
    assert opened == [2, 5]


def test_a_link_without_its_camera_is_named(machine: Machine, opened: list[int | str]) -> None:
    link = machine.dev / "v4l" / "by-id" / "usb-Webcam-video-index0"
    link.symlink_to("../../video2")
    with pytest.raises(SourceError, match=f"cannot open '{link}': check that the camera is connected"):
        open_source(str(link))


def test_a_camera_that_is_absent_lists_the_others_by_number(
    machine: Machine, opened: list[int | str]
) -> None:
    with pytest.raises(SourceError, match=r"There is no /dev/video\*;"):
        open_source("7")
    for number in (10, 2):
        machine.plug(number)
    (machine.dev / "video2-left").touch()
    with pytest.raises(SourceError, match=f"There are {machine.dev}/video2, {machine.dev}/video10;"):
        open_source("7")


def test_a_device_of_any_other_name_is_opened_by_its_path(machine: Machine, opened: list[int | str]) -> None:
    node = machine.dev / "endoscope"
    node.write_bytes(b"")
    CameraOpener(str(node), MODE)()
    assert opened == [str(node)]


@pytest.mark.parametrize(("port", "serial"), [("1-1", ""), ("1-4", "A1B2"), ("1-4", "")])
def test_a_camera_is_found_under_another_number(
    port: str, serial: str, machine: Machine, opened: list[int | str]
) -> None:
    """It is found by its port, by its serial number, or because it is the only camera of its model."""
    node = machine.plug(0, serial=serial)
    machine.plug(1, port="1-9", product="9999")
    open_again = CameraOpener("0", MODE)
    open_again()
    machine.unplug(node)
    machine.plug(3, port, serial)
    camera = open_again()
    assert opened == [0, 3]
    frame = camera.read()
    assert frame is not None
    assert frame.name == "0", "as the user named it"


def test_another_camera_under_the_old_number_is_never_taken_for_it(
    machine: Machine, opened: list[int | str]
) -> None:
    node = machine.plug(0, serial="A1B2")
    twin = machine.plug(2, port="1-2")
    open_again = CameraOpener(str(machine.dev / "video0"), MODE)
    open_again()
    machine.unplug(node)
    machine.unplug(twin)
    machine.plug(0, port="1-2")
    with pytest.raises(SourceError, match="the camera is gone; plug it in again"):
        open_again()
    assert opened == [0]


def test_a_twin_that_was_there_beside_it_is_never_taken_for_it(machine: Machine) -> None:
    wanted = identify(machine.plug(0))
    twin = identify(machine.plug(2, port="1-2"))
    assert wanted
    assert twin
    machine.unplug(machine.dev / "video0")
    assert find_again(wanted) == machine.dev / "video2", "a new one of its model"
    assert find_again(wanted, frozenset({twin.bus})) is None


def test_the_node_for_metadata_is_not_the_camera(machine: Machine) -> None:
    wanted = identify(machine.plug(0))
    assert wanted
    machine.unplug(machine.dev / "video0")
    machine.plug(1, index=1)
    assert find_again(wanted) is None


def test_a_camera_that_sysfs_does_not_know_is_opened_by_its_number(
    machine: Machine, opened: list[int | str], make_node: Callable[[int], Path]
) -> None:
    make_node(4)
    open_again = CameraOpener("4", MODE)
    open_again()
    open_again()
    assert opened == [4, 4]


@pytest.fixture
def make_node(machine: Machine) -> Callable[[int], Path]:
    """A function that makes a node that is not in sysfs, as in a container."""

    def make(number: int) -> Path:
        node = machine.dev / f"video{number}"
        node.write_bytes(b"")
        return node

    return make

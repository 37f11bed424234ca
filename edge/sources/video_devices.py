"""Identifies the camera behind a number or path with Linux's sysfs, to find the camera again if its number changes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CameraIdentity",
    "device_path",
    "find_again",
    "identified",
    "identify",
    "is_device",
    "video_nodes",
]

# On Linux, `_DEV` contains the device nodes, such as video0. `_SYSFS` contains one folder for each video device, which
# describes the device. Tests set other folders.
_DEV = Path("/dev")
_SYSFS = Path("/sys/class/video4linux")
_NUMBER = r"[0-9]{1,4}"
_NODE = rf"video{_NUMBER}"
# sysfs states the vendor, the product and the serial number of a USB camera in the folder of the USB device. `identify`
# finds this folder by following the link `device` of the video device, and then going up at most this many levels.
_USB_LEVELS = 3


@dataclass(frozen=True)
class CameraIdentity:
    """The information by which a camera is recognized after its number has changed.

    Attributes:
        bus: the path of the camera's device in sysfs, which tells where the camera is plugged in.
        model: for a USB camera, the numbers of the vendor and the product. For any other camera, the name that the
            driver gives to the camera.
        serial: the serial number of a USB camera. It is empty if the camera has no serial number.
        index: the number of this device node among all device nodes of the camera. Webcams have a second device node,
            which delivers metadata.
    """

    bus: str
    model: str
    serial: str
    index: str


def is_device(spec: str) -> bool:
    """Tells whether a source's name means a camera: a number, the path of a device, or a link to one.

    The name of a camera that is not plugged in also means a camera.
    """
    if re.fullmatch(_NUMBER, spec):
        return True
    path = os.path.realpath(spec)
    if os.path.exists(path):
        return Path(path).is_char_device()
    return Path(path).is_relative_to(_DEV)


def device_path(spec: str) -> Path:
    """Returns the path of the device that a number, a path or a link means at this moment."""
    return _DEV / f"video{int(spec)}" if re.fullmatch(_NUMBER, spec) else Path(os.path.realpath(spec))


def video_nodes(folder: Path | None = None) -> list[Path]:
    """Returns the paths in a folder that are named like video devices, such as video0, in the order of the numbers.

    Args:
        folder: a folder in which Linux names video devices. None means the folder of the device nodes.
    """
    nodes = [path for path in (folder or _DEV).glob("video*") if re.fullmatch(_NODE, path.name)]
    return sorted(nodes, key=lambda path: int(path.name.removeprefix("video")))


def identify(node: Path) -> CameraIdentity | None:
    """Returns the identity of the camera at ``/dev/videoN``, or None if sysfs does not describe the camera."""
    entry = _SYSFS / node.name
    if not re.fullmatch(_NODE, node.name) or not (entry / "device").exists():
        return None
    device = (entry / "device").resolve()
    usb = next((one for one in (device, *device.parents[:_USB_LEVELS]) if (one / "idVendor").is_file()), None)
    index = _text(entry / "index")
    if usb is None:
        return CameraIdentity(str(device), _text(entry / "name"), "", index)
    model = f"{_text(usb / 'idVendor')}:{_text(usb / 'idProduct')}"
    return CameraIdentity(str(device), model, _text(usb / "serial"), index)


def find_again(wanted: CameraIdentity, others: frozenset[str] = frozenset()) -> Path | None:
    """Returns the present path of a camera, or None if the camera is gone.

    The camera is recognized by its serial number, or by the place where it is plugged in. A camera without a serial
    number is also recognized if it is the only one of its model.

    Args:
        wanted: the identity of the camera.
        others: the `CameraIdentity.bus` of each camera that was connected at the same time as the wanted camera. Such a
            camera cannot be the wanted one.
    """
    alike = [
        (node, one)
        for node, one in identified()
        if (one.model, one.index) == (wanted.model, wanted.index) and one.bus not in others
    ]
    for node, one in alike:
        if one.bus == wanted.bus or (wanted.serial and one.serial == wanted.serial):
            return node
    return alike[0][0] if len(alike) == 1 and not wanted.serial else None


def identified() -> Iterator[tuple[Path, CameraIdentity]]:
    """Yields the path and the identity of each video device that exists, in the order of their numbers."""
    for entry in video_nodes(_SYSFS):
        node = _DEV / entry.name
        identity = identify(node)
        if identity is not None:
            yield node, identity


def _text(path: Path) -> str:
    """Returns the content of a file in sysfs, which is one line, or an empty text if there is no file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

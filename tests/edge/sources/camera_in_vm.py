"""Runs in a virtual machine with the kernel's vivid camera, and shows what a real device does to a loop.

The program freezes, stalls, unplugs and plugs the camera. For each event, it prints a JSON object: what was done, and
the frame or the outage that followed.
"""

from __future__ import annotations

import fcntl
import json
import struct
import time
from pathlib import Path

from dermedge.edge.errors import SourceError
from dermedge.edge.sources.latest import Arrival, LatestFrame, Outage
from dermedge.edge.sources.open import open_source
from dermedge.edge.sources.video_devices import identified

DEVICE = "/dev/video0"
DRIVER = Path("/sys/bus/platform/drivers/vivid")
VIDIOC_S_CTRL = 0xC008561C
# The numbers of two settings of vivid. TEXT is the text over its frames: 0 is a counter, and 2 is no text.
# DROPPED_PERCENT is the share of frames that are left out.
TEXT, DROPPED_PERCENT = 0x00F0F001, 0x00F0F040
PATIENCE_S = 60


def set_control(identity: int, value: int) -> None:
    with open(DEVICE, "rb") as device:
        fcntl.ioctl(device, VIDIOC_S_CTRL, struct.pack("Ii", identity, value))


def tell(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def tell_next(event: str, latest: LatestFrame, kind: type, saying: str = "") -> None:
    """Prints the next frame or, if ``kind`` is `Outage`, the next outage whose reason contains ``saying``."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = latest.read()
        if isinstance(found, Arrival) and kind is Arrival:
            frame = found.frame
            tell(event, number=frame.number, shape=frame.image_bgr.shape, repeated=frame.repeated)
            return
        if isinstance(found, Outage) and kind is Outage and saying in found.reason:
            tell(event, reason=found.reason)
            return
    tell(event, missing=True)


def main() -> None:
    for asked in ({"focus": "auto"}, {"lock_exposure": True}, {"lock_white_balance": True}):
        try:
            open_source(DEVICE, **asked).close()
            tell("asked", refused=None)
        except SourceError as error:
            tell("asked", refused=str(error))
    link = Path("/run/my camera")  # the root is read-only
    link.symlink_to(DEVICE)
    for pixel_format in ("YUYV", "MJPG"):
        with open_source(str(link), 640, 480, pixel_format=pixel_format) as source:
            tell("delivers", asked=pixel_format, delivery=str(source.delivery()))
    with open_source(DEVICE, 640, 480) as source, LatestFrame(source) as latest:
        tell_next("started", latest, Arrival)
        set_control(TEXT, 2)
        tell_next("frozen", latest, Outage, "frozen")
        set_control(TEXT, 0)
        tell_next("thawed", latest, Arrival)
        set_control(DROPPED_PERCENT, 100)
        tell_next("silent", latest, Outage, "sent no frame")
        tell_next("stalled", latest, Outage, "stopped delivering")
        set_control(DROPPED_PERCENT, 0)
        tell_next("resumed", latest, Arrival)
        (DRIVER / "unbind").write_text("vivid.0")
        tell_next("unplugged", latest, Outage, "stopped delivering")
        tell_next("gone", latest, Outage, "cannot open")
        (DRIVER / "bind").write_text("vivid.0")
        tell_next("plugged in", latest, Arrival)
        # while a process holds the old device open, the new device gets another number
        with open(DEVICE, "rb"):
            (DRIVER / "unbind").write_text("vivid.0")
            tell_next("unplugged again", latest, Outage, "stopped delivering")
            (DRIVER / "bind").write_text("vivid.0")
            tell_next("renumbered", latest, Arrival)
            tell("numbers", nodes=[str(node) for node, _ in identified()])


if __name__ == "__main__":
    main()

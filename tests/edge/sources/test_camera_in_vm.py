"""A real /dev/video0 that freezes, stalls and is unplugged, in a virtual machine.

    DERMEDGE_VM=/tmp/vm python -m pytest tests/edge/sources/test_camera_in_vm.py

boots a Debian kernel by ../shared/boards/vm_with_camera.sh, which keeps its files in the folder DERMEDGE_VM. The test
needs qemu and root, and takes about a minute.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BOOT = ROOT.parent / "shared" / "boards" / "vm_with_camera.sh"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What happened in the machine, in order."""
    folder = os.environ.get("DERMEDGE_VM")
    if not folder or not BOOT.is_file():
        pytest.skip("no virtual machine: set DERMEDGE_VM to a folder for its files")
    script = tmp_path_factory.mktemp("vm") / "run.sh"
    program = shlex.join([sys.executable, str(HERE / "camera_in_vm.py")])
    script.write_text(f"cd {shlex.quote(str(ROOT))} && PYTHONPATH=. {program}\n")
    command = ["bash", str(BOOT), folder, str(script)]
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    lines = done.stdout.decode(errors="replace").splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"event"')]
    assert found, "\n".join(lines[-20:])
    return found


def one(events: list[dict], name: str) -> dict:
    [event] = [event for event in events if event["event"] == name]
    assert "missing" not in event, f"{name}: nothing came"
    return event


def test_controls_that_the_driver_has_not_are_refused_in_one_line(events: list[dict]) -> None:
    refused = [event["refused"] for event in events if event["event"] == "asked"]
    assert [line.split(":")[0] for line in refused] == [
        "'/dev/video0' refuses --focus auto",
        "'/dev/video0' refuses --lock-exposure",
        "'/dev/video0' refuses --lock-white-balance",
    ]


def test_frames_come_in_the_asked_size_and_are_counted_on_through_every_fault(events: list[dict]) -> None:
    frames = [one(events, name) for name in ("started", "thawed", "resumed", "plugged in")]
    assert [frame["shape"] for frame in frames] == [[480, 640, 3]] * 4
    numbers = [frame["number"] for frame in frames]
    assert numbers == sorted(set(numbers))


def test_a_frozen_a_silent_a_stalled_and_an_unplugged_camera_are_named(events: list[dict]) -> None:
    assert "'/dev/video0' is frozen" in one(events, "frozen")["reason"]
    assert "no frame for 2.0 s" in one(events, "silent")["reason"]
    for name in ("stalled", "unplugged"):
        assert "'/dev/video0' stopped delivering frames" in one(events, name)["reason"]
    assert "cannot open '/dev/video0'" in one(events, "gone")["reason"]


def test_a_camera_is_opened_by_a_link_and_tells_what_it_delivers(events: list[dict]) -> None:
    said = {event["asked"]: event["delivery"] for event in events if event["event"] == "delivers"}
    assert said["YUYV"].startswith("640x480, ")
    assert said["YUYV"].endswith(", YUYV")
    assert not said["MJPG"].endswith("MJPG"), "vivid has no such format, whatever OpenCV says"


def test_a_camera_is_found_again_under_another_number(events: list[dict]) -> None:
    assert one(events, "renumbered")["number"] > one(events, "plugged in")["number"]
    assert "/dev/video0" not in one(events, "numbers")["nodes"]


def test_repeated_pictures_of_the_frozen_camera_were_left_out(events: list[dict]) -> None:
    assert one(events, "started")["repeated"] == 0
    assert one(events, "thawed")["repeated"] > 5

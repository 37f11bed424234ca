"""An RTSP camera that dies, stalls and comes back; its server runs on Debian's own Python and GStreamer.

apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dermedge.edge.sources.latest import Arrival, LatestFrame, Outage
from dermedge.edge.sources.open import open_source

PYTHON = Path("/usr/bin/python3")
SERVER = Path(__file__).with_name("rtsp_server.py")
NEEDS = "import gi; gi.require_version('GstRtspServer', '1.0')"


class Server:
    """The process of the server. It can be started again at the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [str(PYTHON), str(SERVER), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"listening\n"

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/camera"


@pytest.fixture
def server() -> Iterator[Server]:
    there = PYTHON.is_file() and subprocess.run([PYTHON, "-c", NEEDS], capture_output=True, check=False)
    if not there or there.returncode:
        pytest.skip("no GStreamer RTSP server: its packages are named at the head of this file")
    server = Server()
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


def test_a_camera_that_dies_is_told_and_found_again(server: Server, next_of: Callable[..., Any]) -> None:
    with open_source(server.address) as source, LatestFrame(source) as latest:
        first = next_of(latest)
        assert isinstance(first, Arrival)
        assert first.frame.image_bgr.shape == (240, 320, 3)
        server.stop()
        next_of(latest, lambda found: isinstance(found, Outage) and server.address in found.reason)
        server.start()
        again = next_of(latest)
        assert isinstance(again, Arrival)
        assert again.frame.number > first.frame.number


def test_a_camera_that_stalls_is_told_and_read_on(server: Server, next_of: Callable[..., Any]) -> None:
    with open_source(server.address) as source, LatestFrame(source) as latest:
        next_of(latest)
        server.process.send_signal(signal.SIGSTOP)
        next_of(latest, lambda found: isinstance(found, Outage) and "sent no frame" in found.reason)
        server.process.send_signal(signal.SIGCONT)
        assert isinstance(next_of(latest), Arrival)

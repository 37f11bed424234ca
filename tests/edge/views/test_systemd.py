"""The messages to systemd, over a real socket of its kind, and the unit file that ships."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dermedge.edge
from dermedge.edge.cli import run as run_cli
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.latest import SILENT_S
from dermedge.edge.states import State
from dermedge.edge.views import systemd as service
from dermedge.edge.views.systemd import ServiceView, is_service

UNIT = Path(dermedge.edge.__file__).parent / "dermedge.service"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture(params=["file", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket of systemd. Its address is in the environment."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@dermedge-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name.replace("@", "\0"))
        end.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        yield end


def told(end: socket.socket) -> list[str]:
    """Returns all messages that have arrived."""
    end.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(end.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_systemd_is_told_of_readiness_state_and_end(
    systemd: socket.socket, make_result: Callable[..., FrameResult]
) -> None:
    assert is_service()
    with ServiceView() as view:
        view.show(make_result(state=State.CAMERA_LOST, hint="'0' stopped"))
    assert told(systemd) == ["READY=1", "WATCHDOG=1\nSTATUS=camera lost: '0' stopped", "STOPPING=1"]


def test_the_watchdog_is_fed_three_times_in_its_time_and_not_at_each_frame(
    systemd: socket.socket, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(service.time, "monotonic", lambda: now[0])
    with ServiceView() as view:
        for _ in range(300):
            view.show(make_result())
            now[0] += 0.1
    assert sum("WATCHDOG=1" in one for one in told(systemd)) == 3


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody", f"/{'a' * 200}"])
@pytest.mark.parametrize("watchdog", ["", "soon", "30000000"])
def test_the_loop_goes_on_where_nobody_listens(
    address: str, watchdog: str, make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal of a notebook server inherits the environment variables of the service that runs the server."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", watchdog)
    with ServiceView() as view:
        assert view.show(make_result())


def test_a_reason_of_two_lines_or_of_no_utf_8_is_one_line(
    systemd: socket.socket, make_result: Callable[..., FrameResult]
) -> None:
    with ServiceView() as view:
        view.show(make_result(state=State.CAMERA_LOST, hint="gone\nMAINPID=1\udce9"))
    assert told(systemd)[1] == "WATCHDOG=1\nSTATUS=camera lost: gone\\nMAINPID=1\\udce9"


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not is_service()


def test_a_run_under_systemd_tells_it(systemd: socket.socket, model_path: Path, lesion_video: Path) -> None:
    arguments = ["--model", str(model_path), "--source", str(lesion_video), "--json"]
    assert run_cli.main(arguments) == 0
    messages = told(systemd)
    assert (messages[0], messages[-1]) == ("READY=1", "STOPPING=1")
    assert any("STATUS=reading" in one for one in messages)


def unit() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_the_options_of_the_unit_are_those_of_run() -> None:
    program, verb, *arguments = shlex.split(unit()["ExecStart"])
    assert (Path(program).name, verb) == ("dermedge", "run")
    options = run_cli.parser().parse_args(arguments)
    assert options.serve.startswith("127.0.0.1:"), "a service is not shown to others unasked"


def test_the_watchdog_of_the_unit_waits_longer_than_a_silent_camera() -> None:
    assert int(unit()["WatchdogSec"]) > 5 * SILENT_S


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    text = UNIT.read_text(encoding="utf-8").replace("/opt/dermedge/bin/dermedge", sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in done.stderr.splitlines() if "dermedge" in line] == []

"""The number of connections without an accepted request is limited, for each client and for all clients together."""

from __future__ import annotations

import http.client
import socket
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from dermedge.edge.views.web import places as places_module
from dermedge.edge.views.web.places import Places
from dermedge.edge.views.web.server import WebView


class Transport:
    """A connection that records whether it was closed."""

    def __init__(self) -> None:
        self.is_open = True

    def abort(self) -> None:
        self.is_open = False


def enter(places: Places, *clients: tuple[str, int]) -> list[Transport]:
    made = [Transport() for _ in clients]
    for client, transport in zip(clients, made, strict=True):
        places.enter(client, transport)  # type: ignore[arg-type]
    return made


def test_of_one_client_the_seventeenth_closes_the_oldest() -> None:
    places = Places()
    made = enter(places, *(("a", port) for port in range(16)))
    assert all(one.is_open for one in made)
    others = enter(places, ("b", 1))
    [last] = enter(places, ("a", 16))
    assert [one.is_open for one in made] == [False, *[True] * 15]
    assert others[0].is_open
    assert last.is_open


def test_of_all_clients_the_thirty_third_closes_the_oldest() -> None:
    places = Places()
    made = enter(places, *((f"client {number}", 1) for number in range(32)))
    assert all(one.is_open for one in made)
    enter(places, ("one more", 1))
    assert [one.is_open for one in made] == [False, *[True] * 31]


def test_a_connection_that_has_proved_itself_or_left_takes_no_place() -> None:
    places = Places()
    made = enter(places, *(("a", port) for port in range(16)))
    assert not places.has_proved(("a", 0))
    places.prove(("a", 0))
    assert places.has_proved(("a", 0))
    places.leave(("a", 1))
    made += enter(places, ("a", 16), ("a", 17))
    assert all(one.is_open for one in made)
    enter(places, ("a", 18))
    assert [one.is_open for one in made] == [True, True, False, *[True] * 15]


def test_a_client_has_these_times_in_seconds() -> None:
    """Five for a head, a minute for a photo, half a minute to receive a frame, and two when the server stops."""
    names = ("HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "SEND_TIMEOUT_S", "STOP_TIMEOUT_S")
    assert [getattr(places_module, name) for name in names] == [5, 60, 30, 2]


def test_at_most_64_kib_of_video_wait_for_a_viewer_and_all_of_them_in_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[tuple[int, int], int]] = []

    def enter(self: Places, client: tuple[str, int], transport: Any) -> None:
        system = transport.get_extra_info("socket")
        buffer = system.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        found.append((transport.get_write_buffer_limits(), buffer))

    monkeypatch.setattr(Places, "enter", enter)
    with WebView("127.0.0.1:0", {}, True) as web:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
        connection.request("GET", "/state")
        assert connection.getresponse().status == 200
        connection.close()
    [(limits, buffer)] = found
    assert limits == (0, 0)
    assert buffer in (65_536, 2 * 65_536), "Linux doubles the size that it is asked for"

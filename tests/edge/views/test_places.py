"""The number of connections without an accepted request is limited, for each client and for all clients together."""

from __future__ import annotations

import pytest

pytest.importorskip("uvicorn")

from dermedge.edge.views.web.places import Places


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

"""The app over HTTPS, as `dermedge phone serve --host` shows it to a phone, in Chromium."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# A socket is connected to this address to find out which address of this machine would be used. Nothing is sent.
ELSEWHERE = ("192.0.2.1", 9)


def own_address() -> str:
    """Returns the address of this machine on its network, or the loopback address if there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address


@pytest.fixture(scope="module")
def visit(
    browse: Callable[..., dict[str, Any]], chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What https.mjs saw. The certificate authority was made for this test."""
    if shutil.which("certutil") is None:
        pytest.skip("no certutil; `make test-phone` installs it where it can")
    for module in ("cryptography", "segno"):
        pytest.importorskip(module)
    data: Path = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(data))
        return browse("https.mjs", serving=("--host", own_address()), program=chromium)


def test_a_browser_that_does_not_trust_the_authority_refuses(visit: dict[str, Any]) -> None:
    assert "net::ERR_CERT_AUTHORITY_INVALID" in visit["untrusted"]


def test_one_that_trusts_it_has_all_that_a_phone_needs(visit: dict[str, Any], first_title: str) -> None:
    assert visit["secure"] == ["https:", True, True]
    assert "without a networkworks" in visit["network"]
    assert visit["installability"] == []
    assert visit["photo"] == first_title


def test_it_works_there_when_the_server_is_gone(visit: dict[str, Any], first_title: str) -> None:
    assert visit["offline"] == first_title

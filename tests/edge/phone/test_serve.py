"""How a built app is served: to this machine, and over HTTPS to those who trust its authority."""

from __future__ import annotations

import errno
import gzip
import socket
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import pytest

from dermedge import cli
from dermedge.edge.errors import OptionError
from dermedge.edge.phone.authority import Authority, make_context, open_authority
from dermedge.edge.phone.serve import (
    AUTHORITY_PATH,
    LOOPBACK,
    ServedFile,
    load_files,
    make_server,
    trust_files,
)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with the files that every app has. A file beside it must not be served."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "index.html").write_text("<p>page</p>" * 100)
    (folder / "files.js").write_text("const FILES = [];")
    (folder / "network.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret").write_text("secret")
    return folder


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A new certificate authority."""
    pytest.importorskip("cryptography")
    return open_authority(tmp_path / "authority", LOOPBACK)


@contextmanager
def running(files: Mapping[str, ServedFile], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server of these files."""
    with make_server(files, LOOPBACK, 0, context) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(url: str, context: ssl.SSLContext | None = None, **headers: str) -> HTTPResponse:
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): one for name, one in headers.items()}
    )
    answer: HTTPResponse = urllib.request.urlopen(request, timeout=10, context=context)
    return answer


def test_the_page_comes_with_a_strict_policy_and_the_right_types(built: Path) -> None:
    with running(load_files(built)) as port:
        page = ask(f"http://{LOOPBACK}:{port}/")
        assert page.read() == (built / "index.html").read_bytes()
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'self'; script-src 'self' 'wasm-unsafe-eval';" in policy
        assert "unsafe-inline" not in policy
        assert page.headers["Content-Type"].startswith("text/html")
        assert ask(f"http://{LOOPBACK}:{port}/network.wasm").headers["Content-Type"] == "application/wasm"
        packed = ask(f"http://{LOOPBACK}:{port}/", Accept_Encoding="gzip")
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.read()) == (built / "index.html").read_bytes()


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/missing", "//etc/passwd"])
def test_nothing_else_is_served(built: Path, path: str) -> None:
    with running(load_files(built)) as port, pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"http://{LOOPBACK}:{port}{path}")


def test_a_damaged_path_is_not_found_and_prints_nothing(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(load_files(built)) as port, socket.create_connection((LOOPBACK, port), timeout=10) as client:
        client.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
        assert b" 404 " in client.recv(100)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_is_served_too(built: Path) -> None:
    with make_server(load_files(built), "::1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert ask(f"http://[::1]:{server.server_port}/").status == 200
        server.shutdown()


def test_a_phone_that_trusts_the_authority_is_served_and_another_is_not(
    built: Path, authority: Authority
) -> None:
    with running(load_files(built), make_context(authority, LOOPBACK)) as port:
        trusting = ssl.create_default_context(cadata=authority.certificate.decode())
        assert ask(f"https://{LOOPBACK}:{port}/", trusting).status == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(f"https://{LOOPBACK}:{port}/", ssl.create_default_context())
        # the connection that failed delayed nobody
        assert ask(f"https://{LOOPBACK}:{port}/", trusting).status == 200


def test_the_page_beside_it_gives_the_certificate_and_tells_what_to_do(authority: Authority) -> None:
    with running(trust_files(authority, "https://192.0.2.7:8000/")) as port:
        text = ask(f"http://{LOOPBACK}:{port}/").read().decode()
        for part in (
            "Android",
            "iPhone",
            "https://192.0.2.7:8000/",
            authority.fingerprint,
            "Remove the certificate",
            "not a medical device",
        ):
            assert part in text
        certificate = ask(f"http://{LOOPBACK}:{port}{AUTHORITY_PATH}")
        assert certificate.headers["Content-Type"] == "application/x-x509-ca-cert"
        assert certificate.read() == authority.certificate


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{empty}"], "holds no built app; name the folder that `dermedge phone build` wrote"),
        (["{empty}/missing"], "holds no built app; build one with: dermedge phone build /"),
        (["{empty}/my app"], "holds no built app; build one with: dermedge phone build '/"),
        (["{built}", "--port", "70000"], "'70000' is not a port number from 0 to 65534"),
        (["{built}", "--host", "no such name", "--port", "0"], "'no such name'"),
        (["{built}", "--host", "192.0.2.1", "--port", "0"], "give an address of this machine as --host"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    arguments: list[str],
    line: str,
    built: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("XDG_DATA_HOME", str(built.parent / "data"))
    given = [one.format(built=built, empty=built.parent) for one in arguments]
    assert cli.main(["phone", "serve", *given]) == 2
    [said] = capsys.readouterr().err.strip().splitlines()
    assert line in said


def test_an_app_without_its_page_is_no_built_app(built: Path) -> None:
    (built / "index.html").unlink()
    with pytest.raises(OptionError, match="holds no built app"):
        load_files(built)


def test_a_folder_that_cannot_be_read_is_one_line_about_reading() -> None:
    # from Python 3.14 on, Path.is_file returns False for a name that is too long
    with pytest.raises(OptionError, match=r"cannot read|holds no built app"):
        load_files(Path("x" * 300))


def test_a_file_of_the_app_that_cannot_be_read_is_named(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "no permission", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(OptionError, match=rf"cannot read '{built}/.*': no permission; build the app again"):
        load_files(built)


def test_a_port_in_use_is_named(built: Path) -> None:
    with running(load_files(built)) as port, pytest.raises(OptionError, match="choose another --port"):
        make_server({}, LOOPBACK, port)


def test_without_the_extra_one_line_says_what_to_install(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    assert cli.main(["phone", "serve", str(built), "--host", LOOPBACK]) == 2
    assert "[phone]'" in capsys.readouterr().err

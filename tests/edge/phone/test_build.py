"""What `dermedge phone build` writes, and what it refuses."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from urllib.parse import urljoin

import cv2
import pytest

from dermedge import cli
from dermedge.edge.files import whole_folder
from dermedge.edge.model.manifest import digest, strip
from dermedge.edge.phone.build import PAGE

FIRST_LOAD_LIMIT = 6_000_000
PAGE_SCRIPT_LIMIT = 60_000


@pytest.fixture
def plain_model(model_path: Path, tmp_path: Path) -> Path:
    """The shipped network without its manifest."""
    path = tmp_path / "plain.tflite"
    path.write_bytes(strip(model_path.read_bytes()))
    return path


def gzipped(path: Path) -> int:
    return len(gzip.compress(path.read_bytes(), 9))


def test_two_apps_on_one_web_site_are_two_apps_to_the_phone() -> None:
    """The id of an app is relative to the web site, not to the folder (W3C, Web Application Manifest)."""

    def app_id(manifest_url: str) -> str:
        manifest = json.loads((PAGE / "manifest.webmanifest").read_text())
        start = urljoin(manifest_url, manifest["start_url"])
        return urljoin(urljoin(start, "/"), manifest["id"]) if "id" in manifest else start

    ids = {app_id(f"https://pi.local/{name}/manifest.webmanifest") for name in ("one", "two")}
    assert ids == {"https://pi.local/one/", "https://pi.local/two/"}


def test_what_is_built_is_complete_and_small(app: Path, model_path: Path) -> None:
    described = json.loads((app / "app.json").read_text())
    assert (app / "model.tflite").read_bytes() == model_path.read_bytes()
    assert all(digest(app / name) == sha256 for name, sha256 in described["sha256"].items())
    assert b"@litertjs" not in (app / "litert" / "index.js").read_bytes()
    assert "Apache License" in (app / "licences.txt").read_text()
    files = [path for path in app.rglob("*") if path.is_file()]
    assert sum(gzipped(path) for path in files if path.suffix != ".tflite") <= FIRST_LOAD_LIMIT
    assert sum(gzipped(path) for path in PAGE.glob("*.js")) <= PAGE_SCRIPT_LIMIT
    assert cv2.imread(str(app / "icon-192.png")).shape == (192, 192, 3)


def test_the_service_worker_keeps_every_file(app: Path) -> None:
    text = (app / "files.js").read_text()
    kept = set(json.loads(text.partition("FILES = ")[2].rstrip(";\n")))
    there = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    assert kept - {"./"} == there - {"index.html", "sw.js", "files.js"}


def test_a_model_that_is_not_ours_is_refused_in_one_line(
    plain_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "app"
    assert cli.main(["phone", "build", str(out), "--model", str(plain_model)]) == 2
    assert "has no manifest of dermedge" in capsys.readouterr().err
    assert not out.exists()


def test_an_older_folder_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["phone", "build", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_without_node_one_line_says_what_to_install_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert cli.main(["phone", "build", str(tmp_path / "app")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "install Node.js 20 or newer with npm" in line
    assert os.listdir(tmp_path) == []


def test_where_npm_fails_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("npm", "node"):
        (programs / name).write_text("#!/bin/sh\necho 'npm error network' >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert cli.main(["phone", "build", str(tmp_path / "app")]) == 2
    assert "npm could not download LiteRT.js (npm error network)" in capsys.readouterr().err
    assert not (tmp_path / "app").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "app") as part:
            (part / "index.html").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == []


def test_the_lock_of_npm_names_versions_and_hashes_and_no_address() -> None:
    for folder in (PAGE.parent, Path(__file__).parent):
        lock = json.loads((folder / "package-lock.json").read_text())
        packages = {name: one for name, one in lock["packages"].items() if name}
        assert packages
        assert all(
            one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values()
        )

"""What a user gets from an index of packages: the built wheel, what it needs, and hints that fit the installation.

The index is a folder on this machine. It holds the wheel of dermedge, and wheels that are made anew from the packages
of this environment, so that no network is needed. What this shows: pip and uv find all that dermedge needs by its
metadata alone, and dermedge runs in the environments that they make. What it does not show: that each package has
a wheel in a public index for other systems.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution
from pathlib import Path
from threading import Thread

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dermedge

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEMO = ["run", "--source", "demo", "--max-frames", "20", "--json"]
SECONDS_TO_END = 300
# The uv of this environment comes first, then the uv of the machine.
UVS = (Path(sys.executable).parent / "uv", shutil.which("uv"))
# Files that an installer adds to those of a wheel.
OF_INSTALLERS = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


class QuietHandler(SimpleHTTPRequestHandler):
    """Lists folders, as an index of packages does (PEP 503), and delivers files."""

    def log_message(self, *_: object) -> None:
        """Prints nothing, because only the tests may print."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder to this machine alone; the value is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def needed(requirements: Iterable[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """Adds installed packages to those that were found: those that meet the requirements, and all that these need.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    for one in map(Requirement, requirements):
        name = canonicalize_name(one.name)
        if name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
            found[name] = Distribution.from_name(name)
            needed(found[name].requires or (), found)
    return found


def wheel_name(distribution: PathDistribution) -> str:
    """Returns the name of the wheel that a package was installed from. The tags in its metadata give the name."""
    tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", distribution.read_text("WHEEL") or "", flags=re.MULTILINE)
    parts = [".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True)]
    name = canonicalize_name(distribution.name).replace("-", "_")
    return f"{name}-{distribution.version}-{'-'.join(parts)}.whl"


def remake_wheel(distribution: Distribution, folder: Path) -> None:
    """Writes an installed package as an uncompressed wheel, without the command-line programs of the package."""
    files = [one for one in distribution.files or () if ".." not in one.parts and one.suffix != ".pyc"]
    kept = [one for one in files if not (one.parent.suffix == ".dist-info" and one.name in OF_INSTALLERS)]
    [metadata] = [one for one in kept if one.parent.suffix == ".dist-info" and one.name == "METADATA"]
    record = str(metadata.parent / "RECORD")
    with zipfile.ZipFile(folder / wheel_name(distribution), "w") as wheel:  # type: ignore[arg-type]
        for one in kept:
            wheel.write(distribution.locate_file(one), str(one))
        wheel.writestr(record, "".join(f"{one},,\n" for one in [*kept, record]))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an index that holds dermedge and all that it needs on this machine."""
    folder = tmp_path_factory.mktemp("index")
    try:
        packages = needed(PROJECT["project"]["dependencies"], {})
    except PackageNotFoundError as error:
        pytest.skip(f"this environment lacks a package that dermedge needs: {error}")
    for name, distribution in packages.items():
        (folder / name).mkdir()
        remake_wheel(distribution, folder / name)
    (folder / "dermedge").mkdir()
    build_wheel(folder / "dermedge", tmp_path_factory.mktemp("source"))
    with served(folder) as address:
        yield address


def build_wheel(folder: Path, source: Path) -> None:
    """The wheel of this checkout. It is built from a copy, and without isolation, because isolation needs a network."""
    for name in ("dermedge", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        path = ROOT / name
        skipped = shutil.ignore_patterns("__pycache__", "node_modules", "results", "lab")
        copy = partial(shutil.copytree, ignore=skipped) if path.is_dir() else shutil.copy
        copy(path, source / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    run([sys.executable, "-c", code, str(folder)], source)


def run(
    command: list[str], folder: Path, status: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder. Of the settings of pip and uv, only these variables are set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "PYTHON", "VIRTUAL_ENV")) and "proxy" not in name.lower()
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_TO_END,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.slow
def test_pip_installs_it_from_an_index_and_the_demo_runs(index: str, tmp_path: Path) -> None:
    run([sys.executable, "-m", "venv", "venv"], tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--no-cache-dir", "--no-compile"]
    run([*pip, "--index-url", index, "dermedge"], tmp_path)
    command = str(python.with_name("dermedge"))
    assert '"probabilities"' in run([command, *DEMO], tmp_path).stdout
    hint = run([command, *DEMO[:-1], "--serve", "127.0.0.1:0"], tmp_path, status=2).stderr
    assert re.search(rf"install it with: {python} -m pip install .*starlette.*uvicorn", hint), hint


@pytest.mark.slow
def test_uvx_runs_the_demo_from_an_index_and_names_itself_in_hints(index: str, tmp_path: Path) -> None:
    uv = next((str(path) for path in UVS if path and Path(path).is_file()), None)
    if uv is None:
        pytest.skip("there is no uv here")
    uvx = [uv, "tool", "run", "--python", sys.executable, "--default-index", index, "dermedge"]
    cache = str(tmp_path / "cache")
    assert '"probabilities"' in run([*uvx, *DEMO], tmp_path, UV_CACHE_DIR=cache).stdout
    served_too = [*uvx, *DEMO[:-1], "--serve", "127.0.0.1:0"]
    hint = run(served_too, tmp_path, status=2, UV_CACHE_DIR=cache).stderr
    assert re.search(r"start dermedge with: uvx( --with '?[a-z-]+[^ ]*)+ dermedge\n$", hint), hint


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        *(("github-workflows", path) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))),
        ("citation-file-format", ROOT / "CITATION.cff"),
    ],
    ids=lambda value: Path(value).name,
)
def test_a_file_that_a_host_reads_fits_its_schema(schema: str, path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    assert "ok -- validation done" in run(command, ROOT).stdout


def test_the_release_is_published_only_if_the_tag_is_the_version() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    [check] = re.findall(r"^ +run: (test .*)$", workflow, flags=re.MULTILINE)
    tags = (f"v{dermedge.__version__}", "v99.0.0")
    statuses = [
        subprocess.run(["bash", "-c", check], env={**os.environ, "GITHUB_REF_NAME": tag}, cwd=ROOT).returncode
        for tag in tags
    ]
    assert statuses == [0, 1]

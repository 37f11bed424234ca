"""Finds out how dermedge was installed, and returns commands that add packages to this installation.

Apart from `dermedge` itself, this module imports only the standard library. So `dermedge doctor` and error messages can
use this module even if other packages are missing.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import dermedge

__all__ = ["PYTHONS", "Installation", "install_hint", "pip_command", "this_installation"]

# `uvx` makes environments in a folder of uv's cache. The folder's name begins like this, and a version number follows.
_UV_CACHE = "archive-v"

# Maps a package to the Python versions for which the package has wheels. A package is listed only if it lacks a wheel
# for at least one of the Python versions that dermedge supports on devices.
PYTHONS = {
    "tensorflow": ((3, 11), (3, 12), (3, 13)),
    "tf-keras": ((3, 11), (3, 12), (3, 13)),
    "tensorflow-model-optimization": ((3, 11), (3, 12), (3, 13)),
    "tflite-runtime": ((3, 11),),
}


@dataclass(frozen=True)
class Installation:
    """A Python environment in which dermedge is installed.

    Attributes:
        python: the path of the environment's Python.
        manager: the tool that installs packages into the environment. It is ``pipx`` or ``uv tool`` if this tool made
            the environment, and ``uvx`` if uv made the environment for one call. For any other environment, it is
            ``pip`` if pip is installed there, and else ``uv pip``.
        origin: the folder, wheel, source archive or URL from which dermedge was installed. It is None if the origin is
            not known or no longer exists.
        is_editable: whether the code runs from the folder ``origin``.
        requirements: the packages that dermedge and its extras need, as the metadata field ``Requires-Dist`` lists
            them.
    """

    python: str
    manager: str = "pip"
    origin: str | None = None
    is_editable: bool = False
    requirements: tuple[str, ...] = field(default=(), repr=False)

    def command_for(self, extra: str) -> str:
        """Returns a shell command that installs the packages of an extra.

        Packages cannot be added to an environment of ``uvx``. The command for ``uvx`` starts dermedge with the
        packages instead.

        The command names the source from which dermedge was installed. If the source is not known, the command names
        the packages. It never names ``dermedge`` alone, because a package index may have another package of this name.
        """
        packages = [] if self.origin else self._packages(extra)
        if self.manager == "uvx":
            return self._uvx(*packages) if packages else self._uvx(origin=self._target(extra)[-1])
        if self.manager == "pipx" and packages:
            return _shell(["pipx", "inject", "dermedge", *packages])
        if packages or self.manager not in ("pipx", "uv tool"):
            return self.pip("install", *(packages or self._target(extra)))
        return _shell([*self.manager.split(), "install", "--force", *self._target(extra)])

    def pip(self, command: str, *arguments: str) -> str:
        """Returns a shell command that runs ``pip`` for this environment.

        Packages cannot be added to an environment of ``uvx``. If ``command`` is ``install`` and the manager is ``uvx``,
        the returned command starts dermedge with the packages instead.
        """
        if self.manager == "uvx" and command == "install":
            return self._uvx(*(one for one in arguments if not one.startswith("-")), origin=self.origin)
        if self.manager.startswith("uv"):
            return _shell(["uv", "pip", command, "--python", self.python, *arguments])
        return _shell([self.python, "-m", "pip", command, *arguments])

    def _uvx(self, *packages: str, origin: str | None = None) -> str:
        start = ["--from", origin] if origin else []
        added = [word for package in packages for word in ("--with", package)]
        return _shell(["uvx", *start, *added, "dermedge"])

    def _target(self, extra: str) -> list[str]:
        origin = self.origin or f"dermedge-{dermedge.__version__}-py3-none-any.whl"
        target = f"dermedge[{extra}] @ {origin}" if "://" in origin else f"{origin}[{extra}]"
        return ["--editable", target] if self.is_editable else [target]

    def _packages(self, extra: str) -> list[str]:
        ending = f'extra == "{extra}"'
        needed = [one.removesuffix(ending) for one in self.requirements if one.endswith(ending)]
        return [one.removesuffix(" and ").rstrip("; ") for one in needed]


@cache
def this_installation() -> Installation:
    """Returns the environment in which this code runs."""
    prefix, root = Path(sys.prefix), Path(dermedge.__file__).resolve().parents[1]
    python = os.path.abspath(sys.executable)
    manager = "pip" if find_spec("pip") else "uv pip"
    if (prefix / "pipx_metadata.json").is_file():
        manager = "pipx"
    elif (prefix / "uv-receipt.toml").is_file():
        manager = "uv tool"
    elif prefix.parent.name.startswith(_UV_CACHE):
        manager = "uvx"
    if (root / "pyproject.toml").is_file():
        return Installation(python, manager, str(root), is_editable=True)
    try:
        distribution = Distribution.from_name("dermedge")
    except PackageNotFoundError:
        return Installation(python, manager)
    origin = read_origin(distribution.read_text("direct_url.json"))
    return Installation(python, manager, origin, requirements=tuple(distribution.requires or ()))


def read_origin(direct_url: str | None) -> str | None:
    """Returns the source from which a package was installed: an existing path, or a URL that pip accepts.

    Returns None if the source is not known, or if the path no longer exists.

    Args:
        direct_url: the content of the package's file direct_url.json, whose format PEP 610 specifies. It is None if
            the file does not exist.
    """
    if not direct_url:
        return None
    record = json.loads(direct_url)
    url = urlsplit(record["url"])
    if url.scheme == "file":
        path = Path(url2pathname(url.path))
        return str(path) if path.exists() else None
    version_control = record.get("vcs_info")
    if version_control:
        return f"{version_control['vcs']}+{record['url']}@{version_control['commit_id']}"
    return str(record["url"])


def pip_command(command: str, *arguments: str) -> str:
    """Returns a shell command that runs ``pip`` for the environment in which this code runs."""
    return this_installation().pip(command, *arguments)


def install_hint(package: str, extra: str | None) -> str:
    """Returns advice for a package that cannot be imported: an install command, or the Python versions to use.

    Args:
        package: the missing package.
        extra: the extra of dermedge that installs the package. It is None if no extra installs the package.
    """
    installation = this_installation()
    command = installation.command_for(extra) if extra else installation.pip("install", package)
    pythons = PYTHONS.get(package)
    if not pythons or sys.version_info[:2] in pythons:
        return f"{'start dermedge with' if installation.manager == 'uvx' else 'install it with'}: {command}"
    versions = " or ".join(f"{major}.{minor}" for major, minor in pythons)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{package} has no wheel for Python {here}; install dermedge with the extra [{extra}] on Python {versions}"


def _shell(command: list[str]) -> str:
    return shlex.join(command) if os.name == "posix" else subprocess.list2cmdline(command)

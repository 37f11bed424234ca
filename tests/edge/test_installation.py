"""The command that a hint names fits how dermedge was installed, and never names it alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dermedge.edge import installation
from dermedge.edge.errors import MissingExtra
from dermedge.edge.installation import Installation, install_hint, read_origin, this_installation

PYTHON = "/venv/bin/python"
REQUIREMENTS = (
    "numpy>=1.26",
    'starlette>=1.0; extra == "serve"',
    'uvicorn>=0.40; python_version < "3.14" and extra == "serve"',
    'segno>=1.6; extra == "phone"',
)


@pytest.mark.parametrize(
    ("made", "command"),
    [
        (Installation(PYTHON, origin="/src/my app"), f"{PYTHON} -m pip install '/src/my app[serve]'"),
        (
            Installation(PYTHON, origin="/src", is_editable=True),
            f"{PYTHON} -m pip install --editable '/src[serve]'",
        ),
        (
            Installation(PYTHON, origin="/d/dermedge-1-py3-none-any.whl"),
            f"{PYTHON} -m pip install '/d/dermedge-1-py3-none-any.whl[serve]'",
        ),
        (
            Installation(PYTHON, origin="git+https://host/dermedge@abc"),
            f"{PYTHON} -m pip install 'dermedge[serve] @ git+https://host/dermedge@abc'",
        ),
        (
            Installation(PYTHON, requirements=REQUIREMENTS),
            f"{PYTHON} -m pip install 'starlette>=1.0' 'uvicorn>=0.40; python_version < \"3.14\"'",
        ),
        (
            Installation(PYTHON, "uv pip", "/src"),
            f"uv pip install --python {PYTHON} '/src[serve]'",
        ),
        (Installation(PYTHON, "pipx", "/src"), "pipx install --force '/src[serve]'"),
        (
            Installation(PYTHON, "pipx", requirements=REQUIREMENTS[:2]),
            "pipx inject dermedge 'starlette>=1.0'",
        ),
        (
            Installation(PYTHON, "uv tool", "/src", is_editable=True),
            "uv tool install --force --editable '/src[serve]'",
        ),
        (
            Installation(PYTHON, "uv tool", requirements=REQUIREMENTS[:2]),
            f"uv pip install --python {PYTHON} 'starlette>=1.0'",
        ),
        (Installation(PYTHON, "uvx", "/d/dermedge-1.whl"), "uvx --from '/d/dermedge-1.whl[serve]' dermedge"),
        (
            Installation(PYTHON, "uvx", requirements=REQUIREMENTS[:2]),
            "uvx --with 'starlette>=1.0' dermedge",
        ),
    ],
)
def test_an_extra_is_added_as_dermedge_was_installed(made: Installation, command: str) -> None:
    assert made.command_for("serve") == command


def test_a_package_is_added_to_an_environment_of_uvx_at_its_next_start() -> None:
    made = Installation(PYTHON, "uvx", "/src")
    assert made.pip("install", "--force-reinstall", "numpy<2") == "uvx --from /src --with 'numpy<2' dermedge"


def test_without_a_record_of_its_source_a_wheel_is_named_and_no_package_of_an_index() -> None:
    assert Installation(PYTHON).command_for("serve").endswith("-py3-none-any.whl[serve]'")


@pytest.mark.parametrize(
    ("record", "origin"),
    [
        ({"url": "file://{there}", "dir_info": {}}, "{there}"),
        ({"url": "file://{there}/gone.whl", "archive_info": {}}, None),
        ({"url": "https://host/d-1.whl", "archive_info": {}}, "https://host/d-1.whl"),
        (
            {"url": "https://host/d.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "git+https://host/d.git@abc",
        ),
    ],
)
def test_the_source_is_what_pip_recorded_if_it_is_still_there(
    record: dict[str, object], origin: str | None, tmp_path: Path
) -> None:
    text = json.dumps(record).replace("{there}", str(tmp_path))
    assert read_origin(text) == (origin and origin.replace("{there}", str(tmp_path)))


def test_what_came_from_an_index_has_no_source() -> None:
    assert read_origin(None) is None


def test_where_a_package_has_no_wheel_the_hint_names_the_versions_of_python_that_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = sys.version_info[:2]
    monkeypatch.setitem(installation.PYTHONS, "tensorflow", ((2, 6), (2, 7)))
    hint = install_hint("tensorflow", "train")
    assert f"no wheel for Python {here[0]}.{here[1]}" in hint
    assert "[train] on Python 2.6 or 2.7" in hint


def test_a_missing_package_that_dermedge_always_needs_is_installed_by_its_own_name() -> None:
    assert "pip install ai-edge-litert" in str(MissingExtra("ai-edge-litert")).replace(" --python", "")


def test_an_installation_is_that_of_pip_unless_something_else_is_known() -> None:
    made = Installation(PYTHON)
    assert (made.manager, made.origin, made.is_editable, made.requirements) == ("pip", None, False, ())


@pytest.mark.parametrize(
    ("folder", "file", "has_pip", "manager"),
    [
        ("env", None, True, "pip"),
        ("env", None, False, "uv pip"),
        ("env", "pipx_metadata.json", True, "pipx"),
        ("env", "uv-receipt.toml", False, "uv tool"),
        ("archive-v0/abc", None, False, "uvx"),
    ],
)
def test_the_tool_that_made_the_environment_is_known_by_its_files(
    folder: str,
    file: str | None,
    has_pip: bool,
    manager: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = tmp_path / folder
    prefix.mkdir(parents=True)
    if file is not None:
        (prefix / file).touch()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    monkeypatch.setattr(
        installation, "find_spec", lambda name: object() if has_pip and name == "pip" else None
    )
    # the package lies where pip unpacked it, without the files of a checkout
    monkeypatch.setattr(installation.dermedge, "__file__", str(prefix / "lib" / "dermedge" / "__init__.py"))
    found = this_installation.__wrapped__()
    assert (found.python, found.manager) == (str(prefix / "bin" / "python"), manager)
    assert not found.is_editable
    (prefix / "lib").mkdir()
    (prefix / "lib" / "pyproject.toml").touch()
    checkout = this_installation.__wrapped__()
    assert (checkout.manager, checkout.origin, checkout.is_editable) == (manager, str(prefix / "lib"), True)

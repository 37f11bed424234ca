"""Screenshots of the pages: every size in both themes, and what a missing browser or a silent one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from dermedge.benchmarks.lab import cli
from dermedge.benchmarks.lab.screenshots import SIZES, THEMES, photograph
from dermedge.edge.errors import ToolError

# This program stands for the browser. Instead of an image, it writes the arguments that it was called with.
BROWSER = """#!/bin/sh
for word; do
  case "$word" in --screenshot=*) echo "$@" > "${word#--screenshot=}";; esac
done
"""


def executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_page_is_photographed_at_each_size_in_both_themes(tmp_path: Path) -> None:
    browser = executable(tmp_path / "chromium", BROWSER)
    paths = list(photograph(browser, "page", "http://127.0.0.1:1/", tmp_path))
    assert [path.name for path in paths] == [f"page-{size}-{theme}.png" for size in SIZES for theme in THEMES]
    said = paths[-1].read_text()
    assert "--window-size=390," in said
    assert "preferredColorScheme=0" in said
    assert said.endswith("http://127.0.0.1:1/\n")


def test_a_browser_that_writes_nothing_is_named(tmp_path: Path) -> None:
    browser = executable(tmp_path / "chromium", "#!/bin/sh\n")
    with pytest.raises(ToolError, match="wrote no image"):
        next(photograph(browser, "page", "http://127.0.0.1:1/", tmp_path))


def test_a_browser_that_is_not_installed_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["screenshots", str(tmp_path / "shots"), "--browser", "no-such-browser"]) == 2
    assert "'no-such-browser' is not installed" in capsys.readouterr().err
    assert not (tmp_path / "shots").exists()

"""`dermedge completion`: what a shell offers after TAB."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from dermedge import cli
from dermedge.completion import SHELLS, completion_script
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.sources.framing import FLIPS

# Does what bash does when TAB is pressed: it calls the function that is registered for the command. This function
# fills COMPREPLY.
TAB = """
source ./script
COMP_WORDS=({words}) COMP_CWORD={last}
$(complete -p dermedge | sed 's/.*-F \\([^ ]*\\) .*/\\1/') dermedge "${{COMP_WORDS[COMP_CWORD]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script for bash and two photos."""
    made = tmp_path_factory.mktemp("completion")
    for name in ("left.jpg", "right.jpg"):
        (made / name).touch()
    (made / "script").write_text(completion_script("bash"), encoding="utf-8")
    return made


def offered(folder: Path, *words: str) -> set[str]:
    """The completions that bash offers for the last of these words."""
    text = TAB.format(words=shlex.join(["dermedge", *words]), last=len(words))
    done = subprocess.run(
        ["bash", "--norc", "-c", text], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stdout.split())


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], {"review"}),
        ([""], set(cli.VERBS)),
        (["data", ""], {"audit", "catalogue"}),
        (["run", "--fl"], {"--flip"}),
        (["run", "--flip", ""], set(FLIPS)),
        (["run", "--source", "d"], {"demo"}),
        (["run", "--source", "l"], {"left.jpg"}),
        (["predict", "--model", "derm"], set(SHIPPED)),
        (["predict", "r"], {"right.jpg"}),
        (
            ["benchmark", "left.jpg", "dermedge-1"],
            {name for name in SHIPPED if name.startswith("dermedge-1")},
        ),
        (["completion", ""], set(SHELLS)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_offers_verbs_options_choices_models_and_files(
    words: list[str], expected: set[str], folder: Path
) -> None:
    assert offered(folder, *words) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_and_the_shell_can_read_it(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in cli.VERBS)
    assert all(name in printed for name in SHIPPED)
    if not shutil.which(shell):
        pytest.skip(f"no {shell} on this machine")
    (tmp_path / "script").write_text(printed, encoding="utf-8")
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=30)


def test_an_unknown_shell_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "csh"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "bash" in line
    assert "fish" in line

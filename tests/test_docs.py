"""The documents: each command in them runs, or says why not; each option, link and quoted message exists."""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import cv2
import numpy as np
import pytest

import dermedge
from dermedge import cli
from dermedge.benchmarks.lab import cli as lab
from dermedge.edge.cli.arguments import Parser
from dermedge.edge.errors import OptionError
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.sources.demo import generate
from dermedge.edge.states import State

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Code of other languages, which is not run here.
APPS = [DOCS / "android.md", DOCS / "ios.md"]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(set(DOCS.glob("*.md")) - set(APPS)),
    *sorted((DOCS / "reference").glob("*.md")),
]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|needs): (?P<note>[^\n]+) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")
SECONDS_TO_RUN = 120
LABORATORY = ["python", "-m", *lab.COMMAND.split()[2:]]


@dataclass(frozen=True)
class Block:
    """A block of code in a page, with the remark above it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str
    note: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, without comments, the path of the program, and the file that it prints into."""
        lines = self.text.replace("\\\n", " ").splitlines()
        found = [shlex.split(line.partition(" > ")[0], comments=True) for line in lines]
        return [[Path(words[0]).name, *words[1:]] for words in found if words]


class Parsed(Exception):  # noqa: N818 - it ends a command where its options have been understood
    """The options of a command are valid."""


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            parts = found.groupdict(default="")
            yield Block(page, line, parts["language"], parts["text"], parts["mark"], parts["note"])


BLOCKS = list(blocks())
SHELL = [block for block in BLOCKS if block.language == "sh"]
PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.fixture
def sandbox(tmp_path: Path, labelled_set: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents name, in which commands run."""
    shutil.copytree(labelled_set, tmp_path / "photos")
    cv2.imwrite(str(tmp_path / "photo.jpg"), generate(60))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse_options(words: list[str]) -> None:
    """Lets a command read its options; raises OptionError if one of them does not exist."""
    real = Parser.parse_args

    def stop(self: Parser, *args: object) -> NoReturn:
        real(self, *args)  # type: ignore[call-overload]
        raise Parsed

    commands = {"dermedge": (cli.VERBS, 1), "python": (lab.EXPERIMENTS, len(LABORATORY))}
    names, at = commands[words[0]]
    if len(words) == at:
        return  # lists what there is
    assert words[at] in names, f"there is no '{words[at]}'"
    is_verb = words[0] == "dermedge"
    main = import_module(cli.VERBS[words[at]][0] if is_verb else f"dermedge.benchmarks.lab.{words[at]}").main
    with patch.object(Parser, "parse_args", stop), pytest.raises((Parsed, SystemExit)):
        main(words[at + 1 :])


def check_installation(words: list[str]) -> None:
    """Extras that a command installs exist."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [
        name for word in words for found in re.findall(r"^\.\[(.*)\]$", word) for name in found.split(",")
    ]
    assert set(named) <= set(known)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_names_its_language(block: Block) -> None:
    assert block.language in {"sh", "python", "text", "json"} or block.language.startswith("{")


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_programs_options_and_extras_exist(block: Block) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for words in block.commands:
        if words[0] == "dermedge" or words[: len(LABORATORY)] == LABORATORY:
            parse_options(words)
        elif words[0] == "make":
            assert set(words[1:]) <= targets
        elif words[0] == "pip":
            check_installation(words)
        else:
            assert block.mark == "not run", (
                f"'{words[0]}' is not run here; write <!-- not run: REASON --> above"
            )


@pytest.mark.parametrize("block", [block for block in SHELL if block.mark != "not run"], ids=str)
def test_commands_run(block: Block, sandbox: Path) -> None:
    if block.mark == "needs":
        pytest.importorskip(block.note)
    for words in block.commands:
        if words[0] == "dermedge":
            assert cli.main(words[1:]) == 0, shlex.join(words)


def run_script(block: Block, folder: Path) -> list[str]:
    """Runs a block of Python as a script of its own; the lines that it printed."""
    (folder / "example.py").write_text(block.text, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_TO_RUN,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_python_example_is_run_or_says_why_not() -> None:
    runnable = [block for block in PYTHON if block.mark != "not run"]
    assert set(runnable) == {*python_examples("Classifier("), *python_examples("Pipeline(")}


def python_examples(call: str) -> list[Block]:
    return [block for block in PYTHON if call in block.text]


def test_the_loop_prints_a_state_for_each_frame(sandbox: Path) -> None:
    [loop] = python_examples("Pipeline(")
    printed = run_script(loop, sandbox)
    assert len(printed) == 60
    assert all(line.startswith(tuple(State)) for line in printed)


def test_one_photo_is_classified(sandbox: Path) -> None:
    [one_photo] = python_examples('read_picture("photo.jpg")')
    [line] = run_script(one_photo, sandbox)
    with dermedge.Classifier(SHIPPED["dermedge-nine-128"]) as classifier:
        prediction = classifier.predict(dermedge.read_picture(sandbox / "photo.jpg"))
        assert line == classifier.headline(prediction).text


def test_the_answers_to_a_split_are_written(sandbox: Path) -> None:
    [program] = python_examples('row["split"] == "test"')
    rows = [f"photo.jpg,{sandbox},one,nevus,test", f"photo.jpg,{sandbox},two,melanoma,train"]
    (sandbox / "nine.csv").write_text("\n".join(["path,root,group,label,split", *rows]), encoding="utf-8")
    assert run_script(program, sandbox) == []
    with (sandbox / "answers.csv").open(encoding="utf-8", newline="") as file:
        [written] = csv.DictReader(file)
    with dermedge.Classifier(SHIPPED["dermedge-nine-192"]) as classifier:
        prediction = classifier.predict(dermedge.read_picture(sandbox / "photo.jpg"))
    assert (written["group"], written["true class"]) == ("one", "nevus")
    assert (written["answer"], written["alert"]) == (prediction.label, prediction.alert or "")
    assert [float(written[label]) for label in classifier.labels] == list(prediction.probabilities)


def test_an_array_with_red_first_is_classified(sandbox: Path) -> None:
    [own_array] = python_examples("image_rgb")
    answer, probabilities = run_script(own_array, sandbox)
    with dermedge.Classifier(SHIPPED["dermedge-192"]) as classifier:
        prediction = classifier.predict(np.full((480, 640, 3), (158, 180, 222), np.uint8))
        assert answer == classifier.headline(prediction).text
    assert probabilities == str(dict(zip(classifier.labels, prediction.probabilities, strict=True)))


def test_everything_that_the_package_offers_is_there() -> None:
    assert [name for name in dermedge.__all__ if not hasattr(dermedge, name)] == []


@pytest.mark.parametrize("page", [*PAGES, *APPS, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    prose = re.sub(
        r"^( {4}|```.*?^```$).*?$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    addresses = LINK.findall(prose)
    relative = [one for one in addresses if not one.startswith(("http://", "https://"))]
    assert [one for one in relative if not (page.parent / one).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def source_text() -> str:
    """All code of the product, with strings that go over several lines in one piece."""
    folders = ("dermedge", "edge", "train", "convert", "benchmarks")
    paths = [ROOT / "setup.py", *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    return re.sub(r'"\s*\n\s*f?"', "", text).replace("`", "'")


def test_messages_that_troubleshooting_quotes_are_in_the_code() -> None:
    code = source_text()
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        one
        for line in page.splitlines()
        if line.startswith("|")
        for one in re.findall(r"`([^`]*…[^`]*)`", line)
    ]
    longest = {one: max(re.split("…", one), key=len).strip(" '.;(") for one in quoted}
    assert len(quoted) > 60
    assert {one: part for one, part in longest.items() if part not in code} == {}


def test_the_version_is_that_of_the_citation() -> None:
    assert f"\nversion: {dermedge.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="there is no"):
        parse_options(["dermedge", "fly"])
    with pytest.raises(OptionError, match="--wings"):
        parse_options(["dermedge", "predict", "photo.jpg", "--wings", "2"])


def test_every_option_of_every_command_is_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    from generated_references import command_parsers, messages  # type: ignore[import-not-found]

    parsers: list[argparse.ArgumentParser] = list(command_parsers())
    assert {one.prog.split()[1] for one in parsers} == set(cli.VERBS)
    assert "dermedge benchmark compare" in {one.prog for one in parsers}
    assert len(messages()) > 200


def test_the_help_of_each_option_is_a_sentence_with_its_default_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    from generated_references import command_parsers

    for parser in command_parsers():
        text = " ".join(parser.format_help().split())
        assert str(ROOT) not in text, parser.prog
        assert "default:" not in text, parser.prog
        formatter = parser._get_formatter()
        for action in parser._actions:
            if action.help and not isinstance(action, argparse._SubParsersAction):
                shown = formatter._expand_help(action)
                assert not shown[0].islower(), (parser.prog, shown)
                assert shown.endswith((".", "…")), (parser.prog, shown)
                assert shown.count("Default") <= 1, (parser.prog, shown)


def test_each_help_has_a_description_and_ends_with_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    from generated_references import command_parsers

    for parser in command_parsers():
        assert parser.description, parser.prog
        title, *examples = (parser.epilog or "").splitlines()
        assert title == "examples:", parser.prog
        assert examples, parser.prog
        for example in examples:
            parse_options(shlex.split(example.partition(" > ")[0]))

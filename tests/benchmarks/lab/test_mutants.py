"""Each mutant holds one mistake; the report tells which of them the tests of a small project notice."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dermedge.benchmarks.lab.children import forked_tests
from dermedge.benchmarks.lab.executed import ExecutedLines, TestRunner
from dermedge.benchmarks.lab.mutants import (
    NOTICED,
    STOPPED,
    SURVIVED,
    Limits,
    choose_tests,
    copy_tree,
    find_tests,
    folder_table,
    main,
    record_tests,
    sample_mutants,
    try_mutants,
)
from dermedge.benchmarks.lab.mutation import Mutant, mutable_lines, mutants_of, users_of
from dermedge.edge.errors import OptionError, ToolError

LAW = '''"""A law."""


def share(part: int, whole: int) -> float:
    """A part of the whole."""
    if part >= whole:
        return 1.0
    return part / whole
'''
TEST = """import subprocess
import sys

import pytest

from dermedge.train.law import share


@pytest.fixture(scope="module")
def half():
    return share(1, 2)


def test_a_half_is_a_half(half):
    assert half == 0.5


def test_another_process_knows_that_all_is_one():
    program = "from dermedge.train.law import share; assert share(2, 2) == 1"
    assert not subprocess.run([sys.executable, "-c", program], timeout=60).returncode


def test_nothing_of_the_law():
    assert True


def test_that_fails():
    assert False
"""


def changes(source: str) -> set[tuple[str, str]]:
    return {(one.before, one.after) for one in mutants_of(source)}


@pytest.mark.parametrize(
    ("source", "before", "afters"),
    [
        ("f = a < b", "a < b", {"a <= b", "a > b"}),
        ("f = a is None", "a is None", {"a is not None"}),
        ("f = a - b", "a - b", {"(a) + (b)"}),
        ("f = not a", "not a", {"a"}),
        ("f = a and b", "a and b", {"(a) or (b)"}),
        ("f = a if b else c", "a if b else c", {"c if b else a"}),
        ("f = 0.95", "0.95", {repr(0.95 * 1.1)}),
        ("f = True", "True", {"False"}),
        ("f = 'lesion_id'", "'lesion_id'", {"'lesion_id-x'"}),
        ("f = min(a)", "min", {"max"}),
        ("f(a, n=b)", "f(a, n=b)", {"f(a)", "pass"}),
        ("f(a, b)", "f(a, b)", {"f(b, a)", "pass"}),
        ("f = a.clip(b)", "a.clip(b)", {"a"}),
        ("f = isinstance(a, b)", "isinstance(a, b)", set()),
        ("f = zip(a, strict=True)", "zip(a, strict=True)", set()),
        ("f = zip(a, strict=True)", "True", set()),
        ("f = np.sqrt(a)", "np.sqrt(a)", {"a"}),
        ("with lock:\n    f = a", "with lock:\n    f = a", {"if True:\n    f = a"}),
    ],
)
def test_each_kind_of_mistake(source: str, before: str, afters: set[str]) -> None:
    assert {after for changed, after in changes(source) if changed == before} == afters


def test_a_mutant_knows_the_lines_of_its_statement_and_when_they_run() -> None:
    source = (
        "LIMIT = 3\n\n\ndef law(a, b=2):\n    if (\n        a < 4\n    ):\n        return a\n"
        "    return max(\n        a, 5\n    )\n"
    )
    found = {one.before: (one.line, one.statement, one.defines) for one in mutants_of(source)}
    assert found["3"] == (1, range(1, 2), {"LIMIT"})
    assert found["2"] == (4, range(4, 5), {"law"})
    assert found["4"] == found["a < 4"] == (6, range(5, 8), None)
    assert found["5"] == (10, range(9, 12), None)
    assert mutable_lines(source) == {1, 4, 6, 9, 10}
    assert {one.before for one in mutants_of(source, 10)} == {"5"}


def test_the_users_of_a_name_are_found_by_way_of_other_names_and_modules() -> None:
    law = (
        "LIMIT = 3\n_TABLE = {'a': LIMIT}\n\n\ndef law(a):\n    return _TABLE[a]\n\n\n"
        "class Rule:\n    least: int = LIMIT\n\n    def holds(self, a):\n        return a > self.least\n"
    )
    user = "from dermedge.law import LIMIT as most\n\n\ndef use(a):\n    LIMITED = 1\n    return a < most\n"
    files = {Path("law.py"): law, Path("user.py"): user}
    assert users_of(frozenset({"LIMIT"}), files) == {Path("law.py"): {6, 13}, Path("user.py"): {6}}
    assert users_of(frozenset({"_TABLE"}), files) == {Path("law.py"): {6}}
    [field] = mutants_of("class Rule:\n    least: int = 3\n")
    assert field.defines == {"Rule", "least"}


def test_a_mutant_is_the_source_but_for_the_mistake() -> None:
    # the text before the change has more bytes than characters, because of é and ä
    source = "name = 'é: two words'\nvalue = (ä + 2) * 3\n"
    [mutant] = [one for one in mutants_of(source) if one.what == "arithmetic" and one.before == "ä + 2"]
    assert mutant.source == "name = 'é: two words'\nvalue = (((ä) - (2))) * 3\n"
    assert mutant.line == 2


def test_texts_types_and_imports_are_left_alone() -> None:
    source = (
        '"""Words."""\nimport a\n__all__ = ["b"]\n'
        '@dataclass(frozen=True)\ndef b(c: "d") -> "e":\n    """More."""\n    raise ValueError(f"no {c + 1}")\n'
    )
    assert changes(source) == set()


def test_the_tests_of_a_file_import_it_or_are_beside_it_and_import_its_users() -> None:
    imports = {
        Path("train/data/law.py"): set[str](),
        Path("train/data/user.py"): {"dermedge.train.data.law"},
        Path("train/cli/other.py"): {"dermedge.train.data.user"},
        Path("tests/edge/test_far.py"): {"dermedge.train.data.law"},
        Path("tests/edge/test_farther.py"): {"dermedge.train.data.user"},
        Path("tests/train/data/test_user.py"): {"dermedge.train.data.user"},
        Path("tests/train/cli/test_other.py"): {"dermedge.train.cli.other"},
        Path("tests/conftest.py"): {"dermedge.train.data.law"},
    }
    far, farther, user, other = (
        Path("tests") / name
        for name in (
            "edge/test_far.py",
            "edge/test_farther.py",
            "train/data/test_user.py",
            "train/cli/test_other.py",
        )
    )
    assert find_tests(Path("train/data/law.py"), imports) == (far, user)
    assert find_tests(Path("train/data/user.py"), imports) == (farther, user)
    assert find_tests(Path("train/cli/other.py"), imports) == (other,)
    assert find_tests(Path("train/data/nobody.py"), imports) == ()
    # If neither the module nor its folder has tests, the tests of the modules that import it are chosen.
    del imports[far], imports[user]
    assert find_tests(Path("train/data/law.py"), imports) == (farther,)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose package is a symbolic link. Its tests check only a part of what its function does."""
    root = tmp_path_factory.mktemp("project")
    for name, content in {
        "dermedge/__init__.py": "",
        "train/__init__.py": "",
        "train/law.py": LAW,
        "tests/test_law.py": TEST,
        "ignored.txt": "",
        ".gitignore": "ignored.txt\n",
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow"]\n',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "dermedge" / "train").symlink_to("../train")
    subprocess.run(["git", "init", "-q", root], check=True, timeout=30)
    return root


LAW_FILE = Path("train/law.py")
HALF, ALL, NOTHING, FAILS = (
    f"tests/test_law.py::test_{name}"
    for name in (
        "a_half_is_a_half",
        "another_process_knows_that_all_is_one",
        "nothing_of_the_law",
        "that_fails",
    )
)


@pytest.fixture(scope="module")
def runner(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestRunner]:
    """Runs the tests of a copy of the project, without the large libraries, because their import takes seconds."""
    folder = tmp_path_factory.mktemp("runner")
    small = folder / "forked_tests.py"
    source = Path(forked_tests.__file__).read_text()
    small.write_text(re.sub(r"_LIBRARIES = \(.*?\n\)", "_LIBRARIES = ()", source, flags=re.DOTALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dermedge.benchmarks.lab.executed._PROGRAM", small)
        with TestRunner(copy_tree(project, folder / "tree")) as runner:
            yield runner


@pytest.fixture(scope="module")
def recording(runner: TestRunner, tmp_path_factory: pytest.TempPathFactory) -> ExecutedLines:
    return record_tests(runner, {LAW_FILE}, tmp_path_factory.mktemp("recorded"))


def mutant_of_the_law(before: str, after: str) -> Mutant:
    return next(one for one in mutants_of(LAW) if (one.before, one.after) == (before, after))


def test_a_test_executes_lines_itself_in_shared_fixtures_and_in_processes(recording: ExecutedLines) -> None:
    lines = LAW.splitlines()
    of_whole, of_part = (lines.index("        return 1.0") + 1, lines.index("    return part / whole") + 1)
    assert recording.that_execute(LAW_FILE, range(of_part, of_part + 1)) == {HALF}
    assert recording.that_execute(LAW_FILE, range(of_whole, of_whole + 1)) == {ALL}
    assert recording.that_execute(LAW_FILE, {of_part, of_whole}) == {HALF, ALL}
    assert recording.that_execute(Path("train/nothing.py"), {1}) == set()
    assert recording.failed == (FAILS,)
    assert set(recording.tests) == {HALF, ALL, NOTHING}
    assert set(recording.shared) >= {"half"}
    assert recording.secs([HALF, HALF]) == pytest.approx(
        2 * recording.tests[HALF].secs + sum(recording.shared[one] for one in recording.tests[HALF].fixtures)
    )


def test_all_tests_of_the_files_are_chosen_where_no_test_executes_the_line(recording: ExecutedLines) -> None:
    mutant = mutant_of_the_law("part / whole", "(part) * (whole)")
    files = [Path("tests/test_law.py")]

    def chosen(mutant: Mutant, files: list[Path]) -> list[str]:
        return choose_tests(recording, LAW_FILE, mutant, files, {LAW_FILE: LAW})

    assert chosen(mutant, files) == [HALF]
    # If no test in ``files`` executes the line, the tests in other test files that execute it are chosen.
    assert chosen(mutant, []) == [HALF]
    assert set(chosen(replace(mutant, statement=range(99, 100)), files)) == {HALF, ALL, NOTHING}
    assert chosen(replace(mutant, statement=range(99, 100)), []) == []
    for names, tests in (
        ({"part"}, {HALF, ALL}),
        ({"nobody"}, {HALF, ALL, NOTHING}),
        # the test file contains the word "half"
        ({"part", "half"}, {HALF, ALL, NOTHING}),
    ):
        assert set(chosen(replace(mutant, defines=frozenset(names)), files)) == tests


def test_in_a_copy_a_mistake_that_no_test_holds_survives(
    project: Path, runner: TestRunner, recording: ExecutedLines
) -> None:
    tree = runner.tree
    assert (tree / "dermedge" / "train").is_symlink()
    assert not (tree / "ignored.txt").exists()
    noticed = mutant_of_the_law("part / whole", "(part) * (whole)")
    survivor = mutant_of_the_law("part >= whole", "part > whole")
    first, second = try_mutants(runner, recording, [(LAW_FILE, noticed), (LAW_FILE, survivor)], Limits())
    assert (first.verdict, second.verdict) == (NOTICED, SURVIVED)
    assert first.tests == (HALF,)
    assert set(second.tests) == {HALF, ALL}
    assert (tree / LAW_FILE).read_text() == (project / LAW_FILE).read_text() == LAW
    text = folder_table([first, second]).to_text()
    assert "train/law" not in text
    assert [line.split() for line in text.splitlines()][-2:] == [
        ["train", "2", "1", "0", "50%"],
        ["all", "2", "1", "0", "50%"],
    ]


def test_slow_tests_are_left_out_and_counted(runner: TestRunner, recording: ExecutedLines) -> None:
    mutant = mutant_of_the_law("part >= whole", "part > whole")
    [trial] = try_mutants(runner, recording, [(LAW_FILE, mutant)], Limits(tests_s=1e-9))
    assert (len(trial.tests), trial.left_out) == (1, 1)


def test_a_mutant_that_never_ends_is_stopped(
    runner: TestRunner, recording: ExecutedLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermedge.benchmarks.lab.mutants._SLOWER", 0.0)
    endless = replace(mutant_of_the_law("part / whole", "(part) * (whole)"), source="while True:\n    pass\n")
    [trial] = try_mutants(runner, recording, [(LAW_FILE, endless)], Limits(mutant_s=0.5))
    assert trial.verdict == STOPPED
    assert folder_table([trial]).to_text().splitlines()[-1].split() == ["all", "1", "0", "1", "0%"]


def test_tests_that_run_end_with_the_experiment(runner: TestRunner, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a mutant has the same effect."""
    endless = tmp_path / "test_endless.py"
    endless.write_text(
        "import os, pathlib, time\n\ndef test_endless():\n"
        "    pathlib.Path(__file__).with_name('pid').write_text(str(os.getpid()))\n    time.sleep(60)\n"
    )
    with TestRunner(runner.tree) as other:
        thread = threading.Thread(target=lambda: suppressed(other.run, [str(endless)], 60.0), daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        assert is_running(pid)
        other.process.terminate()
        thread.join(60)
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def suppressed(act: Callable[..., object], *arguments: object) -> None:
    with suppress(ToolError):
        act(*arguments)


def test_parameters_that_a_mutant_renames_are_all_tried(runner: TestRunner, recording: ExecutedLines) -> None:
    names = {f"tests/test_law.py::test_a_half_is_a_half[{name}]": recording.tests[HALF] for name in "ab"}
    renamed = replace(recording, tests=names)
    mutants = [
        (LAW_FILE, mutant_of_the_law("part / whole", "(part) * (whole)")),
        (LAW_FILE, mutant_of_the_law("1.0", "1.1")),
    ]
    assert [one.verdict for one in try_mutants(runner, renamed, mutants, Limits())] == [NOTICED, SURVIVED]


def test_a_sample_is_the_same_each_time_and_has_a_line_once(project: Path) -> None:
    files = [Path("train/law.py")]
    sample = sample_mutants(project, files, 50, 7)
    assert sample == sample_mutants(project, files, 50, 7)
    assert [mutant.line for _, mutant in sample] == [6, 7, 8]
    assert len(sample_mutants(project, files, 2, 7)) == 2
    with pytest.raises(OptionError, match="no line can be mutated"):
        sample_mutants(project, [Path("train/__init__.py")], 5, 0)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        main([str(tmp_path / "gone")])
    with pytest.raises(OptionError, match="is outside this checkout"):
        main([str(tmp_path)])

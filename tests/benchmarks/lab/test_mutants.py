"""Each mutant holds one mistake; the report tells which of them the tests of a small project notice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dermedge.benchmarks.lab.mutants import (
    NOTICED,
    STOPPED,
    SURVIVED,
    Limits,
    copy_tree,
    find_tests,
    folder_table,
    main,
    sample_mutants,
    try_mutants,
)
from dermedge.benchmarks.lab.mutation import mutants_of
from dermedge.edge.errors import OptionError, ToolError

LAW = '''"""A law."""


def share(part: int, whole: int) -> float:
    """A part of the whole."""
    if part >= whole:
        return 1.0
    return part / whole
'''
TEST = """from dermedge.train.law import share


def test_a_half_is_a_half():
    assert share(1, 2) == 0.5
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
        ("f = np.sqrt(a)", "np.sqrt(a)", {"a"}),
        ("with lock:\n    f = a", "with lock:\n    f = a", {"if True:\n    f = a"}),
    ],
)
def test_each_kind_of_mistake(source: str, before: str, afters: set[str]) -> None:
    assert {after for changed, after in changes(source) if changed == before} == afters


def test_a_mutant_is_the_source_but_for_the_mistake() -> None:
    # more bytes than characters before the change
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
    # a module without tests of its own or in its folder gets the tests of the modules that import it
    del imports[far], imports[user]
    assert find_tests(Path("train/data/law.py"), imports) == (farther,)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose package is a link, with a law that one test holds in part."""
    root = tmp_path / "project"
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


def test_in_a_copy_a_mistake_that_no_test_holds_survives(project: Path, tmp_path: Path) -> None:
    tree = copy_tree(project, tmp_path / "tree")
    assert (tree / "dermedge" / "train").is_symlink()
    assert not (tree / "ignored.txt").exists()
    law = Path("train/law.py")
    mutants = {(one.before, one.after): one for one in mutants_of(LAW)}
    noticed = mutants["part / whole", "(part) * (whole)"]
    survivor = mutants["1.0", "1.1"]
    first, second = try_mutants(tree, [(law, noticed), (law, survivor)], Limits())
    assert (first.verdict, second.verdict) == (NOTICED, SURVIVED)
    assert first.tests == second.tests == (Path("tests/test_law.py"),)
    assert (tree / law).read_text() == (project / law).read_text() == LAW
    text = folder_table([first, second]).to_text()
    assert "train/law" not in text
    assert [line.split() for line in text.splitlines()][-2:] == [
        ["train", "2", "1", "0", "50%"],
        ["all", "2", "1", "0", "50%"],
    ]


def test_a_mutant_that_never_ends_is_stopped(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dermedge.benchmarks.lab.mutants._SLOWER", 1.0)
    (project / "train" / "law.py").write_text(
        "def share(part, whole):\n    while part > whole:\n        pass\n    return 0.5\n"
    )
    [endless] = [
        one for one in mutants_of((project / "train" / "law.py").read_text()) if one.after == "part < whole"
    ]
    [trial] = try_mutants(project, [(Path("train/law.py"), endless)], Limits(mutant_s=0.1))
    assert trial.verdict == STOPPED
    assert folder_table([trial]).to_text().splitlines()[-1].split() == ["all", "1", "0", "1", "0%"]


def test_tests_that_fail_by_themselves_are_told(project: Path) -> None:
    (project / "tests" / "test_law.py").write_text(TEST.replace("0.5", "0.6"))
    with pytest.raises(ToolError, match=r"fail without a mutant.*test_law"):
        next(try_mutants(project, sample_mutants(project, [Path("train/law.py")], 1, 0), Limits()))


def test_a_sample_is_the_same_each_time_and_has_a_line_once(project: Path) -> None:
    files = [Path("train/law.py")]
    sample = sample_mutants(project, files, 50, 7)
    assert sample == sample_mutants(project, files, 50, 7)
    assert [mutant.line for _, mutant in sample] == [6, 7, 8]
    with pytest.raises(OptionError, match="nothing to mutate"):
        sample_mutants(project, [Path("train/__init__.py")], 5, 0)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        main([str(tmp_path / "gone")])
    with pytest.raises(OptionError, match="is not in"):
        main([str(tmp_path)])

"""Measuring all quoted figures of a machine: which programs run, and that a disturbed run replaces nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dermedge.benchmarks.lab import cli, figures
from dermedge.benchmarks.report import BenchmarkReport, to_json
from dermedge.edge.errors import ToolError
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED


class Recorded:
    """Takes the place of the programs. It records the calls, and writes results with the given faults."""

    def __init__(self, report: BenchmarkReport, *faults: str) -> None:
        self.ran: list[str] = []
        first = report.rows[0]
        total = first.latency.total
        steady = replace(total, low=total.median, high=total.median, p90=total.median, n=1024)
        row = replace(first, latency=replace(first.latency, total=steady, drift=0.0))
        self.text = to_json(replace(report, rows=(row,), faults=faults))

    def __call__(self, command: list[str], name: str, environment: dict[str, str]) -> None:
        self.ran.append(" ".join(command[2:4]))
        if "--output" in command:
            folder = Path(command[command.index("--output") + 1])
            folder.mkdir(exist_ok=True)
            names = {"benchmark": "results.json"}
            (folder / names.get(command[3], f"{command[3]}.json")).write_text(self.text)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "desk.json").write_text("old")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    return tmp_path


def test_all_is_measured_and_then_kept(
    report: BenchmarkReport, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = Recorded(report)
    monkeypatch.setattr(figures, "run_program", programs)
    assert cli.main(["figures", "desk", "--source", "photos/"]) == 0
    lab = "dermedge.benchmarks.lab"
    assert programs.ran == [
        *["dermedge benchmark"] * 2,
        *(f"{lab} {name}" for name in ("peers", "official", "repeat", "anchors", "readme")),
    ]
    kept = sorted(path.name for path in (results / "desk").iterdir())
    assert kept == ["official.json", "peers.json", "repeat.json", "results.json"]
    assert json.loads((results / "machines" / "desk.json").read_text())["rows"][0]["mark"] == "good"
    assert (results / "tta" / "results.json").is_file()


def test_what_would_spoil_the_tables_is_found_before_anything_is_measured(
    report: BenchmarkReport,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    programs = Recorded(report)
    document = tmp_path / "how-good.md"
    document.write_text("no marks")
    monkeypatch.setattr(figures, "run_program", programs)
    monkeypatch.setattr(figures, "HOW_GOOD", document)
    assert cli.main(["figures", "desk", "--source", "photos/"]) == 2
    assert "the document must have" in capsys.readouterr().err
    assert programs.ran == []


def test_results_of_networks_that_no_longer_ship_leave_the_table(
    report: BenchmarkReport, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path = next(iter(SHIPPED.items()))
    content = json.loads(Recorded(report).text)
    for file, sha256 in (("now", digest(path)), ("old", "0" * 64)):
        content["rows"][0] |= {"model": name, "sha256": sha256}
        (results / "machines" / f"{file}.json").write_text(json.dumps(content))
    monkeypatch.setattr(figures, "run_program", Recorded(report))
    assert cli.main(["figures", "desk", "--source", "photos/"]) == 0
    assert sorted(path.stem for path in (results / "machines").iterdir()) == ["desk", "now"]


def test_without_an_emulator_the_rest_is_written(
    report: BenchmarkReport,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs = Recorded(report)

    def run(command: list[str], name: str, environment: dict[str, str]) -> None:
        programs(command, name, environment)
        if command[3] == "anchors":
            raise ToolError("there is no emulator")

    monkeypatch.setattr(figures, "run_program", run)
    assert cli.main(["figures", "desk", "--source", "photos/"]) == 0
    assert "were not counted: there is no emulator" in capsys.readouterr().err
    assert programs.ran[-1] == "dermedge.benchmarks.lab readme"


def test_a_disturbed_run_ends_the_work_and_replaces_nothing(
    report: BenchmarkReport,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs = Recorded(report, "noisy: other processes kept 0.98 cores busy")
    monkeypatch.setattr(figures, "run_program", programs)
    assert cli.main(["figures", "desk", "--source", "photos/"]) == 2
    assert "noisy: other processes kept 0.98 cores busy" in capsys.readouterr().err
    assert programs.ran == ["dermedge benchmark"]
    assert (results / "machines" / "desk.json").read_text() == "old"
    assert [path.name for path in results.iterdir()] == ["machines"]


@pytest.mark.parametrize("name", ["a/b", "machines", "../up"])
def test_a_name_that_is_no_folder_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["figures", name, "--source", "photos/"]) == 2
    assert f"'{name}' cannot be the name of a machine" in capsys.readouterr().err

"""The tables of README.md, of docs/how-good.md and of the model card are those of benchmarks/results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from dermedge.benchmarks.compare import read_results
from dermedge.benchmarks.lab import card, quoted_results, readme
from dermedge.benchmarks.lab.generated_sections import END, begin, replace_section
from dermedge.benchmarks.lab.peers import PeerResult
from dermedge.benchmarks.latency import spread
from dermedge.benchmarks.report import BenchmarkReport, to_json
from dermedge.edge.errors import DataError
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import SHIPPED


def test_the_table_of_the_readme_is_that_of_the_results() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert replace_section(text, readme.COMMAND, readme.models_table()) == text, f"run `{readme.COMMAND}`"


def test_the_table_of_machines_is_that_of_the_results() -> None:
    text = readme.HOW_GOOD.read_text(encoding="utf-8")
    assert readme.how_good(text) == text, f"run `{readme.COMMAND}`"


def test_results_of_a_network_that_does_not_ship_are_not_quoted(tmp_path: Path) -> None:
    name, path = next(iter(SHIPPED.items()))
    (tmp_path / "desk").mkdir()
    repeat = {"model": f"{name}.tflite", "created": "2026", "runs": [{}] * 20}
    agreement = {"agreed": 188, "promised": 190, "verdict": "met"}
    for sha256, words in (
        ("0" * 64, "have not been measured in other runtimes yet"),
        (digest(path), "188 of 190 pairs of good runs agree"),
    ):
        (tmp_path / "desk/repeat.json").write_text(
            json.dumps({**repeat, "sha256": sha256, "agreement": agreement})
        )
        assert words in quoted_results.runtimes_section(tmp_path)


def test_peers_are_quoted_with_what_they_ran(tmp_path: Path) -> None:
    name, path = next(iter(SHIPPED.items()))
    (tmp_path / "desk").mkdir()
    ran = PeerResult(
        "ncnn", "float32", None, spread([3.0] * 9), 1.5, 1.4, 1.6, 0.9, 0.02, arithmetic="layers in bf16"
    )
    failed = PeerResult("mediapipe", "the .tflite", "no wheel")
    head = {"model": name, "sha256": digest(path), "created": "2026-12-01", "num_threads": 1}
    content = {**head, "machine": {"cpu": "a processor"}, "peers": [asdict(ran), asdict(failed)]}
    (tmp_path / "desk/peers.json").write_text(json.dumps(content))
    text = quoted_results.runtimes_section(tmp_path)
    assert "| ncnn | 3.00 | 1.50 | 1.40 to 1.60 | 90% | 2.0% |" in text
    assert text.endswith(
        "- ncnn ran float32\n- ncnn computed the layers in bf16\n- mediapipe did not run: no wheel"
    )


def test_each_shipped_model_has_its_licence_its_figures_and_its_time() -> None:
    lines = readme.models_table().splitlines()
    for name in SHIPPED:
        [line] = [line for line in lines if line.startswith(f"| {name} |")]
        assert re.search(r" MB \| \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] ms \| CC BY-NC 4\.0 \|$", line)
        assert "not measured" not in line


def test_the_times_are_of_one_run_of_all_models_and_a_good_one_goes_first(tmp_path: Path) -> None:
    def add(name: str, day: int, median: float, mark: str, models: Iterable[str] = SHIPPED) -> None:
        total = {
            **newest["rows"][0]["latency"]["total"],
            "median": median,
            "low": median - 0.2,
            "high": median + 0.2,
        }
        latency = {**newest["rows"][0]["latency"], "total": total}
        changed = {"num_threads": 1, "mark": mark, "latency": latency}
        content = {
            **newest,
            "created": f"2026-11-{day:02}T00:00:00+00:00",
            "machine": {**newest["machine"], "cpu": name},
            "rows": [{**newest["rows"][0], **changed, "model": one} for one in models],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    newest = read_results(next(iter(readme._MACHINES.glob("*.json"))))
    assert "no run has measured all models yet" in readme.models_table(tmp_path)
    add("some", 9, 9, "good", list(SHIPPED)[:2])
    add("old", 1, 4, "noisy")
    add("new", 2, 3, "noisy")
    assert readme.models_table(tmp_path).count("| 3.00 [2.80, 3.20] ms |") == len(SHIPPED)
    assert "one thread (new; the run is marked noisy)." in readme.models_table(tmp_path)
    add("hot", 3, 3, "throttled")
    assert "one thread (hot; the run is marked throttled)." in readme.models_table(tmp_path)
    add("good", 1, 2, "good")
    assert readme.models_table(tmp_path).count("| 2.00 [1.80, 2.20] ms |") == len(SHIPPED)
    assert "one thread (good)." in readme.models_table(tmp_path)


def test_the_tables_of_the_model_card_are_those_of_the_results() -> None:
    text = card.CARD.read_text(encoding="utf-8")
    assert replace_section(text, card.COMMAND, card.tables()) == text, f"run `{card.COMMAND}`"


def test_each_machine_has_a_line_for_each_model(report: BenchmarkReport, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(to_json(report))
    (tmp_path / "two.json").write_text(to_json(report))
    lines = readme.machines_table(tmp_path).splitlines()
    assert len([line for line in lines if "| alpha | 1 |" in line]) == 2
    assert lines[-1].endswith("| not measured | noisy |")


def test_what_is_between_the_marks_is_replaced() -> None:
    one, two = f"{begin('one')}\nold\n{END}", f"{begin('two')}\nkept\n{END}"
    assert replace_section(f"{one}\n{two}", "one", "new") == f"{begin('one')}\nnew\n{END}\n{two}"
    with pytest.raises(DataError, match="it has 0"):
        replace_section("no marks", "one", "new")

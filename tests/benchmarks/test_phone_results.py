"""The latencies that the phone page exports are a results file that `dermedge benchmark compare` reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge import cli
from dermedge.benchmarks.report import BenchmarkReport, to_json
from dermedge.edge.phone.build import PAGE

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")

SHA256 = "a" * 64
SCRIPT = """
import { Latencies } from %s;
let text = "";
for await (const part of process.stdin) text += part;
const latencies = new Latencies();
const was = latencies.isEnough;
for (const ms of JSON.parse(text)) latencies.add(ms, ms / 2);
const app = { manifest: { architecture: "a-network", input_size: 192 }, sha256: { "model.tflite": %s } };
const results = latencies.results(app, "a phone", new Date(0));
console.log(JSON.stringify({ was, is: latencies.isEnough, results }));
"""


def exported(times_ms: list[float]) -> dict[str, Any]:
    """The export of the page after answers with these latencies."""
    script = SCRIPT % (json.dumps((PAGE / "latencies.js").as_uri()), json.dumps(SHA256))
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(times_ms),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_figures_are_those_of_numpy_without_the_warm_up() -> None:
    times_ms = np.random.default_rng(0).normal(20, 1, 201)
    made = exported([500.0] * 32 + times_ms.tolist())
    assert (made["was"], made["is"]) == (False, True)
    [row] = made["results"]["rows"]
    total = row["latency"]["total"]
    assert total["n"] == 201
    found = [total[name] for name in ("median", "p90", "p99")]
    assert found == pytest.approx(np.quantile(times_ms, (0.5, 0.9, 0.99)))
    assert row["latency"]["invoke"]["median"] == pytest.approx(total["median"] / 2)
    # The ends have the ranks 100.5 ± 1.96 * sqrt(201) / 2 = 86.6 and 114.4, which are rounded to 86 and 115, so that
    # the interval becomes wider.
    assert (total["low"], total["high"]) == tuple(np.sort(times_ms)[[86, 115]])


@pytest.mark.parametrize(
    ("times_ms", "mark"),
    [
        ([20.0] * 200, "good"),
        # the second half takes 10 % longer
        ([20.0] * 100 + [22.0] * 100, "noisy"),
        # one answer in five takes twice as long
        ([20.0, 20.0, 20.0, 20.0, 40.0] * 40, "noisy"),
    ],
)
def test_a_disturbed_run_is_marked(times_ms: list[float], mark: str) -> None:
    [row] = exported([20.0] * 32 + times_ms)["results"]["rows"]
    assert row["mark"] == mark


def test_too_few_answers_are_not_enough() -> None:
    assert not exported([20.0] * (32 + 99))["is"]


def test_compare_reads_it_and_finds_the_model_by_its_digest(
    report: BenchmarkReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = replace(report, rows=(replace(report.rows[0], sha256=SHA256),))
    (tmp_path / "desk.json").write_text(to_json(ours))
    (tmp_path / "phone.json").write_text(json.dumps(exported([9.0] * 232)["results"]))
    files = [str(tmp_path / name) for name in ("desk.json", "phone.json")]
    assert cli.main(["benchmark", "compare", *files]) == 0
    text = capsys.readouterr().out
    # the report's median is 4.5 ms
    [line] = [line for line in text.splitlines() if line.startswith("alpha ")]
    assert line.split()[1:5] == ["1", "4.50", "9.00", "2.000"]
    assert "B: 1970-01-01, a phone, LiteRT.js in a browser" in text

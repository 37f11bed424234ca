"""`dermedge benchmark --estimate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dermedge import cli
from dermedge.benchmarks import calibrated_boards, estimate
from dermedge.benchmarks.calibrated_boards import Cost, read_boards
from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.traffic import bytes_moved
from dermedge.edge.errors import ModelError, ToolError
from dermedge.edge.model.manifest import digest
from dermedge.edge.model.shipped import DEFAULT_MODEL, FAST_MODEL, SHIPPED


def refuse_to_count(model: Path, cpu: str) -> int:
    raise AssertionError(f"{model} on {cpu} should not be counted")


def test_a_shipped_model_is_estimated_from_stored_counts() -> None:
    [found] = estimate.estimate([DEFAULT_MODEL], ["pi5"], refuse_to_count)
    [board] = read_boards(["pi5"])
    instructions = calibrated_boards.stored_instructions(digest(DEFAULT_MODEL), "cortex-a76")
    assert instructions
    factors = board.factors()
    by_hand = factors.per_instruction * instructions + factors.per_byte * bytes_moved(DEFAULT_MODEL)
    assert found.ms == pytest.approx(by_hand)
    assert (found.model, found.board, found.threads) == (DEFAULT_MODEL.stem, "Raspberry Pi 5", 4)


def test_another_file_is_counted_for_the_boards_processor(tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    # the file has another digest, but the same network
    path.write_bytes(DEFAULT_MODEL.read_bytes() + b" ")
    asked: list[tuple[Path, str]] = []

    def count(model: Path, cpu: str) -> int:
        asked.append((model, cpu))
        return 20_000_000

    four, five = estimate.estimate([path], ["pi4", "pi5"], count)
    assert asked == [(path, "cortex-a72"), (path, "cortex-a76")]
    [board] = read_boards(["pi4"])
    assert four.ms == pytest.approx(board.factors().ms(Cost(20_000_000, bytes_moved(path))))
    assert five.ms != four.ms


@pytest.mark.parametrize("factor", [0.49, 2.01])
def test_a_network_far_from_the_anchors_is_refused(factor: float, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(DEFAULT_MODEL.read_bytes() + b" ")
    [board] = read_boards(["pi4"])
    counts = [one.cost.instructions for one in board.anchors]
    end = min(counts) if factor < 1 else max(counts)
    [found] = estimate.estimate([path], ["pi4"], lambda model, cpu: int(factor * end))
    assert found.ms is None
    assert found.refused
    assert found.refused.startswith("the network executes")


def test_a_board_above_the_bar_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MAX_MEDIAN_ERROR", 0.0)
    [found] = estimate.estimate([DEFAULT_MODEL], ["pi5"], refuse_to_count)
    assert found.ms is None
    assert found.refused
    assert "is above 0 %" in found.refused
    text = estimate.to_text([found])
    assert "not estimated" in text
    assert "estimate " not in text.splitlines()[4]


def test_a_float_network_is_refused_where_only_int8_was_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "float_ops", lambda model: ("one",))
    [found] = estimate.estimate([DEFAULT_MODEL], ["pi5"], refuse_to_count)
    assert found.refused
    assert found.refused.startswith("the network computes in float32")


def test_the_text_says_that_nothing_was_measured_and_how_far_off_it_may_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["benchmark", "--estimate", "pi4,pi5"]) == 0
    text = capsys.readouterr().out
    assert "Nothing here was measured" in " ".join(text.split())
    [four, five] = read_boards(["pi4", "pi5"])
    rows = [line for line in text.splitlines() if line.startswith("dermedge-")]
    assert len(rows) == 2 * len(SHIPPED)
    for row in rows:
        board = four if "Pi 4" in row else five
        assert "estimate " in row
        assert f"± {100 * board.median_error():.0f} %" in row
        assert row.endswith(f" {100 * max(map(abs, board.errors())):.0f} %")
    assert f"fitted to {len(five.anchors)} published latencies" in " ".join(text.split())


def test_the_json_has_a_schema_that_compare_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "dermedge-128", "--estimate", "pi5", "--json"]) == 0
    written = capsys.readouterr().out
    assert json.loads(written)["schema"] == "dermedge-estimate/1"
    [one] = json.loads(written)["estimates"]
    assert one["ms"] > 0
    assert one["median_error"] == pytest.approx(read_boards(["pi5"])[0].median_error())
    path = tmp_path / "results.json"
    path.write_text(written)
    assert cli.main(["benchmark", "compare", str(path), str(path)]) == 2
    assert "dermedge-estimate/1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        ["--source", "demo"],
        ["--profile"],
        ["--tta"],
        ["--soak", "1"],
        ["--max-photos", "2"],
        # the published latencies were measured with four threads and with one runtime
        ["--num-threads", "1"],
        ["--runtime", "tflite-runtime"],
        ["--labels", "labels.txt"],
        ["--normalization", "unit"],
    ],
)
def test_an_estimate_is_never_beside_what_is_measured(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", "--estimate", "pi5", *option]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"dermedge: error: --estimate measures nothing; leave out {option[0]}\n"


def test_an_unknown_board_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "--estimate", "pi5,pi9"]) == 2
    assert capsys.readouterr().err == "dermedge: error: unknown board 'pi9'. Known: pi4, pi5, pixel4\n"


def test_a_file_that_is_missing_or_no_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, other = tmp_path / "missing.tflite", tmp_path / "other.tflite"
    other.write_text("not a model")
    assert cli.main(["benchmark", str(missing), "--estimate", "pi4"]) == 2
    assert f"the model file '{missing}' does not exist; `dermedge models`" in capsys.readouterr().err
    assert cli.main(["benchmark", str(other), "--estimate", "pi4"]) == 2
    assert f"'{other}' is not a .tflite model" in capsys.readouterr().err


def test_without_the_laboratory_an_uncounted_model_is_refused_with_a_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ToolError, match=r"Only a checkout of dermedge can count the instructions\. .*dermedge-192"
    ):
        estimate.count_here(Path("other.tflite"), "cortex-a76")


def test_the_bytes_of_a_network_are_those_of_all_inputs_weights_and_outputs(tmp_path: Path) -> None:
    moved = {path: bytes_moved(path) for path in (DEFAULT_MODEL, FAST_MODEL)}
    for path, found in moved.items():
        # at least every weight and the input are read once
        assert found > path.stat().st_size * 0.8
    # The outputs of the layers before the head are (192 / 128)² times as large. The weights are equally large.
    assert 1 < moved[DEFAULT_MODEL] / moved[FAST_MODEL] < (192 / 128) ** 2
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(DEFAULT_MODEL.read_bytes()[:5000])
    with pytest.raises(ModelError, match="damaged"):
        bytes_moved(damaged)


def test_the_document_states_the_errors_of_all_boards() -> None:
    lines = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8").splitlines()
    for board in read_boards():
        [row] = [line for line in lines if line.startswith(f"| {board.name} | {len(board.anchors)}")]
        largest = max(map(abs, board.errors()))
        assert row.endswith(f"| {100 * board.median_error():.0f} % | {100 * largest:.0f} % |")


@pytest.mark.parametrize("end", [min, max])
def test_a_network_within_a_factor_of_two_of_the_anchors_is_estimated(end: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(DEFAULT_MODEL.read_bytes() + b" ")
    [board] = read_boards(["pi4"])
    border = end(one.cost.instructions for one in board.anchors) * (2 if end is max else 0.5)
    [found] = estimate.estimate([path], ["pi4"], lambda model, cpu: border)
    assert found.refused is None
    assert found.ms == pytest.approx(board.factors().ms(Cost(border, bytes_moved(path))))


def test_a_refusal_tells_the_counts_in_millions_and_the_errors_are_absolute(tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(DEFAULT_MODEL.read_bytes() + b" ")
    [board] = read_boards(["pi4"])
    [found] = estimate.estimate([path], ["pi4"], lambda model, cpu: 1_250_000)
    counts = sorted(one.cost.instructions / 1e6 for one in board.anchors)
    assert found.refused
    assert found.refused.startswith("the network executes 1.25 million instructions, but ")
    assert f"execute {counts[0]:.3g} to {counts[-1]:.3g} million" in found.refused
    errors = [abs(one) for one in board.errors()]
    assert (found.largest_error, found.anchors) == (max(errors), len(errors))
    assert max(errors) == max(errors, default=0) >= found.median_error


def test_the_laboratory_counts_the_named_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], name: str, environment: dict[str, str]) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(stdout=json.dumps({"cortex-a72": 7, "cortex-a76": 9}))

    monkeypatch.setattr(estimate, "run_program", run)
    assert estimate.count_here(Path("other.tflite"), "cortex-a76") == 9
    [command] = commands
    # -P keeps Python from importing modules in the current folder in place of installed ones
    assert command == [
        sys.executable,
        "-P",
        "-m",
        "dermedge.benchmarks.lab",
        "anchors",
        "--model",
        str(Path("other.tflite").resolve()),
    ]

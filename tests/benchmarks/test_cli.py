"""`dermedge benchmark` as a person calls it."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import dermedge.benchmarks.accuracy
import dermedge.benchmarks.cli
import dermedge.benchmarks.side_by_side
from dermedge import Classifier, cli
from dermedge.benchmarks.arguments import thread_counts
from dermedge.benchmarks.latency import RunLength
from dermedge.benchmarks.memory import start_here
from dermedge.benchmarks.report import BenchmarkReport
from dermedge.benchmarks.side_by_side import BenchmarkSettings, short_names
from dermedge.edge.model.runtime import choose_runtime
from dermedge.edge.model.shipped import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]
NEEDS_VERIFYING_RUNTIME = pytest.mark.skipif(
    choose_runtime() == "tflite-runtime", reason="tflite-runtime 2.14 dies of a truncated file (SIGSEGV)"
)
QUICK = ["--warmup-runs", "1", "--num-runs", "3", "--min-secs", "0.001", "--max-secs", "0.5"]
DEMO = ["--source", "demo"]


@pytest.fixture(autouse=True)
def start_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures the cold start in this process. test_memory measures it in new processes, which takes seconds."""
    monkeypatch.setattr(dermedge.benchmarks.side_by_side, "cold_start", start_here)


@pytest.fixture
def second_model(model_path: Path, tmp_path: Path) -> Path:
    """The same network in another file."""
    return Path(shutil.copy(model_path, tmp_path / "second.tflite"))


@pytest.fixture
def foreign_model() -> Path:
    """A classifier of 1001 things that has no manifest of ours."""
    data = os.environ.get("DERMEDGE_DATA", str(ROOT.parent / "shared" / "data"))
    path = Path(data).parent / "reference_models" / "mobilenet_v1_0.25_128_quant.tflite"
    if not path.is_file():
        pytest.skip(f"needs the reference model '{path}'")
    return path


@pytest.fixture
def photos(model_path: Path, tmp_path: Path) -> Path:
    """Four photos in each of two folders that are named as classes of the model."""
    random = np.random.default_rng(0)
    with Classifier(model_path) as classifier:
        labels = classifier.labels[:2]
    for label in labels:
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(4):
            picture = random.integers(0, 256, (90, 120, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / label / f"{label[:2]}{number}.png"), picture)
    return tmp_path / "photos"


def test_two_models_side_by_side_with_accuracy_and_files(
    model_path: Path, second_model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [str(model_path), str(second_model), "--data", str(photos), "--output", str(out)]
    assert cli.main(["benchmark", *arguments, *QUICK]) == 0
    captured = capsys.readouterr()
    text = captured.out
    written = sorted(line for line in captured.err.splitlines() if line.startswith("wrote "))
    assert written == [f"wrote {out / f'results.{kind}'}" for kind in ("csv", "html", "json", "md")]
    assert "8 photos of 8 lesions" in text
    assert "8 photos of --data resized to 640x480" in text
    with (out / "results.csv").open() as handle:
        first, second = csv.DictReader(handle)
    assert first["model"] == model_path.stem
    assert second["model"] == "second"
    assert first["balanced_accuracy"] == second["balanced_accuracy"] != ""
    # on a busy machine, the time limit may end the run before its third round
    assert 1 <= int(first["runs"]) <= 3
    assert sorted(path.name for path in out.iterdir()) == [
        "results.csv",
        "results.html",
        "results.json",
        "results.md",
    ]


def test_photos_that_cannot_be_decoded_are_counted_and_the_others_are_scored(
    model_path: Path, photos: Path, tmp_path: Path, oversized_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = next(path for path in photos.iterdir() if path.is_dir())
    (folder / "aa.png").write_bytes(oversized_png)
    arguments = [str(model_path), *QUICK, "--json", "--output", str(tmp_path / "out")]
    assert cli.main(["benchmark", "--data", str(photos), *arguments]) == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["rows"][0]["accuracy"]["photos"] == 8
    assert len(found["unreadable"]) == 1
    assert "classes from folder names of 'photos': " in said.err
    assert "more than 120 million pixels" in said.err
    page = (tmp_path / "out" / "results.md").read_text()
    assert "photos that could not be decoded and are not scored: 1" in page
    # for the latency, a photo that cannot be decoded is left out
    assert cli.main(["benchmark", "--source", str(photos), *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["frames"].startswith("8 of 9 photos of --source")
    for path in photos.rglob("*.png"):
        path.write_bytes(oversized_png)
    assert cli.main(["benchmark", "--data", str(photos), *arguments]) == 2
    assert "none of the 9 photos can be decoded" in capsys.readouterr().err


def test_each_model_is_scored_once_whatever_the_numbers_of_threads(
    model_path: Path, second_model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[Path] = []
    original = dermedge.benchmarks.side_by_side.score

    def noting(classifiers: list[Classifier], *others: Any) -> Any:
        scored.extend(classifier.path for classifier in classifiers)
        return original(classifiers, *others)

    monkeypatch.setattr(dermedge.benchmarks.side_by_side, "score", noting)
    both = [str(model_path), str(second_model)]
    arguments = [*both, "--data", str(photos), "--num-threads", "1,2", *QUICK]
    assert cli.main(["benchmark", *arguments]) == 0
    assert scored == [model_path, second_model]


def test_without_data_accuracy_is_not_measured(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", str(model_path), *DEMO, *QUICK]) == 0
    text = capsys.readouterr().out
    assert "generated frames of 640x480, not photos" in text
    assert "photos: not measured" in text


def test_photos_of_a_source_are_shown_in_place_of_labelled_ones(
    model_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", str(model_path), "--source", str(photos), *QUICK]) == 0
    text = capsys.readouterr().out
    assert "8 of 8 photos of --source resized to 640x480" in text
    assert "photos: not measured" in text


def test_generated_frames_are_taken_only_where_they_are_named(
    model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", str(model_path), *QUICK]) == 2
    assert "--source demo" in capsys.readouterr().err


def test_json_on_standard_output_has_a_row_for_each_number_of_threads(
    model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["benchmark", str(model_path), "--num-threads", "1,2", "--json", *DEMO, *QUICK]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["num_threads"] for row in content["rows"]] == [1, 2]
    assert content["command"].startswith("dermedge benchmark ")
    assert content["machine"]["cores"] >= 1


def test_a_foreign_model_is_timed_but_not_scored_beside_ours(
    model_path: Path, foreign_model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [str(foreign_model), str(model_path)]
    assert cli.main(["benchmark", *both, *DEMO, *QUICK]) == 0
    assert "not stated" in capsys.readouterr().out
    assert cli.main(["benchmark", *both, "--data", str(photos), *QUICK]) == 2
    assert "cannot be scored on the same photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{model}", "{model}"], "same file"),
        (["{model}", "{link}"], "same file"),
        (["{folder}/absent.tflite"], "absent.tflite' does not exist"),
        (["{text}"], "damaged"),
        pytest.param(["{truncated}"], "damaged", marks=NEEDS_VERIFYING_RUNTIME),
        (["{model}", "--num-runs", "0"], "--num-runs: '0'"),
        (["{model}", "--num-threads", "1,0"], "--num-threads: '0'"),
        (["{model}", "--num-threads", "2,2"], "a number twice"),
        (["{model}", "--max-secs", "nan"], "--max-secs: 'nan'"),
        (["{model}", "--warmup-runs", "-1"], "--warmup-runs: '-1'"),
        (["{model}", "--runtime", "onnx"], "invalid choice: 'onnx'"),
        (["{model}", "--nonsense"], "--nonsense"),
        (["{model}", "--output", "{text}/out"], "a part of the path is a file"),
        (["{model}", "--plot", "plot.png"], "--plot needs labelled photos"),
        (["{model}", "--max-photos", "5"], "--max-photos needs labelled photos"),
        (["{model}", "--split", "val"], "--split needs labelled photos"),
        (["{model}", "--data", "{folder}/absent"], "absent"),
        (["{model}", "--source", "{folder}/absent.mp4"], "absent"),
        (["{model}", "--source", "random"], "Unknown source 'random'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str],
    said: str,
    model_path: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.tflite").write_text("no model")
    (tmp_path / "truncated.tflite").write_bytes(model_path.read_bytes()[:50_000])
    (tmp_path / "link.tflite").symlink_to(model_path.resolve())
    names = {name: str(tmp_path / f"{name}.tflite") for name in ("text", "truncated", "link")}
    filled = [one.format(model=model_path, folder=tmp_path, **names) for one in arguments]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["benchmark", *DEMO, *QUICK, *filled]) == 2
    captured = capfd.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_results_that_cannot_be_written_are_shown_all_the_same(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(dermedge.benchmarks.cli, "check_writable", lambda folder: None)
    assert cli.main(["benchmark", str(model_path), "--output", str(tmp_path / "file"), *DEMO, *QUICK]) == 2
    captured = capsys.readouterr()
    assert "Latency in ms from a 640x480 frame" in captured.out
    assert "cannot write" in captured.err


def test_tta_is_a_row_of_its_own_that_is_timed_and_scored_so(
    model_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[tuple[bool, int]]] = {}

    def watched(name: str) -> None:
        real = getattr(dermedge.benchmarks.side_by_side, name)

        def call(classifiers: Sequence[Classifier], *arguments: Any) -> Any:
            seen[name] = [(one.tta, one.num_threads) for one in classifiers]
            return real(classifiers, *arguments)

        monkeypatch.setattr(dermedge.benchmarks.side_by_side, name, call)

    watched("measure")
    watched("score")
    asked = [
        str(model_path),
        "--data",
        str(photos),
        "--tta",
        "--num-threads",
        "1,2",
        "--output",
        str(tmp_path),
    ]
    assert cli.main(["benchmark", *asked, *QUICK]) == 0
    assert seen["measure"] == [(False, 1), (False, 2), (True, 1), (True, 2)]
    assert seen["score"] == [(False, 1), (True, 1)]
    with (tmp_path / "results.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    turned = f"{model_path.stem} --tta"
    assert [row["model"] for row in rows] == [model_path.stem] * 2 + [turned] * 2
    assert all(row["balanced_accuracy"] for row in rows)


@pytest.mark.parametrize("phase", ["loading", "accuracy", "latency", "start"])
def test_ctrl_c_stops_with_130_and_leaves_nothing(
    phase: str,
    model_path: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def press(text: str) -> None:
        if text.startswith(phase):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(dermedge.benchmarks.cli, "show_status", press)
    monkeypatch.setattr(dermedge.benchmarks.accuracy, "REPORT_EVERY_PHOTOS", 1)
    before = sorted(tmp_path.rglob("*"))
    arguments = [str(model_path), "--data", str(photos), "--output", str(tmp_path / "out"), *QUICK]
    assert cli.main(["benchmark", *arguments]) == 130
    assert capsys.readouterr().out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_the_command_loads_no_package_that_a_device_lacks(model_path: Path) -> None:
    check = (
        "import sys; from dermedge import cli; status = cli.main(sys.argv[1:]); "
        "heavy = {'matplotlib', 'pandas', 'tensorflow', 'sklearn', 'tf_keras'} & set(sys.modules); "
        "sys.exit(status or len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, "benchmark", str(model_path.resolve()), *DEMO, *QUICK],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_files_of_equal_names_are_told_apart_by_their_folders() -> None:
    assert short_names([Path("/a/x/m.tflite"), Path("/a/y/m.tflite")]) == ["x/m", "y/m"]
    assert short_names([Path("/a/one.tflite"), Path("/b/two.tflite")]) == ["one", "two"]


def test_thread_counts_are_a_list_with_commas() -> None:
    assert thread_counts("1,2,4") == (1, 2, 4)


def test_every_option_reaches_the_benchmark(
    report: BenchmarkReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[BenchmarkSettings] = []

    def benchmark(settings: BenchmarkSettings, progress: Any, say: Any) -> BenchmarkReport:
        asked.append(settings)
        say("how the photos were read")
        return replace(report, unreadable=("a broken photo",))

    monkeypatch.setattr(dermedge.benchmarks.cli, "benchmark", benchmark)
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    options = ["a.tflite", "--data", "photos", "--split", "val", "--max-photos", "7", "--source", "frames"]
    options += ["--labels", str(tmp_path / "labels.txt"), "--normalization", "unit", "--num-threads", "1,3"]
    options += ["--runtime", "litert", "--tta", "--json"]
    options += ["--warmup-runs", "0", "--num-runs", "5", "--min-secs", "2", "--max-secs", "9"]
    assert cli.main(["benchmark", *options]) == 2
    said = capsys.readouterr()
    assert said.err == "how the photos were read\ndermedge: error: a broken photo\n"
    assert json.loads(said.out)["rows"][0]["model"] == "alpha"
    assert cli.main(["benchmark", "--source", "demo", "--profile"]) == 2
    assert capsys.readouterr().out.startswith("Latency")
    assert asked == [
        BenchmarkSettings(
            models=(Path("a.tflite"),),
            num_threads=(1, 3),
            runtime="litert",
            labels=("one", "two"),
            normalization="unit",
            data=Path("photos"),
            split="val",
            max_photos=7,
            source="frames",
            run_length=RunLength(0, 5, 2.0, 9.0),
            tta=True,
            command=shlex.join(["dermedge", "benchmark", *options]),
        ),
        BenchmarkSettings(
            models=(DEFAULT_MODEL,),
            num_threads=(1,),
            runtime="auto",
            source="demo",
            run_length=RunLength(50, 1024, 10.0, 150.0),
            profile=True,
            command="dermedge benchmark --source demo --profile",
        ),
    ]


@pytest.mark.parametrize("form", [["--source", "{}"], ["--source={}"]])
@pytest.mark.parametrize("more", [[], ["--soak", "1"]])
def test_the_command_in_the_results_has_no_password(
    form: list[str], more: list[str], report: BenchmarkReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BenchmarkSettings] = []
    monkeypatch.setattr(
        dermedge.benchmarks.cli, "benchmark", lambda settings, *_: asked.append(settings) or report
    )
    monkeypatch.setattr(dermedge.benchmarks.cli, "_soak", lambda settings, _: asked.append(settings) or 0)
    source = [one.format("rtsp://me:s3cret@camera/live") for one in form]
    assert cli.main(["benchmark", *source, *more]) == 0
    [settings] = asked
    assert settings.command == shlex.join(
        ["dermedge", "benchmark", *(one.format("rtsp://camera/live") for one in form), *more]
    )
    assert settings.source == "rtsp://me:s3cret@camera/live"


def test_a_plot_is_written_beside_the_results_and_checked_before_the_run(
    report: BenchmarkReport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[int] = []
    monkeypatch.setattr(
        dermedge.benchmarks.cli, "benchmark", lambda settings, show, say: measured.append(1) or report
    )
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for path, said in (
        ("plot.gif", "does not name a format"),
        ("file/plot.png", "a part of the path is a file"),
        ("folder.png", "it is a folder; give the name of a file"),
    ):
        assert cli.main(["benchmark", "a.tflite", "--data", "photos", "--plot", str(tmp_path / path)]) == 2
        assert said in capsys.readouterr().err
    assert measured == []
    plotted: list[Path] = []
    monkeypatch.setattr(dermedge.benchmarks.cli, "save_plot", lambda found, path: plotted.append(path))
    assert cli.main(["benchmark", "a.tflite", "--data", "photos", "--plot", str(tmp_path / "plot.png")]) == 0
    assert plotted == [tmp_path / "plot.png"]
    assert capsys.readouterr().err == f"wrote {tmp_path / 'plot.png'}\n"


@pytest.mark.parametrize("option", [["--profile"], ["--tta"]])
def test_a_soak_measures_nothing_else(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["benchmark", "a.tflite", "--soak", "1", *DEMO, *option]) == 2
    assert "--soak cannot be combined with --data, --profile or --tta" in capsys.readouterr().err

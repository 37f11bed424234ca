"""The documents: each command in them runs, or says why not; each option, link and quoted message exists."""

from __future__ import annotations

import argparse
import base64
import csv
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

import dermedge
from dermedge import cli
from dermedge.benchmarks.lab import cli as lab
from dermedge.edge.cli.arguments import Parser
from dermedge.edge.errors import OptionError
from dermedge.edge.model.manifest import CLOSE_UP, read_manifest
from dermedge.edge.model.photo_view import DERMOSCOPIC
from dermedge.edge.model.shipped import SHIPPED
from dermedge.edge.preprocess import to_input
from dermedge.edge.sources.demo import generate
from dermedge.edge.states import State

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
VECTORS = ROOT / "tests" / "edge"
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
        """The words of each command. Comments, the path of the program, and a redirection into a file are left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        found = [shlex.split(line.partition(" > ")[0], comments=True) for line in lines]
        return [[Path(words[0]).name, *words[1:]] for words in found if words]


class Parsed(Exception):  # noqa: N818 - it ends a command where its options have been understood
    """Says that the options of a command are valid. The command ends before it does anything else."""


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
        return  # without a verb or the name of an experiment, the command lists them
    assert words[at] in names, f"there is no '{words[at]}'"
    is_verb = words[0] == "dermedge"
    main = import_module(cli.VERBS[words[at]][0] if is_verb else f"dermedge.benchmarks.lab.{words[at]}").main
    with patch.object(Parser, "parse_args", stop), pytest.raises((Parsed, SystemExit)):
        main(words[at + 1 :])


def check_installation(words: list[str]) -> None:
    """Checks that the extras that a command installs exist."""
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
    """Runs a block of Python as a script of its own, and returns the lines that it printed."""
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
    calls = ("Classifier(", "Pipeline(", "Interpreter(", "melanomas = sorted(", 'Path("trial", name)')
    lamp = set(python_examples("import LED"))
    assert set(runnable) == {block for call in calls for block in python_examples(call)} - lamp


def python_examples(call: str) -> list[Block]:
    return [block for block in PYTHON if call in block.text]


def test_the_loop_prints_a_state_for_each_frame(sandbox: Path) -> None:
    [loop] = python_examples("islice(")
    printed = run_script(loop, sandbox)
    assert len(printed) == 60
    assert all(line.startswith(tuple(State)) for line in printed)


# This module takes the place of gpiozero. Its lamp prints whether it is on.
LAMP = """
class LED:
    def __init__(self, pin):
        assert pin == 17

    def __setattr__(self, name, value):
        assert name == "value"
        print(value)
"""


def test_the_lamp_is_on_while_an_answer_with_an_alert_is_shown(sandbox: Path) -> None:
    [program] = python_examples("import LED")
    (sandbox / "gpiozero.py").write_text(LAMP, encoding="utf-8")
    (sandbox / "frames").mkdir()
    for number in range(0, 400, 20):
        cv2.imwrite(str(sandbox / "frames" / f"{number:03}.png"), generate(number))
    printed = run_script(replace(program, text=program.text.replace('"picamera2"', '"frames"')), sandbox)
    with dermedge.Pipeline("frames") as results:
        answers = [result.answer for result in results]
    expected = [answer is not None and answer.prediction.alert is not None for answer in answers]
    assert {*expected} == {True, False}
    assert printed == [str(on) for on in expected]


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


def test_the_threshold_has_the_sensitivity_that_is_asked_for(sandbox: Path) -> None:
    [program] = python_examples("melanomas = sorted(")
    melanomas = [("melanoma", number / 100) for number in range(20, 60)]
    others = [("nevus", number / 100) for number in range(30)]
    rows = [f"{label},{probability}" for label, probability in [*others, *melanomas]]
    (sandbox / "answers.csv").write_text("\n".join(["true class,melanoma", *rows]), encoding="utf-8")
    assert run_script(program, sandbox) == ["threshold 0.2200: sensitivity 0.950, specificity 0.733"]


def test_the_trial_of_the_whole_chain_ends_as_the_page_says(
    sandbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow")
    [drawing] = python_examples('Path("trial", name)')
    assert run_script(drawing, sandbox) == []
    [chain] = [block for block in SHELL if "--data trial/" in block.text]
    for words in chain.commands:
        assert cli.main(words[1:]) == 0, shlex.join(words)
    printed = capsys.readouterr().out
    assert "done: 'runs/trial'" in printed
    assert "Cannot tell: 6 photos are too few" in printed
    evaluation = json.loads((sandbox / "report" / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["models"][0]["figures"]["accuracy"]["value"] == 1
    assert keys_in_table("evaluate.md", "| key | what it is |") == sorted(evaluation)


def test_the_keys_of_a_recording_are_those_of_the_table(sandbox: Path) -> None:
    assert cli.main(["run", "--source", "demo", "--max-frames", "1", "--record", "sessions"]) == 0
    [session] = (sandbox / "sessions").glob("*/session.json")
    written = json.loads(session.read_text(encoding="utf-8"))
    title = "### The keys of session.json\n\n| key | what it is |"
    assert keys_in_table("run.md", title) == sorted(written)


def keys_in_table(name: str, title: str) -> list[str]:
    """The keys in the first column of the table with this title, sorted."""
    rows = table_rows((DOCS / name).read_text(encoding="utf-8").partition(title)[2].partition("\n\n")[0])
    return sorted(key for row in rows for key in re.findall(r"`(\w+)`", row[0]))


def test_an_array_with_red_first_is_classified(sandbox: Path) -> None:
    [own_array] = python_examples("image_rgb")
    answer, probabilities = run_script(own_array, sandbox)
    with dermedge.Classifier(SHIPPED["dermedge-192"]) as classifier:
        prediction = classifier.predict(np.full((480, 640, 3), (158, 180, 222), np.uint8))
        assert answer == classifier.headline(prediction).text
    assert probabilities == str(dict(zip(classifier.labels, prediction.probabilities, strict=True)))


@pytest.fixture
def own_program(sandbox: Path) -> Path:
    """A folder with the program that runs a model without dermedge, and with the model that it names."""
    pytest.importorskip("ai_edge_litert")
    [program] = python_examples("Interpreter(")
    (sandbox / "program.py").write_text(program.text, encoding="utf-8")
    shutil.copy(SHIPPED["dermedge-nine-192"], sandbox)
    return sandbox


@pytest.mark.parametrize("name", SHIPPED)
def test_the_program_without_dermedge_gives_the_same_answers(
    name: str, own_program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(SHIPPED[name], own_program / "dermedge-nine-192.tflite")
    with dermedge.Classifier(SHIPPED[name]) as classifier:
        for number in range(0, 180, 30):
            cv2.imwrite(str(own_program / "photo.jpg"), generate(number))
            runpy.run_path("program.py")
            prediction = classifier.predict(dermedge.read_picture(own_program / "photo.jpg"))
            headline = classifier.headline(prediction).text
            headline += " (close-up: less certain)" if prediction.view == CLOSE_UP else " "
            probability = f"probability of {prediction.label}: {prediction.probability:.6f}"
            alert = f"alert: {'on' if prediction.alert else 'off'}"
            assert capsys.readouterr().out.splitlines()[:3] == [headline, probability, alert]


def test_the_program_without_dermedge_prepares_images_as_dermedge_does(own_program: Path) -> None:
    network_input = runpy.run_path("program.py")["network_input"]
    random = np.random.default_rng(5)
    heights, widths = random.integers(20, 700, (2, 60))
    for height, width in [(480, 640), (240, 300), *zip(heights, widths, strict=True)]:
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for size in (128, 192, 224):
            expected = to_input(image, size)
            assert np.array_equal(network_input(image[..., ::-1], size), expected), (height, width, size)


def test_the_program_without_dermedge_decides_as_dermedge_does(own_program: Path) -> None:
    decide = runpy.run_path("program.py")["decide"]
    for vector in vectors("decision_vectors.json"):
        with np.errstate(divide="ignore"):
            found = decide(np.log(vector["probabilities"]), 0.0, {**vector, "temperature": 1})
        title, nearest = vector["headline"].values()
        headline = title if nearest is None else f"{title}; nearest: {nearest}"
        label = vector["labels"][vector["index"]]
        assert (found[0], found[1], found[3]) == (headline, label, vector["alert"]), vector["name"]
    for vector in vectors("calibration_vectors.json"):
        close_up = float(vector["view"] == CLOSE_UP)
        found = decide(np.array(vector["logits"]), close_up, vector["manifest"])
        assert list(found[2].values()) == pytest.approx(vector["probabilities"]), vector["name"]


class FloatModel:
    """An interpreter of a network. Its only output is the evidence, which is not quantized."""

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1, "quantization": (0.0, 0)}]

    def set_tensor(self, index: int, values: Any) -> None:
        assert (index, values.shape) == (0, (1, 8, 8, 3))

    def invoke(self) -> None:
        pass

    def get_tensor(self, index: int) -> Any:
        return np.array([[[[1.0, -2.0], [2.0, 4.0]]]], np.float32)


def test_the_program_without_dermedge_reads_outputs_that_are_not_quantized(own_program: Path) -> None:
    run = runpy.run_path("program.py")["run"]
    logits, close_up = run(FloatModel(), np.zeros((8, 8, 3), np.uint8))
    assert (logits.tolist(), close_up) == ([1.5, 1.0], 0.0)


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return found


def test_the_photos_of_an_export_of_the_phone_app_are_written(sandbox: Path) -> None:
    [program] = python_examples('"dermedge-history.json"')
    jpeg = (sandbox / "photo.jpg").read_bytes()
    history = {"answers": [{"picture": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}]}
    (sandbox / "dermedge-history.json").write_text(json.dumps(history), encoding="utf-8")
    assert run_script(program, sandbox) == []
    assert (sandbox / "phone" / "0000.jpg").read_bytes() == jpeg


# Prints the digest of the network's input for the image of each vector. docs/own-program.md describes the vectors.
DIGESTS = """
import java.math.BigInteger;
import java.security.MessageDigest;

public final class Digests {
    public static void main(String[] numbers) throws Exception {
        for (int at = 0; at < numbers.length; at += 4) {
            int height = Integer.parseInt(numbers[at]);
            int width = Integer.parseInt(numbers[at + 1]);
            int[] argb = new int[height * width];
            for (int value = 0; value < 3 * argb.length; value++) {
                int bits = value + 1 + 7919 * Integer.parseInt(numbers[at + 2]);
                bits ^= bits << 13;
                bits ^= bits >>> 17;
                bits ^= bits << 5;
                argb[value / 3] = argb[value / 3] << 8 | bits & 0xFF;
            }
            byte[] input = NetworkInput.of(argb, width, height, Integer.parseInt(numbers[at + 3]));
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(input);
            System.out.printf("%064x%n", new BigInteger(1, digest));
        }
    }
}
"""


def test_the_java_class_prepares_images_as_dermedge_does(tmp_path: Path) -> None:
    if not shutil.which("javac"):
        pytest.skip("no Java compiler: apt install default-jdk-headless")
    page = (DOCS / "android.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^ {4}.*\n(?:^\n(?= {4}))*)+", page, flags=re.MULTILINE)
    [written] = [block for block in blocks if "class NetworkInput" in block]
    (tmp_path / "NetworkInput.java").write_text(textwrap.dedent(written), encoding="utf-8")
    (tmp_path / "Digests.java").write_text(DIGESTS, encoding="utf-8")
    images = vectors("preprocess_vectors.json")
    numbers = [str(image[key]) for image in images for key in ("height", "width", "seed", "size")]
    compiler = ["javac", "-Xlint:all", "-Werror", "NetworkInput.java", "Digests.java"]
    subprocess.run(compiler, cwd=tmp_path, check=True, timeout=SECONDS_TO_RUN)
    done = subprocess.run(
        ["java", "Digests", *numbers],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_RUN,
    )
    assert done.stdout.split() == [image["sha256"] for image in images]


def test_the_thresholds_in_the_table_are_those_of_the_models() -> None:
    page = (DOCS / "predict.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (dermedge-\S+) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$", page, flags=re.MULTILINE)
    expected = []
    for name, path in SHIPPED.items():
        manifest = read_manifest(path)
        assert manifest is not None
        views = {DERMOSCOPIC if manifest.views else "all": manifest.thresholds}
        views |= {view: values["thresholds"] for view, values in manifest.views.items()}
        for view, values in views.items():
            numbers = (values["alert"]["threshold"], values["none"], values["uncertain"])
            expected.append((name, view, *(f"{number:.4f}" for number in numbers)))
    assert rows == expected


def test_the_shapes_and_scales_in_the_table_are_those_of_the_models() -> None:
    page = (DOCS / "own-program.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| dermedge-")]
    expected = []
    for name, path in SHIPPED.items():
        manifest = read_manifest(path)
        assert manifest is not None
        [evidence] = [output for output in manifest.outputs if len(output["shape"]) == 4]
        _, height, width, classes = evidence["shape"]
        cells = f"{manifest.input_size} | {classes} | {height} x {width}"
        expected.append(f"| {name} | {cells} | {evidence['scale']:.6f} | {evidence['zero_point']} |")
        assert manifest.inputs[0]["scale"] == pytest.approx(1 / 127.5)
        assert manifest.inputs[0]["zero_point"] == 128
    assert rows == expected


def test_the_order_of_the_classes_is_that_of_the_models() -> None:
    page = (DOCS / "own-program.md").read_text(encoding="utf-8")
    manifests = [read_manifest(path) for path in SHIPPED.values()]
    orders = {one.labels for one in manifests if one is not None}
    assert len(orders) == 2
    for labels in orders:
        assert f"| {len(labels)} | {', '.join(labels)} |\n" in page


def test_the_photos_of_each_class_in_the_model_card_add_up() -> None:
    rows = [row for row in card_rows() if len(row) == 5 and row[0] in {*nine_classes(), "in total"}]
    counts = [[int(cell.split(", ")[0].replace(",", "")) for cell in row[1:4]] for row in rows]
    *classes, total = counts
    assert len(classes) == len(nine_classes())
    assert [sum(column) for column in zip(*classes, strict=True)] == total
    assert sum(total) == 25_123


def test_the_disturbances_in_the_model_card_are_those_of_the_evaluation() -> None:
    evaluation = ROOT / "benchmarks/results/nine-classes/val-stress/evaluation.json"
    results = json.loads(evaluation.read_text(encoding="utf-8"))["stress"]["results"]
    expected = []
    for at_192, at_128 in zip(results[::2], results[1::2], strict=True):
        assert (at_192["model"], at_128["model"]) == ("qat192", "taught128")
        row = [at_192["perturbation"], at_192["severity"]]
        for result in (at_192, at_128):
            change = result["balanced_accuracy_change"]
            row.append(f"{change['value']:.3f} [{change['low']:.3f}, {change['high']:.3f}]")
            row.append(f"{100 * result['flips']['value']:.1f} %")
        expected.append(row)
    kinds = {result["perturbation"] for result in results}
    assert [row for row in card_rows() if len(row) == 6 and row[0] in kinds] == expected


def test_the_two_seeds_in_the_model_card_are_those_of_the_evaluations() -> None:
    runs = []
    for name in ("long192", "seed192"):
        path = ROOT / f"benchmarks/results/nine-classes/choice/{name}/evaluation.json"
        runs += json.loads(path.read_text(encoding="utf-8"))["models"]

    def row(title: str, figures: list[dict[str, Any]], key: str) -> list[str]:
        values = [one[key] for one in figures]
        return [title, *(f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in values)]

    everything = [run["figures"] for run in runs]
    close_ups = [run["slices"]["view"]["close-up"]["figures"] for run in runs]
    expected = [
        row("balanced accuracy, four classes", everything, "balanced_accuracy_named"),
        row("melanoma AUROC, four classes", everything, "critical_auroc_named"),
        row("melanoma AUROC, against all other photos", everything, "critical_auroc_all"),
        row("AUROC of other lesions against the four classes", everything, "decline_auroc_other"),
        row("close-ups: balanced accuracy, four classes", close_ups, "balanced_accuracy_named"),
        row("close-ups: melanoma AUROC, four classes", close_ups, "critical_auroc_named"),
    ]
    rows = card_rows()
    first = rows.index(["figure", "runs/long192", "runs/seed192"]) + 2
    assert rows[first : first + len(expected)] == expected


ALL_CLASSES = ROOT / "benchmarks/results/nine-classes/all-classes/evaluation.json"
FIVE_CLASSES = ROOT / "benchmarks/results/test-split-3/evaluation.json"


def confusion_matrix(name: str) -> tuple[list[str], list[list[int]]]:
    """Returns the classes, and how often each class was the answer to the photos of each true class.

    The photos are those of the model's test split.
    """
    path = ALL_CLASSES if "nine" in name else FIVE_CLASSES
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    [matrix] = [one["confusion_matrix"] for one in evaluation["models"] if one["name"] == name]
    return evaluation["labels"], matrix


@pytest.mark.parametrize("name", SHIPPED)
def test_the_confusion_matrices_in_the_model_card_are_those_of_the_evaluations(name: str) -> None:
    labels, matrix = confusion_matrix(name)
    rows = [[label, *map(str, counts)] for label, counts in zip(labels, matrix, strict=True)]
    card = (ROOT / "models/README.md").read_text(encoding="utf-8")
    section = card.partition("### Confusion matrices\n")[2].partition("\n### ")[0]
    table = re.split(rf"^{name} \(", section, flags=re.MULTILINE)[1].partition("\n\n")[2].partition("\n\n")[0]
    assert table_rows(table) == [["true class", *labels], ["---", *["---:"] * len(labels)], *rows]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_model_card_says_of_missed_melanomas_is_in_the_evaluations(name: str) -> None:
    labels, matrix = confusion_matrix(name)
    assert labels[0] == "melanoma"

    def most_frequent(counts: list[int]) -> str:
        others = sorted(zip(labels[1:], counts[1:], strict=True), key=lambda pair: -pair[1])
        listed = ", ".join(f"{label} {count}" for label, count in others[:3])
        return f"{sum(counts[1:])}: {listed}"

    answers, true_classes = matrix[0], [row[0] for row in matrix]
    row = [f"{answers[0]} of {sum(answers)}", most_frequent(answers), most_frequent(true_classes)]
    assert [name, *row] in card_rows()


def test_the_parameters_and_the_memory_in_the_model_card_are_those_of_the_models() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    results = json.loads((ROOT / "benchmarks/results/machines/x86-64-xeon-amx.json").read_text("utf-8"))
    memory = {row["model"]: row["start"]["model_mb"] for row in results["rows"]}
    parameters = [count_parameters(schema, path.read_bytes()) / 1e6 for path in SHIPPED.values()]
    rows = {row[0].partition(":")[0]: row[1:] for row in card_rows() if len(row) == 5}
    assert rows["parameters"] == [f"{millions:.2f} million" for millions in parameters]
    assert rows["memory of the model on a computer"] == [f"{memory[name]:.1f} MB" for name in SHIPPED]


def count_parameters(schema: Any, model: bytes) -> int:
    """The number of weights and biases of the convolutions and matrix products of a .tflite."""
    root = schema.Model.GetRootAs(model)
    graph = root.Subgraphs(0)
    operators = schema.BuiltinOperator
    layers = (operators.CONV_2D, operators.DEPTHWISE_CONV_2D, operators.FULLY_CONNECTED)
    found = {}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = root.OperatorCodes(operator.OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in layers:
            for index in operator.InputsAsNumpy()[1:]:
                found[int(index)] = int(graph.Tensors(int(index)).ShapeAsNumpy().prod())
    return sum(found.values())


def card_rows() -> list[list[str]]:
    """The cells of all rows of tables in the model card."""
    return table_rows((ROOT / "models/README.md").read_text(encoding="utf-8"))


def table_rows(text: str) -> list[list[str]]:
    """The cells of all rows of tables in a text."""
    lines = [line.strip() for line in text.splitlines()]
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]


def nine_classes() -> tuple[str, ...]:
    manifest = read_manifest(SHIPPED["dermedge-nine-192"])
    assert manifest is not None
    return tuple(manifest.labels)


def test_the_packages_in_the_table_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {f"`[{name}]`": needs for name, needs in project["optional-dependencies"].items()}
    expected: dict[tuple[str, str], set[str]] = {}
    for place, needs in {"`pip install .`": project["dependencies"], **extras}.items():
        for need in () if place in ("`[test]`", "`[dev]`") else map(Requirement, needs):
            expected.setdefault((f"`{need.name}`", f"`{need.specifier}`"), set()).add(place)
    rows = package_rows()
    assert {(name, versions): set(places.split(", ")) for name, places, versions, _ in rows} == expected
    assert all(licence for *_, licence in rows)


def test_the_licences_in_the_table_are_those_that_the_installed_packages_state() -> None:
    for name, _, _, licence in package_rows():
        try:
            stated = metadata(name.strip("`")).get("License-Expression", "")
        except PackageNotFoundError:
            continue
        if licence not in ("the same", "not looked up"):
            parts = set(re.split(r" (?:AND|OR) ", stated)) - {""}
            assert {part for part in parts if part not in licence} == set(), name


def package_rows() -> list[list[str]]:
    """The cells of each row of the table of packages: the name, what it comes with, the versions and the licence."""
    page = (DOCS / "installation.md").read_text(encoding="utf-8")
    return [row for row in table_rows(page) if len(row) == 4 and re.fullmatch(r"`[<>=]+[\d.]+`", row[2])]


@pytest.mark.parametrize("command", ["models", "doctor", "inspect"])
def test_the_keys_of_json_in_the_reference_are_those_of_the_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["dermedge-nine-192"] if command == "inspect" else []
    assert cli.main([command, *model, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    title = "key of a model" if command == "models" else f"key of {command}"
    rows = table_rows(page.partition(f"| {title} |")[2].partition("\n\n")[0])
    keys = [key for row in rows for key in re.findall(r"`(\w+)`", row[0])]
    assert sorted(keys) == sorted(printed[0] if command == "models" else printed)


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
    """Returns all code of the product. The parts of a string that is written on several lines are joined."""
    folders = ("dermedge", "edge", "train", "convert", "benchmarks")
    found = (
        path for folder in folders for kind in ("*.py", "page/*.js") for path in (ROOT / folder).rglob(kind)
    )
    paths = [ROOT / "setup.py", *found]
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

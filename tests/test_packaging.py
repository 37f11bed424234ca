"""What is packaged, what a device needs of it, and what the locks promise."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

import dermedge

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# Of dermedge, as the links in dermedge/ name them.
FOLDERS = {"edge", "train", "convert", "benchmarks", "models"}

# lock -> the extras that it holds
LOCKS = {"device": ["edge"], "device-tflite-runtime": ["edge-tflite-runtime"], "dev": ["dev"]}

# Of the train extra; a device has none of them.
ABSENT_ON_A_DEVICE = (
    "tensorflow",
    "tf_keras",
    "keras",
    "tensorflow_model_optimization",
    "scipy",
    "pandas",
    "matplotlib",
    "imagehash",
    "PIL",
    "jinja2",
)

# Runs dermedge with the arguments after the first, which names the packages that cannot be imported.
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{absent}.") for absent in sys.argv[1].split(",")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from dermedge import cli
from dermedge import cli
sys.exit(cli.main(sys.argv[2:]))
"""

# Hosts of registries, and folders of the machines that dermedge is written on.
ADDRESSES = re.compile(
    rb"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org|(?<![\w.~-])/(root|work|opt/pypi)/"
)


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files under version control, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file() or (ROOT / path).is_symlink()]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of noise."""
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def wheel(tracked: list[Path], model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unpacked wheel, which was built from a copy of the tracked files and the model."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path, follow_symlinks=False)
    (source / "models").mkdir(exist_ok=True)
    shutil.copy(model_path, source / "models" / "dermedge-192.tflite")
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, str(built)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        archive.extractall(unpacked)
    return unpacked


def run_without(
    packages: tuple[str, ...], arguments: list[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """`dermedge` with these arguments, in a process where these packages cannot be imported."""
    command = [sys.executable, "-c", WITHOUT, ",".join(packages), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def requirements(extras: list[str]) -> Iterator[Requirement]:
    """What pyproject.toml demands for these extras and for the project without any."""
    optional = PROJECT["project"]["optional-dependencies"]
    texts = PROJECT["project"]["dependencies"] + [text for extra in extras for text in optional[extra]]
    for requirement in map(Requirement, texts):
        if requirement.name == "dermedge":
            yield from requirements(sorted(requirement.extras))
        else:
            yield requirement


def pins(lock: str) -> dict[str, str]:
    """Name -> version of a lock."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


def test_the_version_is_written_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert version("dermedge") == dermedge.__version__


def test_the_wheel_holds_every_tracked_file_of_its_packages_and_the_licence(
    wheel: Path, tracked: list[Path]
) -> None:
    # experiments and the measurements of machines are records of the repository, not parts of the program
    parts = [path for path in tracked if path.parts[0] in FOLDERS and not {"results", "lab"} & {*path.parts}]
    missing = [path for path in parts if not (wheel / "dermedge" / path).is_file()]
    assert missing == []
    assert list(wheel.glob("dermedge-*.dist-info/licenses/LICENSE"))


def test_a_wheel_finds_its_model_outside_the_checkout(wheel: Path, picture: Path) -> None:
    code = (
        "import sys; from dermedge import cli; from dermedge.edge.model import shipped; "
        "print(shipped.DEFAULT_MODEL); sys.exit(cli.main("
        "['predict', sys.argv[1], '--format', 'csv']))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(wheel), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", code, str(picture)]
    done = subprocess.run(
        command, cwd=picture.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(wheel / "dermedge" / "models" / "dermedge-192.tflite")
    assert "picture.png" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("predict {picture} --model {model}", "picture.png"),
        ("run --source demo --max-frames 2 --json --model {model}", '"probabilities"'),
        ("benchmark {model} --source {picture} --num-runs 2 --min-secs 0.1 --json", '"invoke_ratio"'),
        ("inspect {model} --json", '"left_in_float": []'),
    ],
)
def test_a_device_needs_nothing_of_the_training_part(
    command: str, printed: str, model_path: Path, picture: Path
) -> None:
    arguments = [one.format(picture=picture, model=model_path) for one in command.split()]
    done = run_without((*ABSENT_ON_A_DEVICE, "dermedge.train", "dermedge.convert"), arguments, picture.parent)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


def test_where_the_schema_is_missing_inspect_says_so_in_one_line(model_path: Path, tmp_path: Path) -> None:
    done = run_without(("ai_edge_litert",), ["inspect", str(model_path)], tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"dermedge: error: .*pip install 'dermedge\[edge\]'\n", done.stderr)


@pytest.mark.parametrize("package", ["numpy", "cv2"])
def test_the_doctor_runs_where_what_it_looks_for_cannot_be_imported(package: str, tmp_path: Path) -> None:
    done = run_without((package,), ["doctor"], tmp_path)
    assert done.returncode == 1, done.stderr
    fault = rf"^fault +(numpy|opencv) .*No module named '{package}'; cure: pip "
    assert re.search(fault, done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1].startswith("warning  model")


@pytest.mark.parametrize("verb", ["data", "train", "evaluate", "convert"])
def test_help_of_the_training_part_needs_no_tensorflow(verb: str, tmp_path: Path) -> None:
    done = run_without(ABSENT_ON_A_DEVICE, [verb, "--help"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: dermedge {verb}")


@pytest.mark.parametrize(
    "command", ["train --data photos", "data audit photos", "data catalogue photos --output c.csv"]
)
def test_training_on_a_device_says_in_one_line_what_to_install(command: str, tmp_path: Path) -> None:
    done = run_without(ABSENT_ON_A_DEVICE, command.split(), tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"dermedge: error: .*pip install 'dermedge\[train\]'\n", done.stderr)


@pytest.mark.parametrize("lock", [*LOCKS, "test", *PROJECT["dependency-groups"]])
def test_a_lock_pins_every_package_with_its_hashes_and_names_no_address(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    text = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    pinned = re.compile(r"[a-z0-9-]+==[\w.]+( ; [\w. '!=<>()]+)?( +--hash=sha256:[0-9a-f]{64})+")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert lines
    assert [line for line in lines if not pinned.fullmatch(line)] == []


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_a_lock_holds_what_pyproject_demands(lock: str, extras: list[str]) -> None:
    pinned = pins(lock)
    unmet = [
        str(one) for one in requirements(extras) if not one.specifier.contains(pinned.get(one.name, "0"))
    ]
    assert unmet == [], "run `make lock`"


@pytest.mark.parametrize("group", PROJECT["dependency-groups"])
def test_the_lock_of_a_group_holds_what_it_demands(group: str) -> None:
    pinned = pins(group)
    demanded = map(Requirement, PROJECT["dependency-groups"][group])
    unmet = [str(one) for one in demanded if not one.specifier.contains(pinned.get(one.name, "0"))]
    assert unmet == [], "run `make lock`"


@pytest.mark.parametrize("lock", ["device", "test"])
def test_what_is_tested_is_what_a_device_gets(lock: str) -> None:
    assert pins(lock).items() <= pins("dev").items()


def test_no_tracked_file_names_a_registry_or_a_folder_of_one_machine(tracked: list[Path]) -> None:
    named = {
        str(path): found.group().decode()
        for path in tracked
        if (ROOT / path).is_file() and (found := ADDRESSES.search((ROOT / path).read_bytes()))
    }
    assert named == {}

"""What is packaged, what a device needs of it, and what the locks promise."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

import dermedge
from dermedge.edge.installation import PYTHONS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# The folders of dermedge. The links in dermedge/ have these names.
FOLDERS = {"edge", "train", "convert", "benchmarks", "models"}

# For each lock: the extras whose packages it pins.
LOCKS = {"device": [], "device-tflite-runtime": ["tflite-runtime"], "dev": ["dev"]}

# Modules that the extra `train` installs. They are not installed on a device.
ABSENT_ON_A_DEVICE = (
    "absl",
    "tensorflow",
    "tf_keras",
    "keras",
    "tensorflow_model_optimization",
    "scipy",
    "sklearn",
    "litert_quantizer",
    "pandas",
    "matplotlib",
    "threadpoolctl",
    "PIL",
    "jinja2",
)

# Runs dermedge as if some packages were not installed. The first argument names these packages, separated by commas.
# The other arguments go to dermedge.
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{absent}.") for absent in sys.argv[1].split(",")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from dermedge import cli
sys.exit(cli.main(sys.argv[2:]))
"""

# Hosts of package registries, and folders of the machines on which dermedge is developed. No file may name them.
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
    """An image of noise."""
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return path


@dataclass(frozen=True)
class Archives:
    """The archives that `python -m build` makes of the tracked files.

    Attributes:
        source: the copy of the tracked files.
        sdist: the source archive of it.
        wheel: the wheel that was built from the unpacked source archive.
        direct_wheel: the wheel that was built from the copy.
        output: what the three builds printed.
    """

    source: Path
    sdist: Path
    wheel: Path
    direct_wheel: Path
    output: str


@pytest.fixture(scope="module")
def archives(tracked: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Both archives. They are built without isolation, because isolation needs a network."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path, follow_symlinks=False)
    built, direct = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("direct")
    output = build("wheel", source, direct)
    output += build("sdist", source, built)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(built, filter="data")
    output += build("wheel", built / sdist.name.removesuffix(".tar.gz"), built)
    return Archives(source, sdist, next(built.glob("*.whl")), next(direct.glob("*.whl")), output)


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(
    request: pytest.FixtureRequest, archives: Archives, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder like site-packages, into which pip installed one of the archives without the packages that it needs."""
    target = tmp_path_factory.mktemp("site-packages")
    done = pip_install(getattr(archives, request.param), target)
    assert done.returncode == 0, done.stderr
    return target


def build(kind: str, source: Path, folder: Path) -> str:
    """Builds a ``wheel`` or an ``sdist`` of a source tree into a folder, and returns what the build printed."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def pip_install(what: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """``pip install`` of an archive or a folder into a folder, without a network."""
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", *options, str(what)]
    return subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)


def run_installed(site: Path, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m dermedge`` in a folder. The package is imported from another folder, where it was installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "dermedge", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def contents(wheel: Path) -> dict[str, bytes]:
    """Returns the bytes of each file of a wheel, by the name of the file."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


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
    """The requirements of pyproject.toml for these extras and for the bare project."""
    optional = PROJECT["project"]["optional-dependencies"]
    texts = PROJECT["project"]["dependencies"] + [text for extra in extras for text in optional[extra]]
    for requirement in map(Requirement, texts):
        if requirement.name == "dermedge":
            yield from requirements(sorted(requirement.extras))
        else:
            yield requirement


def pins(lock: str) -> dict[str, str]:
    """Returns the version of each package of a lock, by the name of the package."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, flags=re.MULTILINE))


def test_the_version_is_written_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert version("dermedge") == dermedge.__version__


def test_the_wheel_holds_every_tracked_file_of_its_packages_and_no_laboratory(
    archives: Archives, tracked: list[Path]
) -> None:
    # The folders lab and results hold experiments and measurements of machines. These are not parts of the program.
    parts = {
        f"dermedge/{path}"
        for path in tracked
        if path.parts[0] in FOLDERS and not {"results", "lab"} & {*path.parts}
    }
    own = {
        f"dermedge/{name}" for name in ("__init__.py", "__main__.py", "cli.py", "completion.py", "py.typed")
    }
    there = {name for name in contents(archives.wheel) if ".dist-info/" not in name}
    assert parts | own <= there
    # The wheel may hold a new file that is not yet under version control, but no file of these two folders.
    assert not [name for name in there if "/lab/" in name or "/results/" in name]


def test_the_wheel_of_the_source_archive_is_that_of_the_checkout(archives: Archives) -> None:
    assert contents(archives.wheel) == contents(archives.direct_wheel)


def test_the_source_archive_holds_every_tracked_file(archives: Archives, tracked: list[Path]) -> None:
    root = archives.wheel.parent / archives.sdist.name.removesuffix(".tar.gz")
    links = [path for path in tracked if (ROOT / path).is_symlink()]
    assert [path for path in tracked if path not in links and not (root / path).is_file()] == []
    assert [path for path in links if not (root / path).is_dir()] == []


def test_the_builds_warn_of_nothing(archives: Archives) -> None:
    assert not re.search(r"warning|deprecat", archives.output, re.IGNORECASE)


def test_the_metadata_names_both_licences_and_the_wheel_holds_their_texts(archives: Archives) -> None:
    files = contents(archives.wheel)
    (metadata,) = (text.decode() for name, text in files.items() if name.endswith("/METADATA"))
    assert "\nLicense-Expression: Apache-2.0 AND CC-BY-NC-4.0\n" in metadata
    texts = [text.decode() for name, text in files.items() if ".dist-info/licenses/" in name]
    assert any("Apache License" in text for text in texts)
    assert any("Attribution-NonCommercial 4.0 International Public License" in text for text in texts)


def test_a_wheel_holds_no_file_of_an_earlier_build(archives: Archives, tmp_path: Path) -> None:
    for name in ("edge/__init__.py", "dermedge/edge/removed.py"):
        stale = archives.source / "build" / "lib" / name
        stale.parent.mkdir(parents=True, exist_ok=True)
        stale.write_text("")
    build("wheel", archives.source, tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    assert contents(wheel).keys() == contents(archives.wheel).keys()


def test_a_build_deletes_nothing_from_a_folder_of_the_user(archives: Archives, tmp_path: Path) -> None:
    theirs = tmp_path / "thesis.txt"
    theirs.write_text("words")
    command = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=archives.source, capture_output=True, check=True)
    assert theirs.read_text() == "words"
    assert (tmp_path / "dermedge" / "cli.py").is_file()


def test_an_installation_leaves_one_package(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} - {"bin"} == {
        "dermedge",
        f"dermedge-{dermedge.__version__}.dist-info",
    }


def test_an_installation_works_beside_modules_that_are_called_like_its_folders(
    installed: Path, picture: Path
) -> None:
    for name in FOLDERS:
        (picture.parent / f"{name}.py").write_text("raise SystemExit('a module of the user')\n")
    (picture.parent / "models").mkdir()
    (picture.parent / "models" / "__init__.py").write_text("raise SystemExit('a package of the user')\n")
    done = run_installed(installed, ["predict", picture.name, "--format", "csv"], picture.parent)
    assert done.returncode == 0, done.stderr
    assert "picture.png" in done.stdout.splitlines()[-1]
    for verb in ("train", "convert", "benchmark"):
        done = run_installed(installed, [verb, "--help"], picture.parent)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"usage: dermedge {verb}")


def test_a_hint_of_an_installation_names_the_archive_that_it_came_from(
    installed: Path, archives: Archives, tmp_path: Path
) -> None:
    code = "from dermedge.edge.errors import MissingExtra; print(MissingExtra('segno', 'phone'))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    hint = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert any(f"'{path}[phone]'" in hint for path in (archives.wheel, archives.sdist))


def test_a_copy_without_links_is_refused_with_the_cure(archives: Archives, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(archives.source, copy, symlinks=True)
    for folder in FOLDERS:
        # where git may not make a symbolic link, it writes a file that holds the target of the link
        (copy / "dermedge" / folder).unlink()
        (copy / "dermedge" / folder).write_text(f"../{folder}")
    done = pip_install(copy, tmp_path)
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if "symbolic links" in line)
    assert "dermedge: error: dermedge/benchmarks, dermedge/convert" in line
    assert "Install the wheel" in line


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
    assert re.fullmatch(r"dermedge: error: .*install ai-edge-litert\n", done.stderr)


@pytest.mark.parametrize("package", ["numpy", "cv2"])
def test_the_doctor_runs_where_what_it_looks_for_cannot_be_imported(package: str, tmp_path: Path) -> None:
    done = run_without((package,), ["doctor"], tmp_path)
    assert done.returncode == 1, done.stderr
    fault = rf"^fault +(numpy|opencv) .*No module named '{package}'; cure: .*install "
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
def test_training_on_a_device_says_in_one_line_what_to_install(
    command: str, labelled_set: Path, tmp_path: Path
) -> None:
    arguments = [one.replace("photos", str(labelled_set)) for one in command.split()]
    done = run_without(ABSENT_ON_A_DEVICE, arguments, tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"dermedge: error: .*install .*\[train\]'\n", done.stderr)


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("evaluate dermedge-128 --data photos", "train"),
        ("evaluate run", "train"),
        ("convert model.keras --int8 --data photos", "train"),
        ("convert model.tflite --int8 --data photos", "convert"),
    ],
)
def test_a_hint_names_the_smallest_extra_with_all_that_the_command_needs(
    command: str, extra: str, labelled_set: Path, tmp_path: Path
) -> None:
    arguments = [str(labelled_set) if one == "photos" else one for one in command.split()]
    done = run_without(ABSENT_ON_A_DEVICE, arguments, tmp_path)
    assert done.returncode == 2, done.stderr
    assert re.search(rf"^dermedge: error: .*install .*\[{extra}\]'\n$", done.stderr)


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
    demanded = [
        one for one in requirements(extras) if lock != "device-tflite-runtime" or one.name != "ai-edge-litert"
    ]
    unmet = [str(one) for one in demanded if not one.specifier.contains(pinned.get(one.name, "0"))]
    assert unmet == [], "run `make lock`"


@pytest.mark.parametrize("group", PROJECT["dependency-groups"])
def test_the_lock_of_a_group_holds_what_it_demands(group: str) -> None:
    pinned = pins(group)
    demanded = map(Requirement, PROJECT["dependency-groups"][group])
    unmet = [str(one) for one in demanded if not one.specifier.contains(pinned.get(one.name, "0"))]
    assert unmet == [], "run `make lock`"


def test_hints_name_the_versions_of_python_that_pyproject_demands_a_package_for() -> None:
    names = PROJECT["project"]["classifiers"]
    pythons = [name.rpartition(" ")[2] for name in names if " :: Python :: 3." in name]
    limited = {
        one.name: tuple(
            tuple(map(int, python.split(".")))
            for python in pythons
            if one.marker.evaluate({"python_version": python})
        )
        for one in requirements(["train"])
        if one.marker and "python_version" in str(one.marker)
    }
    # tflite-runtime has no marker, although its last wheels are those for Python 3.11
    assert {**limited, "tflite-runtime": ((3, 11),)} == PYTHONS


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

"""The Java class of docs/android.md reads the manifest where Android's stricter rule for zips holds."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from dermedge.edge.model.associated import attach_file
from dermedge.edge.model.manifest import Manifest, attach, read_manifest

DOCS = Path(__file__).resolve().parents[3] / "docs" / "android.md"
TIMEOUT_S = 120
# Prints whether the plain JVM opens the file as a zip, whether Android's rule allows it, and what the class of the
# document reads.
READER = """
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.security.MessageDigest;
import java.util.TreeMap;
import java.util.zip.ZipFile;

public final class Reader {
    public static void main(String[] arguments) throws Exception {
        byte[] model = Files.readAllBytes(new File(arguments[0]).toPath());
        try (ZipFile zip = new ZipFile(arguments[0])) {
            System.out.println("zip " + zip.size());
        }
        System.out.println("android " + (ByteBuffer.wrap(model).getInt(0) == 0x504b0304));
        for (var file : new TreeMap<>(ModelZip.files(model)).entrySet()) {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(file.getValue());
            System.out.printf("%s %064x%n", file.getKey(), new java.math.BigInteger(1, digest));
        }
    }
}
"""


def indented_block(containing: str) -> str:
    """Returns the block of code that contains a text."""
    blocks = re.findall(
        r"(?:^ {4}.*\n(?:^\n(?= {4}))*)+", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    [block] = [one for one in blocks if containing in one]
    return textwrap.dedent(block)


def run(*command: str | Path, cwd: Path) -> list[str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled class of the document, and `READER`."""
    if not shutil.which("javac"):
        pytest.skip("no Java compiler: apt install default-jdk-headless")
    folder = tmp_path_factory.mktemp("java")
    (folder / "ModelZip.java").write_text(indented_block("class ModelZip"), encoding="utf-8")
    (folder / "Reader.java").write_text(READER, encoding="utf-8")
    run("javac", "-Xlint:all", "-Werror", "ModelZip.java", "Reader.java", cwd=folder)
    return folder


@pytest.fixture
def converted(model_path: Path, tmp_path: Path) -> Path:
    """A shipped model as `dermedge convert` writes it: with its manifest, its labels and the photos it has learned."""
    manifest = read_manifest(model_path)
    assert manifest is not None
    path = tmp_path / "model.tflite"
    path.write_bytes(attach_file(attach(model_path.read_bytes(), manifest), "learned.bin", bytes(range(256))))
    return path


def test_the_recipe_reads_what_androids_rule_refuses(classes: Path, converted: Path) -> None:
    with zipfile.ZipFile(converted) as archive:
        digests = [
            f"{name} {hashlib.sha256(archive.read(name)).hexdigest()}" for name in sorted(archive.namelist())
        ]
    printed = run("java", "-Xshare:auto", "-cp", classes, "Reader", converted, cwd=classes)
    assert printed == ["zip 3", "android false", *digests]


def test_unpacking_when_the_app_is_built_gives_the_manifest(converted: Path, tmp_path: Path) -> None:
    [line] = [one for one in DOCS.read_text(encoding="utf-8").splitlines() if "python3 -m zipfile" in one]
    command = line.replace("python3", sys.executable).replace("dermedge-nine-192.tflite", str(converted))
    run(*command.split(), cwd=tmp_path)
    folder = tmp_path / "app/src/main/assets/dermedge"
    text = (folder / "dermedge.json").read_text(encoding="utf-8")
    manifest = Manifest.from_json(text, converted)
    assert manifest == read_manifest(converted)
    # the Kotlin code of the document needs these
    assert [one["index"] for one in manifest.outputs if len(one["shape"]) == 4] == [1]

"""The files of the phone app, built with an npm that answers without a network."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermedge.edge.phone.build import PAGE, Build, build_app

# Takes the place of npm. It writes the package of LiteRT.js where npm would write it, and records its arguments.
NPM = """#!/bin/sh
echo "$@" > "$ASKED"
ls >> "$ASKED"
root=node_modules/@litertjs
mkdir -p $root/core/dist $root/core/wasm $root/wasm-utils/dist
printf 'import { a } from "@litertjs/wasm-utils";' > $root/core/dist/index.js
printf 'loader' > $root/core/wasm/litert_wasm_compat_internal.js
printf 'machine code' > $root/core/wasm/litert_wasm_compat_internal.wasm
printf 'not shipped' > $root/core/wasm/litert_wasm_internal.wasm
printf 'helpers' > $root/wasm-utils/dist/index.js
"""


@pytest.fixture
def build(tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("npm", NPM), ("node", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return build_app(model_path, tmp_path / "app")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_app_has_the_files_that_its_pages_load(build: Build, tmp_path: Path, model_path: Path) -> None:
    app = build.folder
    assert app == tmp_path / "app"
    assert {path.name: path.read_text() for path in (app / "litert").iterdir()} == {
        # workers have no import maps, so the path of the import is changed
        "index.js": 'import { a } from "./wasm-utils.js";',
        "litert_wasm_compat_internal.js": "loader",
        "litert_wasm_compat_internal.wasm": "machine code",
        "wasm-utils.js": "helpers",
    }
    loaded = set(
        re.findall(r'"(?:\./)?(litert/[\w.-]+|model\.tflite|app\.json)"', (app / "worker.js").read_text())
    )
    assert loaded == {
        "app.json",
        "model.tflite",
        "litert/index.js",
        "litert/litert_wasm_compat_internal.js",
        "litert/litert_wasm_compat_internal.wasm",
    }
    assert all((app / name).is_file() for name in loaded)
    assert all((app / path.name).read_bytes() == path.read_bytes() for path in PAGE.iterdir())
    assert "Apache License" in (app / "licences.txt").read_text()
    asked, *inputs = (tmp_path / "asked").read_text().splitlines()
    # npm must not run the scripts of the packages
    assert asked.split()[:2] == ["ci", "--ignore-scripts"]
    assert inputs == ["package-lock.json", "package.json"]
    there = sorted(path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file())
    assert sorted(build.files) == there
    assert build.bytes == sum((app / name).stat().st_size for name in there)
    assert build.model_sha256 == sha256(model_path) == sha256(app / "model.tflite")


def test_the_page_checks_the_digests_of_model_and_machine_code(build: Build) -> None:
    described = json.loads((build.folder / "app.json").read_text())
    wasm = "litert/litert_wasm_compat_internal.wasm"
    assert described["sha256"] == {name: sha256(build.folder / name) for name in ("model.tflite", wasm)}
    assert "golden" not in described["manifest"]
    assert described["manifest"]["input_size"] == 192
    # the page gets the logits as the mean of the evidence, so it needs no description of a head
    assert described["head"] is None
    assert described["close_up"] == {"shape": [1], "scale": 1 / 256, "zero_point": 0}
    for name in ("probabilities", "evidence"):
        assert described[name]["shape"][-1] == len(described["manifest"]["labels"]), name
    # a uint8 probability has 256 levels
    assert (described["probabilities"]["scale"], described["probabilities"]["zero_point"]) == (1 / 256, 0)


def test_the_service_worker_has_a_name_for_each_build_and_the_list_of_its_files(build: Build) -> None:
    build_line, files_line = (build.folder / "files.js").read_text().splitlines()
    names = sorted(set(build.files) - {"files.js"})
    seen = hashlib.sha256()
    for name in names:
        seen.update(f"{name} {sha256(build.folder / name)}\n".encode())
    assert build_line == f'const BUILD = "{seen.hexdigest()[:16]}";'
    kept = ["./", *(name for name in names if name not in ("index.html", "sw.js"))]
    assert files_line == f"const FILES = {json.dumps(kept)};"


def test_the_icons_have_the_sizes_that_the_manifest_of_the_page_states(build: Build) -> None:
    stated = json.loads((build.folder / "manifest.webmanifest").read_text())["icons"]
    assert {one["src"] for one in stated} == {"icon-192.png", "icon-512.png", "icon-maskable.png"}
    for one in stated:
        icon = cv2.imread(str(build.folder / one["src"]))
        assert one["sizes"] == f"{icon.shape[1]}x{icon.shape[0]}"
        size = icon.shape[0]
        skin, lesion = icon[0, 0], icon[size // 2, size // 2]
        # In BGR, the skin is light and reddish, and the lesion is dark brown.
        assert skin.tolist() == [196, 212, 236]
        assert lesion.tolist() == [58, 78, 128]
        drawn = np.abs(icon.astype(int) - skin).max(axis=2) > 60
        # the distance of the outermost drawn pixel from the middle, as a share of the side
        rows, columns = np.nonzero(drawn)
        reach = np.hypot(rows - size / 2, columns - size / 2).max() / size
        # a phone may show only the middle 80 % of a maskable icon, so its drawing is smaller
        assert reach == pytest.approx(0.3 if one.get("purpose") == "maskable" else 0.42, abs=0.025), one[
            "src"
        ]

"""Builds the phone app: a folder with the page, the model, and LiteRT.js, which runs the model in the browser."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.errors import ModelError, ToolError
from dermedge.edge.files import whole_folder
from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import golden_image
from dermedge.edge.model.manifest import Manifest, digest, read_manifest
from dermedge.edge.photos import encode_image

__all__ = ["PAGE", "Build", "build_app"]

_HERE = Path(__file__).resolve().parent
PAGE = _HERE / "page"
# The files of LiteRT.js that the app contains. The key is the path of a file below node_modules/@litertjs. The value is
# the file name in the app.
_LITERT = {
    "core/dist/index.js": "index.js",
    "core/wasm/litert_wasm_compat_internal.js": "litert_wasm_compat_internal.js",
    "core/wasm/litert_wasm_compat_internal.wasm": "litert_wasm_compat_internal.wasm",
    "wasm-utils/dist/index.js": "wasm-utils.js",
}
# LiteRT.js imports one module by a bare name. A bare name needs an import map, which a worker does not support. So the
# bare name is replaced with a path.
_BARE_IMPORT, _PATH_IMPORT = b'"@litertjs/wasm-utils"', b'"./wasm-utils.js"'
_MODEL, _WASM = "model.tflite", "litert/litert_wasm_compat_internal.wasm"
# For each icon: the file name, the size in pixels, and the radius of the circle as a fraction of the size. Android may
# show only the middle 80 % of a maskable icon. So the circle of this icon is smaller.
_ICONS = {"icon-192.png": (192, 0.42), "icon-512.png": (512, 0.42), "icon-maskable.png": (512, 0.3)}
# The colours of the icons in BGR order: the skin, the lesion, and the circle around the lesion.
_SKIN, _SPOT, _RING = (196, 212, 236), (58, 78, 128), (60, 40, 20)
_NODE_CURE = "install Node.js 20 or newer with npm, for example with: apt install nodejs npm"
_NPM_TIMEOUT_S = 300


@dataclass(frozen=True)
class Build:
    """A phone app that was built.

    Attributes:
        folder: the folder of the app.
        files: the paths of the app's files, relative to ``folder``.
        model_sha256: the SHA-256 digest of the model file, in hexadecimal.
    """

    folder: Path
    files: tuple[str, ...]
    model_sha256: str

    @property
    def bytes(self) -> int:
        """The total size of the files in bytes."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def build_app(model: Path, folder: Path) -> Build:
    """Writes the app for a model into a new folder. If building fails, no folder is left.

    Raises:
        ModelError: in three cases: `dermedge convert` did not make the model; the inputs or outputs of the model are
            not uint8; the input of the model is not a square colour image [height, width, 3].
        ToolError: if npm is missing, or if npm cannot download LiteRT.js.
        StorageError: if the folder exists already, or cannot be written.
    """
    app = _describe(model)
    with whole_folder(folder) as part:
        shutil.copytree(PAGE, part, dirs_exist_ok=True)
        shutil.copyfile(model, part / _MODEL)
        shutil.copyfile(_HERE / "licences.txt", part / "licences.txt")
        _fetch_litert(part / "litert")
        for name, (size, radius) in _ICONS.items():
            (part / name).write_bytes(encode_image(_paint_icon(size, radius), ".png"))
        app["sha256"] = {name: digest(part / name) for name in (_MODEL, _WASM)}
        (part / "app.json").write_text(json.dumps(app, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        names = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
        kept = ["./", *(name for name in names if name not in ("index.html", "sw.js"))]
        constants = {"BUILD": _digest_of(part, names), "FILES": kept}
        lines = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
        (part / "files.js").write_text("".join(lines), encoding="utf-8")
    return Build(folder, (*names, "files.js"), app["sha256"][_MODEL])


def _describe(model: Path) -> dict[str, Any]:
    """Returns the values of a model that the page reads from app.json.

    The value ``manifest`` is the manifest without the golden outputs. The value ``head`` is softmax, sigmoid or logits,
    or None if the network has an output for the evidence. For each output, one value contains the scale, zero point and
    shape.

    Raises:
        ModelError: if the phone app cannot run the model. `build_app` lists the reasons.
    """
    manifest = read_manifest(model)
    if manifest is None:
        raise ModelError(f"'{model}' has no manifest of dermedge; make the model with `dermedge convert`")
    with Classifier(model) as classifier:
        layout = classifier.layout
        if layout.channels != 3 or layout.channels_first or layout.height != layout.width:
            order = "first" if layout.channels_first else "last"
            raise ModelError(
                f"the input of '{model}' is {layout.height} x {layout.width} pixels with {layout.channels} channels "
                f"(channels {order}), but the phone app supports only square colour images (channels last); use "
                f"`dermedge run` for this model"
            )
        head, outputs = classifier.head, classifier.raw_outputs(golden_image(0))
        if classifier.input_dtype != np.uint8 or any(
            one.values.dtype != np.uint8 for one in outputs.values()
        ):
            raise ModelError(
                f"'{model}' has the quantization {manifest.quantization}, but the phone app needs uint8 inputs and "
                f"outputs; convert the model again with `dermedge convert --int8`"
            )
    quantization = {
        name: {"scale": one.scale, "zero_point": one.zero_point, "shape": list(one.values.shape)}
        for name, one in outputs.items()
    }
    return {"manifest": _shown(manifest), "head": head, "evidence": None, "close_up": None, **quantization}


def _fetch_litert(folder: Path) -> None:
    """Downloads LiteRT.js with npm, and copies the files that the app needs into a folder.

    package-lock.json states the version and the digest of LiteRT.js, and npm checks the digest.

    Raises:
        ToolError: if Node.js or npm is missing, or if npm cannot download LiteRT.js.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise ToolError(
            f"`phone build` needs npm to download LiteRT.js, but npm is not installed; {_NODE_CURE}"
        )
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_HERE / name, Path(scratch) / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_NPM_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"npm did not finish downloading LiteRT.js within {_NPM_TIMEOUT_S} s; run the command again"
            ) from error
        if done.returncode:
            said = next(
                (line for line in done.stderr.splitlines() if line.strip()), f"status {done.returncode}"
            )
            raise ToolError(
                f"npm could not download LiteRT.js ({said.strip()}); the first build needs a connection to the npm "
                f"registry"
            )
        for source, name in _LITERT.items():
            content = (Path(scratch) / "node_modules" / "@litertjs" / source).read_bytes()
            (folder / name).write_bytes(content.replace(_BARE_IMPORT, _PATH_IMPORT))


def _paint_icon(size: int, radius: float) -> NDArray[np.uint8]:
    """Returns an icon that shows a lesion in a circle: a uint8 array [size, size, 3] in BGR order.

    Args:
        size: the width and height of the icon in pixels.
        radius: the radius of the circle as a fraction of ``size``, 0 to 0.5.
    """
    icon = np.full((size, size, 3), _SKIN, np.uint8)
    middle = (size // 2, size // 2)
    cv2.circle(icon, middle, round(size * radius / 2), _SPOT, -1, cv2.LINE_AA)
    cv2.circle(icon, middle, round(size * radius), _RING, max(2, size // 40), cv2.LINE_AA)
    return icon


def _shown(manifest: Manifest) -> dict[str, Any]:
    """Returns the manifest without the outputs for the golden test. They are large, and the page does not use them."""
    return {name: value for name, value in asdict(manifest).items() if name != "golden"}


def _digest_of(folder: Path, names: list[str]) -> str:
    """Returns a digest of the names and contents of all files. The digest has 16 hexadecimal digits."""
    hashed = hashlib.sha256()
    for name in names:
        hashed.update(f"{name} {digest(folder / name)}\n".encode())
    return hashed.hexdigest()[:16]

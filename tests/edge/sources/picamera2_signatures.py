"""Prints, as JSON, the signatures of the picamera2 package that dermedge calls, by parsing its source.

python -m pip download --no-deps --no-binary :all: picamera2==0.3.38 && tar xzf picamera2-0.3.38.tar.gz
python tests/edge/sources/picamera2_signatures.py picamera2-0.3.38 > tests/edge/sources/picamera2_signatures.json
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

METHODS = (
    "__init__",
    "create_video_configuration",
    "configure",
    "camera_configuration",
    "camera_controls",
    "start",
    "capture_array",
    "set_controls",
    "stop",
    "close",
)


def signatures(folder: Path) -> dict[str, object]:
    """Returns the version and the methods of an unpacked source distribution. A property is marked by an @."""
    module = ast.parse((folder / "picamera2" / "picamera2.py").read_text(encoding="utf-8"))
    [camera] = [one for one in module.body if isinstance(one, ast.ClassDef) and one.name == "Picamera2"]
    methods = {one.name: one for one in camera.body if isinstance(one, ast.FunctionDef)}
    return {
        "version": folder.resolve().name.removeprefix("picamera2-"),
        "methods": {name: _signature(methods[name]) for name in METHODS},
    }


def _signature(method: ast.FunctionDef) -> str:
    for argument in ast.walk(method.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    marks = "".join(f"@{ast.unparse(one)} " for one in method.decorator_list)
    return f"{marks}({ast.unparse(method.args)})"


if __name__ == "__main__":
    print(json.dumps(signatures(Path(sys.argv[1])), indent=1))

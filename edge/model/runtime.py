"""Opens TFLite interpreters: LiteRT, or its predecessor tflite-runtime where LiteRT has no wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Any, Protocol

from dermedge.edge.errors import MissingExtra, ModelError, OptionError
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.refusal import explain_refusal, repair_dimensions

__all__ = [
    "RUNTIMES",
    "Interpreter",
    "RuntimePackage",
    "choose_runtime",
    "installed_runtimes",
    "invoke",
    "open_interpreter",
    "without_native_log",
]


# The exceptions that both runtimes raise for a file that they refuse.
_REFUSALS = (ValueError, RuntimeError)
_STDERR = 2


class Interpreter(Protocol):
    """The part of a TFLite interpreter that dermedge uses; both runtimes have it."""

    def allocate_tensors(self) -> None: ...
    def invoke(self) -> None: ...
    def get_input_details(self) -> list[dict[str, Any]]: ...
    def get_output_details(self) -> list[dict[str, Any]]: ...
    def tensor(self, tensor_index: int) -> Callable[[], Any]:
        """Returns a function that returns a view of the tensor's memory. Do not keep such a view during ``invoke``."""


@dataclass(frozen=True)
class RuntimePackage:
    """The package and the module of a runtime.

    Attributes:
        package: its name on the package index.
        module: the module that holds its ``Interpreter``.
    """

    package: str
    module: str


# The preferred runtime first.
RUNTIMES = {
    "litert": RuntimePackage("ai-edge-litert", "ai_edge_litert.interpreter"),
    "tflite-runtime": RuntimePackage("tflite-runtime", "tflite_runtime.interpreter"),
}


def installed_runtimes() -> list[str]:
    """Returns the names of the runtimes that are installed here, the preferred one first."""
    return [name for name, one in RUNTIMES.items() if util.find_spec(one.module.split(".")[0])]


def choose_runtime(name: str = "auto") -> str:
    """Returns the runtime to use for a name or ``auto``.

    Raises:
        OptionError: no runtime has this name.
        MissingExtra: the runtime is not installed; for ``auto``, no runtime is.
    """
    if name != "auto" and name not in RUNTIMES:
        raise OptionError(f"unknown runtime '{name}'. Known: auto, {', '.join(RUNTIMES)}")
    there = installed_runtimes()
    if name == "auto" and there:
        return there[0]
    if name in there:
        return name
    if name == "tflite-runtime":
        raise MissingExtra("tflite-runtime", "tflite-runtime")
    if sys.maxsize > 2**32:
        raise MissingExtra("ai-edge-litert")
    raise MissingExtra("tflite-runtime", "tflite-runtime", "which is the only runtime for 32 bits")


def open_interpreter(
    model: Path | str, num_threads: int = 1, runtime: str = "auto", xnnpack: bool = True
) -> Interpreter:
    """Returns an interpreter with its tensors allocated. XNNPACK, the default CPU delegate, can be left out.

    Raises:
        ModelError: the file is missing, truncated, no .tflite, refused by the runtime, or not the network that its
            manifest was written for.
        OptionError: an unknown runtime, or fewer than one thread.
    """
    # imports NumPy and OpenCV; `dermedge doctor` must be able to list the runtimes without them
    from dermedge.edge.model.manifest import check_network, read_manifest

    if num_threads < 1:
        raise OptionError(f"--num-threads is {num_threads}; it must be 1 or more")
    path = Path(model)
    if not path.is_file():
        raise ModelError(f"there is no model file '{path}'")
    check_network(path)
    name = choose_runtime(runtime)
    module = import_module(RUNTIMES[name].module)
    if name == "tflite-runtime" and read_manifest(path) is None:
        _try_in_child(path, RUNTIMES[name].module)
    options = {
        "num_threads": num_threads,
        "experimental_op_resolver_type": (
            module.OpResolverType.AUTO if xnnpack else module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    }
    try:
        return _allocated(module.Interpreter, model_path=str(path), **options)
    except _REFUSALS as error:
        repaired = repair_dimensions(path.read_bytes())
        if repaired is None:
            raise explain_refusal(path, _first_line(error)) from error
    try:
        return _allocated(module.Interpreter, model_content=repaired, **options)
    except _REFUSALS as error:
        raise explain_refusal(path, _first_line(error)) from error


def invoke(interpreter: Interpreter, path: Path) -> None:
    """Runs the network on the current content of its input; ``path`` names the file in errors.

    Raises:
        ModelError: the runtime refuses.
    """
    try:
        interpreter.invoke()
    except _REFUSALS as error:
        raise explain_refusal(path, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """Returns the first line of a runtime's error, or the name of its class if it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _allocated(make: Callable[..., Interpreter], **options: Any) -> Interpreter:
    with without_native_log():
        interpreter = make(**options)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def without_native_log() -> Iterator[None]:
    """Drops lines that C++ code writes to standard error, such as "Created TensorFlow Lite XNNPACK delegate for CPU".

    Neither runtime has a setting to turn them off. The text of a failure is also in the exception.
    """
    try:
        kept = os.dup(_STDERR)
    except OSError:  # standard error has no file descriptor, so there is nothing to hide
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


_TRIAL_S = 60
# The exit status is 1 if Python sees the error. If the runtime crashes, a signal ends the process.
_TRIAL = """
import sys
from importlib import import_module
model = sys.stdin.buffer.read()
interpreter = import_module(sys.argv[1]).Interpreter(model_content=model)
interpreter.allocate_tensors()
interpreter.invoke()
"""


def _try_in_child(path: Path, module: str) -> None:
    """Runs a file once in a child process, because tflite-runtime does not verify files and crashes on damaged ones.

    A file with a manifest has been checked by its digest, and is not tried.
    """
    # raises for a file whose tables are damaged; on such a file, the runtime may run for minutes
    read_facts(path)
    content = path.read_bytes()
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL, module],
            input=repair_dimensions(content) or content,
            capture_output=True,
            check=False,
            timeout=_TRIAL_S,
        )
    except subprocess.TimeoutExpired as error:
        raise explain_refusal(path, f"no answer within {_TRIAL_S} seconds") from error
    if trial.returncode:
        raise explain_refusal(path, "tflite-runtime fails on it")

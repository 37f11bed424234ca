"""Opens an interpreter of a TFLite runtime: LiteRT, or tflite-runtime on machines for which LiteRT has no wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Any, Protocol

from dermedge.edge.errors import MissingExtra, OptionError
from dermedge.edge.fork_lock import ForkLock
from dermedge.edge.model.network_facts import read_facts
from dermedge.edge.model.refusal import explain_refusal, repair_dimensions
from dermedge.edge.model.shipped import require_model_file

__all__ = [
    "RUNTIMES",
    "Interpreter",
    "RuntimePackage",
    "choose_runtime",
    "installed_runtimes",
    "invoke",
    "open_interpreter",
    "read_tensor",
    "without_native_log",
]


# Both runtimes raise one of these exceptions for a file that they refuse.
_REFUSALS = (ValueError, RuntimeError)
_STDERR = 2
# Held while standard error is redirected. If two threads redirected it at the same time, the second thread would find
# the null device in its place, and at the end restore the null device instead of the original.
_stderr_lock = ForkLock(threading.RLock)
# More threads are refused. The runtimes raise a TypeError if the number of threads needs more than 31 bits.
_MOST_THREADS = 1024


class Interpreter(Protocol):
    """The methods of a TFLite interpreter that dermedge uses. The interpreters of both runtimes have them."""

    def allocate_tensors(self) -> None: ...
    def invoke(self) -> None: ...
    def get_input_details(self) -> list[dict[str, Any]]: ...
    def get_output_details(self) -> list[dict[str, Any]]: ...
    def get_tensor(self, tensor_index: int) -> Any:
        """Returns a copy of the tensor."""

    def tensor(self, tensor_index: int) -> Callable[[], Any]:
        """Returns a function that returns a view of the tensor's memory. No such view may exist during ``invoke``."""


@dataclass(frozen=True)
class RuntimePackage:
    """The package and the module of a runtime.

    Attributes:
        package: the name of the package on the package index.
        module: the name of the module that defines ``Interpreter``.
    """

    package: str
    module: str


# The first runtime is the preferred one.
RUNTIMES = {
    "litert": RuntimePackage("ai-edge-litert", "ai_edge_litert.interpreter"),
    "tflite-runtime": RuntimePackage("tflite-runtime", "tflite_runtime.interpreter"),
}


def installed_runtimes() -> list[str]:
    """Returns the names of the installed runtimes. The preferred one comes first."""
    return [name for name, one in RUNTIMES.items() if util.find_spec(one.module.split(".")[0])]


def choose_runtime(name: str = "auto") -> str:
    """Returns the name of the runtime to use. For ``auto``, it is the preferred one of the installed runtimes.

    Raises:
        OptionError: no runtime has this name.
        MissingExtra: the runtime is not installed. For ``auto``: no runtime is installed.
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
    """Returns an interpreter whose tensors are allocated.

    Args:
        model: path of the .tflite.
        num_threads: the number of threads, 1 to 1024.
        runtime: ``auto``, ``litert`` or ``tflite-runtime``.
        xnnpack: whether to use XNNPACK, the default delegate for CPUs.

    Raises:
        ModelError: the file is missing, damaged, not a .tflite, or refused by the runtime. This error is also raised if
            the network in the file is not the network that the manifest in the file describes.
        OptionError: the runtime is unknown, or ``num_threads`` is less than 1 or more than 1024.
        MissingExtra: the runtime is not installed.
    """
    # imported here, because the module `manifest` imports NumPy and OpenCV, and `dermedge doctor` must list the
    # runtimes even if NumPy or OpenCV cannot be imported
    from dermedge.edge.model.manifest import check_network

    if not 1 <= num_threads <= _MOST_THREADS:
        raise OptionError(f"--num-threads is {num_threads}; it must be from 1 to {_MOST_THREADS}")
    path = Path(model)
    require_model_file(path)
    is_proven = check_network(path)
    name = choose_runtime(runtime)
    module = import_module(RUNTIMES[name].module)
    if not is_proven:
        # raises ModelError if the tables of the file are damaged; with such a file, a runtime may crash or take minutes
        read_facts(path)
        if name == "tflite-runtime":
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
    """Runs the network on the current content of the input tensor. ``path`` names the file in error messages.

    Raises:
        ModelError: the runtime refuses to run the network.
    """
    try:
        interpreter.invoke()
    except _REFUSALS as error:
        raise explain_refusal(path, _first_line(error)) from error


def read_tensor(interpreter: Interpreter, index: int, path: Path) -> Any:
    """Returns a copy of a tensor after `invoke`. ``path`` names the file in error messages.

    Raises:
        ModelError: no operator of the network computes the tensor.
    """
    try:
        return interpreter.get_tensor(index)
    except _REFUSALS as error:
        raise explain_refusal(path, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """Returns the first line of a runtime's error message. If the error has no text, returns the name of its class."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _allocated(make: Callable[..., Interpreter], **options: Any) -> Interpreter:
    with without_native_log():
        interpreter = make(**options)
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def without_native_log() -> Iterator[None]:
    """Discards what C++ code writes to standard error, such as "Created TensorFlow Lite XNNPACK delegate for CPU".

    Neither runtime has a setting that turns off the messages of its C++ code. If a runtime fails, the reason is not
    lost, because the exception contains the reason too.
    """
    with _stderr_lock.held():
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
# A child process runs this program. If the runtime raises an exception, the exit status of the process is 1. If the
# runtime crashes, a signal ends the process.
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

    `open_interpreter` calls this function for each file whose network `check_network` could not compare with a SHA-256:
    a file without a manifest, or a file with the manifest of an older version of dermedge, which states no SHA-256.
    """
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
        raise explain_refusal(path, "tflite-runtime failed to run the file")

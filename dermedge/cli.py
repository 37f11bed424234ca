"""The command line of dermedge. The code of a verb is imported only when the verb is called."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TextIO

from dermedge import DISCLAIMER, __version__

__all__ = ["VERBS", "fail", "main", "run_command", "usage"]

# Maps each verb to its module and its description. Each module has `main(argv) -> int` and `parser()`.
VERBS = {
    "data": (
        "dermedge.train.cli.data",
        "audit labelled photos, or list them in one table with splits",
    ),
    "train": (
        "dermedge.train.cli.train",
        "train a classifier on labelled photos, then fine-tune it for int8",
    ),
    "evaluate": (
        "dermedge.train.cli.evaluate",
        "score .tflite files or a run on labelled photos; write a report",
    ),
    "convert": (
        "dermedge.convert.cli",
        "convert a run, Keras model or float .tflite, and compare accuracy",
    ),
    "predict": ("dermedge.edge.cli.predict", "classify photos and folders"),
    "run": ("dermedge.edge.cli.run", "classify live from a camera, video, folder or the built-in demo"),
    "review": ("dermedge.edge.cli.review", "label the photos of `run --record` in the browser"),
    "models": (
        "dermedge.edge.cli.models",
        "list the models that ship with dermedge: size, accuracy, licence",
    ),
    "inspect": (
        "dermedge.edge.cli.inspect",
        "describe a .tflite file: tensors, operators, precision, manifest",
    ),
    "phone": ("dermedge.edge.phone.cli", "build a web app for phones from a model, and serve the app"),
    "doctor": ("dermedge.edge.cli.doctor", "check the installation and the cameras, and test a model"),
    "benchmark": ("dermedge.benchmarks.cli", "measure accuracy, latency and memory of .tflite files"),
    "completion": ("dermedge.completion", "print a script that completes commands in bash, zsh or fish"),
}

# Maps an imported module to the package that contains it, and to the extra that installs the package. The extra is
# None if the error message about a missing package should name only the package.
_PACKAGES = {
    "absl": ("tensorflow", "train"),  # a dependency of TensorFlow that is imported before it
    "ai_edge_litert": ("ai-edge-litert", None),
    "cv2": ("opencv-python-headless", None),
    "numpy": ("numpy", None),
    "PIL": ("pillow", "train"),
    "flatbuffers": ("flatbuffers", "train"),
    "jinja2": ("jinja2", "train"),
    "litert_quantizer": ("litert-quantizer", "convert"),
    "onnx": ("onnx", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "pi_heif": ("pi-heif", None),
    "scipy": ("scipy", "train"),
    "sklearn": ("scikit-learn", "train"),
    "tensorflow": ("tensorflow", "train"),
    "tensorflow_model_optimization": ("tensorflow-model-optimization", "train"),
    "tf2onnx": ("tf2onnx", "onnx"),
    "tf_keras": ("tf-keras", "train"),
    "threadpoolctl": ("threadpoolctl", "train"),
    "matplotlib": ("matplotlib", "train"),  # `benchmark` itself checks for matplotlib
    "shtab": ("shtab", None),
    "segno": ("segno", "phone"),
    "cryptography": ("cryptography", "phone"),
    "imagesize": ("imagesize", "serve"),
    "python_multipart": ("python-multipart", "serve"),
    "starlette": ("starlette", "serve"),
    "uvicorn": ("uvicorn", "serve"),
}
# The modules of _PACKAGES that `convert` needs for a .tflite. The extra `convert` installs them without TensorFlow.
_FOR_TFLITE = {"flatbuffers", "jinja2", "litert_quantizer", "matplotlib", "scipy", "sklearn"}


def usage() -> str:
    """Returns the list of the verbs that `dermedge --help` prints."""
    verbs = "\n".join(f"  {verb:<10} {what}" for verb, (_, what) in VERBS.items())
    version = f"  {'--version':<10} print the version of dermedge"
    how = "usage: dermedge VERB [options]      (`dermedge VERB --help` lists the options)"
    return f"{how}\n\n{verbs}\n{version}\n\n{DISCLAIMER}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb, and returns the exit status that `run_command` describes."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return run_command(lambda: _print(usage()))
    if arguments[0] in ("-V", "--version"):
        return run_command(lambda: _print(f"dermedge {__version__}"))
    if arguments[0] not in VERBS:
        return fail(_unknown(arguments[0]))
    return run_command(lambda: _run_verb(arguments[0], arguments[1:]))


def run_command(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit status.

    The status is 2 after an error that the user can correct, and 130 after Ctrl-C. In all other cases, it is the status
    that the command returns.
    """
    try:
        return _run(command)
    except KeyboardInterrupt:
        # This also catches a Ctrl-C that arrives while the packages are imported.
        print("dermedge: stopped", file=sys.stderr)
        return 130


def fail(message: str) -> int:
    """Prints an error message on standard error, and returns the exit status 2."""
    from dermedge.edge.printable import printable

    shown = "\n".join(map(printable, message.splitlines()))
    print(f"dermedge: error: {shown}", file=sys.stderr)
    return 2


def _run_verb(verb: str, arguments: Sequence[str]) -> int:
    from dermedge.edge.errors import MissingExtra

    try:
        status: int = import_module(VERBS[verb][0]).main(arguments)
        return status
    except ModuleNotFoundError as error:
        is_tflite = any(word.lower().endswith(".tflite") for word in arguments)
        if verb == "convert" and is_tflite and error.name in _FOR_TFLITE:
            raise MissingExtra(_PACKAGES[error.name][0], "convert") from error
        raise


def _unknown(verb: str) -> str:
    from dermedge.edge.sources.redact import without_secrets

    nearest = get_close_matches(verb, VERBS, n=1)
    meant = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown verb '{without_secrets(verb)}'.{meant} Known: {', '.join(VERBS)}"


def _print(text: str) -> int:
    print(text)
    return 0


def _run(command: Callable[[], int]) -> int:
    from dermedge.edge.errors import DermedgeError, MissingExtra
    from dermedge.edge.files import storage_error

    try:
        _mend_output()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                status = command()
        except SystemExit:
            # argparse raises SystemExit after --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except DermedgeError as error:
        return fail(str(error))
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        if module not in _PACKAGES:
            raise
        return fail(str(MissingExtra(*_PACKAGES[module])))
    except BrokenPipeError:
        # the program that reads the output through a pipe has ended, for example `head`
        _give_output_up()
        return 0
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:
            _give_output_up()
        return fail(str(storage_error(error.filename or "output", error)))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning on standard error. A warning of dermedge has one line. Any other warning looks as in Python."""
    from dermedge.edge.errors import ModelWarning
    from dermedge.edge.printable import printable

    if issubclass(category, ModelWarning):
        text = f"dermedge: warning: {printable(str(message))}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def _mend_output() -> None:
    """Makes printing work where a standard stream is closed or cannot encode a character."""
    _open_standard_descriptors()
    if sys.stderr is None:
        # while sys.stderr is None, `print(..., file=sys.stderr)` would write to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    elif isinstance(sys.stdout, io.TextIOWrapper):
        # the name of a class or a file may contain characters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")


def _open_standard_descriptors() -> None:
    """Opens the null device for each of the file descriptors 0, 1 and 2 that is closed.

    Otherwise, a file that is opened later would get the number of the closed descriptor. A library that prints to
    standard output or standard error would then write into this file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _give_output_up() -> None:
    """Redirects standard output to the null device, so that Python does not try to write the rest of the output at
    exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

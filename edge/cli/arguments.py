"""Defines the parser, the argument types and the options that several verbs of `dermedge VERB` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from dermedge.edge.errors import OptionError
from dermedge.edge.model.label_lines import numbers_in_front, without_numbers
from dermedge.edge.model.runtime import RUNTIMES
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_argument, model_path
from dermedge.edge.sources.redact import without_secrets

__all__ = [
    "AUTO_NORMALIZATION",
    "OptionGroup",
    "Parser",
    "add_foreign_options",
    "add_model_options",
    "add_normalization_option",
    "add_runtime_options",
    "add_sets_option",
    "examples_epilog",
    "make_parser",
    "number",
    "positive_int",
    "positive_number",
    "read_labels",
    "whole",
]

# The functions below add options to a parser, or to a group of options of a parser.
OptionGroup = argparse.ArgumentParser | argparse._ArgumentGroup
_EXAMPLES = "examples:"
# argparse's message about an option that does not exist begins with this text.
_UNKNOWN_OPTION = "unrecognized arguments: "
# For this value of --normalization, each normalization is tried on labelled photos.
AUTO_NORMALIZATION = "auto"


class _HelpFormatter(argparse.HelpFormatter):
    """Writes the help of an option as a sentence, and adds the default at the end. Does not wrap example commands."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if not action.help:
            return action.help
        text = action.help[0].upper() + action.help[1:]
        text = text if text.endswith((".", "…")) else f"{text}."
        default = _shown_default(action.default)
        return f"{text} Default: {default}." if default and "Default" not in text else text

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises OptionError for a command line that it does not understand.

    The message of the OptionError has one line. An ordinary ArgumentParser would print the usage and exit instead.
    Options cannot be abbreviated, so that a misspelt option is never taken for another one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": _HelpFormatter, "allow_abbrev": False, **kwargs})
        self.register("type", Path, lambda text: Path(_not_empty(text)))
        self.register("type", model_path, lambda text: model_path(_not_empty(text)))

    def error(self, message: str) -> NoReturn:
        before, unknown, given = message.partition(_UNKNOWN_OPTION)
        option = given.split("=")[0].split()[0] if unknown else ""
        # a subcommand may refuse an option that another subcommand has
        others = [name for name in _option_names(self) if name != option]
        nearest = get_close_matches(option, others, n=1)
        see = f"did you mean {nearest[0]}? See" if nearest else "see"
        # an argument may be the URL of a camera, if the option before it is missing or misspelt
        shown = " ".join(map(without_secrets, given.split(" ")))
        raise OptionError(f"{before}{unknown}{shown}; {see} {self.prog} --help")


def _not_empty(text: str) -> str:
    """Returns the text of a path. An empty text is refused, because it would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty; give a path, such as . for the current folder")
    return text


def make_parser(verb: str, description: str, examples: Sequence[str] = ()) -> Parser:
    """Returns the parser for `dermedge VERB`.

    Args:
        examples: commands that the help shows as examples, below the options.
    """
    return Parser(prog=f"dermedge {verb}", description=description, epilog=examples_epilog(examples))


def examples_epilog(examples: Sequence[str]) -> str | None:
    """Returns the last section of a help text, which lists the example commands. Returns None if there are none."""
    return "\n  ".join([_EXAMPLES, *examples]) if examples else None


def _option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Returns the options of a parser and of its subcommands."""
    groups = [one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    subcommands = [one for choices in groups for one in choices.values()]
    return [*parser._option_string_actions, *(name for one in subcommands for name in _option_names(one))]


def _shown_default(default: Any) -> str | None:
    """Returns the default of an option as its help shows it; None if the option has no default or is a switch."""
    if default in (None, False, argparse.SUPPRESS) or isinstance(default, list):
        return None
    if isinstance(default, Path):
        return model_argument(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def positive_int(text: str) -> int:
    """An argparse type: a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return value


def whole(text: str) -> int:
    """An argparse type: a whole number of 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 0 or more")
    return int(text)


def number(text: str) -> float:
    """Returns the number that a text states.

    If the text is not a number, returns NaN. NaN lies in no range, so a check for a range rejects it.
    """
    try:
        return float(text)
    except ValueError:
        return float("nan")


def positive_number(text: str) -> float:
    """An argparse type: a finite number above 0."""
    value = number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def _threads(text: str) -> int | str:
    """An argparse type: a whole number of 1 or more, or ``auto``."""
    return text if text == "auto" else positive_int(text)


def add_model_options(parser: OptionGroup, finds_runtime: bool = False) -> None:
    """Adds --model, --labels, --normalization, --tta, --num-threads and --runtime.

    Args:
        finds_runtime: whether --runtime auto measures which of the installed runtimes is fastest.
    """
    parser.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"use this .tflite file, or one of the models that ship with dermedge: {', '.join(SHIPPED)}",
    )
    add_foreign_options(parser)
    parser.add_argument(
        "--tta",
        action="store_true",
        help="run the network on the crop, on its mirror image, and on both images rotated by 180 degrees, and average "
        "the four outputs; a prediction then takes three to four times as long",
    )
    add_runtime_options(parser, finds_runtime)


def add_foreign_options(parser: OptionGroup, finds_normalization: bool = False) -> None:
    """Adds --labels and --normalization, which describe a .tflite that dermedge did not make.

    Args:
        finds_normalization: whether --normalization accepts `AUTO_NORMALIZATION`. Only a command that gets labelled
            photos can accept this value.
    """
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="read the class names from this text file, if dermedge did not make the .tflite; the text file has one "
        "name per line, in the order of the outputs",
    )
    add_normalization_option(parser, finds_normalization)


def add_normalization_option(parser: OptionGroup, finds: bool = False) -> None:
    """Adds --normalization, for a .tflite that does not state how its pixels are normalized.

    Args:
        finds: whether the option accepts `AUTO_NORMALIZATION`. Only a command that gets labelled photos can accept this
            value.
    """
    # imported here, because the module imports NumPy, and `dermedge doctor` must also run if NumPy cannot be imported
    from dermedge.edge.model.normalization import FOREIGN

    parser.add_argument(
        "--normalization",
        choices=(*FOREIGN, AUTO_NORMALIZATION) if finds else FOREIGN,
        metavar="NAME",
        help="normalize pixels in this way if dermedge did not make the .tflite; this overrides the metadata of the "
        "file. pixels: keep 0 to 255; unit: scale to 0 to 1; symmetric: scale to -1 to 1; imagenet: subtract "
        "the mean of ImageNet, and divide by the standard deviation of ImageNet; caffe: subtract the mean of "
        "ImageNet, and put blue first"
        + (
            "; auto: try each normalization on the labelled photos, and use the one with the highest balanced accuracy"
            if finds
            else ""
        ),
    )


def add_sets_option(parser: OptionGroup) -> None:
    """Adds --sets. The option needs a model that has thresholds for prediction sets."""
    parser.add_argument(
        "--sets",
        action="store_true",
        help="add the prediction set, which holds the classes that the model does not rule out",
    )


def add_runtime_options(parser: OptionGroup, finds: bool = False) -> None:
    """Adds --num-threads and --runtime.

    Args:
        finds: whether --runtime auto measures which of the installed runtimes is fastest.
    """
    parser.add_argument(
        "--num-threads",
        type=_threads,
        default="auto",
        metavar="N",
        help="run the interpreter with N threads; auto: measure once which number is fastest, and store the result",
    )
    parser.add_argument(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="run the network with this TFLite runtime; auto: litert if it is installed, otherwise tflite-runtime"
        + (
            ". With --num-threads auto, the installed runtimes are measured once, and the fastest one is used"
            if finds
            else ""
        ),
    )


def read_labels(path: Path | None) -> list[str] | None:
    """Returns the lines of a labels file, without empty ones. Returns None if ``path`` is None.

    If each line begins with its own index, as in ``0 nevus``, the numbers are left out.

    Raises:
        OptionError: the file cannot be read, is not UTF-8, or numbers its lines in another order.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(
            f"cannot read the labels '{path}': {error.strerror or error}; check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"cannot read the labels '{path}': the file is not UTF-8; save it as UTF-8"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbers, indices = numbers_in_front(lines) or [], [*range(len(lines))]
    if numbers != indices and sorted(numbers) == indices:
        raise OptionError(
            f"the labels '{path}' are numbered in another order than their lines; sort the lines by their numbers, or "
            "delete the numbers if the lines are in the order of the outputs"
        )
    return list(without_numbers(lines))

"""Parser, argument types and options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from dermedge.edge.errors import OptionError
from dermedge.edge.model.runtime import RUNTIMES
from dermedge.edge.model.shipped import DEFAULT_MODEL, SHIPPED, model_argument, model_path

__all__ = [
    "AUTO_NORMALIZATION",
    "OptionGroup",
    "Parser",
    "add_foreign_options",
    "add_model_options",
    "add_normalization_option",
    "add_runtime_options",
    "add_sets_option",
    "make_parser",
    "number",
    "positive_int",
    "positive_number",
    "read_labels",
    "whole",
]

# A parser, or a group of its options.
OptionGroup = argparse.ArgumentParser | argparse._ArgumentGroup
_EXAMPLES = "examples:"
# The beginning of argparse's message about an option that does not exist.
_UNKNOWN_OPTION = "unrecognized arguments: "
# The name that stands for trying each normalization on labelled photos.
AUTO_NORMALIZATION = "auto"


class _HelpFormatter(argparse.HelpFormatter):
    """Writes the help of an option as a sentence, with its default at the end; keeps the lines of examples."""

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
    """An ArgumentParser that raises OptionError with one line, where argparse would also print its usage.

    Options cannot be abbreviated, so that a misspelt option is never taken for another one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": _HelpFormatter, "allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        _, unknown, given = message.partition(_UNKNOWN_OPTION)
        option = given.split("=")[0].split()[0] if unknown else ""
        nearest = get_close_matches(option, _option_names(self), n=1)
        see = f"did you mean {nearest[0]}? See" if nearest else "see"
        raise OptionError(f"{message}; {see} {self.prog} --help")


def make_parser(verb: str, description: str, examples: Sequence[str] = ()) -> Parser:
    """Returns a parser for one verb.

    Args:
        examples: example commands, which the help shows at its end.
    """
    epilog = "\n  ".join([_EXAMPLES, *examples]) if examples else None
    return Parser(prog=f"dermedge {verb}", description=description, epilog=epilog)


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
    """Returns the number in a text; NaN, which lies in no range, if the text is not a number."""
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


def add_model_options(parser: OptionGroup) -> None:
    """Adds --model, --labels, --normalization, --tta, --num-threads and --runtime."""
    parser.add_argument(
        "--model",
        type=model_path,
        default=DEFAULT_MODEL,
        help=f"use this .tflite file, or one that ships: {', '.join(SHIPPED)}",
    )
    add_foreign_options(parser)
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average over the crop, its mirror image and both rotated by 180 degrees; takes four times as long",
    )
    add_runtime_options(parser)


def add_foreign_options(parser: OptionGroup, finds_normalization: bool = False) -> None:
    """Adds --labels and --normalization, for files that were not made by dermedge.

    Args:
        finds_normalization: as in `add_normalization_option`.
    """
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="read the class names of a foreign .tflite from this text file, one per line",
    )
    add_normalization_option(parser, finds_normalization)


def add_normalization_option(parser: OptionGroup, finds: bool = False) -> None:
    """Adds --normalization, for files that do not state how pixels are normalized.

    Args:
        finds: whether the verb has labelled photos, so that it accepts `AUTO_NORMALIZATION`.
    """
    # imports NumPy, without which `dermedge doctor` must still run
    from dermedge.edge.model.normalization import FOREIGN

    parser.add_argument(
        "--normalization",
        choices=(*FOREIGN, AUTO_NORMALIZATION) if finds else FOREIGN,
        metavar="NAME",
        help="normalize pixels for a foreign .tflite in this way, whatever its metadata states: "
        "pixels keeps 0 to 255, unit gives 0 to 1, symmetric -1 to 1, imagenet subtracts ImageNet's mean and divides "
        "by its standard deviation, caffe subtracts the mean and puts blue first"
        + (
            "; auto tries each on the photos, and takes the one that explains their labels best"
            if finds
            else ""
        ),
    )


def add_sets_option(parser: OptionGroup) -> None:
    """Adds --sets, for models with thresholds for prediction sets."""
    parser.add_argument(
        "--sets", action="store_true", help="add the set of the classes that the model does not rule out"
    )


def add_runtime_options(parser: OptionGroup) -> None:
    """Adds --num-threads and --runtime."""
    parser.add_argument(
        "--num-threads",
        type=_threads,
        default="auto",
        metavar="N",
        help="set the number of interpreter threads; auto measures once which is fastest, and remembers it",
    )
    parser.add_argument(
        "--runtime",
        choices=("auto", *RUNTIMES),
        default="auto",
        help="run the network with this TFLite runtime; auto takes the first that is installed",
    )


def read_labels(path: Path | None) -> list[str] | None:
    """Returns the lines of a labels file, or None without one.

    Raises:
        OptionError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise OptionError(f"cannot read the labels '{path}': {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"cannot read the labels '{path}': they are not UTF-8; save the file as UTF-8"
        ) from error

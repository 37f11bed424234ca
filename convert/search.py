"""The forms that are tried one after another until one passes its proof, the fastest kind first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dermedge.convert.accept.layer_errors import LayerError, worst_layers
from dermedge.convert.load.conversion_input import Subject, Told
from dermedge.convert.pipeline import Conversion, better, convert, explain
from dermedge.convert.to_tflite.converter import FLOAT16, INT8_MIXED, INT8_PTQ, INT8_QAT, INT16X8, Form
from dermedge.convert.to_tflite.ranges import METHODS
from dermedge.edge.errors import ModelError, OptionError

# Layers that stay in float, in turn; with more, float16 is as fast and surer.
FLOAT_LAYERS = (1, 2, 4, 8, 16, 32)
NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Attempt:
    """One form that was tried.

    Attributes:
        form: which.
        conversion: what came of it, or None where the converter refused it.
        refusal: why it did, or empty.
    """

    form: Form
    conversion: Conversion | None
    refusal: str = ""

    @property
    def passed(self) -> bool:
        return self.conversion is not None and self.conversion.verdict.passed

    @property
    def line(self) -> str:
        """For people: what was tried, and what became of it."""
        if self.conversion is None:
            return f"{self.form.name}: not to be had: {self.refusal}"
        if self.passed:
            return f"{self.form.name}: passed, {self.conversion.invoke_ms:.2f} ms"
        failed = self.conversion.verdict.failed
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"{self.form.name}: refused, {failed[0].line}{more}"


@dataclass(frozen=True)
class Outcome:
    """What was tried, which of it is delivered, and where it loses.

    Attributes:
        attempts: in the order of the trials.
        chosen: the best; it is delivered if its verdict says so.
        layers: what each layer of the chosen file loses, or of the int8 one that led to it; empty for floats.
    """

    attempts: tuple[Attempt, ...]
    chosen: Conversion
    layers: tuple[LayerError, ...]

    @property
    def delivered(self) -> bool:
        return self.chosen.verdict.passed


def try_forms(
    subject: Subject,
    forms: list[Form],
    max_drop: float,
    progress: Told,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Converts into each of some forms that are as fast, and chooses the `better`; tells each of rivals.

    Raises:
        ModelError: none of them can be made.
    """
    attempts = []
    for form in forms:
        attempts.append(_attempt(subject, form, max_drop, progress))
        if len(forms) > 1:
            say(attempts[-1].line)
    return _outcome(subject, attempts)


def climb(
    subject: Subject, io: str, max_drop: float, progress: Told, say: Callable[[str], None] = print
) -> Outcome:
    """Tries int8, then what is slower or larger, and chooses the fastest that passes its proof.

    In turn: int8 by fine-tuning and by calibration; int8 with ranges by other methods. Where none of these
    passes: int8 with its worst layers in float, more and more of them, until one passes; 16-bit activations;
    and half-precision weights. Of these the one whose inference took least on this machine is chosen.

    Args:
        subject: what is converted.
        io: as in `Form`.
        max_drop: as `judge` takes it.
        progress: for a text, a callback (done, total).
        say: called with a line for each form.
    """
    attempts: list[Attempt] = []

    def passes(form: Form) -> bool:
        attempts.append(_attempt(subject, form, max_drop, progress))
        say(attempts[-1].line)
        return attempts[-1].passed

    plain = Form(INT8_PTQ, io)
    tuned = [Form(INT8_QAT, io)] if subject.quantization_aware else []
    others = [Form(INT8_PTQ, io, method) for method in METHODS]
    for forms in ([*tuned, plain], others):
        # all of them: they are as fast, and the better one is delivered
        passed = [passes(form) for form in forms]
        if any(passed):
            return _outcome(subject, attempts)
    made = next((one.conversion for one in attempts if one.form == plain), None)
    layers = explain(subject, made) if made else []
    for count in FLOAT_LAYERS:
        names = worst_layers(layers, count)
        if len(names) < count or passes(_mixed(plain, names)):
            break
    for form in (Form(INT16X8, io), Form(FLOAT16, io)):
        passes(form)
    return _outcome(subject, attempts)


def mixed_form(subject: Subject, form: Form, wanted: str) -> Form:
    """The form of int8 by calibration with layers in float.

    Args:
        subject: what is converted.
        form: all of it in int8.
        wanted: how many, the worst ones, or the names of their output tensors with commas between.

    Raises:
        OptionError: there are fewer layers, or none is called so.
    """
    layers = explain(subject, convert(subject, form, 1.0))
    known = [layer.name for layer in layers]
    if wanted.isdecimal():
        names = worst_layers(layers, int(wanted))
        if len(names) < int(wanted):
            raise OptionError(f"--float-layers is {wanted}, and there are {len(names)} layers to choose from")
        return _mixed(form, names)
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = next((name for name in names if name not in known), None)
    if unknown or not names:
        raise OptionError(
            f"--float-layers names '{unknown or wanted}', and no layer is called so; "
            f"the worst are: {', '.join(worst_layers(layers, NAMED_AT_MOST))}"
        )
    return _mixed(form, names)


def _mixed(form: Form, names: Sequence[str]) -> Form:
    return replace(form, kind=INT8_MIXED, float_layers=tuple(names))


def _attempt(subject: Subject, form: Form, max_drop: float, progress: Told) -> Attempt:
    try:
        return Attempt(form, convert(subject, form, max_drop, progress))
    except ModelError as error:
        return Attempt(form, None, str(error))


def _outcome(subject: Subject, attempts: list[Attempt]) -> Outcome:
    made = [one.conversion for one in attempts if one.conversion]
    if not made:
        raise ModelError(attempts[0].refusal)
    passed = [one for one in made if one.verdict.passed]
    chosen = _fastest(passed) if passed else better(made)
    return Outcome(tuple(attempts), chosen, tuple(_layers(subject, chosen)))


def _fastest(passed: list[Conversion]) -> Conversion:
    """Files of wholly int8 networks are as fast: the better one; else the one whose inference took least."""
    whole = [one for one in passed if one.form.kind in (INT8_QAT, INT8_PTQ)]
    return better(whole) if whole else min(passed, key=lambda one: one.invoke_ms)


def _layers(subject: Subject, chosen: Conversion) -> list[LayerError]:
    return explain(subject, chosen) if chosen.form.kind.startswith("int") else []

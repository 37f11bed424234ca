"""Try several forms of a file, the fastest kind first, and choose the best accepted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from dermedge.convert.accept.acceptance import CANNOT_TELL, PASSED
from dermedge.convert.accept.layer_errors import LayerError, worst_layers
from dermedge.convert.conversion import Conversion, better, convert_to_form, explain
from dermedge.convert.load.conversion_input import ConversionInput, ShowProgress
from dermedge.convert.to_tflite.form import FLOAT16, INT8_MIXED, INT8_PTQ, INT8_QAT, INT16X8, MIN_MAX, Form
from dermedge.convert.to_tflite.ranges import METHODS
from dermedge.edge.errors import ModelError, OptionError

__all__ = ["ConversionAttempt", "SearchResult", "int8_forms", "mixed_form", "search_forms", "try_forms"]

# Numbers of layers in float, tried in this order. With more layers in float, float16 is as fast and more accurate.
_FLOAT_LAYERS = (1, 2, 4, 8, 16, 32)
_LAYERS_NAMED = 5


@dataclass(frozen=True)
class ConversionAttempt:
    """One form that was tried.

    Attributes:
        form: the form.
        conversion: the file, or None if the converter or the runtime refused it.
        refusal: the reason for that, or empty.
    """

    form: Form
    conversion: Conversion | None
    refusal: str = ""

    @property
    def accepted(self) -> bool:
        """Whether there is a file and it was accepted."""
        return self.conversion is not None and self.conversion.acceptance.passed

    @property
    def line(self) -> str:
        """The form and its result in one line for people."""
        if self.conversion is None:
            return f"{self.form.name}: cannot be made: {self.refusal}"
        if self.accepted:
            return (
                f"{self.form.name}: {self.conversion.acceptance.verdict}, {self.conversion.invoke_ms:.2f} ms"
            )
        failed = self.conversion.acceptance.failed
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"{self.form.name}: refused, {failed[0].line}{more}"


@dataclass(frozen=True)
class SearchResult:
    """All forms that were tried, and the best one.

    Attributes:
        attempts: the attempts in the order in which they were made.
        best: the best file; it is delivered if it was accepted.
        layers: the loss of each layer of that file; empty for float files.
        delivers_untold: whether a file is delivered of which the photos cannot tell whether it is sound.
    """

    attempts: tuple[ConversionAttempt, ...]
    best: Conversion
    layers: tuple[LayerError, ...]
    delivers_untold: bool = True

    @property
    def delivered(self) -> bool:
        """Whether the best file is delivered."""
        return self._is_deliverable(self.best)

    @property
    def deliveries(self) -> tuple[Conversion, ...]:
        """The files to deliver: the best one; of ONNX files, each one that can be delivered."""
        made = [one.conversion for one in self.attempts if one.conversion is not None]
        candidates = made if self.best.is_onnx else [self.best]
        return tuple(one for one in candidates if self._is_deliverable(one))

    def _is_deliverable(self, conversion: Conversion) -> bool:
        verdict = conversion.acceptance.verdict
        return verdict == PASSED or (verdict == CANNOT_TELL and self.delivers_untold)


def int8_forms(
    source: ConversionInput, io: str, method: str = "auto", ranges: str | None = None
) -> list[Form]:
    """Return the int8 forms of a method: ``qat``, ``ptq``, or ``auto`` for both where there is a QAT stage."""
    ptq = Form(INT8_PTQ, io) if ranges is None else Form(INT8_PTQ, io, ranges)
    qat = [Form(INT8_QAT, io)] if source.quantization_aware and method != "ptq" else []
    return [*qat, *([ptq] if method != "qat" else [])]


def try_forms(
    source: ConversionInput,
    forms: Sequence[Form],
    max_drop: float,
    show_progress: ShowProgress,
    log: Callable[[str], None] = print,
) -> SearchResult:
    """Convert to each of some forms that are equally fast, and choose the `better` one.

    Args:
        source: the classifier and its photos.
        forms: the forms.
        max_drop: the loss that is accepted, as in `accept`.
        show_progress: task's name -> callback (done, total).
        log: called with one line per form, if there are several.

    Raises:
        ModelError: none of the forms can be made.
    """
    attempts = []
    for form in forms:
        attempts.append(_attempt(source, form, max_drop, show_progress))
        if len(forms) > 1:
            log(attempts[-1].line)
    return _result(source, attempts)


def search_forms(
    source: ConversionInput,
    io: str,
    max_drop: float,
    show_progress: ShowProgress,
    log: Callable[[str], None] = print,
) -> SearchResult:
    """Try int8 first, then slower or larger forms, and choose the fastest accepted one.

    The order is: int8 by QAT and by PTQ, then PTQ with other ranges. If none of these is accepted: int8 with more and
    more of its worst layers in float, until one is accepted; then 16-bit activations and float16. The form with the
    fastest inference on this machine is chosen among these.

    Args:
        source: the classifier and its photos.
        io: dtype of the input, as in `Form`.
        max_drop: the loss that is accepted, as in `accept`.
        show_progress: task's name -> callback (done, total).
        log: called with one line per form.

    Raises:
        ModelError: no form can be made.
    """
    attempts: list[ConversionAttempt] = []

    def try_form(form: Form) -> bool:
        attempts.append(_attempt(source, form, max_drop, show_progress))
        log(attempts[-1].line)
        return attempts[-1].accepted

    for forms in (
        int8_forms(source, io),
        [Form(INT8_PTQ, io, method) for method in METHODS if method != MIN_MAX],
    ):
        # all of these are tried, because they are equally fast; the better one is delivered
        accepted = [try_form(form) for form in forms]
        if any(accepted):
            return _result(source, attempts)
    for form in _forms_with_float_layers(source, attempts, io):
        if try_form(form):
            break
    for form in (Form(INT16X8, io), Form(FLOAT16, io)):
        try_form(form)
    return _result(source, attempts)


def _forms_with_float_layers(
    source: ConversionInput, attempts: Sequence[ConversionAttempt], io: str
) -> Iterator[Form]:
    """Yield forms with more and more of the plain int8 file's worst layers in float."""
    plain = Form(INT8_PTQ, io)
    made = next((one.conversion for one in attempts if one.form == plain), None)
    worst = worst_layers(explain(source, made), max(_FLOAT_LAYERS)) if made else []
    for count in _FLOAT_LAYERS:
        if count <= len(worst):
            yield _mixed(plain, worst[:count])


def mixed_form(source: ConversionInput, form: Form, float_layers: str) -> Form:
    """Return an int8 form with some layers in float.

    Args:
        source: the classifier and its photos.
        form: the form with all layers in int8.
        float_layers: the number of layers, the worst first, or the names of their output tensors, separated
            by commas.

    Raises:
        OptionError: there are fewer layers, or none has such a name.
    """
    layers = explain(source, convert_to_form(source, form, 1.0))
    if float_layers.isdecimal():
        names = worst_layers(layers, int(float_layers))
        if len(names) < int(float_layers):
            raise OptionError(
                f"--float-layers is {float_layers}, and there are {len(names)} layers to choose from"
            )
        return _mixed(form, names)
    known = {layer.name for layer in layers}
    names = [name.strip() for name in float_layers.split(",") if name.strip()]
    unknown = next((name for name in names if name not in known), None)
    if unknown or not names:
        raise OptionError(
            f"--float-layers names '{unknown or float_layers}', but no layer has that name; "
            f"the worst are: {', '.join(worst_layers(layers, _LAYERS_NAMED))}"
        )
    return _mixed(form, names)


def _mixed(form: Form, names: Sequence[str]) -> Form:
    return replace(form, kind=INT8_MIXED, float_layers=tuple(names))


def _attempt(
    source: ConversionInput, form: Form, max_drop: float, show_progress: ShowProgress
) -> ConversionAttempt:
    try:
        return ConversionAttempt(form, convert_to_form(source, form, max_drop, show_progress))
    except ModelError as error:
        return ConversionAttempt(form, None, str(error))


def _result(source: ConversionInput, attempts: list[ConversionAttempt]) -> SearchResult:
    made = [one.conversion for one in attempts if one.conversion]
    if not made:
        raise ModelError(attempts[0].refusal)
    accepted = [one for one in made if one.acceptance.passed]
    best = _fastest(accepted) if accepted else better(made)
    layers = explain(source, best) if best.form.kind.startswith("int") else []
    return SearchResult(tuple(attempts), best, tuple(layers))


def _fastest(accepted: list[Conversion]) -> Conversion:
    """Return the better one of wholly int8 files, which are equally fast, or else the file with the fastest
    inference.
    """
    whole = [one for one in accepted if one.form.kind in (INT8_QAT, INT8_PTQ)]
    return better(whole) if whole else min(accepted, key=lambda one: one.invoke_ms)

"""Convert a classifier to several forms, one after the other, and choose the best accepted file.

A form, such as int8 by post-training quantization, states the number formats of a file. `Form` describes it. The search
tries the fastest forms first.
"""

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
from dermedge.train.data.counts import plural

__all__ = ["ConversionAttempt", "SearchResult", "int8_forms", "mixed_form", "search_forms", "try_forms"]

# The search tries int8 files with this many layers in float, in this order. A file with even more float layers would be
# no faster than a float16 file, and less accurate.
_FLOAT_LAYERS = (1, 2, 4, 8, 16, 32)
_LAYERS_NAMED = 5


@dataclass(frozen=True)
class ConversionAttempt:
    """One attempt to convert a classifier to a form.

    Attributes:
        form: the form that was tried.
        conversion: the converted file; None if the converter or the runtime refused the network.
        refusal: the reason why the form could not be converted; empty if ``conversion`` is set.
    """

    form: Form
    conversion: Conversion | None
    refusal: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the attempt made a file that was accepted."""
        return self.conversion is not None and self.conversion.acceptance.passed

    @property
    def line(self) -> str:
        """One line for the user, with the form and the result of the attempt."""
        if self.conversion is None:
            return f"{self.form.name}: the conversion failed: {self.refusal}"
        if self.accepted:
            return (
                f"{self.form.name}: {self.conversion.acceptance.verdict}, "
                f"{self.conversion.invoke_ms:.2f} ms per inference"
            )
        failed = self.conversion.acceptance.failed
        more = f"; {plural(len(failed) - 1, 'more check')} failed" if len(failed) > 1 else ""
        return f"{self.form.name}: refused, {failed[0].line}{more}"


@dataclass(frozen=True)
class SearchResult:
    """All attempts to convert a classifier, and the best file.

    Attributes:
        attempts: the attempts in the order in which they were made.
        best: the best file. If no file was accepted, the best file is a refused file. `delivered` tells whether the
            best file is written.
        layers: the error of each layer of the best file; empty if the activations of the file are not integers.
        delivers_untold: whether a file with the verdict ``cannot tell`` is written, too.
    """

    attempts: tuple[ConversionAttempt, ...]
    best: Conversion
    layers: tuple[LayerError, ...]
    delivers_untold: bool = True

    @property
    def delivered(self) -> bool:
        """Whether the best file is to be written."""
        return self._is_deliverable(self.best)

    @property
    def deliveries(self) -> tuple[Conversion, ...]:
        """The files to write: every accepted ONNX file, or the best .tflite if it was accepted.

        A file with the verdict ``cannot tell`` counts as accepted if ``delivers_untold`` is True.
        """
        made = [one.conversion for one in self.attempts if one.conversion is not None]
        candidates = made if self.best.is_onnx else [self.best]
        return tuple(one for one in candidates if self._is_deliverable(one))

    def _is_deliverable(self, conversion: Conversion) -> bool:
        verdict = conversion.acceptance.verdict
        return verdict == PASSED or (verdict == CANNOT_TELL and self.delivers_untold)


def int8_forms(
    source: ConversionInput, io: str, method: str = "auto", ranges: str | None = None
) -> list[Form]:
    """Return the int8 forms for a quantization method.

    - ``qat``: the form with the ranges from quantization-aware training, if the classifier has a QAT stage.
    - ``ptq``: the form whose ranges are found on calibration photos.
    - ``auto``: the forms for both methods.
    """
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
    """Convert a classifier to each of several forms, and choose the best accepted file.

    Args:
        source: the classifier and its photos.
        forms: the forms to convert to.
        max_drop: the largest loss that is accepted, as in `accept`.
        show_progress: a function that gets the name of a task, and returns a function to call with (done, total).
        log: a function that is called with one line per form. It is not called if there is only one form.

    Raises:
        ModelError: the classifier cannot be converted to any of the forms.
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
    """Try int8 first, then slower or larger forms, and choose one of the accepted files.

    1. The search tries int8 by QAT and by PTQ. If a file is accepted, the search ends.
    2. It tries int8 by PTQ again, with each method of finding the ranges of the activations except min-max. If a file
       is accepted, the search ends.
    3. It tries int8 with 1, 2, 4, 8, 16 and 32 of the worst layers in float, until a file is accepted.
    4. It tries 16-bit activations and float16. Of the accepted files of steps 3 and 4, the search chooses the one with
       the fastest inference on this machine.

    If several int8 files without float layers are accepted, the most accurate one is chosen, as `better` describes. If
    no file is accepted, the most accurate of all files is chosen.

    Args:
        source: the classifier and its photos.
        io: the dtype of the input, as in `Form`.
        max_drop: the largest loss that is accepted, as in `accept`.
        show_progress: a function that gets the name of a task, and returns a function to call with (done, total).
        log: a function that is called with one line per form.

    Raises:
        ModelError: the classifier cannot be converted to any of the forms.
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
        # All forms in ``forms`` are equally fast. So all of them are tried, and the most accurate file is chosen.
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
    """Yield int8 forms with an increasing number of layers in float.

    The layers that stay in float are the first ones that `worst_layers` returns for the int8 file without float layers.
    """
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
        float_layers: which layers stay in float. A number n stands for the n worst layers. Any other text is a list of
            names, separated by commas. The name of a layer is the name of the output tensor of the layer.

    Raises:
        OptionError: more layers are requested than can stay in float, or a given name is not the name of a layer.
    """
    layers = explain(source, convert_to_form(source, form, 1.0))
    if float_layers.isdecimal():
        names = worst_layers(layers, int(float_layers))
        if len(names) < int(float_layers):
            raise OptionError(
                f"--float-layers is {float_layers}, but only {plural(len(names), 'layer')} can stay in float; give a "
                "smaller number"
            )
        return _mixed(form, names)
    known = {layer.name for layer in layers}
    names = [name.strip() for name in float_layers.split(",") if name.strip()]
    unknown = next((name for name in names if name not in known), None)
    if unknown or not names:
        raise OptionError(
            f"--float-layers names '{unknown or float_layers}', but no layer has that name; "
            f"the worst layers are: {', '.join(worst_layers(layers, _LAYERS_NAMED))}"
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
    """Return the fastest one of several accepted files.

    Files without any float layer (kinds `INT8_QAT` and `INT8_PTQ`) are the fastest, and are all equally fast. If there
    are such files, `better` chooses from them. If there are none, the file with the fastest inference on this machine
    is returned.
    """
    whole = [one for one in accepted if one.form.kind in (INT8_QAT, INT8_PTQ)]
    return better(whole) if whole else min(accepted, key=lambda one: one.invoke_ms)

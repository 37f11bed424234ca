"""Which forms are tried, in which order, and which file is delivered, with made-up conversions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ai_edge_litert")
pytest.importorskip("sklearn")

from dermedge.convert import search
from dermedge.convert.conversion import Conversion
from dermedge.convert.search import int8_forms, mixed_form, search_forms, try_forms
from dermedge.convert.to_tflite.form import (
    FLOAT16,
    FLOAT32,
    INT8_MIXED,
    INT8_PTQ,
    INT8_QAT,
    INT16X8,
    Form,
)
from dermedge.edge.errors import ModelError, OptionError
from dermedge.edge.model.manifest import Manifest

PLAIN = SimpleNamespace(quantization_aware=None)
TUNED = SimpleNamespace(quantization_aware=lambda: None)
# (accepted, accuracy, milliseconds), or why a form cannot be made
Outcome = tuple[bool, float, float] | str


class Made:
    """Stands for the conversion and its explanation.

    Attributes:
        outcomes: name of a form -> its outcome; any other form is refused.
        calls: names of the forms that were converted, and ``explain`` of those that were explained.
        layers: number of layers that an explanation finds.
    """

    def __init__(self, outcomes: dict[str, Outcome], layers: int = 40) -> None:
        self.outcomes, self.layers = outcomes, layers
        self.calls: list[str] = []
        self.limits: set[float] = set()
        self.forms: list[Form] = []

    def convert(self, source: Any, form: Form, max_drop: float, show: Any = None) -> Conversion:
        self.calls.append(form.name)
        self.forms.append(form)
        self.limits.add(max_drop)
        outcome = self.outcomes.get(form.name, (False, 0.1, 9.0))
        if isinstance(outcome, str):
            raise ModelError(outcome)
        passed, score, invoke_ms = outcome
        failed = () if passed else (SimpleNamespace(line="recall lost"), SimpleNamespace(line="more"))
        acceptance: Any = SimpleNamespace(
            passed=passed, verdict="passed" if passed else "refused", failed=failed
        )
        manifest = Manifest(("a", "b"), 8, form.kind, metrics={"val_balanced_accuracy_argmax": score})
        return Unattached(form, b"", manifest, SimpleNamespace(), acceptance, invoke_ms, ())

    def explain(self, source: Any, conversion: Conversion) -> list[Any]:
        self.calls.append(f"explain {conversion.form.name}")
        return [SimpleNamespace(name=f"layer{number}") for number in range(self.layers)]


class Unattached(Conversion):
    """A conversion whose bytes are not a model."""

    def with_manifest(self, manifest: Manifest) -> Conversion:
        return Unattached(
            self.form, b"", manifest, self.parity, self.acceptance, self.invoke_ms, self.warnings
        )


def made(monkeypatch: pytest.MonkeyPatch, outcomes: dict[str, Outcome], layers: int = 40) -> Made:
    one = Made(outcomes, layers)
    monkeypatch.setattr(search, "convert_to_form", one.convert)
    monkeypatch.setattr(search, "explain", one.explain)
    # The layers are already sorted by the loss that they cause.
    monkeypatch.setattr(search, "worst_layers", lambda found, count: [layer.name for layer in found][:count])
    return one


def searched(source: Any, lines: list[str], io: str = "uint8") -> search.SearchResult:
    return search_forms(source, io, 0.02, lambda what: lambda done, total: None, lines.append)


@pytest.mark.parametrize(
    ("source", "method", "kinds"),
    [
        (TUNED, "auto", [INT8_QAT, INT8_PTQ]),
        (TUNED, "qat", [INT8_QAT]),
        (TUNED, "ptq", [INT8_PTQ]),
        (PLAIN, "auto", [INT8_PTQ]),
        (PLAIN, "ptq", [INT8_PTQ]),
        (PLAIN, "qat", []),
    ],
)
def test_a_method_has_its_forms(source: Any, method: str, kinds: list[str]) -> None:
    forms = int8_forms(source, "int8", method)
    assert forms == [Form(kind, "int8") for kind in kinds]
    with_ranges = [Form(kind, "int8", "mse" if kind == INT8_PTQ else "min-max") for kind in kinds]
    assert int8_forms(source, "int8", method, "mse") == with_ranges


def test_the_search_ends_with_both_kinds_of_int8_and_takes_the_more_accurate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    one = made(monkeypatch, {"int8-qat": (True, 0.8, 9.0), "int8-ptq": (True, 0.7, 1.0)})
    result = searched(TUNED, lines)
    assert one.calls == ["int8-qat", "int8-ptq", "explain int8-qat"]
    assert result.best.form.kind == INT8_QAT
    assert one.limits == {0.02}
    assert lines == ["int8-qat: passed, 9.00 ms per inference", "int8-ptq: passed, 1.00 ms per inference"]


def test_other_ranges_are_all_tried_where_the_plain_ones_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    outcomes: dict[str, Outcome] = {
        "int8-ptq": "no\nsuch operator",
        "int8-ptq, ranges by percentile": (True, 0.6, 1.0),
        "int8-ptq, ranges by mse": (True, 0.7, 2.0),
    }
    one = made(monkeypatch, outcomes)
    result = searched(PLAIN, lines, "int8")
    assert one.calls == [
        "int8-ptq",
        "int8-ptq, ranges by percentile",
        "int8-ptq, ranges by entropy",
        "int8-ptq, ranges by mse",
        "explain int8-ptq, ranges by mse",
    ]
    assert result.best.form.ranges == "mse"
    assert {form.io for form in one.forms} == {"int8"}
    assert lines[0].startswith("int8-ptq: the conversion failed: no")
    assert lines[2] == "int8-ptq, ranges by entropy: refused, recall lost; 1 more check failed"
    assert [attempt.accepted for attempt in result.attempts] == [False, True, False, True]


def test_more_and_more_layers_stay_in_float_until_a_file_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "int8-mixed, 4 layers in float"
    one = made(
        monkeypatch, {name: (True, 0.6, 3.0), "int16x8": (True, 0.9, 4.0), "float16": (True, 0.9, 2.5)}
    )
    result = searched(PLAIN, [])
    assert one.calls[4] == "explain int8-ptq"
    tried = [(form.kind, len(form.float_layers)) for form in one.forms[4:]]
    assert tried == [(INT8_MIXED, 1), (INT8_MIXED, 2), (INT8_MIXED, 4), (INT16X8, 0), (FLOAT16, 0)]
    mixed = next(form for form in one.forms if form.name == name)
    assert mixed == Form(INT8_MIXED, "uint8", float_layers=("layer0", "layer1", "layer2", "layer3"))
    # This is the fastest of the files that are not wholly int8.
    assert result.best.form == Form(FLOAT16, "uint8")
    assert result.layers == ()


def test_up_to_32_layers_stay_in_float_if_there_are_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for layers, counts in ((40, [1, 2, 4, 8, 16, 32]), (8, [1, 2, 4, 8]), (7, [1, 2, 4])):
        one = made(monkeypatch, {"int16x8": (True, 0.9, 4.0)}, layers)
        result = searched(PLAIN, [])
        assert [len(form.float_layers) for form in one.forms if form.kind == INT8_MIXED] == counts
        assert result.best.form.kind == INT16X8
        assert len(result.layers) == layers


def test_without_an_accepted_file_the_most_accurate_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(monkeypatch, {"int16x8": (False, 0.4, 4.0), "float16": (False, 0.3, 1.0)})
    result = searched(PLAIN, [])
    assert result.best.form.kind == INT16X8
    assert not result.delivered
    assert result.deliveries == ()
    assert one.calls[-1] == "explain int16x8"


def test_where_no_form_can_be_made_the_first_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made(monkeypatch, {"int8-qat": "the first", "int8-ptq": "the second"})
    with pytest.raises(ModelError, match=r"^the first$"):
        try_forms(TUNED, int8_forms(TUNED, "uint8"), 0.01, lambda what: lambda done, total: None)


def test_a_refused_form_is_told_with_its_first_fault_and_the_number_of_others() -> None:
    def line(*faults: str) -> str:
        failed = tuple(SimpleNamespace(line=one) for one in faults)
        acceptance = SimpleNamespace(passed=False, verdict="refused", failed=failed)
        conversion = SimpleNamespace(acceptance=acceptance, invoke_ms=1.0)
        return search.ConversionAttempt(Form(INT8_PTQ), conversion).line

    assert line("lost") == "int8-ptq: refused, lost"
    assert line("lost", "b", "c") == "int8-ptq: refused, lost; 2 more checks failed"


def test_a_single_form_is_not_told_and_a_float_file_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    one, lines = made(monkeypatch, {"float32": (True, 0.9, 1.0)}), []
    result = try_forms(PLAIN, [Form(FLOAT32)], 0.01, lambda what: lambda done, total: None, lines.append)
    assert lines == []
    assert one.calls == ["float32"]
    assert (result.layers, result.delivered) == ((), True)


def test_layers_in_float_are_a_number_or_names(monkeypatch: pytest.MonkeyPatch) -> None:
    one, form = made(monkeypatch, {}, layers=3), Form(INT8_PTQ, "int8", "mse")
    found = mixed_form(PLAIN, form, "2")
    assert found == Form(INT8_MIXED, "int8", "mse", ("layer0", "layer1"))
    # The plain file is made only to be explained, so any loss is accepted.
    assert one.limits == {1.0}
    assert mixed_form(PLAIN, form, "3").float_layers == ("layer0", "layer1", "layer2")
    assert mixed_form(PLAIN, form, " layer2 ,layer0,").float_layers == ("layer2", "layer0")
    with pytest.raises(OptionError, match="--float-layers is 4, but only 3 layers can stay in float"):
        mixed_form(PLAIN, form, "4")
    for names in ("layer0,conv", ","):
        with pytest.raises(OptionError, match="the worst layers are: layer0, layer1, layer2"):
            mixed_form(PLAIN, form, names)
    made(monkeypatch, {}, layers=9)
    with pytest.raises(
        OptionError, match=r"'x', but no layer has that name; the worst layers are: layer0, .*, layer4$"
    ):
        mixed_form(PLAIN, form, "x")

"""The lines about a converted file, its checks and its layers, for results that are made up."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from dermedge.convert.accept.acceptance import Acceptance, AcceptanceCheck
from dermedge.convert.accept.layer_errors import LayerError, worst_layers
from dermedge.convert.accept.network_checks import NetworkCheck
from dermedge.convert.accept.parity import Parity
from dermedge.convert.conversion import Conversion
from dermedge.convert.load.conversion_input import sigmoids_note
from dermedge.convert.report import layer_plot
from dermedge.convert.report.layer_advice import Cures, advice, short_name
from dermedge.convert.report.layer_plot import layers_svg
from dermedge.convert.report.report import _cures, _facts, save_report, to_html, to_json
from dermedge.convert.report.summary import decision_lines, refusal, summary
from dermedge.convert.report.verdict import verdict_sentence
from dermedge.convert.request import ConversionRequest
from dermedge.convert.search import ConversionAttempt, SearchResult
from dermedge.convert.to_tflite.form import FLOAT16, INT8_MIXED, INT8_PTQ, INT8_QAT, INT16X8, Form
from dermedge.edge.model.head import Head
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.normalization import NORMALIZATIONS
from dermedge.train.evaluation.metrics import Score

LAYER = LayerError(
    name="model/conv/Conv2D;model/conv/BiasAdd",
    kind="CONV_2D",
    inputs=("image",),
    sqnr_db=30.4,
    introduced=0.001,
    contribution=1.0,
    low=-4.0,
    high=4.0,
    rms=1.0,
    scale=0.1,
    zero_point=0,
    channels=100,
    dead_channels=0,
    lost_channels=0,
    saturated=0.0,
    in_float=False,
    collapsed=False,
    delegated=True,
)
RANGES = "calibrate on photos like those that the network will see, with --ranges percentile or mse"
MIN_MAX = "calibrate with --ranges min-max, or on more photos"
FLOAT = "keep this layer in float with --method ptq --float-layers"
QAT = "fine-tune the network with dermedge train --qat-epochs"
START = "conv (CONV_2D) causes 100% of the error at the output; after this layer, the signal is 30 dB above the noise"


def named(name: str, **facts: Any) -> LayerError:
    return replace(LAYER, name=f"model/{name}/Conv2D", **facts)


def test_a_layer_is_named_without_model_and_operator() -> None:
    assert short_name("model/conv/Conv2D;model/conv/BiasAdd") == "conv"
    assert short_name("model/block/conv/Conv2D") == "block/conv"
    assert short_name("conv/Conv2D") == "conv/Conv2D"
    assert short_name("head") == "head"


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ({}, f"{QAT}, or {FLOAT}"),
        ({"collapsed": True}, f"the scale does not fit the values; {RANGES}"),
        ({"saturated": 0.0101}, f"1.0% of the values lie outside the range of the integers; {MIN_MAX}"),
        ({"saturated": 0.01}, f"{QAT}, or {FLOAT}"),
        (
            {"high": 25.1},
            f"the largest value is 25 times the root mean square, which makes the quantization steps coarse; {RANGES}",
        ),
        (
            {"low": -50.2, "rms": 2.0},
            f"the largest value is 25 times the root mean square, which makes the quantization steps coarse; {RANGES}",
        ),
        ({"high": 25.0, "low": -25.0}, f"{QAT}, or {FLOAT}"),
        (
            {"lost_channels": 6},
            f"6 of the 100 channels became constant, because they are too small for the common scale; {QAT}",
        ),
        ({"lost_channels": 5}, f"{QAT}, or {FLOAT}"),
    ],
)
def test_a_layer_is_told_with_its_most_conspicuous_fault_and_the_cure(
    facts: dict[str, Any], end: str
) -> None:
    assert advice([replace(LAYER, **facts)])[0] == f"{START}: {end}"


@pytest.mark.parametrize("kind", ["HARD_SWISH", "MUL", "LOGISTIC"])
def test_operators_that_are_hard_on_int8_stay_in_float(kind: str) -> None:
    [line] = advice([replace(LAYER, kind=kind)])
    assert line.endswith(f": hard-swish and squeeze-and-excite lose much in int8; {FLOAT}")


def test_of_the_layers_the_five_worst_are_told_with_their_shares() -> None:
    layers = [named(f"layer{number}", contribution=float(number)) for number in range(7)]
    told = advice(layers, Cures(ranges=False, float_layers=False, qat=False))
    assert [line.split(" of the error")[0] for line in told] == [
        "layer6 (CONV_2D) causes 29%",
        "layer5 (CONV_2D) causes 24%",
        "layer4 (CONV_2D) causes 19%",
        "layer3 (CONV_2D) causes 14%",
        "layer2 (CONV_2D) causes 10%",
    ]
    # The advice does not name a layer that adds no error.
    assert len(advice(layers[:2], Cures(qat=False))) == 1


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"collapsed": True},
            f"1 of 2 operators have a scale that does not fit their values (conv): {RANGES}",
        ),
        (
            {"saturated": 0.02},
            f"1 of 2 operators have values outside the range of the integers (conv): {MIN_MAX}",
        ),
        ({"lost_channels": 6}, f"1 of 2 operators have channels that became constant in int8 (conv): {QAT}"),
        (
            {"dead_channels": 6},
            "1 of 2 operators have channels that are already constant in float (conv): "
            "such channels cost time and add no accuracy, so a smaller network would do",
        ),
        (
            {"in_float": True},
            "1 of 2 operators stay in float (conv): float operators run slower on a device and make the file larger",
        ),
        (
            {"delegated": False},
            "1 of 2 operators do not run in XNNPACK (conv): "
            "such operators use slow kernels; if no operator runs in XNNPACK, XNNPACK refuses the file",
        ),
    ],
)
def test_a_fault_is_told_with_the_layers_that_have_it(facts: dict[str, Any], line: str) -> None:
    assert advice([replace(LAYER, **facts), named("other", contribution=0.5)])[-1] == line


def test_borders_of_faults_and_more_than_five_layers() -> None:
    assert len(advice([replace(LAYER, saturated=0.01, lost_channels=5, dead_channels=5)])) == 1
    assert len(advice([replace(LAYER, kind="SOFTMAX", delegated=False)])) == 1
    six = [named(f"l{number}", collapsed=True) for number in range(6)]
    assert "6 of 6 operators have a scale that does not fit their values" in advice(six)[5]
    assert "(l0, l1, l2, l3, l4 and 1 more)" in advice(six)[5]
    assert "(l0, l1, l2, l3, l4)" in advice(six[:5])[5]


def test_the_worst_layers_are_followed_by_those_that_read_them() -> None:
    a = named("a", contribution=0.2)
    b = named("b", contribution=0.7, inputs=(a.name,))
    c = named("c", contribution=0.1, inputs=(b.name,))
    floating = named("d", contribution=9.0, in_float=True, inputs=(c.name,))
    assert worst_layers([a, b, c, floating], 9) == [b.name, c.name, a.name, floating.name]
    assert worst_layers([a, b, c, floating], 1) == [b.name]
    assert worst_layers([replace(a, contribution=0.0)], 3) == []


def test_the_plot_names_five_layers_and_cuts_what_has_no_noise() -> None:
    layers = [named(f"layer{number}", contribution=float(number), sqnr_db=math.inf) for number in range(7)]
    drawing = layers_svg(layers)
    for number in range(7):
        assert (f"CONV_2D  layer{number}" in drawing) is (number >= 2), number
    assert "left in float" in drawing


CHECK = AcceptanceCheck("balanced accuracy", 0.9, 0.9, Score(0.0, 0.0, 0.0), 0.01, 0.05)
LOST = AcceptanceCheck("recall of nevus", 0.9, 0.8, Score(0.1, 0.05, 0.15), 0.01, 0.05)
LOST_LINE = (
    "recall of nevus: 0.900 -> 0.800, lost 10.0 points (95 % confidence interval 5.0 to 15.0); allowed: 1.0, "
    "smallest detectable loss: 5.0"
)
DOUBT = "40 photos are too few, because they only reveal a loss of balanced accuracy of at least 11.0 percentage points"
ORDER = NetworkCheck("order of the classes", False, "the order is wrong", "give --labels in another order")
METRICS = {
    "val_balanced_accuracy": 0.812,
    "val_balanced_accuracy_argmax": 0.8,
    "val_ece": 0.0214,
    "val_ece_unscaled": 0.0911,
    "val_set_coverage": 0.9012,
    "val_set_size": 1.234,
    "val_declined": 0.0456,
    "val_none_declined": 0.789,
    "val_alert_sensitivity": 0.951,
    "val_alert_specificity": 0.602,
    "val_uncertain": 0.123,
    "val_risk": 0.2004,
    "val_risk_certain": 0.1506,
}
MANIFEST = Manifest(
    ("melanoma", "nevus", "none of these"),
    192,
    INT8_PTQ,
    none_label="none of these",
    temperature=1.256,
    thresholds={
        "none": 0.43219,
        "alert": {"label": "melanoma", "threshold": 0.12346},
        "uncertain": 0.5,
        "conformal": {"coverage": 0.9, "thresholds": {}},
    },
    metrics=METRICS,
)


def result_of(
    *checks: AcceptanceCheck, network: tuple[NetworkCheck, ...] = (), photos: int = 40, **facts: Any
) -> SearchResult:
    acceptance = Acceptance(photos, network, checks, {})
    parity = Parity(40, 0.975, 0.1234, 0.0456)
    made = Conversion(
        Form(INT8_PTQ), b"x" * 2_345_678, MANIFEST, parity, acceptance, 3.456, facts.pop("warnings", ())
    )
    return SearchResult((ConversionAttempt(made.form, made),), made, (), **facts)


def test_the_verdict_in_one_sentence() -> None:
    passed = "Passed: on 40 photos, no metric of int8-ptq loses more than allowed. The file is written."
    assert verdict_sentence(result_of(CHECK)) == passed
    assert verdict_sentence(result_of(CHECK, LOST)) == (
        "Refused: int8-ptq fails the check 'recall of nevus'. No file is written."
    )
    unsure = replace(CHECK, detectable=0.11)
    assert verdict_sentence(result_of(unsure)) == f"Cannot tell: {DOUBT}. The file is written."
    chance = replace(LOST, drop=Score(0.1, -0.1, 0.15))
    assert verdict_sentence(result_of(unsure, chance, delivers_untold=False)) == (
        f"Cannot tell: {DOUBT} (1 more doubt). No file is written."
    )


def test_the_verdict_counts_the_files_that_are_written() -> None:
    passed, lost = (
        replace(result_of(*checks).best, form=Form("onnx-int8")) for checks in ([CHECK], [CHECK, LOST])
    )
    for made, outcome in (
        ((passed, passed), "The 2 files are written."),
        ((lost, passed), "The file is written."),
    ):
        attempts = tuple(ConversionAttempt(one.form, one) for one in made)
        assert verdict_sentence(SearchResult(attempts, passed, ())).endswith(f"more than allowed. {outcome}")
    none = SearchResult((ConversionAttempt(lost.form, lost),), lost, ())
    assert verdict_sentence(none).endswith("No file is written.")


def test_a_refusal_names_the_loss_the_layers_and_the_cure() -> None:
    layers = tuple(named(f"l{number}", contribution=1.0 + number) for number in range(4))
    lost = replace(result_of(CHECK, LOST), layers=layers)
    line = f"dermedge: refused: {LOST_LINE}"
    worst = "; the worst layers are l3, l2, l1"
    assert refusal(lost, has_searched=False) == (
        f"{line}{worst}; no file was written; try --search, or allow a larger loss with --max-drop"
    )
    assert refusal(replace(lost, layers=()), has_searched=True) == (
        f"{line}; no file was written; allow a larger loss with --max-drop, or train longer"
    )
    assert refusal(result_of(CHECK, network=(ORDER,)), has_searched=False) == (
        "dermedge: refused: the order is wrong; no file was written; give --labels in another order"
    )
    assert refusal(result_of(replace(CHECK, detectable=0.11)), has_searched=False) == (
        f"dermedge: refused: {DOUBT}; no file was written; give more labelled photos, or accept the file with "
        "--cannot-tell deliver"
    )


def test_the_decisions_are_told_with_what_they_achieve() -> None:
    assert decision_lines(MANIFEST) == [
        "balanced accuracy on the validation photos: 0.812 with the thresholds, 0.800 for the most probable class",
        "temperature 1.26: calibration error 0.021 with the temperature, 0.091 without it",
        "declined if p(none of these) >= 0.4322: 4.6% of the photos of named classes, 78.9% of the other photos",
        "alert if p(melanoma) >= 0.1235: sensitivity 95.1%, specificity 60.2%",
        "uncertain below 0.5000: 12.3% of the answers; the balanced error is 0.200 for all answers and 0.151 "
        "for the certain ones",
        "prediction sets with a coverage of 90%: 90.1% hold the true class, and a set has 1.23 classes on average",
    ]
    metrics = {name: value for name, value in METRICS.items() if name != "val_none_declined"} | {
        "validated_by": "runs/a",
        "logit_adjustment": 0.5,
        "val_float_balanced_accuracy": 0.81,
        "val_float_balanced_accuracy_unadjusted": 0.79,
    }
    conformal = {"conformal": MANIFEST.thresholds["conformal"]}
    fewer = replace(MANIFEST, metrics=metrics, thresholds=conformal)
    assert decision_lines(fewer)[:2] == [
        "the network was also trained on the validation photos; so the temperature, the thresholds and their metrics "
        "come from 'runs/a', a run of the same recipe without these photos",
        "logit adjustment with the strength 0.50: balanced accuracy of the float network 0.810 with the adjustment, "
        "0.790 without it",
    ]
    assert len(decision_lines(fewer)) == 5
    with_none = replace(fewer, thresholds={**conformal, "none": 0.4})
    declined = "declined if p(none of these) >= 0.4000: 4.6% of the photos of named classes"
    assert declined in decision_lines(with_none)


def test_the_summary_tells_size_parity_and_each_check() -> None:
    whole = NetworkCheck("better than chance", True, "a line", "a cure")
    metrics = METRICS | {"val_balanced_accuracy_argmax_of": {"network": 0.801, "file": 0.7996}}
    made = result_of(CHECK, LOST, network=(whole,), warnings=("look here",))
    made = replace(made, best=replace(made.best, manifest=replace(MANIFEST, metrics=metrics)))
    lines = summary(made).splitlines()
    assert lines[:5] == [
        "Refused: int8-ptq fails the check 'recall of nevus'. No file is written.",
        "warning: look here",
        "balanced accuracy of the most probable class on the proof set: network 0.801, file 0.800",
        "int8-ptq: 2.35 MB",
        "compared with the float network on 40 photos, in the device runtime: 97.5% have the same most probable class, "
        "and logits differ by 0.046 on average and 0.123 at most",
    ]
    assert lines[-4:] == [
        "  passed       a line",
        "compared with the float network; losses are in percentage points; 80% of all proof sets of this size would "
        "reveal a true loss as large as the smallest detectable loss:",
        "  passed       balanced accuracy: 0.900 -> 0.900, lost 0.0 points (95 % confidence interval 0.0 to 0.0); "
        "allowed: 1.0, smallest detectable loss: 5.0",
        f"  refused      {LOST_LINE}",
    ]
    tuned = replace(made, best=replace(made.best, form=Form(INT8_QAT)))
    assert "compared with the fine-tuned network, which rounds to 8 bits too, on 40 photos" in summary(tuned)


def test_an_attempt_in_one_line() -> None:
    [made] = result_of(CHECK).attempts
    assert (made.accepted, made.line) == (True, "int8-ptq: passed, 3.46 ms per inference")
    [failed] = result_of(CHECK, LOST, network=(ORDER,)).attempts
    assert (failed.accepted, failed.line[:35]) == (False, "int8-ptq: refused, recall of nevus:")
    assert failed.line.endswith("; 1 more check failed")
    refused = ConversionAttempt(Form(INT8_PTQ), None, "no such operator")
    assert (refused.accepted, refused.line) == (False, "int8-ptq: the conversion failed: no such operator")


def test_files_for_onnx_are_delivered_each_if_it_passed() -> None:
    passed, lost = result_of(CHECK).best, result_of(CHECK, LOST).best
    attempts = tuple(ConversionAttempt(one.form, one) for one in (lost, passed))
    assert SearchResult(attempts, passed, ()).deliveries == (passed,)
    onnx = [replace(one, form=Form("onnx-int8")) for one in (lost, passed, passed)]
    attempts = tuple(ConversionAttempt(one.form, one) for one in onnx)
    assert SearchResult(attempts, onnx[0], ()).deliveries == (onnx[1], onnx[2])
    assert (onnx[0].runtime, passed.runtime) == ("ONNX Runtime", "the device runtime")


def test_only_several_independent_sigmoids_have_a_note() -> None:
    assert sigmoids_note(Head.SIGMOID, 3).startswith("the 3 outputs are independent sigmoids")
    assert [sigmoids_note(head, 3) for head in (Head.SOFTMAX, Head.LOGITS)] == ["", ""]
    assert sigmoids_note(Head.SIGMOID, 1) == ""


def a_source(channels: int = 3, digest: str | None = "d", validated_by: Any = None) -> Any:
    """A classifier that was calibrated on seven photos and proven on 40."""
    layout = Layout(96, 128, channels, channels_first=False)
    network = SimpleNamespace(normalization=NORMALIZATIONS["unit"], layout=layout)
    proof = SimpleNamespace(
        truth=[0] * 40, labels=MANIFEST.labels, critical="melanoma", none_label="none of these"
    )
    return SimpleNamespace(
        network=network,
        calibration=[0] * 7,
        proof=proof,
        manifest=SimpleNamespace(data_digest=digest),
        validated_by=validated_by,
    )


REQUEST = ConversionRequest(Path("a.keras"), "int8", command="dermedge convert a.keras --int8")


def test_the_figures_of_a_report_have_their_keys() -> None:
    silent = named("silent", sqnr_db=math.inf, contribution=0.0)
    made = replace(result_of(CHECK, LOST, network=(ORDER,), warnings=("look here",)), layers=(LAYER, silent))
    refused = ConversionAttempt(Form(INT8_QAT), None, "no such operator")
    made = replace(made, attempts=(refused, *made.attempts))
    told = json.loads(to_json(made, a_source(), REQUEST))
    assert (told["schema"], told["command"]) == ("dermedge-conversion/1", "dermedge convert a.keras --int8")
    assert (told["target"], told["files"], told["delivered"]) == ("a-int8.tflite", [], False)
    assert (told["verdict"], told["verdict_sentence"], told["doubts"]) == (
        "refused",
        verdict_sentence(made),
        [],
    )
    assert told["form"] == asdict(Form(INT8_PTQ)) | {"float_layers": []}
    assert (told["bytes"], told["normalization"]) == (2_345_678, "unit")
    assert (told["calibration_photos"], told["proof_photos"]) == (7, 40)
    assert (told["labels"], told["critical"]) == (list(MANIFEST.labels), "melanoma")
    assert (told["warnings"], told["manifest"]["temperature"]) == (["look here"], 1.256)
    failed, tried = told["attempts"]
    assert failed == {
        "form": asdict(Form(INT8_QAT)) | {"float_layers": []},
        "passed": False,
        "refusal": "no such operator",
    }
    assert (tried["passed"], tried["bytes"], tried["invoke_ms"]) == (False, 2_345_678, 3.456)
    assert tried["parity"]["agreement"] == 0.975
    assert tried["network_checks"] == [
        {"name": ORDER.name, "passed": False, "line": ORDER.line, "cure": ORDER.cure}
    ]
    assert tried["checks"][1] == {
        "name": "recall of nevus",
        "reference": 0.9,
        "device": 0.8,
        "drop": {"value": 0.1, "low": 0.05, "high": 0.15},
        "limit": 0.01,
        "detectable": 0.05,
        "passed": False,
        "status": "refused",
    }
    assert [one["sqnr_db"] for one in told["layers"]] == [30.4, None]
    assert told["layers"][0] == asdict(LAYER) | {"inputs": ["image"]}
    assert told["advice"] == advice(made.layers, Cures())
    nan = math.nan
    unmeasured = replace(CHECK, name="recall of nevus", drop=Score(nan, nan, nan), device=nan)
    told = json.loads(to_json(result_of(CHECK, unmeasured), a_source(), REQUEST))
    assert (told["delivered"], told["files"], told["verdict"]) == (True, ["a-int8.tflite"], "passed")
    assert told["attempts"][0]["passed"] is True
    check = told["attempts"][0]["checks"][1]
    assert (check["device"], check["detectable"], check["status"]) == (None, None, "not measured")


def test_the_page_lists_the_twenty_worst_layers_and_the_photos_that_were_lost_and_won() -> None:
    layers = tuple(named(f"l{number}", sqnr_db=float(number)) for number in range(25))
    made = result_of(CHECK, LOST)
    flips = {"nevus": (3, 1)}
    best = replace(made.best, acceptance=replace(made.best.acceptance, flips=flips))
    page = to_html(replace(made, best=best, layers=layers[::-1]), a_source(), REQUEST)
    assert '<tr><th>nevus</th><td class="number">3</td><td class="number">1</td></tr>' in page
    rows = [line.partition('">')[2] for line in page.splitlines() if line.startswith("<tr><th title=")]
    assert [row.partition("<")[0] for row in rows] == [f"l{number}" for number in range(20)]
    assert "by 25.0 percentage points" in page
    # Two layers are too few for a plot.
    assert "<svg" in page
    assert "<svg" not in to_html(replace(made, best=best, layers=layers[:2]), a_source(), REQUEST)
    assert "refused" in page.split("<h2>")[0].splitlines()[-1]


def test_the_facts_of_a_file() -> None:
    facts = _facts(result_of(CHECK).best, a_source())
    assert facts["input"] == "uint8, 96 x 128, colour, pixel values"
    assert _facts(result_of(CHECK).best, a_source(1))["input"] == "uint8, 96 x 128, gray, pixel values"
    assert facts["normalization inside"] == "unit"
    assert facts["classes"] == "melanoma, nevus, none of these"
    assert facts["size"].startswith("2.35 MB")
    assert facts["calibrated on"] == "7 photos"
    assert facts["proven on"] == "40 photos that the file was not calibrated on"
    assert facts["inference"].startswith("3.46 ms on this machine")
    assert facts["temperature"] == "1.256"
    assert "view" not in facts
    best = result_of(CHECK).best
    floating = _facts(replace(best, form=Form(FLOAT16)), a_source())
    assert floating["calibrated on"].startswith("no photos")
    views = {"close-up": {"temperature": 2.5, "thresholds": {}}}
    metrics = METRICS | {"val_view_accuracy": 0.9, "validated_by": "runs/a"}
    viewed = replace(best, manifest=replace(MANIFEST, views=views, metrics=metrics, tools={"numpy": "2"}))
    facts = _facts(viewed, a_source(validated_by=object()))
    assert facts["temperature"] == "dermoscopic 1.256, close-up 2.500"
    assert facts["view"] == "the view is right for 90.0% of the validation photos"
    assert "'runs/a'" in facts["proven on"]
    assert facts["made with"] == "numpy 2"


@pytest.mark.parametrize(
    ("kind", "digest", "cures"),
    [
        (INT8_PTQ, "d", Cures(ranges=True, float_layers=True, qat=True)),
        (INT8_PTQ, None, Cures(ranges=True, float_layers=True, qat=False)),
        (INT8_MIXED, "d", Cures(ranges=True, float_layers=True, qat=True)),
        (INT8_QAT, "d", Cures(ranges=False, float_layers=True, qat=False)),
        (INT16X8, "d", Cures(ranges=False, float_layers=False, qat=False)),
    ],
)
def test_only_cures_that_are_possible_are_named(kind: str, digest: str | None, cures: Cures) -> None:
    chance = replace(LOST, drop=Score(0.1, -0.1, 0.15))
    for checks in ((CHECK, LOST), (CHECK, chance)):
        best = replace(result_of(*checks).best, form=Form(kind))
        assert _cures(best, a_source(digest=digest)) == cures
    kept = replace(result_of(CHECK).best, form=Form(kind))
    assert _cures(kept, a_source(digest=digest)) == Cures(ranges=False, float_layers=False, qat=False)


def test_a_report_is_a_page_and_its_figures(tmp_path: Path) -> None:
    request = replace(REQUEST, report=tmp_path / "report")
    assert save_report(result_of(CHECK), a_source(), request) == tmp_path / "report" / "report.html"
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.json"]
    assert json.loads((tmp_path / "report" / "report.json").read_text())["verdict"] == "passed"


def test_each_view_has_its_own_lines() -> None:
    close_ups = METRICS | {"val_photos": 12, "val_ece": 0.05, "val_alert_sensitivity": 0.7}
    thresholds = MANIFEST.thresholds | {"alert": {"label": "melanoma", "threshold": 0.25}}
    metrics = METRICS | {
        "val_view_accuracy": 0.95,
        "val_views": {"dermoscopic": METRICS | {"val_photos": 30}, "close-up": close_ups},
    }
    views = {"close-up": {"temperature": 3.0, "thresholds": thresholds}}
    lines = decision_lines(replace(MANIFEST, metrics=metrics, views=views))
    assert lines[1] == (
        "the view is right for 95.0% of the validation photos; 30 were classified as dermoscopic (calibration error "
        "0.021), 12 were classified as close-up (calibration error 0.050)"
    )
    assert "dermoscopic: alert if p(melanoma) >= 0.1235: sensitivity 95.1%, specificity 60.2%" in lines
    assert "close-up: alert if p(melanoma) >= 0.2500: sensitivity 70.0%, specificity 60.2%" in lines
    starts = [line for line in lines if ": temperature " in line]
    assert [line.split(":")[1] for line in starts] == [" temperature 1.26", " temperature 3.00"]


def test_the_axes_of_the_layer_plot_have_their_units_and_whole_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(layer_plot, "as_svg", lambda figure: figures.append(figure) or "")
    ratios = (math.inf, 200.0, 30.0, -200.0)
    layers_svg([named(f"l{at}", contribution=float(at), sqnr_db=ratio) for at, ratio in enumerate(ratios)])
    [axes] = figures[0].axes
    after = next(line for line in axes.lines if line.get_label() == "after the operator")
    assert list(after.get_ydata()) == [80, 80, 30, -80]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "operator, in running order",
        "signal to quantization noise, dB",
    )
    assert all(tick == round(tick) for tick in axes.xaxis.get_major_locator().tick_values(0, 3))
    assert [line.get_visible() for line in axes.get_ygridlines()[:1] + axes.get_xgridlines()[:1]] == [
        True,
        False,
    ]
    # the numbers stand 5 points to the right of their markers, and 3 points lower
    marks = [(one.get_text(), one.xy[0], one.xyann, one.anncoords) for one in axes.texts]
    assert marks == [(str(rank), 4 - rank, (5, -3), "offset points") for rank in (1, 2, 3)]


def test_the_layer_plot_separates_the_error_of_an_operator_from_the_error_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(layer_plot, "as_svg", lambda figure: figures.append(figure) or "")
    layers = [
        named("a", sqnr_db=20.0, introduced=1e-3, contribution=0.1),
        named("b", sqnr_db=15.0, introduced=1e-4, contribution=0.2),
        named("c", sqnr_db=12.0, introduced=0.0, contribution=0.0, in_float=True),
    ]
    layers_svg(layers)
    [axes] = figures[0].axes
    points = {line.get_label(): tuple(map(list, line.get_data())) for line in axes.lines}
    # An introduced error of 10^-3 is 30 dB, one of 10^-4 is 40 dB, and none is plotted at the end of the axis.
    assert points == {
        "own error of the operator": ([0, 1, 2], pytest.approx([30, 40, 80])),
        "after the operator": ([0, 1, 2], [20, 15, 12]),
        "left in float": ([2], [12]),
        "1  CONV_2D  b": ([1], pytest.approx([40])),
        "2  CONV_2D  a": ([0], pytest.approx([30])),
    }

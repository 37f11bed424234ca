"""axe-core finds nothing on the pages and reports. Those of the phone app are in test_browser.py."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from dermedge.benchmarks.lab.screenshots import SIZES, THEMES, pages
from dermedge.convert.accept.acceptance import Acceptance, AcceptanceCheck
from dermedge.convert.accept.layer_errors import LayerError
from dermedge.convert.accept.network_checks import NetworkCheck
from dermedge.convert.accept.parity import Parity
from dermedge.convert.conversion import Conversion
from dermedge.convert.load.conversion_input import ConversionInput, ProofSet
from dermedge.convert.load.tflite_network import TfliteNetwork
from dermedge.convert.report.report import to_html
from dermedge.convert.request import ConversionRequest
from dermedge.convert.search import ConversionAttempt, SearchResult
from dermedge.convert.to_tflite.form import INT8_PTQ, Form
from dermedge.edge.model.input_tensor import Layout
from dermedge.edge.model.manifest import Manifest
from dermedge.edge.model.normalization import NORMALIZATIONS
from dermedge.train.evaluation.metrics import Score

HERE = Path(__file__).resolve().parent
LABELS = ("melanoma", "dermatofibroma", "nevus", "squamous cell carcinoma", "none of these")
METRICS = {"val_view_accuracy": 0.979, "val_views": {}}


def write_conversion_page(path: Path, *, accepted: bool) -> Path:
    """Writes the report of a made-up conversion that was accepted or refused; a real one takes minutes."""
    conversion = _conversion(accepted)
    other = ConversionAttempt(Form("int8-qat"), None, "the quantizer refused the network")
    result = SearchResult((ConversionAttempt(conversion.form, conversion), other), conversion, _layers())
    path.write_text(to_html(result, _source(), _request()), encoding="utf-8")
    return path


def _conversion(accepted: bool) -> Conversion:
    lost = 0.004 if accepted else 0.052
    checks = (
        AcceptanceCheck("balanced accuracy", 0.781, 0.777, Score(0.004, -0.011, 0.018), 0.01, 0.021),
        AcceptanceCheck(
            "recall of squamous cell carcinoma",
            0.7,
            0.7 - lost,
            Score(lost, lost - 0.01, lost + 0.02),
            0.01,
            0.08,
        ),
        AcceptanceCheck(
            "sensitivity for melanoma at 90 % specificity", 0.61, np.nan, Score(*[np.nan] * 3), 0.01, 1
        ),
        AcceptanceCheck("largest change of a probability", None, 0.213, Score(0.213, 0.213, 0.213), 0.5, 0.5),
    )
    chance = NetworkCheck("better than chance", True, "better than chance: balanced accuracy 0.777", "")
    flips = dict.fromkeys(LABELS, (3, 2))
    manifest = Manifest(LABELS, 192, INT8_PTQ, "efficientnet_lite0_trunk", temperature=1.256, metrics=METRICS)
    return Conversion(
        Form(INT8_PTQ),
        b"x" * 2_345_678,
        manifest,
        Parity(482, 0.975, 0.1234, 0.0456),
        Acceptance(482, (chance,), checks, flips),
        3.456,
        (
            "there is no alert, because the fitted alert is on for 60% of the photos of its own class and for 65% of "
            "the other photos",
        ),
    )


def _layers() -> tuple[LayerError, ...]:
    names = ("stem", "block1/depthwise", "block1/project", "block12/expand", "head")
    return tuple(
        LayerError(
            name=f"model/{name}/Conv2D;model/{name}/BiasAdd",
            kind="CONV_2D",
            inputs=("image",),
            sqnr_db=31.4 - 3 * number,
            introduced=0.001 * number,
            contribution=0.1 + 0.1 * number,
            low=-4.0,
            high=4.0,
            rms=1.0,
            scale=0.031,
            zero_point=-3,
            channels=96,
            dead_channels=number,
            lost_channels=0,
            saturated=0.012 * number,
            in_float=False,
            collapsed=False,
            delegated=True,
        )
        for number, name in enumerate(names)
    )


def _source() -> ConversionInput:
    layout = Layout(192, 192, 3, channels_first=False)
    network = TfliteNetwork("float.tflite", layout, LABELS, NORMALIZATIONS["dermedge"], b"")
    nothing = np.zeros((0, 192, 192, 3), np.uint8)
    proof = ProofSet(nothing, np.zeros(0, np.int64), (), LABELS, LABELS[-1], np.zeros((0, 5)), LABELS[0])
    return ConversionInput(network, None, nothing, proof, Manifest(LABELS, 192, ""))


def _request() -> ConversionRequest:
    return ConversionRequest(Path("runs/mine"), INT8_PTQ, command="dermedge convert runs/mine --int8")


@pytest.fixture(scope="module")
def found(
    node: str, chromium: str, labelled_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The findings of axe.mjs on each page of `lab screenshots`, and on two reports of conversions."""
    seen: dict[str, Any] = {}
    made = tmp_path_factory.mktemp("conversions")
    conversions = [
        str(write_conversion_page(made / f"{name}.html", accepted=accepted))
        for name, accepted in (("accepted", True), ("refused", False))
    ]
    for name, address in pages(tmp_path_factory.mktemp("pages"), labelled_set, conversions):
        told = json.dumps({"program": chromium, "name": name, "address": address, "widths": list(SIZES)})
        done = subprocess.run(
            [node, str(HERE / "axe.mjs"), told], capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        seen |= json.loads(done.stdout)
    assert len(seen) == 7 * len(SIZES) * len(THEMES)
    return seen


def test_axe_finds_nothing(found: dict[str, Any]) -> None:
    breaches = [f"{name}: {text[:300]}" for name, one in found.items() for text in one["violations"]]
    assert not breaches, "\n".join(breaches)


def test_no_page_is_wider_than_the_window(found: dict[str, Any]) -> None:
    wider = {name: one["overflow"] for name, one in found.items() if one["overflow"] > 0}
    assert not wider, wider

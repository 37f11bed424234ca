"""Other ways to run a shipped model compute what the documents say."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermedge.edge.model.classifier import Classifier
from dermedge.edge.model.golden import IMAGE_COUNT, golden_image, replay
from dermedge.edge.model.shipped import SHIPPED

IOS = Path(__file__).parents[3] / "docs" / "ios.md"

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the documents state the numbers of x86-64"
)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_compiled_model_on_the_processor_computes_the_same_levels(name: str) -> None:
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, HardwareAccelerator, Options

    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1))
    compiled = CompiledModel.from_file(str(SHIPPED[name]), options=options)
    given, results = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    with Classifier(name, runtime="litert") as classifier:
        outputs = classifier.interpreter.get_output_details()
        for number in range(IMAGE_COUNT):
            crop = classifier.crop(golden_image(number))
            classifier.infer(crop)
            given[0].write(crop.image_rgb[None])
            compiled.run_by_index(0, given, results)
            for result, output in zip(results, outputs, strict=True):
                expected = classifier.interpreter.get_tensor(output["index"])
                got = result.read(expected.size, output["dtype"])
                np.testing.assert_array_equal(got, expected.ravel())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_page_for_ios_states_what_the_kernels_without_xnnpack_change(name: str) -> None:
    result = replay(SHIPPED[name], "litert", _without_xnnpack)
    assert result is not None
    images, levels = max(one.images for one in result.moved), max(one.by for one in result.moved)
    row = re.search(rf"^\| {name} \| (\d+) \| (\d+) \| (\d+) images? \|$", IOS.read_text("utf-8"), re.M)
    assert row, f"docs/ios.md has no row of {name}"
    assert [int(one) for one in row.groups()] == [images, levels, result.other_class]


def _without_xnnpack(model: Path, runtime: Any, xnnpack: bool = False) -> Classifier:
    return Classifier(model, runtime=runtime, xnnpack=xnnpack)

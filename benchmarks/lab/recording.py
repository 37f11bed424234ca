"""Records the built-in demo as an animated image for README.md and the documentation.

python -m dermedge.benchmarks.lab recording
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge import Pipeline
from dermedge.benchmarks.child import ROOT
from dermedge.benchmarks.lab.cli import experiment_parser
from dermedge.edge.files import write_bytes
from dermedge.edge.results import FrameResult
from dermedge.edge.sources.demo import FPS
from dermedge.edge.views.paint import paint_result

__all__ = ["RECORDING", "animation", "main", "sampled"]

RECORDING = ROOT / "docs" / "images" / "demo.webp"
_SECONDS = 10
_RECORDED_FPS = 5
_SIZE = (480, 360)
_QUALITY = 60


def main(argv: Sequence[str]) -> int:
    """Records the demo; returns the exit status."""
    options = _parser().parse_args(argv)
    with Pipeline("demo") as results:
        images = [paint_result(result) for result in sampled(islice(results, _SECONDS * FPS))]
    output = options.output or RECORDING
    write_bytes(output, animation(images))
    print(f"{output}: {len(images)} frames, {output.stat().st_size / 1000:.0f} kB")
    return 0


def sampled(results: Iterable[FrameResult]) -> Iterator[FrameResult]:
    """Returns the results that are shown in an animation with `_RECORDED_FPS` frames a second."""
    return islice(results, 0, None, FPS // _RECORDED_FPS)


def animation(images_bgr: Sequence[NDArray[np.uint8]]) -> bytes:
    """Returns an animated WebP file, which repeats endlessly, of uint8 [h, w, 3] BGR images."""
    from PIL import Image

    small = (cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA) for image in images_bgr)
    first, *others = [Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) for image in small]
    content = io.BytesIO()
    first.save(
        content,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=1000 // _RECORDED_FPS,
        loop=0,
        quality=_QUALITY,
        method=6,
    )
    return content.getvalue()


def _parser() -> argparse.ArgumentParser:
    parser = experiment_parser(
        "recording", "Record the built-in demo of `dermedge run` as an animated image."
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="WEBP",
        help="write the animation to this .webp file. Default: docs/images/demo.webp.",
    )
    return parser

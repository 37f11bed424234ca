"""The pixels that the phone app's worker reads from frames and photos, run by Node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dermedge.edge.phone.build import PAGE


def test_photos_with_more_pixels_than_a_canvas_of_an_iphone_are_read_whole(
    run_page_script: Callable[..., Any],
) -> None:
    """A canvas with more than 16.8 million pixels stays empty, and an empty image is black."""
    frame, photo, odd = (640, 480), (5712, 4284), (4285, 5712)
    told = run_page_script(
        Path(__file__).with_name("worker_canvas.mjs"), PAGE / "worker.js", [frame, photo, odd]
    )
    assert told == [[480, 480, True], [4284, 4284, True], [4285, 5712, True]]

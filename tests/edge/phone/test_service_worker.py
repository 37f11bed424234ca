"""The service worker of the phone app, run by Node: which stored file each request gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dermedge.edge.phone.build import PAGE


def test_a_link_opens_its_own_file_and_any_other_page_is_the_app(run_page_script: Callable[..., Any]) -> None:
    requests = {
        "./": ("navigate", "./"),
        "./?from=icon": ("navigate", "./"),
        "index.html": ("navigate", "./"),
        "licences.txt": ("navigate", "licences.txt"),
        "page.js?v=1": ("no-cors", "page.js"),
        "other.js": ("no-cors", "network"),
    }
    answers = run_page_script(
        Path(__file__).with_name("service_worker.mjs"),
        PAGE / "sw.js",
        [{"url": url, "mode": mode} for url, (mode, _) in requests.items()],
    )
    assert answers == [expected for _, expected in requests.values()]

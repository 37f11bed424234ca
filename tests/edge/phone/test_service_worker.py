"""The service worker of the phone app, run by Node: which stored file each request gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dermedge.edge.phone.build import PAGE

SCRIPT = Path(__file__).with_name("service_worker.mjs")


def test_a_link_opens_its_own_file_and_other_pages_of_the_web_site_stay_theirs(
    run_page_script: Callable[..., Any],
) -> None:
    requests = {
        "./": ("navigate", "./"),
        "./?from=icon": ("navigate", "./"),
        "index.html": ("navigate", "./"),
        "index.html?from=icon": ("navigate", "./"),
        "licences.txt": ("navigate", "licences.txt"),
        "other/": ("navigate", "network"),
        "other/index.html": ("navigate", "network"),
        "page.js?v=1": ("no-cors", "page.js"),
        "other.js": ("no-cors", "network"),
    }
    values = {"caches": {}, "requests": [{"url": url, "mode": mode} for url, (mode, _) in requests.items()]}
    told = run_page_script(SCRIPT, PAGE / "sw.js", values)
    assert told["answers"] == [expected for _, expected in requests.values()]


def test_a_new_build_removes_earlier_ones_and_no_other_app_of_the_same_web_site(
    run_page_script: Callable[..., Any],
) -> None:
    new, other = "dermedge https://pi.local/app/ 0123", "dermedge https://pi.local/app/other/ 89ab"
    caches = {"dermedge https://pi.local/app/ 4567": [], new: [], other: [], "of another program": []}
    told = run_page_script(SCRIPT, PAGE / "sw.js", {"caches": caches, "requests": []})
    assert told["caches"] == [new, other, "of another program"]


def test_the_store_of_an_earlier_version_is_removed_by_its_own_app_alone(
    run_page_script: Callable[..., Any],
) -> None:
    """In earlier versions, the name of a store did not contain the address of the app."""
    caches = {
        "dermedge-4567": ["https://pi.local/app/", "https://pi.local/app/page.js"],
        "dermedge-89ab": ["https://pi.local/app/other/", "https://pi.local/app/other/page.js"],
    }
    told = run_page_script(SCRIPT, PAGE / "sw.js", {"caches": caches, "requests": []})
    assert told["caches"] == ["dermedge-89ab"]

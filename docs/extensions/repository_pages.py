"""Makes pages of Markdown files that stand elsewhere in the repository, and points links to them there.

README.md and the guides link files of the repository by their paths, which a reader of the repository can follow.
In the site, a link to such a file leads to its page; a link to any other file downloads it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

__all__ = ["setup"]

_DOCS = Path(__file__).resolve().parents[1]
_ROOT = _DOCS.parent
_RESULTS = _ROOT / "benchmarks" / "results"
_MEASUREMENTS = _DOCS / "measurements"
# Page of docs/ -> the file whose text it shows.
_SHOWN = {
    "model-card": _ROOT / "models" / "README.md",
    "changelog": _ROOT / "CHANGELOG.md",
    "contributing": _ROOT / "CONTRIBUTING.md",
}
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_INDEX = """# Measurements

The results that commands of the repository wrote, as they wrote them.

```{toctree}
:maxdepth: 1
:glob:

*
```
"""


def setup(app: Any) -> dict[str, bool]:
    """Registers both steps with Sphinx."""
    app.connect("builder-inited", _write_measurements)
    app.connect("source-read", _read_source)
    return {"parallel_read_safe": True}


def _write_measurements(_: Any) -> None:
    """Copies the Markdown files of benchmarks/results into docs/measurements, which git ignores."""
    _MEASUREMENTS.mkdir(exist_ok=True)
    texts = {
        _page_of_result(path): _linked(path, path.parent, _MEASUREMENTS) for path in _RESULTS.rglob("*.md")
    }
    texts[_MEASUREMENTS / "index.md"] = _INDEX
    for old in set(_MEASUREMENTS.glob("*.md")) - set(texts):
        old.unlink()
    for page, text in texts.items():
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def _read_source(app: Any, name: str, source: list[str]) -> None:
    if name in _SHOWN:
        app.env.note_dependency(str(_SHOWN[name]))
        source[0] = _linked(_SHOWN[name], _SHOWN[name].parent, _DOCS)
    elif not name.startswith("measurements/"):
        page = _DOCS / f"{name}.md"
        source[0] = _with_links(source[0], page.parent, page.parent)


def _linked(path: Path, before: Path, after: Path) -> str:
    return _with_links(path.read_text(encoding="utf-8"), before, after)


def _with_links(text: str, before: Path, after: Path) -> str:
    """Returns the Markdown with its relative links changed.

    The links were correct in the folder ``before``, and become correct in the folder ``after``.
    """

    def moved(found: re.Match[str]) -> str:
        words, address = found.groups()
        path, mark, anchor = address.partition("#")
        target = (before / path).resolve()
        if not path or ":" in path or not target.exists():
            return found.group()
        if target.is_dir():
            return words  # the site has no pages of folders
        return f"[{words}]({_address(target, after)}{mark}{anchor})"

    return _LINK.sub(moved, text)


def _address(target: Path, after: Path) -> str:
    pages = {shown: _DOCS / f"{name}.md" for name, shown in _SHOWN.items()}
    if target.suffix == ".md" and target.is_relative_to(_RESULTS):
        target = _page_of_result(target)
    return os.path.relpath(pages.get(target, target), after)


def _page_of_result(path: Path) -> Path:
    parts = path.relative_to(_RESULTS).with_suffix("").parts
    names = [part.lower() for part in parts if part not in ("README", "results")]
    return _MEASUREMENTS / f"{'-'.join(names)}.md"

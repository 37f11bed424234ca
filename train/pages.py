"""Writes reports as HTML pages. Each page is a single file and needs no network access."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from dermedge import DISCLAIMER, __version__

__all__ = ["json_head", "now", "render"]

_TEMPLATES = Path(__file__).parent / "templates"
# HTML must not contain control characters. If a label or a file name contains one, the page shows an escape such as
# \x07 instead.
_CONTROL_CODES = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"
}


def now() -> str:
    """Returns the current time in UTC for a report, in ISO 8601 with seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def json_head(schema: str, command: str) -> dict[str, str]:
    """Returns the first fields of every JSON report."""
    return {
        "schema": schema,
        "created": now(),
        "dermedge": __version__,
        "command": command,
        "disclaimer": DISCLAIMER,
    }


def render(
    template: str,
    filters: dict[str, Callable[..., Any]] | None = None,
    templates: Path = _TEMPLATES,
    **values: Any,
) -> str:
    """Renders a template as HTML. Control characters are replaced by visible escapes.

    Args:
        template: file name of the template.
        filters: additional Jinja filters: name -> function.
        templates: folder with the template. If the template is not there, it is read from the folder of the common
            templates.
        values: values for the template. ``version``, ``created`` and ``disclaimer`` are added.

    Raises:
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    page = environment.get_template(template)
    text = page.render(version=__version__, created=now(), disclaimer=DISCLAIMER, **values)
    return text.translate(_CONTROL_CODES)

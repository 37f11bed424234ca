"""Formats an audit as text for a terminal, as JSON, and as a self-contained HTML page."""

from __future__ import annotations

import base64
import json
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import cv2

from dermedge import DISCLAIMER
from dermedge.edge.errors import PictureError
from dermedge.edge.photos import read_picture
from dermedge.edge.printable import printable_lines
from dermedge.edge.text_table import aligned_lines
from dermedge.train.data.audit.findings import SEVERITIES, AuditFinding
from dermedge.train.data.audit.run import Audit
from dermedge.train.data.counts import plural
from dermedge.train.pages import json_head, render

__all__ = ["summary", "to_html", "to_json", "to_text"]

_SCHEMA = "dermedge-audit/1"
_HEADINGS = {
    "error": "ERRORS: correct these first; until then, do not trust labels and scores of these data",
    "warning": "WARNINGS: look at these before training",
    "note": "NOTES",
}
_TEXT_WIDTH = 100
_TEXT_LINES = 6
_TEXT_EXAMPLES = 2
_PAGE_LINES = 30
_PAGE_EXAMPLES = 9
_THUMBNAIL_HEIGHT = 150
# A very wide photo is shown at less than the usual height, so that its width does not exceed this number of pixels. No
# JPEG can be wider than 65,535 pixels.
_THUMBNAIL_WIDTH = 6000
_MOST_SIZES = 3


def to_text(audit: Audit) -> str:
    """Returns the report for a terminal: the datasets, then the findings with counts, examples and advice."""
    blocks = [_sets_text(audit)]
    number = 0
    for severity in SEVERITIES:
        findings = [finding for finding in audit.findings if finding.severity == severity]
        if findings:
            blocks.append(_HEADINGS[severity])
        for finding in findings:
            number += 1
            blocks.append(_finding_text(number, finding, audit))
    blocks.append(f"{summary(audit)}. {DISCLAIMER}")
    return printable_lines("\n\n".join(blocks))


def summary(audit: Audit) -> str:
    """Returns the number of findings of each severity, such as "2 errors, 1 warning, 0 notes in 7,871 files"."""
    counts = Counter(finding.severity for finding in audit.findings)
    found = ", ".join(plural(counts[severity], severity) for severity in SEVERITIES)
    return f"{found} in {plural(len(audit.photos), 'file')}"


def _sets_text(audit: Audit) -> str:
    classes = _classes(audit)
    sources = sorted({file.source for file in audit.photos})
    rows = [(label, *(str(counts[one] or "-") for one in sources)) for label, counts in classes.items()]
    lines = aligned_lines([("", *sources), *rows])
    for source in sources:
        lines.append(f"{source}: {plural(_files_of(audit, source), 'file')}, {_sizes(audit, source)}")
    tables = ", ".join(table.name for table in audit.tables) or "none"
    skipped = [f"not looked at: {count:,} ({why})" for why, count in audit.skipped.items()]
    return "\n".join([*lines, f"tables: {tables}", *skipped])


def _finding_text(number: int, finding: AuditFinding, audit: Audit) -> str:
    lines = [f"{number:>2}. {finding.title}"]
    counted = any(count > 1 for _, count in finding.breakdown)
    for where, count in finding.breakdown[:_TEXT_LINES]:
        lines.append(f"      {count:>6,}  {where}" if counted else f"      {where}")
    if len(finding.breakdown) > _TEXT_LINES:
        lines.append(f"      and {len(finding.breakdown) - _TEXT_LINES} more")
    for example in finding.examples[:_TEXT_EXAMPLES]:
        first, *others = (audit.photos[index].name for index in example.files)
        lines += [f"    e.g. {first}", *(f"         {name}" for name in others)]
        lines[-1] += f"   ({example.detail})"
    lines += textwrap.wrap(
        finding.advice, _TEXT_WIDTH, initial_indent="    do:  ", subsequent_indent="         "
    )
    return "\n".join(lines)


def _classes(audit: Audit) -> dict[str, Counter[str]]:
    """Returns, for each class, the number of files from each dataset. The largest class comes first.

    The class of a file is the diagnosis in `AuditedPhoto.truth`.
    """
    classes: dict[str, Counter[str]] = {}
    for file in audit.photos:
        classes.setdefault(file.truth or "(no label)", Counter())[file.source] += 1
    return dict(sorted(classes.items(), key=lambda item: (-item[1].total(), item[0])))


def _files_of(audit: Audit, source: str) -> int:
    return sum(file.source == source for file in audit.photos)


def _sizes(audit: Audit, source: str) -> str:
    sizes = Counter(file.size for file in audit.photos if file.source == source and not file.problem)
    named = [f"{size} ({count:,})" for size, count in sizes.most_common(_MOST_SIZES)]
    others = [plural(len(sizes) - _MOST_SIZES, "other size")] if len(sizes) > _MOST_SIZES else []
    return ", ".join([*named, *others]) or "none can be decoded"


def to_json(audit: Audit, command: str) -> str:
    """Returns the audit as indented JSON text with the absolute paths of the photos. The schema is `_SCHEMA`."""
    sources = sorted({file.source for file in audit.photos})
    values = {
        **json_head(_SCHEMA, command),
        "files": len(audit.photos),
        "tables": [str(table) for table in audit.tables],
        "understood": list(audit.account),
        "not_looked_at": audit.skipped,
        "sources": {source: _files_of(audit, source) for source in sources},
        "classes": {label: dict(sorted(counts.items())) for label, counts in _classes(audit).items()},
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "title": finding.title,
                "count": finding.count,
                "files": finding.files,
                "breakdown": [{"where": where, "count": count} for where, count in finding.breakdown],
                "advice": finding.advice,
                "cases": [
                    {
                        "files": [str(audit.photos[index].path) for index in example.files],
                        "detail": example.detail,
                    }
                    for example in finding.examples
                ],
            }
            for finding in audit.findings
        ],
    }
    return json.dumps(values, indent=1) + "\n"


def to_html(audit: Audit, command: str) -> str:
    """Returns the report as an HTML page with the photos of the first cases. The page needs no other file and no
    network.
    """
    sources = sorted({file.source for file in audit.photos})
    return render(
        "audit.html",
        summary=summary(audit),
        sources=sources,
        files={source: _files_of(audit, source) for source in sources},
        sizes={source: _sizes(audit, source) for source in sources},
        classes=_classes(audit),
        tables=[table.name for table in audit.tables],
        account=audit.account,
        skipped=audit.skipped,
        counts={s: sum(finding.severity == s for finding in audit.findings) for s in SEVERITIES},
        findings=[_finding_view(finding, audit) for finding in audit.findings],
        command=command,
    )


def _finding_view(finding: AuditFinding, audit: Audit) -> dict[str, Any]:
    """Returns the values of a finding that the template shows."""
    examples = [
        {"detail": example.detail, "photos": [_photo_view(audit, index) for index in example.files]}
        for example in finding.examples[:_PAGE_EXAMPLES]
    ]
    return {
        "finding": finding,
        "counted": any(count > 1 for _, count in finding.breakdown),
        "breakdown": finding.breakdown[:_PAGE_LINES],
        "hidden_lines": len(finding.breakdown[_PAGE_LINES:]),
        "examples": examples,
        "hidden_examples": len(finding.examples[_PAGE_EXAMPLES:]),
    }


def _photo_view(audit: Audit, index: int) -> dict[str, str]:
    file = audit.photos[index]
    return {
        "name": file.name,
        "folder": file.folder,
        "reference": file.reference,
        "size": "" if file.problem else file.size,
        "thumbnail": _thumbnail(file.path),
    }


def _thumbnail(path: Path) -> str:
    """Returns the photo as a small JPEG in a data URI, with the aspect ratio of the photo.

    The text is empty if the photo cannot be decoded.
    """
    try:
        image = read_picture(path)
    except PictureError:
        return ""
    height, width = image.shape[:2]
    scale = min(_THUMBNAIL_HEIGHT / height, _THUMBNAIL_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"

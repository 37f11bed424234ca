"""State whether the converted files are written, and why."""

from __future__ import annotations

from dermedge.convert.accept.acceptance import CANNOT_TELL, REFUSED
from dermedge.convert.search import SearchResult
from dermedge.train.data.counts import plural

__all__ = ["verdict_sentence"]


def verdict_sentence(result: SearchResult) -> str:
    """Return the verdict with its most important reason, and how many files are written."""
    best, acceptance = result.best, result.best.acceptance
    outcome = _outcome(len(result.deliveries))
    if acceptance.verdict == REFUSED:
        return f"Refused: {best.form.name} fails the check '{acceptance.failed[0].name}'. {outcome}"
    if acceptance.verdict == CANNOT_TELL:
        more = len(acceptance.doubts) - 1
        and_more = f" ({plural(more, 'more doubt')})" if more else ""
        return f"Cannot tell: {acceptance.doubts[0]}{and_more}. {outcome}"
    return f"Passed: on {acceptance.photos} photos, no metric of {best.form.name} loses more than allowed. {outcome}"


def _outcome(files: int) -> str:
    if files > 1:
        return f"The {files} files are written."
    return "The file is written." if files else "No file is written."

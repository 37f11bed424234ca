"""State in one sentence whether a file is delivered, and why."""

from __future__ import annotations

from dermedge.convert.accept.acceptance import CANNOT_TELL, REFUSED
from dermedge.convert.search import SearchResult

__all__ = ["verdict_sentence"]


def verdict_sentence(result: SearchResult) -> str:
    """Return the verdict, what happened to the file, and the first reason."""
    best, acceptance = result.best, result.best.acceptance
    outcome = "delivered" if result.delivered else "nothing is delivered"
    if acceptance.verdict == REFUSED:
        return f"Refused, {outcome}: {best.form.name} fails the check '{acceptance.failed[0].name}'."
    if acceptance.verdict == CANNOT_TELL:
        more = len(acceptance.doubts) - 1
        and_more = f" (and {more} more)" if more else ""
        return f"Cannot tell, {outcome}: {acceptance.doubts[0]}{and_more}."
    return f"Passed, {outcome}: on {acceptance.photos} photos, no figure of {best.form.name} loses more than allowed."

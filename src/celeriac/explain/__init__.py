"""Explain why a handler did or did not get an event: the ordered checks from emit to processed."""

from celeriac.explain.answer import Check, CheckResult, Explanation
from celeriac.explain.checks import explain
from celeriac.explain.code import Code
from celeriac.explain.fact import Facts
from celeriac.explain.gather import BusReader, gather, gather_unemitted, gather_unfound

__all__ = [
    "BusReader",
    "Check",
    "CheckResult",
    "Code",
    "Explanation",
    "Facts",
    "explain",
    "gather",
    "gather_unemitted",
    "gather_unfound",
]

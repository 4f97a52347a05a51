"""Why a handler did, or did not, get an event: the ordered checks from emit to processed."""

from celeriac.explain.answer import Check, Explanation, Verdict
from celeriac.explain.checks import explain
from celeriac.explain.code import Code
from celeriac.explain.fact import Facts
from celeriac.explain.gather import Reading, gather, gather_unemitted, gather_unfound

__all__ = [
    "Check",
    "Code",
    "Explanation",
    "Facts",
    "Reading",
    "Verdict",
    "explain",
    "gather",
    "gather_unemitted",
    "gather_unfound",
]

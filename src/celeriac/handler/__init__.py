"""Handlers: their options, signature, failure policy and limits."""

from celeriac.handler.event_filter import Predicate
from celeriac.handler.handler import Handler, make_handler
from celeriac.handler.options import HandlerOptions, Start
from celeriac.handler.per_key import Debounce, PerKey
from celeriac.handler.policy import Decision, FailurePolicy, RetryPolicy, decide
from celeriac.handler.returned import Emit, Reply
from celeriac.handler.share import in_share

__all__ = [
    "Debounce",
    "Decision",
    "Emit",
    "FailurePolicy",
    "Handler",
    "HandlerOptions",
    "PerKey",
    "Predicate",
    "Reply",
    "RetryPolicy",
    "Start",
    "decide",
    "in_share",
    "make_handler",
]

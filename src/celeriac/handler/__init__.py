from celeriac.handler.handler import Handler, Start, make_handler
from celeriac.handler.per_key import Debounce, PerKey
from celeriac.handler.policy import Decision, FailurePolicy, RetryPolicy, decide
from celeriac.handler.share import Predicate, ShareFilter, in_share

__all__ = [
    "Debounce",
    "Decision",
    "FailurePolicy",
    "Handler",
    "PerKey",
    "Predicate",
    "RetryPolicy",
    "ShareFilter",
    "Start",
    "decide",
    "in_share",
    "make_handler",
]

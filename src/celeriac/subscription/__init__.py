from celeriac.subscription.handler import Handler, Start, make_handler
from celeriac.subscription.per_key import Debounce, PerKey
from celeriac.subscription.policy import Decision, FailurePolicy, RetryPolicy, decide
from celeriac.subscription.service import Backend, Service
from celeriac.subscription.share import Predicate, ShareFilter, in_share

__all__ = [
    "Backend",
    "Debounce",
    "Decision",
    "FailurePolicy",
    "Handler",
    "PerKey",
    "Predicate",
    "RetryPolicy",
    "Service",
    "ShareFilter",
    "Start",
    "decide",
    "in_share",
    "make_handler",
]

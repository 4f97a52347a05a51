from celeriac.subscription.handler import Handler, Predicate, Start, make_handler
from celeriac.subscription.per_key import Debounce, PerKey
from celeriac.subscription.policy import Decision, FailurePolicy, RetryPolicy, decide
from celeriac.subscription.service import Backend, Service

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
    "Start",
    "decide",
    "make_handler",
]

from celeriac.subscription.handler import Handler, Predicate, Start, make_handler
from celeriac.subscription.policy import Decision, FailurePolicy, RetryPolicy, decide
from celeriac.subscription.service import Backend, Service

__all__ = [
    "Backend",
    "Decision",
    "FailurePolicy",
    "Handler",
    "Predicate",
    "RetryPolicy",
    "Service",
    "Start",
    "decide",
    "make_handler",
]

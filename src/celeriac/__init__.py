"""The event bus for microservices on Celery."""

from celeriac.bus import EventBus
from celeriac.circuit_breaker import Breaker
from celeriac.default import aemit, aemit_many, default_bus, emit, emit_many, set_default_bus
from celeriac.errors import (
    BusUnavailable,
    CeleriacError,
    ConfigurationError,
    ContractTooNew,
    EncryptionError,
    EventTooLarge,
    Exhausted,
    InvalidData,
    InvalidEvent,
    LogFull,
    NoReply,
    NotFound,
    Reject,
    Retry,
    Skip,
    SubscriptionError,
    UntrustedEvent,
)
from celeriac.event import Event, Sensitive, current_attempt, current_event
from celeriac.handler import Debounce, Emit, PerKey, Reply, RetryPolicy, in_share
from celeriac.middleware import Attempt, Middleware
from celeriac.settings import VERSION, Settings

__version__ = VERSION

__all__ = [
    # publishing
    "Event",
    "EventBus",
    "Sensitive",
    "aemit",
    "aemit_many",
    "default_bus",
    "emit",
    "emit_many",
    "in_share",
    "set_default_bus",
    # handling
    "Breaker",
    "Debounce",
    "Emit",
    "PerKey",
    "Reject",
    "Reply",
    "Retry",
    "RetryPolicy",
    "Skip",
    "current_attempt",
    "current_event",
    # middleware
    "Attempt",
    "Middleware",
    # settings
    "Settings",
    # errors
    "BusUnavailable",
    "CeleriacError",
    "ConfigurationError",
    "ContractTooNew",
    "EncryptionError",
    "EventTooLarge",
    "Exhausted",
    "InvalidData",
    "InvalidEvent",
    "LogFull",
    "NoReply",
    "NotFound",
    "SubscriptionError",
    "UntrustedEvent",
]

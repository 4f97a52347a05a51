"""The event bus for microservices on Celery."""

from celeriac.bus import EventBus
from celeriac.circuit_breaker import Breaker
from celeriac.default import aemit, aemit_many, default_bus, emit, emit_many, set_default_bus
from celeriac.errors import (
    ArchiveError,
    BusUnavailable,
    CeleriacError,
    CircuitOpen,
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
    PushFailed,
    Reject,
    Retry,
    Skip,
    SubjectErased,
    SubjectKeysUnavailable,
    SubscriptionError,
    UntrustedEvent,
)
from celeriac.event import Event, Sensitive, current_attempt, current_event
from celeriac.handler import Debounce, Emit, PerKey, Reply, RetryPolicy, in_share
from celeriac.middleware import Attempt, Middleware
from celeriac.settings import VERSION, Settings
from celeriac.tenant import NO_TENANT

__version__ = VERSION

__all__ = [
    # publishing
    "NO_TENANT",
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
    "CircuitOpen",
    "ConfigurationError",
    "ContractTooNew",
    "EncryptionError",
    "EventTooLarge",
    "Exhausted",
    "InvalidData",
    "InvalidEvent",
    "LogFull",
    "NoReply",
    "ArchiveError",
    "NotFound",
    "PushFailed",
    "SubjectErased",
    "SubjectKeysUnavailable",
    "SubscriptionError",
    "UntrustedEvent",
]

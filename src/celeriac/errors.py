"""Every error that celeriac raises, in one tree.

CeleriacError
├── ConfigurationError      a setting is wrong; raised at start, lists every fault
│   └── SubscriptionError   a handler cannot be registered; raised at import
├── InvalidEvent            an event violates CloudEvents 1.0 or its schema
│   ├── InvalidData         its data does not fit the declared type
│   │   └── ContractTooNew  its version is newer than the worker's code
│   ├── UntrustedEvent      it has no valid signature, which the handler requires
│   ├── EncryptionError     its data cannot be encrypted or decrypted with the available keys
│   └── EventTooLarge       it is over the size limit
├── BusUnavailable          Redis was unreachable or refused the command until the timeout
├── LogFull                 the event log, Redis or the spool is full
├── NotFound                no such event, handler or dead letter
├── Exhausted               its worker processes died repeatedly while they ran it
├── Retry                   control flow: a handler asks to run again later
└── Reject                  control flow: a handler dead-letters the event
"""

from __future__ import annotations


class CeleriacError(Exception):
    """The base class of every error that celeriac raises."""


class ConfigurationError(CeleriacError):
    """A setting is wrong. The message lists every fault with the setting's name and the remedy."""


class SubscriptionError(ConfigurationError):
    """A handler cannot be registered: wrong pattern, option or signature, or duplicate name."""


class InvalidEvent(CeleriacError, ValueError):
    """An event violates CloudEvents 1.0. The message names the attribute and the allowed values.

    `emitted` is the number of events of an `emit_many` that were published before it.
    """

    emitted: int = 0


class InvalidData(InvalidEvent):
    """The data of an event does not fit the type declared for it."""


class ContractTooNew(InvalidData):
    """The data has a newer version than the worker's code, and the handler cannot read it.

    Deploy the new code, then redrive the dead letters.
    """


class UntrustedEvent(InvalidEvent):
    """A handler requires a signature, and the event has no valid one. The handler did not run."""


class EncryptionError(InvalidEvent):
    """Data cannot be encrypted or decrypted with the available keys, which the message lists."""


class EventTooLarge(InvalidEvent):
    """An encoded event exceeds `max_event_bytes`. Store the data elsewhere and emit its address."""


class BusUnavailable(CeleriacError, ConnectionError):
    """Redis did not answer within `emit_timeout`, or refused the command for that long.

    `nothing_written` is True if Redis refused every attempt, so that the event was not written.
    Otherwise the event may have been written. Emit it again with the same `id`: within
    `dedup_window`, the same id is one event.

    `emitted` is the number of events of an `emit_many` that Redis confirmed. Later events may have
    been written, unless `nothing_written` is True.
    """

    nothing_written: bool = False

    def __init__(self, message: str, *, emitted: int = 0) -> None:
        super().__init__(message)
        self.emitted = emitted


class LogFull(CeleriacError):
    """The event log, Redis or the spool is full; the event was not written.

    A domain has `max_backlog` unfinished events, Redis is out of memory (`maxmemory` with
    `noeviction`), or the spool reached `spool_max_bytes`. The message names the cause and remedy.

    `emitted` is the number of events of an `emit_many` that were accepted before it.
    """

    appended: int = 0  # events of one append to the event log

    def __init__(self, message: str, *, emitted: int = 0) -> None:
        super().__init__(message)
        self.emitted = emitted


class NotFound(CeleriacError, LookupError):
    """There is no such event, handler or dead letter."""


class Exhausted(CeleriacError):
    """The processes that ran a delivery died repeatedly; it was dead-lettered as poison."""


class Retry(CeleriacError):
    """Raise in a handler to retry this delivery.

    `after` is in seconds; None uses the handler's backoff. The attempt counts.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason or "retry requested by the handler")
        self.after = after


class Reject(CeleriacError):
    """Raise in a handler to dead-letter this delivery at once, with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

"""Every error that celeriac raises, in one tree.

CeleriacError
├── ConfigurationError      a setting is wrong; raised at start, names every fault at once
│   └── SubscriptionError   a handler cannot be registered; raised at import
├── InvalidEvent            an event breaks CloudEvents 1.0 or its schema
│   ├── InvalidData         its data does not fit the declared type
│   │   └── ContractTooNew  its version is newer than the worker's code
│   ├── UntrustedEvent      it is not signed as the handler demands
│   ├── EncryptionError     its data cannot be encrypted or opened with the keys at hand
│   └── EventTooLarge       it is over the size limit
├── BusUnavailable          Redis could not be reached, or refused, within the limit
├── LogFull                 the log, Redis or the spool has no room left
├── NotFound                no such event, handler or dead letter
├── Exhausted               its workers died again and again while they ran it
├── Retry                   control flow: a handler asks to run again later
└── Reject                  control flow: a handler gives the event up for good
"""

from __future__ import annotations


class CeleriacError(Exception):
    """The root: `except CeleriacError` catches all that celeriac raises."""


class ConfigurationError(CeleriacError):
    """A setting is wrong. The message lists every fault with the setting's name and the remedy."""


class SubscriptionError(ConfigurationError):
    """A handler cannot be registered: bad pattern, doubled name, signature without an event."""


class InvalidEvent(CeleriacError, ValueError):
    """An event breaks CloudEvents 1.0. The message names the attribute and what it should be.

    `emitted` is the number of events of an `emit_many` that were published before.
    """

    emitted: int = 0


class InvalidData(InvalidEvent):
    """The data of an event does not fit the type declared for it."""


class ContractTooNew(InvalidData):
    """Data of a version that the worker's code does not know does not fit what the handler reads.

    Deploy the new code, then redrive the dead letters.
    """


class UntrustedEvent(InvalidEvent):
    """A handler demands a signature, and the event has none that counts. It was not run."""


class EncryptionError(InvalidEvent):
    """Data cannot be encrypted, or opened, with the keys at hand. The message names the keys."""


class EventTooLarge(InvalidEvent):
    """An encoded event is over `max_event_bytes`. Put the bulk in a store and emit its address."""


class BusUnavailable(CeleriacError, ConnectionError):
    """Redis did not answer within `emit_timeout`, or refused the command for that long.

    `nothing_written` is True where no try can have been written: Redis refused each of them. Else
    that is not known. Emit again with the same `id`: the same id twice within the de-duplication
    window is one event.

    `emitted` is the number of events of an `emit_many` that Redis confirmed. Events after them may
    have been written where `nothing_written` is False.
    """

    nothing_written: bool = False

    def __init__(self, message: str, *, emitted: int = 0) -> None:
        super().__init__(message)
        self.emitted = emitted


class LogFull(CeleriacError):
    """There is no room for the event; it was not written.

    A domain has `max_backlog` unfinished events, Redis has no memory left (`maxmemory` with
    `noeviction`), or the spool has no room: the message says which, and the remedy.

    `emitted` is the number of events of an `emit_many` that were accepted before.
    """

    appended: int = 0  # of one call of the log

    def __init__(self, message: str, *, emitted: int = 0) -> None:
        super().__init__(message)
        self.emitted = emitted


class NotFound(CeleriacError, LookupError):
    """There is no such event, handler or dead letter."""


class Exhausted(CeleriacError):
    """The workers that ran a delivery died again and again; it was dead-lettered as poison."""


class Retry(CeleriacError):
    """Raise in a handler: run this delivery again.

    `after` is in seconds; None takes the handler's own backoff. The attempt counts.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason or "retry requested by the handler")
        self.after = after


class Reject(CeleriacError):
    """Raise in a handler: give the event up now. It goes to dead letters with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

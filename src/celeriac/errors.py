"""Every error that celeriac raises, in one tree.

CeleriacError
├── ConfigurationError      a setting is wrong; raised at start, the message lists every fault
│   └── SubscriptionError   a handler cannot be registered; raised at import
├── InvalidEvent            an event violates CloudEvents 1.0 or its schema
│   ├── InvalidData         its data does not fit the declared type
│   │   └── ContractTooNew  its version is newer than the worker's code
│   ├── UntrustedEvent      it has no signature that the handler trusts
│   ├── EncryptionError     its data cannot be encrypted or decrypted with its keys
│   │   └── SubjectErased   the key of its subject was erased
│   └── EventTooLarge       it is over the size limit
├── BusUnavailable          Redis was unreachable or refused the command until the timeout
├── LogFull                 the event log, Redis or the spool is full
├── SubjectKeysUnavailable  the store of the subjects' keys failed
├── NoReply                 a request was not answered in time
├── ArchiveError            an archive cannot be read or written
├── NotFound                no such event, handler or dead letter
├── Exhausted               its workers died repeatedly while they ran it
├── PushFailed              an endpoint did not take an event
├── CircuitOpen             control flow: what a handler calls has an open circuit
├── Retry                   control flow: a handler asks to run again later
├── Skip                    control flow: a handler does not want the event
└── Reject                  control flow: a handler dead-letters the event
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class CeleriacError(Exception):
    """Root of all errors of celeriac."""


class ConfigurationError(CeleriacError):
    """A setting is wrong. The message lists every fault with the setting's name and the remedy."""


class SubscriptionError(ConfigurationError):
    """A handler cannot be registered: a bad pattern or option, a duplicate name, no parameter."""


class InvalidEvent(CeleriacError, ValueError):
    """An event breaks CloudEvents 1.0. The message names the attribute and the expected value.

    Attributes:
        emitted: Number of events of an `emit_many` that were published before this one.
    """

    emitted: int = 0


class InvalidData(InvalidEvent):
    """The data of an event does not fit the type declared for it."""


class ContractTooNew(InvalidData):
    """The data has a newer version than the worker's code, and the handler cannot read it.

    Deploy the new code, then redrive the dead letters.
    """


class UntrustedEvent(InvalidEvent):
    """The handler requires a signature and did not run: the event has no trusted one.

    Also raised by the hooks of a gateway: the signature of a webhook is missing or wrong.
    """


class EncryptionError(InvalidEvent):
    """Data cannot be encrypted or decrypted with the available keys. The message names the keys."""


class SubjectErased(EncryptionError):
    """The key of the event's subject was erased: its data is unreadable permanently.

    `emit` raises it for a subject that was erased. Handlers do not get such events: their
    deliveries are skipped.
    """


class SubjectKeysUnavailable(CeleriacError):
    """The store of the subjects' keys failed. A delivery is retried by its handler's policy."""


class EventTooLarge(InvalidEvent):
    """An encoded event exceeds `max_event_bytes`. Store the bulk elsewhere and emit its address."""


class BusUnavailable(CeleriacError, ConnectionError):
    """Redis did not answer within `emit_timeout`, or refused the command for that long.

    Emit again with the same `id`: within the de-duplication window, the same id is one event.

    Attributes:
        nothing_written: True if Redis refused every try. Otherwise the event may be written.
        emitted: Number of events of an `emit_many` that Redis confirmed. Later ones may be written
            as well unless `nothing_written` is True.
    """

    nothing_written: bool = False

    def __init__(self, message: str, *, emitted: int = 0) -> None:
        super().__init__(message)
        self.emitted = emitted


class LogFull(CeleriacError):
    """There is no room for the event. It was not written.

    A domain has `max_backlog` unfinished events, the bus has `max_domains` domains, Redis has no
    memory left (`maxmemory` with `noeviction`), or the spool is full. The message names the limit
    and the remedy.

    Attributes:
        emitted: Number of events of an `emit_many` that were accepted before it.
    """

    appended: int = 0  # events of one append to the event log

    def __init__(self, message: str, *, emitted: int = 0) -> None:
        super().__init__(message)
        self.emitted = emitted


class NoReply(CeleriacError, TimeoutError):
    """A request had too few replies within its timeout. Later ones are in the event log.

    Attributes:
        event_id: The id of the request.
        replies: The replies that came.
    """

    def __init__(self, message: str, *, event_id: str = "", replies: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.event_id = event_id
        self.replies = list(replies)


class ArchiveError(CeleriacError):
    """An archive cannot be read or written. The message has its URL and the reason."""


class NotFound(CeleriacError, LookupError):
    """The event, handler or dead letter does not exist."""


class Exhausted(CeleriacError):
    """The workers that ran a delivery died repeatedly. It was dead-lettered as poison."""


class PushFailed(CeleriacError):
    """An endpoint of `bus.push` or `bus.webhooks` did not take an event, and may take it later.

    Retried by the handler's policy. Counts for the circuit breaker.

    Attributes:
        after: The least number of seconds until the next attempt; None if the endpoint named none.
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class CircuitOpen(CeleriacError):
    """Raise it in a handler to requeue the delivery without counting the attempt.

    For handlers with circuit breakers of their own, such as one for each endpoint.

    Args:
        reason: For logs of your own; it is not stored.
        after: Seconds until the next attempt, at least 1 and at most 600.
    """

    def __init__(self, reason: str, *, after: float) -> None:
        super().__init__(reason)
        self.after = after


class Retry(CeleriacError):
    """Raise it in a handler to run this delivery again. The attempt counts.

    Args:
        reason: Recorded with the attempt.
        after: Seconds until the next attempt. Default: the handler's backoff.
    """

    def __init__(self, reason: str = "", *, after: float | None = None) -> None:
        super().__init__(reason or "retry requested by the handler")
        self.after = after


class Reject(CeleriacError):
    """Raise it in a handler to dead-letter the delivery at once.

    Args:
        reason: Recorded with the dead letter.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Skip(CeleriacError):
    """Raise it in a handler to record the delivery as skipped. An inbox transaction is rolled back.

    Args:
        reason: For logs of your own; it is not stored.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "skipped by the handler")

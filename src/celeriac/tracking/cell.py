"""The answers of the matrix: frozen values that `msgspec.json.encode` accepts.

Times named `_ms` are ms since the epoch by the server's clock.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import DeliveryState, Failure, Restart
from celeriac.event import RawEvent, event_key
from celeriac.event_log import EntryKind


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What one handler did with one event.

    Attributes:
        state: The delivery's state.
        attempts: Attempts begun.
        took_us: Run time of the last attempt, in microseconds.
        at_ms: When the state was recorded, in ms since the epoch.
        due_ms: When a scheduled delivery runs, in ms since the epoch.
        worker: The worker that has the delivery or made the last attempt, if it is recorded.
        error: The last error. In lists of events, only of dead and scheduled deliveries.
        into: The event that was handled in place of a coalesced one.
        failures: All failed attempts, also before a redrive, in the result of `status` only.
        restarts: Redrives and replays after a failure, in the result of `status` only.
    """

    handler: str
    service: str
    state: DeliveryState
    attempts: int = 0
    took_us: int | None = None
    at_ms: int | None = None
    due_ms: int | None = None
    worker: str | None = None
    error: str | None = None
    into: str | None = None
    failures: tuple[Failure, ...] = ()
    restarts: tuple[Restart, ...] = ()


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was found, and where it is.

    Attributes:
        domain: The first segment of the type.
        entry: The entry of the domain's stream; None for an event that is emitted later.
        time_ms: When it entered the stream, or will enter it, in ms since the epoch.
        event: The event.
        kind: What is known about duplicates of the entry.
    """

    domain: str
    entry: str | None
    location: Literal["log", "delayed"]
    time_ms: int
    event: RawEvent
    kind: EntryKind = EntryKind.MADE

    @property
    def key(self) -> str:
        return event_key(self.event.id, self.event.source)


class EventStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its row of the matrix.

    Attributes:
        entry: The entry of the domain's stream; None for an event that is emitted later.
        time_ms: When it entered the stream, in ms since the epoch.
        cells: One for each handler that the event concerns.
        dataschema, data: The schema's URI and the masked data, in the result of `status` only.
    """

    id: str
    type: str
    source: str
    domain: str
    entry: str | None
    location: Literal["log", "delayed"]
    time_ms: int
    cells: tuple[Cell, ...]
    subject: str | None = None
    tenant: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    handlers: tuple[str, ...] = ()
    dataschema: str | None = None
    data: Any = None

    @property
    def key(self) -> str:
        return event_key(self.id, self.source)

    def has(self, state: DeliveryState) -> bool:
        """Return whether any cell is in the state."""
        return any(cell.state is state for cell in self.cells)


class HandlerLag(msgspec.Struct, frozen=True, kw_only=True):
    """The backlog of one handler in one domain.

    Attributes:
        waiting: Entries that were not fetched yet, including ones that the handler does not want.
        queued: Deliveries that were sent to a worker.
        running: Deliveries that a process runs.
        scheduled: Deliveries that run later.
        blocked: Deliveries that wait for their key.
        dead: Dead letters.
        processed: Deliveries processed since the handler joined.
        retried: Failed attempts that were followed by another one.
        skipped: Deliveries that `when=`, `tenants=` or `share=` rejected.
        failed: Deliveries that became dead letters.
        oldest_s: Age of the oldest unfinished event, in seconds.
        mean_us: Mean run time of an event, in microseconds.
        joined: False if the handler has no consumer group.
        registered: False for a consumer group without a handler.
        circuit: The state of the handler's circuit breaker.
    """

    handler: str
    service: str
    domain: str
    waiting: int = 0
    queued: int = 0
    running: int = 0
    scheduled: int = 0
    blocked: int = 0
    dead: int = 0
    processed: int = 0
    retried: int = 0
    skipped: int = 0
    failed: int = 0
    oldest_s: float | None = None
    mean_us: int = 0
    joined: bool = True
    registered: bool = True
    circuit: CircuitState = CircuitState.CLOSED

    @property
    def unfinished(self) -> int:
        return self.waiting + self.queued + self.running + self.scheduled + self.blocked


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of all events and deliveries. `expected` is the sum of the states that follow it.

    Attributes:
        emitted: Events in the streams, duplicates not counted.
        repeated: Entries that repeat an event.
        delayed: Events that are emitted later.
        invalid: Entries that hold no valid event.
        expected: Deliveries.
        retried: Deliveries that took more than one attempt.
    """

    emitted: int = 0
    repeated: int = 0
    delayed: int = 0
    invalid: int = 0
    expected: int = 0
    waiting: int = 0
    in_flight: int = 0
    processed: int = 0
    skipped: int = 0
    coalesced: int = 0
    dead: int = 0
    missing: int = 0
    forgotten: int = 0
    retried: int = 0

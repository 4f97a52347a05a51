"""What the matrix answers with. Every value is frozen, and `msgspec.json.encode` takes it as it is.

Times called `_ms` are ms since the epoch by the server's clock.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import DeliveryState, Failure, Restart
from celeriac.event import RawEvent, event_key
from celeriac.event_log import EntryKind


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One handler's part in one event.

    `attempts` counts those begun, `took_us` is the last one's run time, `at_ms` when the state was
    recorded. `worker` has the delivery, or made the last attempt, where that is recorded.
    `failures` and `restarts` (redrives and replays after a failure) are in the answer to `status`
    only; they are of every life of the delivery. `error` is the last failure's, in `status` and,
    where the delivery is dead or scheduled, in lists of events. `into` is the event that was
    handled in place of a coalesced one: its id in `status`, its entry in lists of events.
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
    """An event and where it lies. A postponed one has no entry yet, and its time is to come. `kind`
    says what is known about duplicates of the entry."""

    domain: str
    entry: str | None
    place: Literal["log", "postponed"]
    time_ms: int
    event: RawEvent
    kind: EntryKind = EntryKind.MADE

    @property
    def key(self) -> str:
        return event_key(self.event.id, self.event.source)


class EventStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An event and its row of the matrix. `data`, masked, is in the answer to `status` only."""

    id: str
    type: str
    source: str
    domain: str
    entry: str | None
    place: Literal["log", "postponed"]
    time_ms: int
    cells: tuple[Cell, ...]
    subject: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    handlers: tuple[str, ...] = ()
    data: Any = None

    @property
    def key(self) -> str:
        return event_key(self.id, self.source)

    def has(self, state: DeliveryState) -> bool:
        """Whether any cell is in that state."""
        return any(cell.state is state for cell in self.cells)


class HandlerLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far one handler is in one domain.

    `waiting` counts entries of the log that it was not given yet, unwanted ones included; `dead`
    what lies in dead letters now. `processed`, `retried`, `skipped` and `failed` (given up) count
    since the handler joined. `joined` is False where it has no group, `registered` where there is
    a group that belongs to no handler. `circuit` is the handler's, in all its domains.
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
    """The whole matrix, counted. `expected` deliveries is the sum of the states after it.

    `emitted` counts events in the logs, an id that was emitted again not twice; `retried` the
    deliveries that took more than one attempt. `invalid` entries are no events.
    """

    emitted: int = 0
    repeated: int = 0
    postponed: int = 0
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

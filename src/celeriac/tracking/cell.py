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
    """One delivery: one handler and one event.

    `attempts` counts started attempts, `took_us` is the last run time, `at_ms` the time when the
    state was recorded. `worker` has the delivery, or made the last attempt, if that is recorded.
    `failures` and `restarts` (redrives and replays) are only in the answer to `status` and cover
    all lives of the delivery. `error` is the last failure's: in `status`, and in lists of events
    for dead and scheduled deliveries. `into` is the event that was handled instead of a coalesced
    one: its id in `status`, its entry in lists of events.
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
    """An event and its location. A postponed event has no entry and a future time.

    `kind` is what is known about duplicates of the entry.
    """

    domain: str
    entry: str | None
    location: Literal["log", "postponed"]
    time_ms: int
    event: RawEvent
    kind: EntryKind = EntryKind.MADE

    @property
    def key(self) -> str:
        return event_key(self.event.id, self.event.source)


class EventStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An event and its deliveries. `data`, masked, is only in the answer to `status`."""

    id: str
    type: str
    source: str
    domain: str
    entry: str | None
    location: Literal["log", "postponed"]
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
        """Return whether a delivery has the state."""
        return any(cell.state is state for cell in self.cells)


class HandlerLag(msgspec.Struct, frozen=True, kw_only=True):
    """The backlog of one handler in one domain.

    `waiting` counts log entries that the handler was not given yet, including unwanted ones; `dead`
    counts dead letters now. `processed`, `retried`, `skipped` and `failed` (dead) count since the
    handler was registered. `joined` is False if it has no group, `registered` is False for an
    orphaned group. `circuit` is the handler's state in all its domains.
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
    """The totals of the matrix. `expected` is the sum of the states after it.

    `emitted` counts events in the logs without repeated ones; `retried` deliveries with several
    attempts. `invalid` entries are not events.
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

"""The facts that the checks read: the stored state of one event and one handler."""

from __future__ import annotations

from dataclasses import dataclass, field

from celeriac.circuit_breaker import Circuit
from celeriac.contract.registered import ReaderFit
from celeriac.delivery import DeadLetter, History, Pending, Row
from celeriac.delivery.run_record import Run
from celeriac.event import RawEvent
from celeriac.event_log import GroupInfo
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.tracking import DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another delivery of the same handler.

    `subject` is that of its event. `state` is None if it is no longer stored.
    """

    entry: str
    event_id: str = ""
    subject: str = ""
    state: DeliveryState | None = None
    due_ms: int | None = None
    attempts: int = 0
    error: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The stored state of one event and one handler. Times are ms by the server's clock.

    `event` is None if it is not in the logs; `row` can still be the handler's record of it.
    `emitted` is False for a described event. `entry` is None for an event that is delayed to
    `time_ms`. `record` is None for a handler that is not registered. `removed`: an operator removed
    the handler. `from_code`: the record was made from code.

    `info`, `row`, `pending`, `chunk`, `run`, `repeats` and `state` are those of the matrix.
    `original` is the entry that this one repeats. `subscribed`: the handler was subscribed when the
    entry was appended. `earlier` are the preceding deliveries of its sequence. `in_flight` counts
    the deliveries that use the concurrency limit; `occupying` are the first of them. `workers` are
    the running workers of the service. `fits` are what the handler's registered readers make of the
    event, running ones if there are any; `has_contract` is True if a version of the type is
    registered. The results of `when=`, signature, key, data and contract are known only with code:
    True, or the reason for a rejection.
    """

    handler: str
    now_ms: int
    event_id: str
    event: RawEvent | None = None
    emitted: bool = True
    domains: tuple[str, ...] = ()
    domain: str = ""
    entry: str | None = None
    time_ms: int | None = None
    is_partial: bool = False
    retention_s: float = 0.0
    dedup_window_s: float = 0.0
    lease_ms: int = 30_000

    record: HandlerRecord | None = None
    from_code: bool = False
    removed: bool = False
    registered: tuple[str, ...] = ()
    subscribed: bool = True
    info: GroupInfo | None = None

    state: DeliveryState | None = None
    row: Row | None = None
    pending: Pending | None = None
    chunk: OpenChunk | None = None
    run: Run | None = None
    repeats: bool = False
    original: str = ""
    history: History = field(default_factory=History)
    dead_letter: DeadLetter | None = None

    circuit: Circuit | None = None
    workers: tuple[WorkerRecord, ...] = ()
    earlier: tuple[Other, ...] = ()
    earlier_count: int = 0
    concurrency: int | None = None
    in_flight: int = 0
    occupying: tuple[Other, ...] = ()
    rate_wait_ms: int = 0

    fits: tuple[ReaderFit, ...] = ()
    has_contract: bool = False

    when: bool | str | None = None
    signature: bool | str | None = None
    key: bool | str | None = None
    data: bool | str | None = None
    contract: bool | str | None = None

    @property
    def attempts(self) -> int:
        """The number of attempts since the last redrive or replay."""
        if self.pending is not None:
            return self.pending.attempts
        return self.row.attempt if self.row is not None else int(self.run is not None)

    @property
    def last_error(self) -> str:
        return self.history.failures[-1].error if self.history.failures else ""

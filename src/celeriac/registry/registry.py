"""The registered handlers, and the workers that serve them.

From the registry the matrix derives which handlers an event *should* have, and so the missing ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from celeriac.flow_control import FlowControl
from celeriac.registry.pull_options import PullOptions
from celeriac.registry.scale_target import ScaleTargetRecord

FORGET_WORKER_AFTER_MS = 3_600_000
# A heartbeat that is further in the future was sent before the server's clock was set back.
CLOCK_TOLERANCE_MS = 10_000
# Three heartbeats: see dispatcher/maintenance.py.
ALIVE_WITHIN_MS = 15_000


def is_gone(heartbeat_ms: int, now_ms: int) -> bool:
    """Return whether a worker with this last heartbeat is removed, until its next heartbeat."""
    return not -CLOCK_TOLERANCE_MS <= now_ms - heartbeat_ms <= FORGET_WORKER_AFTER_MS


class HandlerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A registered handler.

    `since` maps each domain that its patterns match to the entry after which it gets events (`0-0`:
    from the first). `added` is when (ms) a pattern was added to an existing handler, which ignores
    earlier events. `options` is for display. `flow_control` are its limits per key, `concurrency`
    and `per_second` those of all its workers together. `pull` are the options of a handler whose
    deliveries are fetched over HTTP, None for one that workers run.

    `patterns` are the active patterns: those of every version of the handler's code that a worker
    has or recently had. `tenants` are the active marks of tenants in the same way (see tenant.py);
    empty if no version has `tenants=`. `leaving` is since when (ms) no worker has a pattern or a
    mark, `retired` when a pattern ceased to be active.
    """

    id: str
    service: str
    patterns: tuple[str, ...]
    queue: str
    flow_control: FlowControl | None = None
    concurrency: int | None = None
    per_second: float | None = None
    when: bool = False
    tenants: tuple[str, ...] = ()
    since: dict[str, str] = {}
    added: dict[str, int] = {}
    leaving: dict[str, int] = {}
    retired: dict[str, int] = {}
    registered_ms: int = 0
    options: dict[str, str] = {}
    doc: str = ""
    pull: PullOptions | None = None

    @property
    def ordered(self) -> bool:
        return self.flow_control is not None and self.flow_control.ordered


class BroadcastRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A broadcast handler of a worker's code. `scope` is `worker` or `process`."""

    patterns: tuple[str, ...]
    scope: str


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker at its last heartbeat. `beat_ms` is by the server's clock, `clock_ms` by its own.

    `queues` are the queues that it consumes. `unserved` maps each handler of its code that it does
    not run to the handler's queue. `patterns` maps each handler to the patterns in this worker's
    code, and `tenants` each handler with `tenants=` to the marks of these: see tenant.py. `reads`
    maps each handler to the digest of the data types that it reads. `broadcasts` are its broadcast
    handlers.
    """

    name: str
    service: str
    hostname: str
    pid: int
    pool: str
    processes: int
    queues: tuple[str, ...]
    handlers: tuple[str, ...] = ()
    unserved: dict[str, str] = {}
    patterns: dict[str, tuple[str, ...]] = {}
    tenants: dict[str, tuple[str, ...]] = {}
    reads: dict[str, str] = {}
    broadcasts: dict[str, BroadcastRecord] = {}
    version: str
    beat_ms: int = 0
    clock_ms: int = 0


def is_alive(worker: WorkerRecord, now_ms: int) -> bool:
    """Return whether the worker sent a heartbeat within ALIVE_WITHIN_MS."""
    return now_ms - worker.beat_ms <= ALIVE_WITHIN_MS


class Registry(Protocol):
    """The stored handlers and workers. Every method blocks for 1-2 round trips and is idempotent.

    A record that cannot be read is skipped and reported as an InvalidRecord.
    """

    def handlers(self) -> Mapping[str, HandlerRecord]:
        """Return handler id → record for every registered handler."""
        ...

    def register(self, record: HandlerRecord) -> None:
        """Add the handler or replace its record, even if an operator removed it.

        For the start of a worker. A running worker calls `update`.
        """
        ...

    def update(self, record: HandlerRecord) -> bool:
        """Add the handler or replace its record, unless an operator removed it.

        Return False if it was removed. The check and the write are atomic.
        """
        ...

    def unregister(self, handler: str) -> bool:
        """Remove the handler and record that it was removed; return False if it was unknown."""
        ...

    def was_removed(self, handler: str) -> bool:
        """Return whether an operator removed the handler and no worker has registered it since."""
        ...

    def registered(self, handlers: Collection[str]) -> Mapping[str, HandlerRecord]:
        """Return handler → record for those of the handlers that have a valid record."""
        ...

    def unregistered(self, handlers: Collection[str]) -> list[str]:
        """Return those of the handlers without a valid record that no operator removed."""
        ...

    def workers(self) -> list[WorkerRecord]:
        """Return every worker that sent a heartbeat within the last hour, alive or not."""
        ...

    def heartbeat(self, worker: WorkerRecord) -> None:
        """Record a heartbeat of the worker."""
        ...

    def depart(self, name: str) -> None:
        """Record that the worker has stopped."""
        ...

    def scale_targets(self) -> Mapping[str, ScaleTargetRecord]:
        """Return name → record of what autoscalers asked within the last day."""
        ...

    def note_scale_target(self, record: ScaleTargetRecord) -> None:
        """Write what an autoscaler asked."""
        ...

    def now_ms(self) -> int:
        """Return the server's time in ms since the epoch."""
        ...

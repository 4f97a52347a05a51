"""Which handlers there are, and which workers serve them.

The registry says which handlers an event *should* have had; without it the matrix could not show
what is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from celeriac.flow_control import ORDERED, FlowControl

FORGET_WORKER_AFTER_MS = 3_600_000
# A heartbeat from further ahead is of the time before the server's clock was set back.
CLOCK_TOLERANCE_MS = 10_000
# Three heartbeats: see dispatcher/janitor.py.
ALIVE_WITHIN_MS = 15_000


def is_gone(beat_ms: int, now_ms: int) -> bool:
    """Whether a worker with this last heartbeat is forgotten. The next one brings it back."""
    return not -CLOCK_TOLERANCE_MS <= now_ms - beat_ms <= FORGET_WORKER_AFTER_MS


class HandlerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A handler as every process may know it.

    `since` holds, for each domain its patterns reach, the log entry after which it takes part
    (`0-0`: from the first). `added` says when (ms) a pattern was added to a handler that was there
    before: what came earlier, it ignored. `options` is for people. `flow` is what it allows the
    events of one key; older code writes `ordered` alone.

    `patterns` are those in force: of every version of the handler's code that a worker has, or had
    until lately. `leaving` says since when (ms) no worker has a pattern, `retired` when one that
    left went out of force.
    """

    id: str
    service: str
    patterns: tuple[str, ...]
    queue: str
    ordered: bool = False
    flow: FlowControl | None = None
    when: bool = False
    since: dict[str, str] = {}
    added: dict[str, int] = {}
    leaving: dict[str, int] = {}
    retired: dict[str, int] = {}
    registered_ms: int = 0
    options: dict[str, str] = {}
    doc: str = ""

    @property
    def flow_control(self) -> FlowControl | None:
        return self.flow or (ORDERED if self.ordered else None)


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it last said. `beat_ms` is by the server's clock, `clock_ms` by its own.

    `queues` are the queues that it consumes at that time. `unserved` maps each handler that its
    code has and that it does not run to the handler's queue. `patterns` maps each handler to what
    this worker's code of it subscribes to, and `reads` to the digest of what it reads.
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
    reads: dict[str, str] = {}
    version: str
    beat_ms: int = 0
    clock_ms: int = 0


def is_alive(worker: WorkerRecord, now_ms: int) -> bool:
    """Whether the worker sent a heartbeat within ALIVE_WITHIN_MS."""
    return now_ms - worker.beat_ms <= ALIVE_WITHIN_MS


class Registry(Protocol):
    """Every method blocks for one or two round trips and is idempotent.

    A record that cannot be read is skipped and reported as an InvalidRecord.
    """

    def handlers(self) -> Mapping[str, HandlerRecord]:
        """Every registered handler by its id."""
        ...

    def register(self, record: HandlerRecord) -> None:
        """Adds the handler, or replaces its record, and forgets that it was ever removed.

        For a worker that starts. One that registered the handler before calls `update`.
        """
        ...

    def update(self, record: HandlerRecord) -> bool:
        """Adds the handler, or replaces its record, unless it was removed on purpose.

        False then, and nothing is written. The check and the write are atomic.
        """
        ...

    def unregister(self, handler: str) -> bool:
        """Removes it and remembers that it was removed; False if it was not there."""
        ...

    def was_removed(self, handler: str) -> bool:
        """Whether it was removed on purpose, and not registered since."""
        ...

    def registered(self, handlers: Collection[str]) -> Mapping[str, HandlerRecord]:
        """Those of the handlers that have a readable record, each with it."""
        ...

    def unregistered(self, handlers: Collection[str]) -> list[str]:
        """Those of the handlers that have no readable record, and that no operator removed."""
        ...

    def workers(self) -> list[WorkerRecord]:
        """Every worker that has beaten within the last hour, the living and the lately dead."""
        ...

    def beat(self, worker: WorkerRecord) -> None:
        """Says that the worker lives."""
        ...

    def depart(self, name: str) -> None:
        """Says that the worker has stopped."""
        ...

    def now_ms(self) -> int:
        """The server's clock, ms since the epoch."""
        ...

"""The relay: publishes what was committed into an outbox, and removes it.

Any number may run on one database. One of them at a time has the right to publish, and it ends
with its transaction, or with its process: so the order of the rows is kept, and nobody waits for
one that died. See docs/adr/0015.

A relay that dies between publishing and the commit publishes the rows again, with the same ids: for
handlers that is the same event.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from celeriac.errors import CeleriacError
from celeriac.event_log import EventLog
from celeriac.outbox import statement
from celeriac.outbox.database import Database, Execute
from celeriac.outbox.publish import OutboxRow, Published, Publisher
from celeriac.settings import Settings
from celeriac.store.redis.event_log import redis_event_log

logger = logging.getLogger(__name__)

MOST_ROWS, MOST_BYTES = 500, 8_000_000
PAUSE, PAUSE_MOST = 0.25, 5.0
FULL_FOR = 1.0  # seconds before a full log is tried again


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one turn. `active` is False where another relay has the right to publish."""

    active: bool = True
    published: int = 0
    failed: int = 0
    more: bool = False
    failure: CeleriacError | None = None


class Relay:
    """One relay, for one thread. `gate` is held during a turn, not while it waits.

    It publishes into `log`, else into that of the settings.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        event_log: EventLog | None = None,
        *,
        gate: AbstractContextManager[object] | None = None,
    ) -> None:
        self.database = database
        self.published = 0
        # A turn holds the right to publish: where a log is full, it must not wait there.
        event_log = event_log or redis_event_log(replace(settings, log_full="raise"))
        self._publisher = Publisher(settings, event_log)
        self._full: dict[str, float] = {}
        self._gate = gate or nullcontext()
        self._stop = threading.Event()
        self._pause = 0.0
        self._said = ""

    def run(self) -> None:
        """Relays until `stop`. Blocks; raises nothing that may pass: database and Redis may come
        and go."""
        while not self._stop.is_set():
            more = self._turn_safely()
            if self._pause:
                self._stop.wait(self._pause)
            else:
                self._wait(0 if more else self.database.poll)
        self.database.close()

    def stop(self) -> None:
        """Ends `run` after its turn, or within a second. From any thread or signal handler."""
        self._stop.set()

    def drain(self) -> int:
        """Relays until nothing waits or another relay is at it; returns how many were published.

        Raises what Redis or the database has against it.
        """
        published = 0
        while True:
            turn = self.turn()
            published += turn.published
            if turn.failure is not None:
                raise turn.failure
            if not turn.more:
                return published

    def turn(self) -> Turn:
        """Publishes the oldest rows, and removes them. Raises faults of the database."""
        with self.database.turn() as execute:
            if execute is None:
                return Turn(active=False)
            full = self._still_full()
            rows, more = _take(execute, full)
            published = self._publisher.publish(rows) if rows else Published()
            _settle(execute, published)
        self.published += len(published.done)
        for domain, reason in published.full.items():
            logger.warning("celeriac: events of %s wait in the outbox: %s", domain, reason)
            self._full[domain] = time.monotonic() + FULL_FOR
        for id, error in published.failed:
            logger.error("celeriac: row %d of %s is failed: %s", id, statement.TABLE, error)
        return Turn(
            published=len(published.done),
            failed=len(published.failed),
            # Where a log was full, there may be rows of other domains behind.
            more=(more or bool(published.full)) and published.failure is None,
            failure=published.failure,
        )

    def _still_full(self) -> list[str]:
        now = time.monotonic()
        self._full = {domain: until for domain, until in self._full.items() if until > now}
        return list(self._full)

    def _turn_safely(self) -> bool:
        try:
            with self._gate:
                turn = self.turn()
        except Exception as error:
            self._failed(error)
            return False
        if turn.failure is not None:
            self._failed(turn.failure)
            return False
        if self._said and turn.active:
            logger.info("celeriac: the relay goes on")
            self._said = ""
        self._pause = 0.0
        return turn.more

    def _failed(self, error: Exception) -> None:
        # SQLAlchemy shows the statement in the lines below.
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        if said != self._said:
            logger.warning("celeriac: the relay of %s waits: %s", self.database.name, said)
            self._said = said
        self._pause = min(PAUSE_MOST, max(PAUSE, self._pause * 2))

    def _wait(self, seconds: float) -> None:
        try:
            self.database.wait(seconds)
        except Exception as error:
            self._failed(error)


def _take(execute: Execute, full: Sequence[str]) -> tuple[list[OutboxRow], bool]:
    """The oldest rows of domains that are not full, bounded in number and in bytes; and whether
    there may be more."""
    held = statement.held(full)
    sizes = execute(statement.sizes(len(full)), {"most": MOST_ROWS, **held})
    if not sizes:
        return [], False
    chosen, bytes_ = 0, 0
    for _, size in sizes:
        bytes_ += int(size)
        if chosen and bytes_ > MOST_BYTES:
            break
        chosen += 1
    ids = [int(id) for id, _ in sizes[:chosen]]
    rows = execute(statement.fetch(len(ids)), statement.numbered(ids))
    return [OutboxRow.of(row) for row in rows], chosen < len(sizes) or len(sizes) == MOST_ROWS


def _settle(execute: Execute, published: Published) -> None:
    if published.done:
        execute(statement.delete(len(published.done)), statement.numbered(published.done))
    now = int(time.time() * 1000)
    for id, error in published.failed:
        execute(statement.FAIL, {"id": id, "now": now, "error": error})

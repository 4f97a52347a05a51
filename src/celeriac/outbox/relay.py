"""The relay: publishes the committed rows of an outbox and deletes them.

Any number of relays can run on one database. The relay that holds the leader lock publishes. The
lock ends with its transaction or process, so rows keep their order, and no relay waits for a dead
one. See docs/adr/0015.

A relay that dies between publishing and the commit publishes its rows again with the same ids.
Handlers get each event once.
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
from celeriac.outbox.publish import Published, Publisher, WaitingRow
from celeriac.outbox.timer import TimerMover
from celeriac.settings import Settings
from celeriac.store.redis.event_log import redis_event_log

logger = logging.getLogger(__name__)

MAX_ROWS, MAX_BYTES = 500, 8_000_000
MIN_PAUSE, MAX_PAUSE = 0.25, 5.0  # seconds after a failure
FULL_PAUSE = 1.0  # seconds before a full event log is tried again


@dataclass(frozen=True, slots=True)
class RelayPass:
    """The result of one pass. `active` is False if another relay holds the leader lock."""

    active: bool = True
    published: int = 0
    failed: int = 0
    more: bool = False
    failure: CeleriacError | None = None


class Relay:
    """One relay, for one thread. It holds `gate` during each pass.

    It publishes to `event_log`, by default that of the settings.
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
        # A pass holds the leader lock, so it must not block while an event log is full.
        if event_log is None:
            event_log = redis_event_log(replace(settings, log_full="raise"), in_order=True)
        self._publisher = Publisher(settings, event_log)
        self._timers = TimerMover(database)
        self._full: dict[str, float] = {}
        self._gate = gate or nullcontext()
        self._stop = threading.Event()
        self._pause = 0.0
        self._last_failure = ""

    def run(self) -> None:
        """Publish rows until `stop`. Blocks; logs failures and retries."""
        while not self._stop.is_set():
            more = self._run_pass_safely()
            if self._pause:
                self._stop.wait(self._pause)
            else:
                self._wait(0 if more else self.database.poll)
        self.database.close()

    def stop(self) -> None:
        """End `run` after its pass, or within a second. Safe in any thread or signal handler."""
        self._stop.set()

    def drain(self) -> int:
        """Publish rows until none waits or another relay is the leader; return their number.

        Raises errors of Redis and of the database.
        """
        published = 0
        while True:
            result = self.run_pass()
            published += result.published
            if result.failure is not None:
                raise result.failure
            if not result.more:
                return published

    def run_pass(self) -> RelayPass:
        """Publish the oldest rows and delete them, then move expired timers to the outbox.

        Raises errors of the database.
        """
        with self.database.as_leader() as execute:
            if execute is None:
                return RelayPass(active=False)
            full = self._still_full()
            rows, more = _fetch_rows(execute, full)
            published = self._publisher.publish(rows) if rows else Published()
            _complete_rows(execute, published)
        self.published += len(published.done)
        for domain, reason in published.full.items():
            logger.warning("celeriac: events of domain %s wait in the outbox: %s", domain, reason)
            self._full[domain] = time.monotonic() + FULL_PAUSE
        for id, error in published.failed:
            logger.error(
                "celeriac: row %d of %s cannot be published: %s", id, statement.TABLE, error
            )
        # Not in the leader's transaction, which would lock the rows of timers while Redis answers.
        moved = self._timers.move(int(time.time() * 1000))
        return RelayPass(
            published=len(published.done),
            failed=len(published.failed),
            # If an event log is full, rows of other domains may follow.
            more=(more or bool(published.full or moved)) and published.failure is None,
            failure=published.failure,
        )

    def _still_full(self) -> list[str]:
        now = time.monotonic()
        self._full = {domain: until for domain, until in self._full.items() if until > now}
        return list(self._full)

    def _run_pass_safely(self) -> bool:
        try:
            with self._gate:
                result = self.run_pass()
        except Exception as error:
            self._failed(error)
            return False
        if result.failure is not None:
            self._failed(result.failure)
            return False
        if self._last_failure and result.active:
            logger.info("celeriac: the relay of %s publishes again", self.database.name)
            self._last_failure = ""
        self._pause = 0.0
        return result.more

    def _failed(self, error: Exception) -> None:
        # The first line only, because SQLAlchemy appends the statement.
        failure = f"{type(error).__name__}: {error}".partition("\n")[0]
        if failure != self._last_failure:
            logger.warning(
                "celeriac: the relay of %s cannot publish: %s", self.database.name, failure
            )
            self._last_failure = failure
        self._pause = min(MAX_PAUSE, max(MIN_PAUSE, self._pause * 2))

    def _wait(self, seconds: float) -> None:
        try:
            self.database.wait(seconds)
        except Exception as error:
            self._failed(error)


def _fetch_rows(execute: Execute, full: Sequence[str]) -> tuple[list[WaitingRow], bool]:
    """Return the oldest rows of domains that are not full, and whether there may be more.

    Limited to MAX_ROWS rows and MAX_BYTES bytes.
    """
    parameters = {"max_rows": MAX_ROWS, **statement.excluded(full)}
    sizes = execute(statement.sizes(len(full)), parameters)
    if not sizes:
        return [], False
    chosen, bytes_ = 0, 0
    for _, size in sizes:
        bytes_ += int(size)
        if chosen and bytes_ > MAX_BYTES:
            break
        chosen += 1
    ids = [int(id) for id, _ in sizes[:chosen]]
    rows = execute(statement.fetch(len(ids)), statement.numbered(ids))
    return [WaitingRow.of(row) for row in rows], chosen < len(sizes) or len(sizes) == MAX_ROWS


def _complete_rows(execute: Execute, published: Published) -> None:
    if published.done:
        execute(statement.delete(len(published.done)), statement.numbered(published.done))
    now = int(time.time() * 1000)
    for id, error in published.failed:
        execute(statement.FAIL, {"id": id, "now": now, "error": error})

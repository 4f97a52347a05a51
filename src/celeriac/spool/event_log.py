"""An event log that spools events to a file while Redis is unreachable."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TypeVar
from weakref import WeakSet

import redis

from celeriac.errors import LogFull
from celeriac.event_log import EntryKind, EventLog, Item, time_ms, tried_at
from celeriac.fork import after_fork_in_child
from celeriac.settings import Settings
from celeriac.spool.file import Spooled, SpoolFile
from celeriac.store.redis.connection import is_transient
from celeriac.store.redis.refusal import nothing_written

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_BEFORE_SPOOLING = 0.5  # seconds
BATCH = 500
INLINE_DRAIN = 0.25  # seconds in which an emit drains events of another process
MAX_RETRY_PAUSE = 1.0

# A separate generator, so that the application can seed that of `random`.
_jitter = random.Random()


class SpooledEventLog:
    """The appending part of EventLog, for emitters.

    While the spool has events, newer events are spooled after them, so that the order is that of
    the emits of all processes with this file. A daemon thread drains the spool when Redis is back,
    as does an emit that detects events of another process. If a process dies while draining, an
    event may be appended twice; with the same id it is one event.
    """

    def __init__(self, inner: EventLog, file: SpoolFile, settings: Settings) -> None:
        self.inner, self.file = inner, file
        self._retry_seconds = min(RETRY_BEFORE_SPOOLING, settings.emit_timeout)
        self._offline = False  # as this process last observed
        self.reset_after_fork()
        _logs.add(self)

    def reset_after_fork(self) -> None:
        """Forget the parent's thread, in a forked child."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    # -- what an emitter calls

    def register_domains(self, domains: Iterable[str]) -> None:
        """Register the domains if Redis is reachable; draining registers them, too."""
        names = list(domains)
        if not self._offline and not self.file.has_events():
            self._try(lambda: self.inner.register_domains(names))

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        """Append the event; return its entry id, or '' if it was spooled."""
        items = [(domain, body, kind, since_ms)]

        def append() -> str:
            began = time_ms()
            try:
                return self.inner.append(*items[0])
            except redis.RedisError as error:
                if not nothing_written(error):
                    items[:] = tried_at(began, items)
                raise

        if not self.must_queue():
            done, entry = self._try(append)
            if done and entry is not None:
                return entry
        self.spool(items)
        return ""

    def append_many(self, items: Sequence[Item]) -> int:
        appended = 0
        items = list(items)

        def append() -> None:
            nonlocal appended
            began = time_ms()
            try:
                self.inner.append_many(items[appended:])
                appended = len(items)
            except (redis.RedisError, LogFull) as error:
                appended += getattr(error, "appended", 0)
                if isinstance(error, LogFull):
                    error.appended = appended
                else:
                    items[appended:] = tried_at(began, items[appended:])
                raise

        if not self.must_queue():
            self._try(append)
        if appended < len(items):
            self.spool(items[appended:])
        return len(items)

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = EntryKind.FOREIGN,
    ) -> int:
        due_ms = time_ms() + delay_ms if delay_ms is not None else at_ms
        if due_ms is None:
            raise ValueError("append_delayed needs delay_ms or at_ms")
        if not self.must_queue():
            done, due_at_ms = self._try(
                lambda: self.inner.append_delayed(
                    domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind
                )
            )
            if done and due_at_ms is not None:
                return due_at_ms
        self.spool([(domain, body, kind, 0)], due_ms)
        return due_ms

    def cancel_delayed(self, event_key: str, domains: Iterable[str]) -> bool:
        """Remove a delayed event that is in Redis. An event in the spool is not found."""
        return self.inner.cancel_delayed(event_key, domains)

    def domains(self) -> frozenset[str]:
        return self.inner.domains()

    def note_emitted(self, types: Iterable[str]) -> None:
        self.inner.note_emitted(types)

    # -- the spool

    def must_queue(self) -> bool:
        """Return whether new events must be spooled; first drain events of other processes."""
        if not self.file.has_events():
            return False
        if not self._offline:
            self.drain(INLINE_DRAIN)
        return self.file.has_events()

    def spool(self, items: Sequence[Item], at_ms: int | None = None) -> None:
        """Write events to the spool and start draining it. Raises LogFull.

        Events in the spool count as events with given ids: a process may die after appending them
        and before removing them from the file.
        """
        self.file.put([_registered(item) for item in items], at_ms)
        # After the write: the thread checks for events under the same lock before it ends.
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._drain_all, name="celeriac-spool", daemon=True
                )
                self._thread.start()

    def drain(self, seconds: float) -> bool:
        """Append spooled events to Redis for about this long; return whether the spool is empty.

        False if another process drains the spool, or Redis is unreachable. Blocks.
        """
        deadline = time.monotonic() + seconds
        with self.file.draining() as is_only_drainer:
            while is_only_drainer and time.monotonic() < deadline:
                batch = self.file.oldest(BATCH)
                if not batch:
                    return True
                try:
                    self._append(batch)
                except (redis.RedisError, LogFull) as error:
                    self.mark_offline(error)
                    return False
        return False

    def retry_seconds(self) -> float:
        """Return how long to retry Redis before spooling, in seconds."""
        return 0.0 if self._offline else self._retry_seconds

    def mark_offline(self, error: Exception) -> None:
        """Record that Redis is unreachable, so that the next emits spool at once."""
        if not self._offline:
            logger.warning(
                "celeriac: Redis is unreachable, events are spooled in %s (%s)",
                self.file.path,
                error,
            )
        self._offline = True

    def _append(self, batch: Sequence[Spooled]) -> None:
        """Append events in order and remove each from the file once it is appended."""
        self.inner.register_domains({spooled.domain for spooled in batch})
        for is_delayed, run in groupby(batch, key=lambda spooled: spooled.at_ms is not None):
            events = list(run)
            if is_delayed:
                for event in events:
                    self.inner.append_delayed(
                        event.domain, event.body, delay_ms=None, at_ms=event.at_ms, kind=event.kind
                    )
                    self.file.remove_until(event.id)
                continue
            try:
                self.inner.append_many(
                    [(event.domain, event.body, event.kind, event.since_ms) for event in events]
                )
            except (redis.RedisError, LogFull) as error:
                if done := getattr(error, "appended", 0):
                    self.file.remove_until(events[done - 1].id)
                raise
            self.file.remove_until(events[-1].id)

    def _drain_all(self) -> None:
        pause = 0.05
        while True:
            try:
                before = self.file.count()
                if self.drain(MAX_RETRY_PAUSE) and self._offline:
                    logger.info("celeriac: the spool %s is empty again", self.file.path)
                    self._offline = False
                with self._starting:
                    if not self.file.has_events():
                        self._thread = None
                        return
                moved = self.file.count() < before
            except Exception:
                # Continue after any exception: without this thread, nothing drains the spool.
                logger.exception(
                    "celeriac: draining the spool %s failed and is retried", self.file.path
                )
                moved = False
            pause = 0.05 if moved else min(MAX_RETRY_PAUSE, pause * 2)
            time.sleep(pause * _jitter.uniform(0.5, 1))

    def _try(self, call: Callable[[], T]) -> tuple[bool, T | None]:
        """Return (True, the result), or (False, None) if Redis is unreachable.

        Retries for RETRY_BEFORE_SPOOLING seconds, but not if Redis was unreachable before.
        """
        deadline = time.monotonic() + self.retry_seconds()
        while True:
            try:
                result = call()
                self._offline = False
                return True, result
            except redis.RedisError as error:
                if not is_transient(error):
                    raise
                if time.monotonic() >= deadline:
                    self.mark_offline(error)
                    return False, None
                time.sleep(0.05)


def _registered(item: Item) -> Item:
    """Return the item as one with a given id, unless an append of it may have succeeded."""
    domain, body, kind, since = item
    return item if since or kind is not EntryKind.MADE else (domain, body, EntryKind.GIVEN, 0)


_logs: WeakSet[SpooledEventLog] = WeakSet()


def _after_in_child() -> None:
    for event_log in _logs:
        event_log.file.reset_after_fork()
        event_log.reset_after_fork()


after_fork_in_child(_after_in_child)

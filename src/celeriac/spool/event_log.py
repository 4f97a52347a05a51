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
from celeriac.invalid_record import is_wrong_type
from celeriac.settings import Settings
from celeriac.spool.file import Spooled, SpoolFile
from celeriac.store.redis.connection import is_refused, is_transient
from celeriac.store.redis.refusal import nothing_written

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_BEFORE_SPOOLING = 0.5  # seconds
BATCH = 500
INLINE_DRAIN = 0.25  # seconds in which an emit drains events of another process
MAX_RETRY_PAUSE = 1.0

# A separate generator, so that the application can seed that of `random`. It has no state that
# forks would share.
_jitter = random.SystemRandom()


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
        self._drained = 0  # events, by this process
        self._refused: set[str] = set()  # the domains that Redis does not accept, as logged
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
            except BaseException as error:
                appended = note_partial(error, items, appended, began)
                raise

        if not self.must_queue():
            self._try(append)
        if appended < len(items):
            try:
                self.spool(items[appended:])
            except BaseException as error:
                error.appended = appended  # type: ignore[attr-defined]
                raise
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
                thread = threading.Thread(
                    target=self._drain_all, name="celeriac-spool", daemon=True
                )
                thread.start()
                # Not before: a time limit may interrupt the start.
                self._thread = thread

    def drain(self, seconds: float) -> bool:
        """Append spooled events to Redis for about this long; return whether the spool is empty.

        False if another process drains the spool, or Redis is unreachable. Events that Redis does
        not accept because of their domain stay, and hold up no other domain. Blocks.
        """
        deadline = time.monotonic() + seconds
        refused: list[str] = []
        with self.file.draining() as is_only_drainer:
            while is_only_drainer and time.monotonic() < deadline:
                batch = self.file.oldest(BATCH, refused)
                if not batch:
                    return not refused
                try:
                    refused += self._append(batch)
                except redis.RedisError as error:
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

    def _append(self, batch: Sequence[Spooled]) -> list[str]:
        """Append events in order and remove each from the file once it is appended.

        Stops at an event that Redis does not accept because of its domain: it is full, or the user
        may not write to it. Returns the domain.
        """
        self.inner.register_domains({spooled.domain for spooled in batch})
        for is_delayed, run in groupby(batch, key=lambda spooled: spooled.at_ms is not None):
            # Delayed events one by one: each of them is one command.
            for events in ([event] for event in run) if is_delayed else [list(run)]:
                try:
                    self._append_alike(events)
                except (redis.RedisError, LogFull) as error:
                    done = int(getattr(error, "appended", 0))
                    self._remove(events[:done])
                    if not (
                        isinstance(error, LogFull) or is_refused(error) or is_wrong_type(error)
                    ):
                        raise
                    self._note_refused(events[done].domain, error)
                    return [events[done].domain]
                self._remove(events)
        return []

    def _append_alike(self, events: Sequence[Spooled]) -> None:
        if events[0].at_ms is None:
            self.inner.append_many(
                [(event.domain, event.body, event.kind, event.since_ms) for event in events]
            )
            return
        for event in events:
            self.inner.append_delayed(
                event.domain, event.body, delay_ms=None, at_ms=event.at_ms, kind=event.kind
            )

    def _remove(self, events: Sequence[Spooled]) -> None:
        if events:
            self.file.remove(events)
            self._drained += len(events)
            self._refused -= {event.domain for event in events}

    def _note_refused(self, domain: str, error: Exception) -> None:
        if domain not in self._refused:
            self._refused.add(domain)
            remedy = f"Run `celeriac acl` with --emits {domain} for this service"
            logger.error(
                "celeriac: events of domain %s stay in the spool %s and are tried again: %s. %s",
                domain,
                self.file.path,
                error,
                remedy if isinstance(error, redis.RedisError) else "Other domains are not affected",
            )

    def _drain_all(self) -> None:
        pause = 0.05
        while True:
            try:
                before = self._drained
                if self.drain(MAX_RETRY_PAUSE) and self._offline:
                    logger.info("celeriac: the spool %s is empty again", self.file.path)
                    self._offline = False
                with self._starting:
                    if not self.file.has_events():
                        self._thread = None
                        return
                moved = self._drained > before
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


def note_partial(error: BaseException, items: list[Item], appended: int, began_ms: int) -> int:
    """Return how many items were appended before the error, given how many were before the try.

    The error gets that number as `appended`. Unless it is LogFull, the rest is marked as tried: it
    may have been appended.
    """
    appended += getattr(error, "appended", 0)
    error.appended = appended  # type: ignore[attr-defined]
    if not isinstance(error, LogFull):
        items[appended:] = tried_at(began_ms, items[appended:])
    return appended

"""A log that spools: what Redis does not take now waits in a file, and follows in its order."""

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

PATIENCE = 0.5  # seconds for which Redis is tried before the spool is
BATCH = 500
INLINE = 0.25  # seconds for which an emit drains what another process left
RETRY_MOST = 1.0

# Of its own: a thread must not disturb an application that seeds the generator of `random`.
_jitter = random.Random()


class SpooledEventLog:
    """The appending half of EventLog, for an emitter.

    While anything is in the spool, newer events queue behind it, so the order is that of the emits
    of all processes with this file. A daemon thread drains it as soon as Redis is back; so does an
    emit that finds what another process left. Where a process dies in between, an event may be
    appended twice: the same id is one event.
    """

    def __init__(self, inner: EventLog, file: SpoolFile, settings: Settings) -> None:
        self.inner, self.file = inner, file
        self._patience = min(PATIENCE, settings.emit_timeout)
        self._away = False  # as far as this process has seen
        self.begin_anew()
        _logs.add(self)

    def begin_anew(self) -> None:
        """In the child of a fork: without the thread of the parent."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    # -- what an emitter calls

    def register_domains(self, domains: Iterable[str]) -> None:
        """Also done when events are drained: here it may fail."""
        names = list(domains)
        if not self._away and not self.file.waits():
            self._try(lambda: self.inner.register_domains(names))

    def append(
        self, domain: str, body: bytes, kind: EntryKind = EntryKind.FOREIGN, since_ms: int = 0
    ) -> str:
        """Returns the entry id, or nothing where the event was spooled."""
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
        due = time_ms() + delay_ms if delay_ms is not None else at_ms
        if due is None:
            raise ValueError("postpone needs delay_ms or at_ms")
        if not self.must_queue():
            done, at = self._try(
                lambda: self.inner.append_delayed(
                    domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=kind
                )
            )
            if done and at is not None:
                return at
        self.spool([(domain, body, kind, 0)], due)
        return due

    def note_emitted(self, types: Iterable[str]) -> None:
        self.inner.note_emitted(types)

    # -- the spool

    def must_queue(self) -> bool:
        """Whether events go behind others into the spool. Drains first what another left."""
        if not self.file.waits():
            return False
        if not self._away:
            self.drain(INLINE)
        return self.file.waits()

    def spool(self, items: Sequence[Item], at_ms: int | None = None) -> None:
        """Puts events into the spool, and sees to it that they leave it. Raises LogFull.

        They are registered when they leave it: a process may die when they are in the log and not
        yet removed from the file.
        """
        self.file.put([_registered(item) for item in items], at_ms)
        # After the events are in: the thread looks for them before it ends, under the same lock.
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._drain_all, name="celeriac-spool", daemon=True
                )
                self._thread.start()

    def drain(self, seconds: float) -> bool:
        """Moves events into the log for about so long; True if the spool is empty then.

        False where another process drains, or Redis is away. Blocks.
        """
        deadline = time.monotonic() + seconds
        with self.file.draining() as alone:
            while alone and time.monotonic() < deadline:
                some = self.file.oldest(BATCH)
                if not some:
                    return True
                try:
                    self._append(some)
                except (redis.RedisError, LogFull) as error:
                    self.note_away(error)
                    return False
        return False

    def patience(self) -> float:
        """Seconds for which Redis is tried before the spool is."""
        return 0.0 if self._away else self._patience

    def note_away(self, error: Exception) -> None:
        """Redis took nothing: the next emits do not wait for it."""
        if not self._away:
            logger.warning("celeriac: events are spooled in %s (%s)", self.file.path, error)
        self._away = True

    def _append(self, some: Sequence[Spooled]) -> None:
        """Appends events and removes them, run by run; what was appended is removed in any case."""
        self.inner.register_domains({one.domain for one in some})
        for later, run in groupby(some, key=lambda one: one.at_ms is not None):
            events = list(run)
            if later:
                for one in events:
                    self.inner.append_delayed(
                        one.domain, one.body, delay_ms=None, at_ms=one.at_ms, kind=one.kind
                    )
                    self.file.remove_until(one.id)
                continue
            try:
                self.inner.append_many(
                    [(one.domain, one.body, one.kind, one.since_ms) for one in events]
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
                left = self.file.count()
                if self.drain(RETRY_MOST) and self._away:
                    logger.info("celeriac: the spool %s is empty again", self.file.path)
                    self._away = False
                with self._starting:
                    if not self.file.waits():
                        self._thread = None
                        return
                moved = self.file.count() < left
            except Exception:
                # Whatever it is: without this thread the spool would be filled and never drained.
                logger.exception("celeriac: draining the spool %s failed; going on", self.file.path)
                moved = False
            pause = 0.05 if moved else min(RETRY_MOST, pause * 2)
            time.sleep(pause * _jitter.uniform(0.5, 1))

    def _try(self, call: Callable[[], T]) -> tuple[bool, T | None]:
        """(True, the answer), or (False, None) where Redis is away. Blocks for PATIENCE, and not
        again where it was away before."""
        deadline = time.monotonic() + self.patience()
        while True:
            try:
                answer = call()
                self._away = False
                return True, answer
            except redis.RedisError as error:
                if not is_transient(error):
                    raise
                if time.monotonic() >= deadline:
                    self.note_away(error)
                    return False, None
                time.sleep(0.05)


def _registered(item: Item) -> Item:
    """An event of emit that was not tried, or not in vain, counts as one whose id was given."""
    domain, body, kind, since = item
    return item if since or kind is not EntryKind.MADE else (domain, body, EntryKind.GIVEN, 0)


_logs: WeakSet[SpooledEventLog] = WeakSet()


def _after_in_child() -> None:
    for one in _logs:
        one.file.begin_anew()
        one.begin_anew()


after_fork_in_child(_after_in_child)

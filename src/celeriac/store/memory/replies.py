"""The mailboxes of requests in memory, in a test without workers.

A process that waits runs the handlers itself: see `run`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from copy import deepcopy

from celeriac.reply import RequestEnd, RequestOutcome, RequestStats, Waited
from celeriac.store.memory.clock import MemoryClock


class MemoryReplies:
    """See ReplyStore for the guarantees. Thread-safe.

    `run` is called to wait: it runs handlers, and advances the clock by at most the given seconds.
    Its second argument returns whether to continue to wait.
    """

    def __init__(self, clock: MemoryClock | None = None) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._mailboxes: dict[str, list[bytes]] = {}
        self._pending: set[str] = set()
        self._stats: dict[str, RequestStats] = {}
        self.run: Callable[[float, Callable[[], bool]], None] = _pause

    def monotonic(self) -> float:
        return time.monotonic() if self._clock is None else self._clock.now_ms() / 1000

    def open(self, mailbox: str, type: str, ttl_ms: int) -> None:
        with self._lock:
            self._mailboxes.setdefault(mailbox, [])
            if mailbox not in self._pending:
                self._pending.add(mailbox)
                self._of_type(type).pending += 1

    def is_open(self, mailbox: str) -> bool:
        with self._lock:
            return mailbox in self._mailboxes

    def push(self, mailbox: str, body: bytes, type: str) -> bool:
        with self._lock:
            if mailbox not in self._mailboxes:
                self._of_type(type).late += 1
                return False
            self._mailboxes[mailbox].append(body)
            return True

    def wait(self, mailbox: str, position: str, seconds: float) -> Waited:
        read = _index(position)
        if len(self._bodies(mailbox)) == read:
            self.run(seconds, lambda: len(self._bodies(mailbox)) == read)
        bodies = self._bodies(mailbox)
        return Waited(bodies[read:], f"{len(bodies)}-1")

    def close(self, mailbox: str, position: str) -> list[bytes]:
        with self._lock:
            return self._mailboxes.pop(mailbox, [])[_index(position) :]

    def count_end(self, end: RequestEnd) -> None:
        with self._lock:
            if end.mailbox not in self._pending:
                return
            self._pending.remove(end.mailbox)
            stats = self._of_type(end.type)
            stats.pending -= 1
            stats.outcomes[end.outcome] = stats.count(end.outcome) + 1
            if end.outcome is RequestOutcome.REPLIED:
                stats.took.observe(end.took_us)

    def stats(self) -> Mapping[str, RequestStats]:
        with self._lock:
            return deepcopy(self._stats)

    async def aopen(self, mailbox: str, type: str, ttl_ms: int) -> None:
        self.open(mailbox, type, ttl_ms)

    async def await_replies(self, mailbox: str, position: str, seconds: float) -> Waited:
        return self.wait(mailbox, position, seconds)

    async def aclose(self, mailbox: str, position: str) -> list[bytes]:
        return self.close(mailbox, position)

    async def acount_end(self, end: RequestEnd) -> None:
        self.count_end(end)

    async def disconnect(self) -> None:
        """There is no connection."""

    def _of_type(self, type: str) -> RequestStats:
        return self._stats.setdefault(type, RequestStats())

    def _bodies(self, mailbox: str) -> list[bytes]:
        with self._lock:
            return list(self._mailboxes.get(mailbox, []))


def _pause(seconds: float, waits: Callable[[], bool]) -> None:
    time.sleep(min(seconds, 0.01))


def _index(position: str) -> int:
    return int(position.partition("-")[0])

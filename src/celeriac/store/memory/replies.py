"""The mailboxes of requests in memory, in a test without workers.

A process that waits runs the handlers itself: see `run`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from celeriac.reply import Waited
from celeriac.store.memory.event_log import MemoryClock


class MemoryReplies:
    """See ReplyStore for the guarantees. Thread-safe.

    `run` is called to wait: it runs handlers, and advances the clock by at most the given seconds.
    Its second argument returns whether to continue to wait.
    """

    def __init__(self, clock: MemoryClock | None = None) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._mailboxes: dict[str, list[bytes]] = {}
        self.run: Callable[[float, Callable[[], bool]], None] = _pause

    def monotonic(self) -> float:
        return time.monotonic() if self._clock is None else self._clock.now_ms() / 1000

    def open(self, mailbox: str, ttl_ms: int) -> None:
        with self._lock:
            self._mailboxes.setdefault(mailbox, [])

    def is_open(self, mailbox: str) -> bool:
        with self._lock:
            return mailbox in self._mailboxes

    def push(self, mailbox: str, body: bytes) -> bool:
        with self._lock:
            if mailbox not in self._mailboxes:
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

    async def aopen(self, mailbox: str, ttl_ms: int) -> None:
        self.open(mailbox, ttl_ms)

    async def await_replies(self, mailbox: str, position: str, seconds: float) -> Waited:
        return self.wait(mailbox, position, seconds)

    async def aclose(self, mailbox: str, position: str) -> list[bytes]:
        return self.close(mailbox, position)

    async def disconnect(self) -> None:
        """There is no connection."""

    def _bodies(self, mailbox: str) -> list[bytes]:
        with self._lock:
            return list(self._mailboxes.get(mailbox, []))


def _pause(seconds: float, waits: Callable[[], bool]) -> None:
    time.sleep(min(seconds, 0.01))


def _index(position: str) -> int:
    return int(position.partition("-")[0])

"""A report to the store that is sent again until the store replies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import redis

from celeriac.delivery.pending_reply import PendingReply
from celeriac.executor.process import ExecutorProcess

T = TypeVar("T")


class PersistentReport(Generic[T]):
    """Sent when it is made, without waiting for the reply. It must be idempotent."""

    def __init__(self, process: ExecutorProcess, send: Callable[[], PendingReply[T]]) -> None:
        self._process, self._send = process, send
        self._sent: PendingReply[T] | None = None
        with suppress(redis.RedisError):
            self._sent = send()

    def result(self) -> T:
        """Wait for the reply; send the report again if it was not sent or got no reply. Blocks.

        Raises BusUnavailable after the time that results are kept.
        """
        return self._process.persist_result(self._wait)

    def _wait(self) -> T:
        sent, self._sent = self._sent, None
        return (self._send() if sent is None else sent).result()

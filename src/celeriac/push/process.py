"""The event loop of a process that sends requests, shared by all threads that run handlers."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from celeriac.executor.call import in_gevent, run_awaitable
from celeriac.fork import after_fork_in_child, leave_to_parent
from celeriac.loop_thread import LoopThread
from celeriac.push.answer import Answer
from celeriac.push.connection import Connections, Target

T = TypeVar("T")


class SendingProcess:
    """Sends the requests of this process. Thread-safe, and safe over forks.

    In a gevent worker the requests run in the one loop that its greenlets share, otherwise in a
    thread. So a waiting request costs a thread or a greenlet, and never a loop of its own.
    """

    def __init__(self) -> None:
        self._connections: Connections | None = None
        self._loop = LoopThread("celeriac-push", self._close)

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Do what Connections.post does. Blocks this thread or greenlet."""
        return self.run(self._post(target, headers, body))

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        if self._connections is None:
            self._connections = Connections()
        return await self._connections.post(target, headers, body)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of the coroutine, which runs in the loop of this process. Blocks."""
        if in_gevent():
            result: T = run_awaitable(coroutine)
            return result
        return self._loop.run(coroutine)

    async def _close(self) -> None:
        if self._connections is not None:
            await self._connections.aclose()


def sending_process() -> SendingProcess:
    """Return the one of this process."""
    return _current


def _renew() -> None:
    global _current
    leave_to_parent(_current)
    _current = SendingProcess()


_current = SendingProcess()
after_fork_in_child(_renew)

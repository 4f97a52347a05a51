"""One client for each event loop, closed when its loop ends and never used after a fork."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from weakref import WeakSet

from celeriac.fork import after_fork_in_child, leave_to_parent
from celeriac.store.redis.connection import Client


class LoopClients:
    """Opens a client with `open_client` at the first use in a running event loop.

    If a loop shuts down as `asyncio.run`, `asyncio.Runner` and asgiref do
    (`loop.shutdown_asyncgens()`), its client is closed. The client of a loop that was closed in
    another way is dropped when the next loop opens one.
    """

    def __init__(self, open_client: Callable[[], Client]) -> None:
        self._open_client = open_client
        # Not weak keys: a client refers to its loop.
        self._of_loop: dict[asyncio.AbstractEventLoop, tuple[Client, AsyncGenerator[None]]] = {}
        _all.add(self)

    def client(self) -> Client:
        """Return the running loop's client. Does not connect yet."""
        loop = asyncio.get_running_loop()
        opened = self._of_loop.get(loop)
        return self._open(loop) if opened is None else opened[0]

    async def close(self) -> None:
        """Close the running loop's client, if there is one. Idempotent."""
        opened = self._of_loop.get(asyncio.get_running_loop())
        if opened is not None:
            await opened[1].aclose()

    def forget(self) -> None:
        """Open new clients from now on. For the child of a fork, which shares the sockets."""
        leave_to_parent(self._of_loop)
        self._of_loop = {}

    def _open(self, loop: asyncio.AbstractEventLoop) -> Client:
        for other in list(self._of_loop):
            if other.is_closed():
                # Nothing can be awaited in a closed loop: garbage collection closes the socket.
                self._of_loop.pop(other, None)
        client = self._open_client()
        closing = self._close_with(loop, client)
        # Its first step registers it with the loop, which resumes it during shutdown.
        with suppress(StopIteration):
            closing.__anext__().send(None)
        self._of_loop[loop] = client, closing
        return client

    async def _close_with(
        self, loop: asyncio.AbstractEventLoop, client: Client
    ) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._of_loop.pop(loop, None)
            await client.aclose()


_all: WeakSet[LoopClients] = WeakSet()


def _in_child() -> None:
    for clients in list(_all):
        clients.forget()


after_fork_in_child(_in_child)

"""A TCP proxy in a thread of its own, whose links can be cut, slowed down or left half open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

CHUNK = 65536


class Proxy:
    """Forwards `port` of the loopback interface to `target`. Leaving its `with` block ends it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._delay = 0.0
        self._refusing = False
        self._pairs: set[_Pair] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Resets every connection, and refuses new ones until `restore`."""
        self._try(self._cut, True)

    def reset(self) -> None:
        """Resets every connection; new ones are forwarded."""
        self._try(self._cut, False)

    def restore(self) -> None:
        self._try(self._cut, False)
        self.slow(0.0)

    def half_open(self) -> int:
        """Connections that are there now go silent for ever: no byte, no end. Returns how many.

        New ones are forwarded, as through a router that forgot its table.
        """
        return self._try(self._silence)

    def slow(self, seconds: float) -> None:
        """Every piece of data waits so long in each direction."""
        self._delay = seconds

    def retarget(self, target: int) -> None:
        """Forwards to another port, and resets the connections to the old one."""
        self.target = target
        self.reset()

    def __enter__(self) -> Proxy:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the proxy did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._try(self._cut, True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end(server))
        self._loop.close()

    async def _end(self, server: asyncio.Server) -> None:
        # Not closed yet: what it accepted and did not make known is let through first, for asyncio
        # of Python 3.11 opens a connection of a server that is closed and forgets it.
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        while under_way := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in self._serving:
                task.cancel()
            await asyncio.wait(under_way)
        server.close()
        # An aborted transport closes its socket in the loop's next round.
        for _ in range(2):
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No coroutine itself: one that is cancelled before its first step closes nothing.
        task = self._loop.create_task(self._serve(reader, writer))
        self._serving.add(task)

        def served(task: asyncio.Task[None]) -> None:
            self._serving.discard(task)
            writer.transport.abort()

        task.add_done_callback(served)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            return
        pair = _Pair((reader, writer), there, lambda: self._delay)
        self._pairs.add(pair)
        try:
            if not self._refusing:  # else it was cut in between
                await pair.forward()
        finally:
            self._pairs.discard(pair)
            pair.abort()

    def _cut(self, refusing: bool) -> int:
        self._refusing = refusing
        for pair in self._pairs:
            pair.abort()
        return len(self._pairs)

    def _silence(self) -> int:
        for pair in self._pairs:
            pair.silent = True
        return len(self._pairs)

    def _try(self, call: Callable[..., int], *arguments: object) -> int:
        async def within() -> int:
            return call(*arguments)

        return asyncio.run_coroutine_threadsafe(within(), self._loop).result(10)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Pair:
    """One connection and its continuation."""

    def __init__(self, here: Streams, there: Streams, delay: Callable[[], float]) -> None:
        self._here, self._there, self._delay = here, there, delay
        self.silent = False
        for _, writer in (here, there):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it was reset in between
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def forward(self) -> None:
        ways = (
            self._copy(self._here[0], self._there[1]),
            self._copy(self._there[0], self._here[1]),
        )
        await asyncio.gather(*ways, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._delay():
                    await asyncio.sleep(self._delay())
                if self.silent:
                    # What was under way is gone; the sockets stay open to the end of the proxy.
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
        if not self.silent:
            writer.close()

    def abort(self) -> None:
        for _, writer in (self._here, self._there):
            writer.transport.abort()

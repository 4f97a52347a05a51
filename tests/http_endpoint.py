"""An HTTP server for tests, in a thread: it records requests, and answers as the test sets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """A request, with header names in lower case."""

    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answered:
    """An answer. `hangs`: send nothing until the client leaves. `drops`: close without one.

    `together`: send it when that many requests have waited at the same time.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    hangs: bool = False
    drops: bool = False
    together: int = 0


Answering = Callable[[Received], Answered | int]


class HttpEndpoint:
    """The server. `answer` may be replaced at any time; it runs in the server's event loop."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Answering = lambda request: 200
        self.connections = self.open = self.most_open = self.waiting = self.most_waiting = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._came = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ids(self) -> list[str]:
        """The ids of the events that came in binary mode, in order."""
        return [request.headers["ce-id"] for request in self.received]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Received(head[0].split(" ")[1], headers, body)
        self.received.append(request)
        given = self.answer(request)
        answer = Answered(given) if isinstance(given, int) else given
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            if answer.hangs:
                await reader.read()
                return False
            async with self._came:
                self._came.notify_all()
                await self._came.wait_for(lambda: self.most_waiting >= answer.together)
            await asyncio.sleep(answer.delay)
        finally:
            self.waiting -= 1
        if answer.drops:
            return False
        sent = {"content-length": str(len(answer.body)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{n}: {v}" for n, v in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + answer.body)
        await writer.drain()
        return True

    async def _run(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            await self._stopping.wait()

    def _main(self, started: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run(started))


@contextmanager
def http_endpoint() -> Iterator[HttpEndpoint]:
    """Run a server on a free port of this machine."""
    endpoint, started = HttpEndpoint(), threading.Event()
    thread = threading.Thread(target=endpoint._main, args=(started,), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield endpoint
    finally:
        endpoint._loop.call_soon_threadsafe(endpoint._stopping.set)
        thread.join(10)

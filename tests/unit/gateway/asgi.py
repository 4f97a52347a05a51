"""A client that sends its body in parts, as slow and hostile ones do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass
class Slow:
    """One request whose parts are sent when `send` is called. `status` is set at the answer."""

    app: Any
    headers: dict[str, str]
    path: str = "/events"
    status: int = 0
    body: bytes = b""
    parts: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the request, without any part of its body."""
        self.task = asyncio.ensure_future(self.run())

    async def run(self) -> None:
        """Make the request, and return after its answer."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in self.headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("gateway", 80),
        }
        await self.app(scope, self.parts.get, self._answered)

    def send(self, *parts: bytes, more: bool = True) -> None:
        for part in parts:
            self.parts.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def disconnect(self) -> None:
        self.parts.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> int:
        """Wait for the answer; return its status."""
        assert self.task is not None
        await asyncio.wait_for(self.task, 20)
        return self.status

    async def _answered(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")


async def until_waiting(requests: Sequence[Slow]) -> None:
    """Wait until each of the requests has read all parts of its body that were sent."""
    for request in requests:
        while not request.parts.empty():
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)

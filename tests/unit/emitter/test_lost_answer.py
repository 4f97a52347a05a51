"""The reply to a first append is lost, or the append itself is late: the event runs once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from celeriac import EventBus
from celeriac.delivery import Group
from celeriac.delivery.chunk_store import ChunkRequest
from celeriac.event import read_header
from celeriac.event_log import EntryKind

MADE, GIVEN = EntryKind.MADE, EntryKind.GIVEN


class LossyLink:
    """Forwards to a server. The first command that appends is forwarded and its answer dropped, or
    it is held until `release`; either way its connection is closed."""

    def __init__(self, url: str, *, hold: bool) -> None:
        self.hold = hold
        self._target = urlsplit(url).hostname, urlsplit(url).port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"
        self._held: tuple[socket.socket, bytes] | None = None
        self._lost = threading.Event()
        self._cut: socket.socket | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def release(self) -> None:
        """The held command arrives."""
        assert self._lost.wait(10) and self._held
        there, data = self._held
        there.sendall(data)

    def close(self) -> None:
        for one in (self._listening, *self._sockets):
            with suppress(OSError):  # it is not connected any more
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in (self._listening, *self._sockets):
            one.close()

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                self._sockets.append(here)
                there = socket.create_connection(self._target)
                self._sockets.append(there)
                for way in (self._requests, self._answers):
                    self._start(way, here, there)

    def _requests(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := here.recv(1 << 20):
                if b"XADD" in data and not self._lost.is_set():
                    self._cut = here
                    self._lost.set()
                    if self.hold:
                        self._held = there, data
                    else:
                        there.sendall(data)
                        time.sleep(0.05)
                    here.shutdown(socket.SHUT_RDWR)
                    return
                there.sendall(data)

    def _answers(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while data := there.recv(1 << 20):
                if here is not self._cut:
                    here.sendall(data)


@pytest.fixture(params=[False, True], ids=["answer lost", "late"])
def link(request: pytest.FixtureRequest, redis_url: str) -> Iterator[LossyLink]:
    link = LossyLink(redis_url, hold=request.param)
    yield link
    link.close()


async def _aemit(bus: EventBus, count: int) -> None:
    if count == 1:
        await bus.aemit("order.placed", 0)
    else:
        await bus.aemit_many([("order.placed", n) for n in range(count)])
    await bus.aclose()


def _emit(bus: EventBus, count: int) -> None:
    if count == 1:
        bus.emit("order.placed", 0)
    else:
        bus.emit_many([("order.placed", n) for n in range(count)])


EMITS: dict[str, Callable[[EventBus, int], None]] = {
    "emit": _emit,
    "aemit": lambda bus, count: asyncio.run(_aemit(bus, count)),
}


@pytest.mark.parametrize("spooled", [False, True], ids=["", "spool"])
@pytest.mark.parametrize("count", [1, 3], ids=["one", "many"])
@pytest.mark.parametrize("how", EMITS)
def test_the_event_runs_once(
    link: LossyLink, redis_url: str, namespace: str, tmp_path: Path, how: str, count: int,
    spooled: bool,
) -> None:  # fmt: skip
    given: dict[str, Any] = {"spool": str(tmp_path / "spool.db")} if spooled else {}
    bus = EventBus(redis_url=link.url, namespace=namespace, emit_timeout=4, **given)
    reader = EventBus(service="billing", redis_url=redis_url, namespace=namespace)
    backend, group = reader.service.backend, Group("order", "billing.charge")
    backend.event_log.register_domains(["order"])
    bus.emitter._known_domains.add(["order"])
    backend.event_log.join("order", group.handler, "0")
    EMITS[how](bus, count)
    deadline = time.monotonic() + 10
    while backend.event_log.length("order") < (count if link.hold else 2 * count):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if link.hold:
        link.release()
        while backend.event_log.length("order") < 2 * count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    kinds = [MADE] * count + [GIVEN] * count
    assert (kinds[::-1] if link.hold else kinds) == [
        e.kind for e in backend.event_log.read("order")
    ]
    [fetched] = backend.chunks.fetch("w", [ChunkRequest(group, "chunk", 10, running=True)])
    assert fetched.is_ambiguous
    entries = [(entry, read_header(entry.body or b"").key) for entry in fetched.entries]
    ignored = backend.chunks.repetitions("order", entries).certain
    assert {entry.id for entry, _ in entries[count:]} == ignored

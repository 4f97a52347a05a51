"""Many bytes over a link that is slow and healthy; and one that breaks half-way."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from celeriac import BusUnavailable, EventBus
from celeriac.store.redis.connection import open_client
from celeriac.transfer import PORTION_BYTES, SLICE, portion_end, slices, transfer_time

RATE = 2_000_000  # bytes/s


class Link:
    """Carries so many bytes a second to the server; breaks after `budget` bytes."""

    def __init__(self, port: int) -> None:
        self.port, self.budget = port, float("inf")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                far = socket.create_connection(("127.0.0.1", self.port))
                self._sockets += [near, far]
                for pair in ((near, far, RATE), (far, near, 0)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, rate: int) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if rate:
                    time.sleep(len(data) / rate)
                    self.budget -= len(data)
                    if self.budget < 0:
                        break
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # `close` alone does not wake a thread that accepts: it would accept one more connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._serving.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def link(redis_url: str) -> Iterator[Link]:
    port = int(open_client(redis_url, answer_within=5).connection_pool.connection_kwargs["port"])
    made = Link(port)
    yield made
    made.close()


def length(redis_url: str, namespace: str) -> int:
    client: Any = open_client(redis_url, answer_within=5)
    return int(client.xlen(f"{namespace}:{{order}}:events"))


def test_events_that_take_longer_than_emit_timeout_are_published_once(
    link: Link, redis_url: str, namespace: str
) -> None:
    bus = EventBus(redis_url=link.url, namespace=namespace, source="t", emit_timeout=1)
    assert bus.emit_many(("order.placed", "x" * 60_000) for _ in range(70)) == 70
    assert length(redis_url, namespace) == 70


def test_coroutines_too(link: Link, redis_url: str, namespace: str) -> None:
    bus = EventBus(redis_url=link.url, namespace=namespace, source="t", emit_timeout=1)

    async def run() -> int:
        try:
            return await bus.aemit_many(("order.placed", "x" * 60_000) for _ in range(70))
        finally:
            await bus.aclose()

    assert asyncio.run(run()) == 70
    assert length(redis_url, namespace) == 70


def test_what_redis_confirmed_before_the_link_broke_is_counted(
    link: Link, redis_url: str, namespace: str
) -> None:
    bus = EventBus(redis_url=link.url, namespace=namespace, source="t", emit_timeout=0.5)
    bus.emit("order.placed", 0)
    link.budget = 1_000_000
    with pytest.raises(BusUnavailable) as caught:
        bus.emit_many(("order.placed", "x" * 60_000) for _ in range(70))
    written = length(redis_url, namespace) - 1
    assert 8 <= caught.value.emitted <= written < 70


def test_a_pipeline_is_bounded_by_bytes_and_has_at_least_one_event() -> None:
    large = b"x" * (PORTION_BYTES + 1)
    items = [("d", b"x" * 100_000, None)] * 12 + [("d", large, None)] * 2
    ends, at = [], 0
    while at < len(items):
        at = portion_end(items, at)
        ends.append(at)
    assert ends == [5, 10, 12, 13, 14]


def test_a_timeout_grows_with_what_is_sent_and_small_commands_keep_theirs() -> None:
    assert transfer_time(SLICE) == 0
    assert transfer_time(1_000_000) == 4.0
    assert slices(b"small") == [b"small"]
    packed = bytes(range(256)) * 1000
    assert b"".join(slices(packed)) == packed
    assert max(map(len, slices(packed))) == SLICE

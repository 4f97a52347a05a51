"""Emits while Redis is unreachable: no event is refused, and all are appended in order."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import EventBus, LogFull
from celeriac.event import read_header
from celeriac.testing.ports import free_port
from celeriac.testing.server import EmbeddedServer, start_server


class Site:
    """A server that is started on request, and an application that uses it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.data.mkdir()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.spool = str(directory / "spool.db")
        self.server: EmbeddedServer | None = None
        self._buses: list[EventBus] = []
        self._reader: EventBus | None = None

    def bus(self, **given: Any) -> EventBus:
        options = {"redis_url": self.url, "spool": self.spool, "emit_timeout": 2.0, **given}
        return self._opened(EventBus(service="shop", **options))

    def ids(self, domain: str = "order") -> list[str]:
        if self._reader is None:
            self._reader = self._opened(EventBus(service="reader", redis_url=self.url))
        entries = self._reader.service.backend.event_log.read(domain, count=100_000)
        return [read_header(entry.body or b"").id for entry in entries]

    def close(self) -> None:
        for bus in self._buses:
            event_log: Any = bus.service.backend.event_log
            event_log.client.connection_pool.disconnect()

    def _opened(self, bus: EventBus) -> EventBus:
        self._buses.append(bus)
        return bus


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def up(site: Site) -> Iterator[Callable[[], Any]]:
    """Starts the server."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start() -> Any:
            site.server = stack.enter_context(start_server(site.data, port=site.port))
            return site.server

        yield start


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


Up = Callable[[], Any]


def test_what_is_emitted_while_redis_is_away_follows_in_its_order(site: Site, up: Up) -> None:
    bus = site.bus()
    started = time.monotonic()
    ids = [bus.emit("order.placed", {"n": n}) for n in range(200)]
    assert time.monotonic() - started < 30  # waited for Redis once, for a short time
    emitted = bus.emit_many([bus.event("order.placed", {"n": n}) for n in range(1200)])
    assert emitted == 1200
    up()
    until(lambda: len(site.ids()) == 1400)
    assert site.ids()[:200] == ids
    assert len(set(site.ids())) == 1400
    assert "order" in bus.service.backend.event_log.domains()


def test_newer_events_queue_behind_those_that_wait(site: Site, up: Up) -> None:
    bus = site.bus()
    ids = [bus.emit("order.placed") for _ in range(3000)]
    up()
    ids += [bus.emit("order.placed") for _ in range(3000)]
    until(lambda: len(site.ids()) == 6000)
    assert site.ids() == ids


def test_with_redis_there_nothing_is_spooled(site: Site, up: Up) -> None:
    up()
    bus = site.bus()
    ids = [bus.emit("order.placed") for _ in range(5)]
    assert site.ids() == ids
    bus.emit("order.placed", delay=60)
    assert bus.service.backend.event_log.delayed("order") == 1


def test_what_is_delayed_keeps_its_time(site: Site, up: Up) -> None:
    bus = site.bus()
    before = time.time() * 1000
    bus.emit("order.placed", delay=600)
    up()
    event_log = bus.service.backend.event_log
    until(lambda: event_log.delayed("order") == 1)
    [(time_ms, _)] = event_log.upcoming("order")
    assert 600_000 <= time_ms - before < 610_000


def test_coroutines_spool_as_well(site: Site, up: Up) -> None:
    bus = site.bus()

    async def emit() -> list[str]:
        ids = [await bus.aemit("order.placed") for _ in range(20)]
        await bus.aemit_many([("order.placed", {})] * 30)
        await bus.aemit("order.placed", delay=60)
        await bus.aclose()
        return ids

    ids = asyncio.run(emit())
    up()
    until(lambda: len(site.ids()) == 50)
    assert site.ids()[:20] == ids
    until(lambda: bus.service.backend.event_log.delayed("order") == 1)


def test_a_full_spool_refuses_with_the_remedy(site: Site) -> None:
    bus = site.bus(spool_max_bytes=100_000)
    with pytest.raises(LogFull, match="CELERIAC_SPOOL_MAX_BYTES") as caught:
        bus.emit_many(("order.placed", {"text": "x" * 500}) for _ in range(10_000))
    assert caught.value.emitted == 0  # the first pipeline did not fit, and none of it was kept
    with pytest.raises(LogFull):
        for _ in range(1000):
            bus.emit("order.placed", {"text": "x" * 500})


SCRIPT = """
import os, signal, sys
from celeriac import EventBus
bus = EventBus(service="shop", redis_url=sys.argv[1], spool=sys.argv[2], emit_timeout=2.0)
for n in range(int(sys.argv[3])):
    print(bus.emit("order.placed", {"n": n}), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_drained_by_the_next(site: Site, up: Up) -> None:
    """A process that spooled events gets SIGKILL. The event of the next process follows them."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), site.url, site.spool, "300"],
        stdout=subprocess.PIPE, timeout=60,
    )  # fmt: skip
    assert run.returncode == -signal.SIGKILL
    ids = run.stdout.decode().split()
    assert len(ids) == 300
    up()
    last = site.bus().emit("order.placed")
    until(lambda: len(site.ids()) == 301)
    assert site.ids() == [*ids, last]


def test_a_doubled_drain_appends_each_event_once(site: Site, up: Up) -> None:
    """If a process dies between append and removal, the next process appends the events again."""
    bus = site.bus()
    first = bus.emit("order.placed")
    file = bus.service.emitting.event_log.file  # type: ignore[attr-defined]
    [left] = file.oldest(10)
    up()
    until(lambda: site.ids() == [first])
    file.put([(left.domain, left.body, left.kind, left.since_ms)])
    last = bus.emit("order.placed")
    until(lambda: not file.has_events())
    assert site.ids() == [first, last]


def _emit_in_child(url: str, spool: str, count: int) -> None:
    bus = EventBus(service="shop", redis_url=url, spool=spool, emit_timeout=1.0)
    for _ in range(count):
        bus.emit("order.placed")


def test_several_processes_share_one_file(site: Site, up: Up) -> None:
    context = multiprocessing.get_context("spawn")
    children = [
        context.Process(target=_emit_in_child, args=(site.url, site.spool, 100)) for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    up()
    last = site.bus().emit("order.placed")
    until(lambda: len(site.ids()) == 301)
    assert len(set(site.ids())) == 301
    assert site.ids()[-1] == last


def test_a_forked_child_spools_and_drains_by_itself(site: Site, up: Up) -> None:
    bus = site.bus()
    first = bus.emit("order.placed", id="parent")
    child = os.fork()
    if child == 0:
        try:
            bus.emit("order.placed", id="child")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    up()
    until(lambda: site.ids() == [first, "child"])


def test_without_the_setting_nothing_is_spooled(site: Site) -> None:
    bus = EventBus(service="shop", redis_url=site.url)
    assert bus.service.emitting is bus.service.backend
    assert "celeriac.spool" not in sys.modules or bus.settings.spool == ""


def test_a_bus_in_memory_spools_nothing(site: Site) -> None:
    from celeriac.testing import in_memory

    bus = site.bus()
    with in_memory(bus) as memory:
        bus.emit("order.placed")
        assert len(memory.emitted) == 1
    assert not os.path.exists(site.spool)

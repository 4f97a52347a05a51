"""An archive on S3: stored and replayed over HTTP, also while the store fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.archive import storage
from celeriac.archive.archiver import ArchiveOptions, Archiver
from celeriac.archive.parquet import FileLimits
from celeriac.archive.replay import ArchiveReplayer
from celeriac.archive.replay_options import ArchiveReplayOptions
from celeriac.archive.storage import ArchiveFile, Storage
from celeriac.errors import ArchiveError
from celeriac.event import decode
from celeriac.testing import MemoryBus, in_memory

pytest.importorskip("moto")

from tests.s3_server import BUCKET, S3Server, s3_server

URL = f"s3://{BUCKET}/shop"
FEW = ArchiveOptions(limits=FileLimits(events=3))
RETRY = {
    "max_retries": 1,
    "retry_timeout": timedelta(seconds=3),
    "backoff": {
        "init_backoff": timedelta(milliseconds=10),
        "max_backoff": timedelta(milliseconds=10),
        "base": 2,
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


class Archive:
    """A bus in memory with a handler, its archive on S3, and the server of it."""

    def __init__(self, server: S3Server, bus: EventBus, memory: MemoryBus, url: str) -> None:
        self.server, self.bus, self.memory, self.url = server, bus, memory, url
        self.backend = memory.store.backend
        self.handled: list[int] = []

        @bus.on("order.placed", name="index")
        def index(event: Event[Any]) -> None:
            self.handled.append(event.data["n"])

        memory.run_until_idle()

    def emit(self, count: int) -> list[str]:
        return [self.bus.emit("order.placed", {"n": n}) for n in range(count)]

    def archiver(self) -> Archiver:
        return Archiver(self.backend, self.bus.settings, Storage(self.url), FEW)

    def replayer(self) -> ArchiveReplayer:
        record = self.backend.registry.handlers()["orders.index"]
        options = ArchiveReplayOptions(url=self.url, since_ms=0)
        return ArchiveReplayer(self.backend, Storage(self.url), record, options)

    def trim(self) -> int:
        """Trim all events that may be trimmed; return how many are left."""
        self.memory.run_until_idle()
        self.memory.advance(30 * 86_400)
        self.backend.event_log.trim("order", exact=True)
        return self.backend.event_log.length("order")

    def stored(self) -> list[str]:
        """The ids of the archived events, in the order of the log."""
        opened = Storage(self.url)
        return [
            decode(event.body).id
            for day in opened.days("order")
            for first in opened.firsts("order", day)
            for page in opened.read(ArchiveFile("order", first))
            for event in page
        ]


@pytest.fixture
def archive(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Archive]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    fault = request.getfixturevalue("fault") if "fault" in request.fixturenames else {}
    # A busy machine may need a second for a request that is to succeed.
    monkeypatch.setenv("AWS_TIMEOUT", "1s" if fault.get("hangs") else "20s")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(storage, "RETRY", RETRY)
    bus = EventBus(service="orders")
    with in_memory(bus) as memory:
        server.requests.clear()
        yield Archive(server, bus, memory, f"{URL}/{request.node.name}")
    server.repair()


FAULTS: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "500": {"status": 500},
    "403": {"status": 403},
    "timeout": {"hangs": True},
    "dropped": {"drops": True},
    "503 afterwards": {"status": 503, "is_done": True},
    "timeout afterwards": {"hangs": True, "is_done": True},
    "dropped afterwards": {"drops": True, "is_done": True},
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How a request fails; with `is_done`, after the store has done it."""
    return FAULTS[request.param]


def test_trimmed_events_are_replayed_from_the_bucket(archive: Archive) -> None:
    ids = archive.emit(10)
    assert 10 == archive.archiver().drain()
    assert 0 == archive.trim()
    assert ids == archive.stored()
    archive.handled.clear()
    replayer = archive.replayer()
    assert {("order", "order.placed"): 10} == replayer.count()
    assert replayer.begin(b"")
    assert 10 == replayer.run(b"").scheduled
    archive.memory.run_until_idle()
    assert list(range(10)) == archive.handled


def test_two_archivers_store_every_event_once(archive: Archive) -> None:
    """The bucket refuses the second file of one name: the write is conditional."""
    ids = archive.emit(7)
    first, second = archive.archiver(), archive.archiver()
    create = first.storage.create

    def slow(file: ArchiveFile, content: bytes) -> bool:
        second.run_once(flush=True)
        return create(file, content)

    first.storage.create = slow  # type: ignore[method-assign]
    first.run_once(flush=True)
    assert ids == archive.stored()


def test_a_bucket_that_refuses_every_write_loses_nothing(
    archive: Archive, fault: dict[str, Any]
) -> None:
    ids = archive.emit(7)
    archive.server.fail(methods=["PUT"], **fault)
    archiver = archive.archiver()
    for _ in range(2):
        with pytest.raises(ArchiveError, match=f"the archive {URL}.* cannot be written"):
            archiver.run_once(flush=True)
    assert archive.trim() >= 4, "nothing is trimmed that no file has"
    archive.server.repair()
    archive.archiver().drain()
    assert ids == archive.stored()
    assert 0 == archive.trim()


def test_a_write_that_is_repeated_stores_every_event_once(
    archive: Archive, fault: dict[str, Any]
) -> None:
    """One write fails. It is repeated at once, or by the next run."""
    ids = archive.emit(7)
    archive.server.fail(methods=["PUT"], times=1, **fault)
    archiver = archive.archiver()
    for _ in range(2):
        try:
            archiver.run_once(flush=True)
            break
        except ArchiveError:
            continue
    assert ids == archive.stored()
    assert 0 == archive.trim()


@pytest.mark.parametrize("fault", ["503", "403", "timeout", "dropped"], indirect=True)
def test_a_bucket_that_cannot_be_read_loses_nothing(
    archive: Archive, fault: dict[str, Any]
) -> None:
    """A restarted archiver must first see what is stored, and stores nothing without."""
    ids = archive.emit(4)
    archive.archiver().drain()
    ids += archive.emit(4)
    archive.server.fail(methods=["GET"], **fault)
    with pytest.raises(ArchiveError, match=r"cannot be (listed|read)"):
        archive.archiver().run_once(flush=True)
    archive.server.repair()
    assert ids[:4] == archive.stored()
    archive.archiver().drain()
    assert ids == archive.stored()


@pytest.mark.parametrize("fault", ["503", "403", "timeout", "dropped"], indirect=True)
def test_a_replay_continues_after_a_failed_read(archive: Archive, fault: dict[str, Any]) -> None:
    archive.emit(9)
    archive.archiver().drain()
    archive.trim()
    archive.handled.clear()
    replayer = archive.replayer()
    replayer.begin(b"")
    failing: list[int] = []

    def fail_later(progress: Any) -> None:
        if not failing:
            archive.server.fail(methods=["GET"], **fault)
        failing.append(progress.scheduled)

    with pytest.raises(ArchiveError, match="cannot be read"):
        replayer.run(b"", fail_later)
    assert 0 < failing[-1] < 9
    archive.server.repair()
    again = archive.replayer()
    assert again.begin(b"")
    assert 9 == again.run(b"").scheduled
    archive.memory.run_until_idle()
    assert list(range(9)) == archive.handled

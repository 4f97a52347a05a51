"""A time limit may interrupt the start of a thread, which waits until the thread runs."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.delivery import Group
from celeriac.event_log import EntryKind
from celeriac.executor.lease import LeaseKeeper
from celeriac.loop_thread import LoopThread
from celeriac.settings import Settings
from celeriac.spool.event_log import SpooledEventLog
from celeriac.spool.file import SpoolFile
from celeriac.store.redis import emitted


class TimeLimit(BaseException):
    """As a signal handler raises it."""


@pytest.fixture(params=["before", "after"])
def interrupted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next start of a thread by the test, before or after the thread runs."""
    start, test = threading.Thread.start, threading.get_ident()

    def once(thread: threading.Thread) -> None:
        if threading.get_ident() != test:
            start(thread)
            return
        monkeypatch.setattr(threading.Thread, "start", start)
        if request.param == "after":
            start(thread)
        raise TimeLimit

    monkeypatch.setattr(threading.Thread, "start", once)


async def answer() -> int:
    return 42


@pytest.mark.usefixtures("interrupted")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the first loop
def test_a_loop_runs_at_its_next_use() -> None:
    loop, unused = LoopThread("celeriac-test"), answer()
    with pytest.raises(TimeLimit):
        loop.run(unused)
    unused.close()
    assert loop.run(asyncio.wait_for(answer(), 20)) == 42
    gc.collect()


@pytest.mark.usefixtures("interrupted")
def test_leases_are_renewed_for_the_next_task_only() -> None:
    renewed: list[Any] = []
    is_renewed = threading.Event()

    def renew(worker: str, group: Group, chunks: list[str]) -> None:
        renewed.append(chunks)
        is_renewed.set()

    service: Any = SimpleNamespace(
        settings=SimpleNamespace(lease=0.03),
        worker="w",
        backend=SimpleNamespace(chunks=SimpleNamespace(renew=renew)),
    )
    keeper, group = LeaseKeeper(service), Group("order", "billing.handle")
    with pytest.raises(TimeLimit), keeper.keeping_chunks(group, ["first"]):
        pass
    with keeper.keeping_chunks(group, ["second"]):
        assert is_renewed.wait(20)
    assert ["first"] not in renewed


@pytest.mark.usefixtures("interrupted")
def test_emitted_events_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitted, "FLUSH_EVERY", 0.01)
    counted: list[Mapping[str, int]] = []
    is_counted = threading.Event()

    def add(counts: Mapping[str, int]) -> None:
        counted.append(counts)
        if sum(each["order.placed"] for each in counted) == 2:
            is_counted.set()

    counter = emitted.EmittedCounter(add)
    with pytest.raises(TimeLimit):
        counter.note(["order.placed"])
    counter.note(["order.placed"])
    assert is_counted.wait(20)


@pytest.mark.usefixtures("interrupted")
def test_a_spool_is_drained(tmp_path: Path, settings: Settings) -> None:
    appended: list[Any] = []
    is_drained = threading.Event()

    def append_many(items: list[Any]) -> None:
        appended.extend(items)
        if len(appended) == 2:
            is_drained.set()

    inner: Any = SimpleNamespace(append_many=append_many, register_domains=lambda _: None)
    file = SpoolFile(str(tmp_path / "spool.db"), 1_000_000)
    spooled = SpooledEventLog(inner, file, settings)
    with pytest.raises(TimeLimit):
        spooled.spool([("order", b"{}", EntryKind.MADE, 0)])
    spooled.spool([("order", b"{}", EntryKind.MADE, 0)])
    assert is_drained.wait(20)

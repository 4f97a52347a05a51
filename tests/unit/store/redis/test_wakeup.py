"""Waiting at one server: for few streams with one read, for many with reads that stay open."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac.store.redis import wakeup as module
from celeriac.store.redis.blocking_reads import BlockingReads
from celeriac.store.redis.wakeup import (
    GROUP,
    MAX_GROUPS,
    StreamWaiter,
    in_groups,
    open_stream_waiter,
)
from celeriac.testing.server import EmbeddedServer, start_server

MANY = 5 * GROUP


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Of its own, since the tests count its commands and cut its connections."""
    directory: Path = tmp_path_factory.mktemp("doorbell")
    with start_server(directory, appendonly=False) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def waiter(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> StreamWaiter:
    """Its reads end long after the test. A second's pause of the process would end them else."""
    monkeypatch.setattr(module, "LONGEST_WAIT_MS", 60_000)
    monkeypatch.setattr(module, "ANSWER_WITHIN", 62.5)
    return open_stream_waiter(server.url)


def streams(count: int) -> dict[str, str]:
    return {f"s{n}": "0-0" for n in range(count)}


def reads(client: Any) -> int:
    return int(client.info("commandstats").get("cmdstat_xread", {"calls": 0})["calls"])


@pytest.mark.parametrize("count", [1, GROUP, 2 * GROUP, 2 * GROUP + 1, MANY])
def test_any_stream_wakes_waiting_dispatchers(
    client: Any, waiter: StreamWaiter, count: int
) -> None:
    seen = streams(count)
    for name in (f"s{count - 1}", "s0"):
        assert {} == waiter.wait(seen, 0.01)
        entry = client.xadd(name, {"a": 1}).decode()
        assert {name: entry} == waiter.wait(seen, 5)
        seen[name] = entry


@pytest.mark.parametrize("count", [1, MANY])
def test_without_news_the_wait_takes_its_time(
    client: Any, waiter: StreamWaiter, count: int
) -> None:
    started = time.monotonic()
    assert {} == waiter.wait(streams(count), 0.1)
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("count", [1, MANY])
def test_of_several_new_entries_none_is_named(
    client: Any, waiter: StreamWaiter, count: int
) -> None:
    for _ in range(3):
        client.xadd("s0", {"a": 1})
    assert {"s0": None} == waiter.wait(streams(count), 5)


def test_of_many_only_the_group_that_was_woken_is_read_again(
    client: Any, waiter: StreamWaiter
) -> None:
    seen = streams(MANY)
    assert {} == waiter.wait(seen, 0.01)
    before = reads(client)
    for _ in range(10):
        entry = client.xadd("s3", {"a": 1}).decode()
        assert {"s3": entry} == waiter.wait(seen, 5)
        seen["s3"] = entry
    # The others, five a wait, stand as they are.
    assert reads(client) - before <= 10


def test_a_notification_without_a_waiting_dispatcher_is_found(
    client: Any, waiter: StreamWaiter
) -> None:
    seen = streams(MANY)
    assert {} == waiter.wait(seen, 0.01)
    entries = {name: client.xadd(name, {"a": 1}).decode() for name in ("s1", f"s{MANY - 1}")}
    found: dict[str, str | None] = {}
    while len(found) < 2:
        found |= waiter.wait({**seen, **{k: v for k, v in found.items() if v}}, 5)
    assert entries == found


def test_more_streams_than_before_are_waited_for(client: Any, waiter: StreamWaiter) -> None:
    for count in (GROUP, MANY, MANY + 3, 1):
        assert {} == waiter.wait(streams(count), 0.01)
        entry = client.xadd(f"s{count - 1}", {"a": 1}).decode()
        assert {f"s{count - 1}": entry} == waiter.wait(streams(count), 5)
        client.delete(f"s{count - 1}")


def test_a_cut_connection_is_reported_and_the_next_wait_uses_a_new_one(
    client: Any, waiter: StreamWaiter
) -> None:
    seen = streams(MANY)
    assert {} == waiter.wait(seen, 0.01)
    client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(redis.ConnectionError):
        waiter.wait(seen, 5)
    entry = client.xadd("s9", {"a": 1}).decode()
    assert {"s9": entry} == waiter.wait(seen, 5)


def test_a_silent_server_is_reported(
    client: Any, waiter: StreamWaiter, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = streams(MANY)
    assert {} == waiter.wait(seen, 0.01)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with monkeypatch.context() as patch, pytest.raises(redis.TimeoutError):
            patch.setattr(waiter._reads, "_grace", -59.5)  # type: ignore[attr-defined]
            for _ in range(20):
                assert {} == waiter.wait(seen, 0.1)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    entry = client.xadd("s9", {"a": 1}).decode()
    assert {"s9": entry} == waiter.wait(seen, 5)


def test_streams_put_at_the_end_change_no_group_but_the_last() -> None:
    before, after = in_groups(streams(MANY - 3)), in_groups(streams(MANY + 3))
    assert {k: after[k] for k in list(before)[:-1]} == {k: before[k] for k in list(before)[:-1]}
    assert [GROUP] * 5 + [3] == [len(group) for group in after.values()]


def test_there_are_never_more_groups_than_a_worker_may_have_connections() -> None:
    for count in (GROUP * MAX_GROUPS, GROUP * MAX_GROUPS + 1, 10_000):
        groups = in_groups(streams(count))
        assert len(groups) <= MAX_GROUPS
        assert streams(count) == {k: v for group in groups.values() for k, v in group.items()}


def test_closing_frees_the_selector(client: Any) -> None:
    reads = BlockingReads(1000, 1.0)
    assert {} == reads.wait({0: {"stream": "0-0"}}, lambda _: client, 0)
    selector = reads._selector
    assert selector is not None
    reads.close()
    assert selector.get_map() is None

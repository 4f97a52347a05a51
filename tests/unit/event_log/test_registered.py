"""Given ids on Redis: from coroutines, on a cluster, and with a server that refuses commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac import EventBus, LogFull
from celeriac.event import new_event_id
from celeriac.event_log import EntryKind, time_ms
from celeriac.event_log.registered import MAX_EVENTS, is_plain, runs
from celeriac.settings import Settings
from celeriac.store.redis.event_log import RedisEventLog, redis_event_log
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.repetitions import RESOLVE_IDS
from celeriac.testing.server import start_server
from tests.contract.test_registered import event

MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN
MakeBus = Callable[..., EventBus]


@pytest.fixture(params=["redis", "cluster"])
def make_bus(request: pytest.FixtureRequest, namespace: str) -> MakeBus:
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = request.getfixturevalue("redis_cluster").url
    return lambda **given: EventBus(
        service="billing", redis_url=url, namespace=namespace, emit_timeout=5, **given
    )


def kinds(bus: EventBus) -> list[EntryKind]:
    return [entry.kind for entry in bus.service.backend.event_log.read("order")]


def test_coroutines_append_a_given_id_once(make_bus: MakeBus) -> None:
    bus = make_bus()

    async def emit() -> None:
        for _ in range(2):
            await bus.aemit("order.placed", id="a")
            event = bus.event("order.placed", id="b")
            await bus.aemit_many([event, ("order.placed", 1), event, ("payment.made", 2)])
        await asyncio.gather(*(bus.aemit("order.placed", id=f"c{n % 3}") for n in range(9)))
        await bus.aclose()

    asyncio.run(emit())
    assert [GIVEN, GIVEN, MADE, MADE, GIVEN, GIVEN, GIVEN] == kinds(bus)


def test_coroutines_delay_a_given_id_once(make_bus: MakeBus) -> None:
    bus = make_bus()

    async def emit() -> None:
        for n in range(2):
            await bus.aemit("order.placed", n, id="a", delay=0)
        await bus.aclose()

    asyncio.run(emit())
    assert (1, None) == bus.service.backend.event_log.enqueue_due("order")
    assert [GIVEN] == kinds(bus)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["emit", "aemit"])
def test_the_bound_holds_for_given_ids(make_bus: MakeBus, asynchronous: bool) -> None:
    bus = make_bus(max_backlog=20, log_full="raise")
    bus.service.backend.event_log.join("order", "billing.charge", "0")
    events = [bus.event("order.placed", n) for n in range(100)]

    async def emit() -> None:
        try:
            await bus.aemit_many(events)
        finally:
            await bus.aclose()

    with pytest.raises(LogFull) as caught:
        asyncio.run(emit()) if asynchronous else bus.emit_many(events)
    assert 20 == caught.value.emitted == len(kinds(bus))
    with pytest.raises(LogFull):
        bus.emit("order.placed", id="a")
    bus.service.backend.event_log.leave("order", "billing.charge")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with start_server(tmp_path, appendonly=False) as server:
        yield server.url


@pytest.mark.parametrize("asynchronous", [False, True], ids=["emit", "aemit"])
def test_what_a_server_without_memory_refuses_is_not_registered(
    server: str, asynchronous: bool
) -> None:
    bus = EventBus(service="billing", redis_url=server, emit_timeout=5)
    client: Any = redis.Redis.from_url(server)
    bus.emit("order.placed", id="a")
    client.config_set("maxmemory", 1)

    async def emit() -> None:
        try:
            await bus.aemit_many([bus.event("order.placed", id=id) for id in "bc"])
        finally:
            await bus.aclose()

    def emit_all() -> None:
        if asynchronous:
            asyncio.run(emit())
        else:
            bus.emit("order.placed", id="b")

    with pytest.raises(LogFull):
        emit_all()
    keys = Keys()
    assert 1 == client.xlen(keys.events("order"))
    assert 2 == client.hlen(keys.ids("order")[0])
    client.config_set("maxmemory", 0)
    emit_all()
    assert len(kinds(bus)) == client.hlen(keys.ids("order")[0]) - 1 == (3 if asynchronous else 2)


def test_a_server_that_forgot_its_scripts_appends_in_order(make_bus: MakeBus) -> None:
    bus = make_bus()
    client: Any = bus.service.backend.event_log.client  # type: ignore[attr-defined]
    bus.emit("order.placed", id="a")
    client.script_flush()
    bus.emit("order.placed", id="b")
    client.script_flush()
    bus.emit_many([bus.event("order.placed", id="c"), ("order.placed", 1), ("order.placed", 2)])

    async def emit() -> None:
        client.script_flush()
        await bus.aemit("order.placed", id="d")
        await bus.aclose()

    asyncio.run(emit())
    assert [GIVEN, GIVEN, GIVEN, MADE, MADE, GIVEN] == kinds(bus)


@pytest.mark.parametrize("name", ["ids", "older", "ambiguous"])
def test_a_key_of_another_type_stops_nothing(settings: Settings, name: str) -> None:
    event_log = redis_event_log(settings)
    ids, older = event_log.keys.ids("order")
    key = {"ids": ids, "older": older, "ambiguous": event_log.keys.ambiguous("order")}[name]
    event_log.client.lpush(key, "x")
    body = event(new_event_id())
    entries = {event_log.append("order", body, MADE, time_ms()) for _ in range(2)}
    assert 1 == len(entries) == event_log.length("order")
    event_log.client.hset(ids, "", "\xff")
    event_log.append("order", event("b"), GIVEN)
    assert entries == {event_log.append("order", body, GIVEN)}


def test_an_expired_registry_leaves_nothing(settings: Settings) -> None:
    event_log: RedisEventLog = redis_event_log(settings)
    event_log.append("order", event("a"), MADE, time_ms())
    window_ms = int(settings.dedup_window * 1000)
    for key in (event_log.keys.ids("order")[0], event_log.keys.ambiguous("order")):
        assert 2 * window_ms - 60_000 < event_log.client.pttl(key) <= 2 * window_ms + 3_600_000


def test_intervals_that_are_close_are_one_and_their_number_is_bounded(settings: Settings) -> None:
    event_log = redis_event_log(settings)
    now = time_ms()
    hour = 3_600_000
    for age in (0, 30_000, 600_000):
        event_log.append("order", event(new_event_id()), MADE, now - age)
    [interval] = event_log.client.get(event_log.keys.ambiguous("order")).decode().split()
    first, last = map(int, interval.split(":"))
    assert -5000 <= first - (now - 600_000 - 1000) <= 5000 and 0 <= last - now - hour <= 5000
    times = " ".join(f"{now - n * hour}:{now - n * hour}" for n in range(40, 20, -1))
    event_log.client.set(event_log.keys.ambiguous("order"), times)
    event_log.append("order", event("a"), MADE, now)
    intervals = event_log.client.get(event_log.keys.ambiguous("order")).decode().split()
    assert 16 == len(intervals)
    first, last = map(int, intervals[0].split(":"))
    assert (now - 40 * hour, now - 35 * hour) == (first, last)


def test_a_value_is_resolved_only_while_it_is_what_was_read(settings: Settings) -> None:
    event_log = redis_event_log(settings)
    ids, older = event_log.keys.ids("order")
    event_log.client.hset(ids, mapping={"a": "2-0?1:", "b": "9-0"})
    event_log.client.hset(older, "a", "2-0?1:")
    words = ("a", "2-0?1:", "1-0", "b", "2-0?1:", "1-0", "c", "2-0?1:", "1-0")
    assert 2 == RESOLVE_IDS.on_keys(event_log.client, (ids, older), *words)
    assert {b"a": b"1-0", b"b": b"9-0"} == event_log.client.hgetall(ids)
    assert {b"a": b"1-0"} == event_log.client.hgetall(older)


def test_commands_are_bounded_and_keep_the_order() -> None:
    def item(n: int, kind: EntryKind) -> Any:
        return "order", b"%d" % n, kind, 0

    items = [item(n, MADE) for n in range(2)] + [item(n, GIVEN) for n in range(2, 203)]
    items += [item(203, FOREIGN)]
    found = list(runs(items))
    assert [1, 1, MAX_EVENTS, MAX_EVENTS, 1, 1] == [len(run) for run in found]
    assert items == [one for run in found for one in run]
    assert is_plain(items[:2]) and not is_plain(items)

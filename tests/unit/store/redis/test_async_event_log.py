"""The event log for coroutines, on one server and on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.exceptions import ResponseError

from celeriac.errors import LogFull
from celeriac.event import build_event, encode
from celeriac.event_log import EntryKind, Item
from celeriac.settings import Settings
from celeriac.store.redis.async_event_log import AsyncRedisEventLog, async_redis_event_log
from celeriac.store.redis.event_log import RedisEventLog, redis_event_log

AT = datetime(2030, 1, 1, tzinfo=UTC)
MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN
Use = Callable[[AsyncRedisEventLog], Awaitable[Any]]
Run = Callable[..., Any]


@pytest.fixture(params=["redis", "cluster"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "redis":
        return settings
    return replace(settings, redis_url=request.getfixturevalue("redis_cluster").url)


@pytest.fixture
def reader(settings: Settings) -> RedisEventLog:
    """Reads what was appended, without coroutines."""
    return redis_event_log(settings)


@pytest.fixture
def run(settings: Settings) -> Run:
    """Runs a coroutine with an event log, with these settings."""

    def run(use: Use, **given: Any) -> Any:
        async def use_and_close() -> Any:
            event_log = async_redis_event_log(replace(settings, **given))
            try:
                return await use(event_log)
            finally:
                await event_log.close()

        return asyncio.run(use_and_close())

    return run


def event(id: str) -> bytes:
    return encode(build_event("order.placed", None, id=id, source="shop", time=AT))


def stored(reader: RedisEventLog) -> list[tuple[bytes | None, EntryKind]]:
    return [(entry.body, entry.kind) for entry in reader.read("order")]


def registered(reader: RedisEventLog) -> int:
    """The number of ids; one more is the mark of the generation."""
    return int(reader.client.hlen(reader.keys.ids("order")[0]))


@pytest.mark.parametrize("kind", [MADE, FOREIGN, EntryKind.REDRIVEN])
def test_an_event_without_a_given_id_is_appended_each_time_and_not_registered(
    run: Run, reader: RedisEventLog, kind: EntryKind
) -> None:
    async def append(event_log: AsyncRedisEventLog) -> None:
        for _ in range(2):
            await event_log.append("order", event("a"), kind)

    run(append)
    assert [(event("a"), kind)] * 2 == stored(reader)
    assert 0 == registered(reader)


def test_by_default_an_event_is_that_of_a_foreign_producer(run: Run, reader: RedisEventLog) -> None:
    run(lambda event_log: event_log.append("order", event("a")))
    assert [(event("a"), FOREIGN)] == stored(reader)


def test_a_given_id_enters_the_log_once_if_the_server_forgot_the_script(
    run: Run, reader: RedisEventLog
) -> None:
    async def append(event_log: AsyncRedisEventLog) -> None:
        await event_log.append("order", event("a"), GIVEN)

    for _ in range(2):
        run(append)
        reader.client.script_flush()
    assert [(event("a"), GIVEN)] == stored(reader)
    assert 2 == registered(reader)


def test_of_many_that_were_not_all_appended_the_error_has_how_many_were(
    run: Run, reader: RedisEventLog
) -> None:
    reader.client.set(reader.keys.events("odd"), "no stream")
    items: list[Item] = [(name, event("a"), MADE, 0) for name in ("order", "odd", "order")]
    with pytest.raises(ResponseError, match="WRONGTYPE") as raised:
        run(lambda event_log: event_log.append_many(items))
    assert 1 == raised.value.appended  # type: ignore[attr-defined]


BOUNDED = pytest.mark.parametrize("max_backlog", [0, 100])


@BOUNDED
@pytest.mark.parametrize("count", [0, 1, 3])
def test_many_are_appended_in_order(
    run: Run, reader: RedisEventLog, max_backlog: int, count: int
) -> None:
    items: list[Item] = [("order", event(f"e{n}"), MADE, 0) for n in range(count)]
    run(lambda event_log: event_log.append_many(items), max_backlog=max_backlog)
    assert [(event(f"e{n}"), MADE) for n in range(count)] == stored(reader)


class Interrupted(BaseException):
    """As a time limit raises it, without knowledge of what was appended."""


@BOUNDED
def test_an_interruption_has_how_many_were_appended(
    run: Run, reader: RedisEventLog, max_backlog: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.transfer.PORTION_BYTES", 1)
    items: list[Item] = [("order", event(f"e{n}"), MADE, 0) for n in range(3)]

    async def append(event_log: AsyncRedisEventLog) -> None:
        append_portion, portions = event_log._append_portion, iter(range(9))

        async def append_two(items: Any) -> None:
            if next(portions) == 2:
                raise Interrupted
            await append_portion(items)

        monkeypatch.setattr(event_log, "_append_portion", append_two)
        await event_log.append_many(items)

    with pytest.raises(Interrupted) as raised:
        run(append, max_backlog=max_backlog)
    assert 2 == raised.value.appended == len(stored(reader))  # type: ignore[attr-defined]


@pytest.mark.parametrize("max_backlog", [0, 1])
def test_a_refusing_log_does_not_wait_for_handlers(
    run: Run, reader: RedisEventLog, max_backlog: int
) -> None:
    reader.join("order", "billing.charge", "0")
    reader.append("order", event("a"))

    async def append(event_log: AsyncRedisEventLog) -> None:
        await event_log.refusing().append("order", event("b"))
        assert "block" == event_log.settings.log_full

    if not max_backlog:
        run(append)
    else:
        with pytest.raises(LogFull):
            run(append, max_backlog=max_backlog, emit_timeout=60)
    assert 2 - max_backlog == reader.length("order")


def test_the_settings_of_the_bus_are_read(settings: Settings, reader: RedisEventLog) -> None:
    reader.client.hset(reader.keys.config, "max_backlog", "7")

    async def refreshed() -> int:
        event_log = async_redis_event_log(settings, redis_event_log(settings).bus)
        await event_log.refresh()
        max_backlog = event_log.bus.current.max_backlog
        await event_log.close()
        return max_backlog

    assert 7 == asyncio.run(refreshed())

"""Events that are appended in order stay so, whatever Redis refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from celeriac.event_log import EntryKind
from celeriac.event_log.event_log import Item
from celeriac.settings import Settings
from celeriac.store.redis.append_in_order import append_in_order
from celeriac.store.redis.event_log import RedisEventLog, redis_event_log
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.packing import Packing
from celeriac.testing.server import start_server

MADE, GIVEN = EntryKind.MADE, EntryKind.GIVEN


def body(id: str) -> bytes:
    fields = b'"specversion":"1.0","source":"s","type":"order.placed"'
    return b'{%b,"id":"%b","data":"%b"}' % (fields, id.encode(), b"x" * 1000)


def items(kind: EntryKind, *ids: str, domain: str = "order") -> list[Item]:
    return [(domain, body(id), kind, 0) for id in ids]


def in_log(event_log: RedisEventLog, domain: str = "order") -> list[bytes | None]:
    return [entry.body for entry in event_log.read(domain, count=10_000)]


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[RedisEventLog]:
    """A log on a server that refuses and accepts writes in turn, as fast as it can."""
    with start_server(tmp_path, appendonly=False) as server:
        ended = threading.Event()

        def refuse() -> None:
            with redis.Redis.from_url(server.url) as client:
                while not ended.is_set():
                    client.config_set("min-replicas-to-write", 1)
                    client.config_set("min-replicas-to-write", 0)

        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            yield redis_event_log(Settings.load({}, redis_url=server.url), in_order=True)
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("kind", [MADE, GIVEN])
def test_a_refusal_that_ends_within_a_batch_changes_no_order(
    refusing: RedisEventLog, kind: EntryKind
) -> None:
    for number in range(10):
        wanted = items(kind, *(f"{number}-{n}" for n in range(500)), domain=f"d{number}")
        remaining: Sequence[Item] = wanted
        while remaining:
            try:
                refusing.append_many(remaining)
                remaining = ()
            except redis.ResponseError as error:
                remaining = remaining[error.appended :]  # type: ignore[attr-defined]
        assert [item[1] for item in wanted] == in_log(refusing, f"d{number}")


@pytest.fixture(params=["redis_url", "cluster"])
def event_log(request: pytest.FixtureRequest, namespace: str) -> RedisEventLog:
    if request.param == "cluster":
        url = request.getfixturevalue("redis_cluster").url
    else:
        url = request.getfixturevalue("redis_url")
    return redis_event_log(Settings.load({}, redis_url=url, namespace=namespace), in_order=True)


def test_events_of_several_domains_are_appended(event_log: RedisEventLog) -> None:
    order, stock = items(MADE, "1", "2"), items(GIVEN, "3", domain="stock")
    assert 3 == event_log.append_many([*order, *stock])
    assert [item[1] for item in order] == in_log(event_log)
    assert [item[1] for item in stock] == in_log(event_log, "stock")


def test_a_log_of_another_type_is_refused_with_what_came_before(event_log: RedisEventLog) -> None:
    event_log.client.set(event_log.keys.events("stock"), "text")
    order, stock = items(MADE, "1", "2"), items(MADE, "3", domain="stock")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE") as raised:
        event_log.append_many([*order, *stock, *order])
    assert 2 == raised.value.appended  # type: ignore[attr-defined]


class Answering:
    def __init__(self, *answers: Any) -> None:
        self.transact_many: Callable[..., Any] = lambda transactions: list(answers)


@pytest.mark.parametrize(
    ("answers", "appended"),
    [
        ([redis.ResponseError("LOADING"), [b"1-1"]], 0),
        ([[b"1-1", b"1-2"], redis.ResponseError("LOADING")], 2),
        ([[b"1-1", redis.ResponseError("OOM")], [b"1-3"]], 1),
    ],
)
def test_the_first_error_counts_what_was_appended_before(answers: list[Any], appended: int) -> None:
    given = [*items(MADE, "1", "2"), *items(MADE, "3", domain="stock")]
    client: Any = Answering(*answers)
    with pytest.raises(redis.ResponseError) as raised:
        append_in_order(client, Packing(Keys("n")), given, 10)
    assert appended == raised.value.appended  # type: ignore[attr-defined]

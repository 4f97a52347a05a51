"""Which Sentinel names the master, and what is known when none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.sentinel import MasterNotFoundError

from celeriac.redis_url import Node
from celeriac.store.redis import sentinel as module
from celeriac.store.redis.sentinel import (
    QUERY_INTERVAL,
    SENTINEL_WITHIN,
    AsyncMasterWatch,
    open_async_sentinel,
    open_sentinel,
)

MASTER = ("10.0.0.1", 6379)
AWAY = redis.ConnectionError("away")
UNKNOWN = None
Discover = Callable[..., tuple[Any, list[int], list[int]]]


class Answering:
    """A Sentinel that gives the same answer each time."""

    def __init__(self, number: int, answer: Any, asked: list[int]) -> None:
        self.number, self.answer, self.asked = number, answer, asked

    def sentinel_get_master_addr_by_name(self, name: str) -> Any:
        assert name == "mymaster"
        self.asked.append(self.number)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AsyncAnswering(Answering):
    async def sentinel_get_master_addr_by_name(self, name: str) -> Any:
        return super().sentinel_get_master_addr_by_name(name)


@pytest.fixture(params=["threads", "coroutines"])
def discover(request: pytest.FixtureRequest) -> Discover:
    """Ask Sentinels with these answers: the result, the asked ones, and their next order."""

    def discover(*answers: Any) -> tuple[Any, list[int], list[int]]:
        asked: list[int] = []
        sentinels: Any
        if request.param == "threads":
            sentinels = module._Sentinels((), {})
            sentinels.sentinels = [Answering(n, a, asked) for n, a in enumerate(answers)]
            found = sentinels.discover_master("mymaster")
        else:
            sentinels = module._AsyncSentinels((), {})
            sentinels.sentinels = [AsyncAnswering(n, a, asked) for n, a in enumerate(answers)]
            found = asyncio.run(sentinels.discover_master("mymaster"))
        return found, asked, [one.number for one in sentinels.sentinels]

    return discover


@pytest.mark.parametrize(
    ("answers", "asked", "following"),
    [
        ([MASTER, MASTER, MASTER], [0], [0, 1, 2]),
        ([AWAY, MASTER, MASTER], [0, 1], [1, 0, 2]),
        ([UNKNOWN, AWAY, MASTER], [0, 1, 2], [2, 0, 1]),
    ],
)
def test_the_first_that_names_the_master_is_asked_first_next_time(
    discover: Discover, answers: list[Any], asked: list[int], following: list[int]
) -> None:
    assert (MASTER, asked, following) == discover(*answers)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([UNKNOWN, UNKNOWN], r"\(they answer, but monitor no master of that name\)"),
        ([AWAY, UNKNOWN], r"\(away\)"),
        ([AWAY, redis.ConnectionError("refused")], r"\(away; refused\)"),
    ],
)
def test_the_error_has_what_each_sentinel_answered(
    discover: Discover, answers: list[Any], reason: str
) -> None:
    with pytest.raises(MasterNotFoundError, match=f"'mymaster' {reason}. Check CELERIAC_REDIS_URL"):
        discover(*answers)


@pytest.mark.parametrize("opened", [open_sentinel, open_async_sentinel])
@pytest.mark.parametrize(("timeout", "within"), [(0.25, 0.25), (9.0, SENTINEL_WITHIN)])
def test_a_sentinel_has_little_time_to_answer(
    opened: Callable[..., Any], timeout: float, within: float
) -> None:
    base = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    client = opened("redis+sentinel://a:1,b:2/mymaster/3", base)
    pool = client.connection_pool
    nodes: list[Node] = []
    for one in pool.sentinel_manager.sentinels:
        options = one.connection_pool.connection_kwargs
        nodes.append((options["host"], options["port"]))
        assert (within, within) == (options["socket_timeout"], options["socket_connect_timeout"])
    assert [("a", 1), ("b", 2)] == nodes
    assert (timeout, 3) == (pool.connection_kwargs["socket_timeout"], pool.connection_kwargs["db"])


class Pool:
    """Counts how often the Sentinels are asked, who may be unreachable."""

    def __init__(self, error: Exception | None) -> None:
        self.asked, self.error = 0, error

    async def get_master_address(self) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return MASTER


@pytest.mark.parametrize("error", [None, AWAY])
def test_the_sentinels_are_asked_at_an_interval(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    times, pool = [100.0], Pool(error)
    monkeypatch.setattr("time.monotonic", lambda: times[-1])
    client: Any = type("Client", (), {"connection_pool": pool})
    watch, asked = AsyncMasterWatch(), []
    for passed in (0.0, QUERY_INTERVAL - 0.1, 0.2, QUERY_INTERVAL - 0.1, 0.2):
        times.append(times[-1] + passed)
        coroutine = watch.check(client)
        with pytest.raises(StopIteration):
            coroutine.send(None)
        asked.append(pool.asked)
    assert [0, 0, 1, 1, 2] == asked


class Unconnectable:
    """An idle connection whose server is gone."""

    is_closed = False

    def connect(self) -> None:
        raise AWAY

    def disconnect(self) -> None:
        self.is_closed = True


def test_a_connection_without_a_server_is_kept_closed() -> None:
    base = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    client, idle = open_sentinel("redis+sentinel://a:1/mymaster", base), Unconnectable()
    client._release(idle)
    with pytest.raises(redis.ConnectionError):
        client.ping()
    assert idle.is_closed
    assert [idle] == [connection for connection, _ in client._idle]

"""A coroutine may be cancelled at any of its steps, on a connection and without one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis

from celeriac import EventBus, NoReply
from celeriac.store.redis.cancelled_sending import NoticesCancellation
from celeriac.store.redis.client import ClosesUnlessConnected
from celeriac.store.redis.cluster.async_client import AsyncClusterClient
from celeriac.store.redis.cluster.client import ClusterClient
from celeriac.store.redis.connection import open_async_client, open_client

STEPS = range(60)


async def cancel_repeatedly(task: asyncio.Task[Any]) -> None:
    """Cancel the task in each turn of the loop until it ends."""
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


async def is_cancelled_at(step: int, call: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Start the call, cancel it after that many turns of the loop, and return whether it ended."""
    task = asyncio.create_task(call())
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    ended = task.done()
    task.cancel()
    return ended and task.cancelled()


def pools(url: str, open: Callable[..., Any]) -> list[Any]:
    """Return the pools of a client: its own, and those of its nodes or Sentinels."""
    client = open(url, answer_within=1)
    if isinstance(client, (ClusterClient, AsyncClusterClient)):
        return [client.node(("127.0.0.1", 1)).connection_pool]
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    sentinels = manager.sentinels if manager else ()
    return [client.connection_pool, *(sentinel.connection_pool for sentinel in sentinels)]


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "unix:///none.sock",
     "redis+cluster://127.0.0.1:1", "rediss+cluster://127.0.0.1:1",
     "redis+sentinel://127.0.0.1:1/shop", "rediss+sentinel://127.0.0.1:1/shop"],
)  # fmt: skip
def test_the_connections_of_all_urls_are_protected(url: str) -> None:
    for pool in pools(url, open_client):
        assert isinstance(pool.make_connection(), ClosesUnlessConnected)
    for pool in pools(url, open_async_client):
        is_noticing = isinstance(pool.make_connection(), NoticesCancellation)
        assert is_noticing == (sys.version_info < (3, 12))


@pytest.mark.parametrize("connected", [True, False])
def test_a_blocking_command_ends(redis_url: str, connected: bool) -> None:
    async def main() -> list[int]:
        client = open_async_client(redis_url, answer_within=1)
        blocking = ("XREAD", "BLOCK", 60_000, "STREAMS", "nothing", "0")
        ignored = []
        for step in STEPS:
            if not connected:
                await client.connection_pool.disconnect()
            if not await is_cancelled_at(step, lambda: client.execute_command(*blocking)):
                ignored.append(step)
            assert await client.execute_command("ECHO", f"{step}") == b"%d" % step
        await client.aclose()
        return ignored

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("connected", [True, False])
def test_a_request_ends_and_leaves_no_mailbox(
    redis_url: str, namespace: str, connected: bool
) -> None:
    bus = EventBus(service="shop", redis_url=redis_url, namespace=namespace)

    async def main() -> list[int]:
        ignored = []
        for step in STEPS:
            if not connected:
                await bus.aclose()
            if not await is_cancelled_at(step, lambda: bus.arequest("price.asked", timeout=60)):
                ignored.append(step)
        await bus.aclose()
        return ignored

    assert asyncio.run(main()) == []
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(f"{namespace}:{{reply:*")) == []


def test_a_request_that_is_cancelled_again_and_again_leaves_no_mailbox(
    redis_url: str, namespace: str
) -> None:
    """As by a cancel scope of anyio."""
    bus = EventBus(service="shop", redis_url=redis_url, namespace=namespace)

    async def main() -> None:
        # Counted for sure: a busy server may see none of those that are cancelled.
        with pytest.raises(NoReply):
            await bus.arequest("price.asked", timeout=0.05)
        for step in STEPS:
            request = asyncio.create_task(bus.arequest("price.asked", timeout=60))
            for _ in range(step):
                await asyncio.sleep(0)
            await cancel_repeatedly(request)
        while len(asyncio.all_tasks()) > 1:  # those that clean up
            await asyncio.sleep(0)
        await bus.aclose()

    asyncio.run(main())
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(f"{namespace}:{{reply:*")) == []
    stats = bus.service.backend.replies.stats()["price.asked"]
    assert stats.pending == 0

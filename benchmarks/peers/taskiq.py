"""taskiq with its Redis stream broker, which acknowledges."""

from __future__ import annotations

from typing import Any

from taskiq_redis import RedisStreamBroker

from benchmarks.payload import ORDER
from benchmarks.peers import work

broker = RedisStreamBroker(work.URL)


@broker.task
async def handle(data: dict[str, Any]) -> None:
    work.handle(data)


async def ready() -> None:
    await broker.startup()


async def emit(data: dict[str, Any]) -> None:
    await handle.kiq(data)


async def fill(events: int) -> None:
    for _ in range(events):
        await handle.kiq(ORDER)

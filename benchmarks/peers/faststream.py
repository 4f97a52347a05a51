"""FastStream on Redis streams, one consumer group a service; BENCH_BATCH for its batch handler."""

from __future__ import annotations

import os
from typing import Any

import redis.asyncio
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks.payload import ORDER
from benchmarks.peers import work

LIST_BATCH = 100
BATCH = int(os.environ.get("BENCH_BATCH", "0"))

# Without a logger: its line per message would cost more than the message.
broker = RedisBroker(work.URL, logger=None)
app = FastStream(broker, logger=None)
client: Any = redis.asyncio.Redis.from_url(work.URL)
consumer = f"{work.SERVICE}-{os.getpid()}"

if BATCH:

    @broker.subscriber(
        stream=StreamSub(
            "orders", group=work.SERVICE, consumer=consumer, batch=True, max_records=BATCH
        )
    )
    async def handle_batch(events: list[dict[str, Any]]) -> None:
        work.handle_many(events)

else:

    @broker.subscriber(stream=StreamSub("orders", group=work.SERVICE, consumer=consumer))
    async def handle(data: dict[str, Any]) -> None:
        work.handle(data)


async def ready() -> None:
    await broker.connect()


async def emit(data: dict[str, Any]) -> None:
    await broker.publish(data, stream="orders")


async def fill(events: int) -> None:
    # Pipelined, because a worker that is stopped for long times out and drops its messages.
    for start in range(0, events, LIST_BATCH):
        async with client.pipeline(transaction=False) as pipeline:
            for _ in range(min(LIST_BATCH, events - start)):
                await broker.publish(ORDER, stream="orders", pipeline=pipeline)
            await pipeline.execute()


async def bulk(events: int) -> None:
    """Its fastest way in: a list, a hundred at a time."""
    for _ in range(events // LIST_BATCH):
        await broker.publish_batch(*[ORDER] * LIST_BATCH, list="orders-list")

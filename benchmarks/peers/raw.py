"""redis-py and nothing else: the limit."""

from __future__ import annotations

import os
from typing import Any

import redis

from benchmarks.payload import BODY
from benchmarks.peers.work import URL

PIPELINE = int(os.environ.get("BENCH_PIPELINE", "500"))
client: Any = redis.Redis.from_url(URL)


def emit(data: object) -> None:
    client.xadd("raw", {"event": BODY})


def bulk(events: int) -> None:
    for start in range(0, events, PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(PIPELINE, events - start)):
            pipeline.xadd("raw", {"event": BODY})
        pipeline.execute()


fill = bulk

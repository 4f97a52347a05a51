"""Services that reply to requests, and a Celery task that makes one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import redis

from celeriac import Event, EventBus, Reply

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app
SERVICE = os.environ["CELERIAC_SERVICE"]


@bus.on("price.asked")
async def quote(event: Event[dict[str, Any]]) -> Reply:
    return Reply({"service": SERVICE, "n": event.data["n"]})


@bus.on("report.asked", backoff=0.1)
def build(event: Event[dict[str, Any]]) -> Reply:
    """Dies in its first run, and takes its time in the next."""
    if effects.hincrby("runs", event.id, 1) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(event.data["seconds"])
    return Reply("built")


@app.task(name="ask")  # type: ignore[untyped-decorator,unused-ignore]
def ask(n: int) -> None:
    effects.rpush("answers", bus.request("price.asked", {"n": n}, timeout=20).data["n"])


@app.task(name="ask_in_coroutine")  # type: ignore[untyped-decorator,unused-ignore]
def ask_in_coroutine(n: int) -> None:
    async def asked() -> int:
        try:
            reply = await bus.arequest("price.asked", {"n": n}, timeout=20)
        finally:
            await bus.aclose()
        return int(reply.data["n"])

    effects.rpush("answers", asyncio.run(asked()))

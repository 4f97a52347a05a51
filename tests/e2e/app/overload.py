"""Handlers under overload: slow, fast, limited, frail, and with a large backlog."""

from __future__ import annotations

import os
import time
from typing import Any

import redis

from celeriac import Breaker, Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app
SERVICE = bus.settings.service


@bus.on("quick.#")
def quick(event: Event[dict[str, Any]]) -> None:
    """How long the event was under way, in seconds."""
    effects.rpush(f"latency:{SERVICE}", time.time() - event.data["sent"])


@bus.on("bulk.#")
def bulk(event: Event[Any]) -> None:
    pass


@bus.on("rated.#", rate_limit="20/s")
def rated(event: Event[Any]) -> None:
    seconds, micros = effects.time()
    effects.rpush("rated", f"{seconds + micros / 1e6}")
    effects.sadd("rated by", os.getppid())


@bus.on("few.#", concurrency=2)
def few(event: Event[Any]) -> None:
    effects.rpush("few", effects.incr("few now"))
    time.sleep(0.1)
    effects.decr("few now")


@bus.on(
    "frail.#", retries=2, backoff=0.05, breaker=Breaker(failures=3, window=30, recovery_timeout=1.0)
)
def frail(event: Event[Any]) -> None:
    effects.rpush(f"effects:{SERVICE}.frail", event.id)
    if not effects.exists("mended"):
        raise ConnectionError("the gateway is down")


if SERVICE == "billing":

    @bus.on("slow.#")
    def slow(event: Event[Any]) -> None:
        effects.rpush(f"effects:{SERVICE}.slow", event.id)
        worker = os.getppid()
        effects.rpush("slow at once", effects.incr(f"slow in {worker}"))
        time.sleep(5)
        effects.decr(f"slow in {worker}")

    @bus.on("turning.#")
    def turning(event: Event[Any]) -> None:
        """Fast, until what it depends on hangs."""
        effects.rpush(f"effects:{SERVICE}.turning", event.id)
        if effects.exists("hangs"):
            time.sleep(3)

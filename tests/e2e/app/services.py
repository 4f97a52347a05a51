"""What the end-to-end tests start as `CELERIAC_SERVICE=billing celery -A services worker`.

Every handler writes what it did into a list of Redis, apart from the bus, so that tests count
effects and not what the delivery store has of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import redis

from celeriac import Event, EventBus, Reject, Retry

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app
SERVICE = bus.settings.service


def record(handler: str, event: Event[Any]) -> int:
    """Writes the effect and returns how often this handler has now run on this event."""
    effects.rpush(f"effects:{SERVICE}.{handler}", event.id)
    return int(effects.hincrby(f"runs:{SERVICE}.{handler}", event.id, 1))


@bus.on("order.placed")
def note(event: Event[dict[str, Any]]) -> None:
    record("note", event)


@bus.on("order.placed", when=lambda event: event.data["n"] % 10 == 0)
async def anote(event: Event[dict[str, Any]]) -> None:
    record("anote", event)


@bus.on("order.flaky", retries=3, backoff=0.1)
def flaky(event: Event[dict[str, Any]]) -> None:
    if record("flaky", event) <= event.data["failures"]:
        raise ConnectionError("the gateway is down")


@bus.on("order.broken", retries=1, backoff=0.1)
def broken(event: Event[Any]) -> None:
    record("broken", event)
    if not effects.exists("mended"):
        raise ValueError("never works")


@bus.on("order.mixed", retries=1, backoff=0.1)
def mixed(event: Event[dict[str, Any]]) -> None:
    """Some of a chunk fail; their neighbours must not run again."""
    record("mixed", event)
    if event.data["n"] % 25 == 3:
        raise ValueError("every 25th fails")


@bus.on("order.asked", retries=3)
def asks(event: Event[Any]) -> None:
    if record("asks", event) == 1:
        raise Retry(after=0.05)
    raise Reject("not wanted")


@bus.on("metric.#", batch=50)
def store(events: list[Event[Any]]) -> None:
    for event in events:
        record("store", event)


@bus.on("step.*", ordered=True, retries=3, backoff=0.05)
def step(event: Event[dict[str, Any]]) -> None:
    runs = record("step", event)
    if event.data["n"] == 2 and runs == 1:
        raise ConnectionError("once")
    effects.rpush(f"order:{event.subject}", event.data["n"])


@bus.on("chain.first")
def chain(event: Event[Any]) -> None:
    record("chain", event)
    bus.emit("chain.second", {"from": event.id})


@bus.on("chain.second")
async def chained(event: Event[dict[str, Any]]) -> None:
    record("chained", event)
    assert event.causationid == event.data["from"]
    await bus.aemit("chain.third", {})


@bus.on("chain.third")
def chained_again(event: Event[Any]) -> None:
    record("chained_again", event)


@bus.on("crash.kill", retries=1, backoff=0.05)
def deadly(event: Event[Any]) -> None:
    record("deadly", event)
    os.kill(os.getpid(), signal.SIGKILL)


@bus.on("crash.exit", retries=0)
def exits(event: Event[Any]) -> None:
    record("exits", event)
    sys.exit(3)


@bus.on("crash.hang", retries=0, time_limit=1.0)
def hangs(event: Event[Any]) -> None:
    record("hangs", event)
    time.sleep(60)


@bus.on("slow.#")
def slow(event: Event[dict[str, Any]]) -> None:
    record("slow_started", event)
    time.sleep(event.data["seconds"])
    record("slow", event)


@bus.on("work.#")
def work(event: Event[Any]) -> None:
    time.sleep(0.001)
    record("work", event)

"""Handlers that limit the events of each tenant."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import redis

from celeriac import Debounce, Event, EventBus, PerKey

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
# Longer than a test that emits may be interrupted on a loaded machine.
QUIET = 2.0

bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app


@bus.on("report.asked", key="data.tenant", concurrency=PerKey(2), retries=3, backoff=0.02)
def build(event: Event[dict[str, Any]]) -> None:
    tenant = event.data["tenant"]
    effects.rpush(f"at once:{tenant}", effects.incr(f"now:{tenant}"))
    try:
        time.sleep(0.01)
        if event.data["n"] % 10 == 7 and effects.hincrby("tries", event.id, 1) == 1:
            raise ConnectionError("once")
        effects.rpush("effects:billing.build", event.id)
    finally:
        effects.decr(f"now:{tenant}")


@bus.on("sms.asked", key="data.tenant", rate_limit=PerKey("10/s"))
def send(event: Event[dict[str, Any]]) -> None:
    effects.rpush(f"sent:{event.data['tenant']}", repr(time.time()))
    effects.rpush("effects:billing.send", event.id)


@bus.on("row.read", key="data.tenant", fair=True)
def load(event: Event[dict[str, Any]]) -> None:
    time.sleep(0.001)
    effects.rpush("effects:billing.load", event.id)


@bus.on("doc.changed", debounce=Debounce(quiet=QUIET, max_wait=20))
def index(event: Event[dict[str, Any]]) -> None:
    effects.rpush("effects:billing.index", event.id)


@bus.on("price.seen", debounce=Debounce(quiet=QUIET, max_wait=20, keep="all"))
def average(events: list[Event[dict[str, Any]]]) -> None:
    effects.rpush("lists", json.dumps([event.id for event in events]))

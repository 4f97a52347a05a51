"""A service that is scaled: `CELERIAC_SERVICE=billing celery -A scaling worker`."""

from __future__ import annotations

import os
import time
from typing import Any

import redis

from celeriac import Event, EventBus, Retry

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app
RETRY_AFTER = 8.0


def record(handler: str, event: Event[Any]) -> int:
    """Write the effect; return how often this handler has now run on this event."""
    effects.rpush(f"effects:billing.{handler}", event.id)
    return int(effects.hincrby(f"runs:billing.{handler}", event.id, 1))


@bus.on("work.#")
def work(event: Event[Any]) -> None:
    time.sleep(0.05)
    record("work", event)


@bus.on("later.#")
def later(event: Event[Any]) -> None:
    if record("later", event) == 1:
        raise Retry(after=RETRY_AFTER)

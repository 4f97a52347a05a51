"""A broadcast handler for each worker, one for each pool process, and a durable handler, which
BROADCASTS_ONLY omits."""

from __future__ import annotations

import os
from typing import Any

import redis

from celeriac import Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app


@bus.on("cache.invalidated", broadcast=True)
def forget(event: Event[Any]) -> None:
    effects.rpush(f"worker:{os.getpid()}", event.data)


@bus.on("cache.invalidated", broadcast="process")
def forget_here(event: Event[Any]) -> None:
    effects.rpush(f"process:{os.getpid()}", event.data)


if "BROADCASTS_ONLY" not in os.environ:

    @bus.on("cache.invalidated")
    def note(event: Event[Any]) -> None:
        effects.rpush("effects:billing.note", event.data)

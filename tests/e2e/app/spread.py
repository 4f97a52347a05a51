"""A service that reads many domains, so those of every node of a cluster."""

from __future__ import annotations

import os
from typing import Any

import redis

from celeriac import Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

bus = EventBus(lease=float(os.environ.get("LEASE", "3")), emit_timeout=15)
app = bus.app


@bus.on("*.happened")
def note(event: Event[dict[str, Any]]) -> None:
    effects.rpush("effects:billing.note", event.id)
    if event.data.get("follow"):
        bus.emit("follower.happened", {}, id=f"{event.id}.follower")


@bus.on("*.failed", retries=3, backoff=0.05)
def repeat(event: Event[dict[str, Any]]) -> None:
    effects.rpush("effects:billing.repeat", event.id)
    if effects.hincrby("runs:repeat", event.id, 1) == 1:
        raise ConnectionError("once")

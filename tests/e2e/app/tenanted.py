"""A chain of events that belong to tenants; `TENANTS` are those of the handler `call`."""

from __future__ import annotations

import os
import time
from typing import Any

import redis

from celeriac import Event, EventBus, PerKey

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app


@bus.on("order.placed")
def accept(event: Event[dict[str, Any]]) -> None:
    bus.emit("parcel.packed", event.data)
    effects.rpush("effects:billing.accept", event.id)


@bus.on("parcel.packed")
def ship(event: Event[dict[str, Any]]) -> None:
    bus.emit("parcel.sent", event.data, id=f"{event.data['order']}.sent")
    effects.rpush("effects:billing.ship", event.id)


@bus.on("parcel.sent", tenants=os.environ["TENANTS"].split(","))
def call(event: Event[dict[str, Any]]) -> None:
    effects.rpush(f"called:{event.tenant}", event.id)
    effects.rpush("effects:billing.call", event.id)


@bus.on("report.asked", key="tenant", concurrency=PerKey(2))
def build(event: Event[Any]) -> None:
    effects.rpush(f"at once:{event.tenant}", effects.incr(f"now:{event.tenant}"))
    time.sleep(0.01)
    effects.decr(f"now:{event.tenant}")
    effects.rpush("effects:billing.build", event.id)

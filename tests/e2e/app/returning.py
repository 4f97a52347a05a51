"""A handler that returns events, in a process that dies between their emit and its completion."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import redis

from celeriac import Emit, Event, EventBus, Middleware, current_event

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)


class DiesOnce(Middleware):
    """Kills the process when the first event of a delivery was appended, at its first run."""

    def after_emit(self, event: Event[Any]) -> None:
        cause = current_event()
        if cause is not None and cause.data["dies"] and effects.hincrby("died", cause.id, 1) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


bus = EventBus(lease=float(os.environ.get("LEASE", "3")), middleware=[DiesOnce()])
app = bus.app


@bus.on("order.placed")
def split(event: Event[dict[str, Any]]) -> Iterator[Emit]:
    effects.rpush("effects:billing.split", event.id)
    for line in range(3):
        yield Emit("parcel.asked", {"order": event.id, "line": line})
    yield Emit("order.reminded", {"order": event.id}, delay=0.2)


@bus.on("parcel.asked")
def pack(event: Event[dict[str, Any]]) -> None:
    effects.rpush("parcels", f"{event.data['order']}/{event.data['line']}")


@bus.on("order.reminded")
def remind(event: Event[dict[str, Any]]) -> None:
    effects.rpush("reminded", event.data["order"])

"""Handlers that run one event until all others have run."""

from __future__ import annotations

import os
import time
from typing import Any

import redis

from celeriac import Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app


def note(handler: str, event: Event[dict[str, Any]]) -> None:
    effects.rpush(f"effects:{handler}", event.id)
    deadline = time.monotonic() + 60
    while event.data.get("others", 0) >= effects.llen(f"effects:{handler}"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{handler}: {effects.llen(f'effects:{handler}')} events began")
        time.sleep(0.01)


@bus.on("order.placed", retries=0)
def bill(event: Event[dict[str, Any]]) -> None:
    note("billing.bill", event)


@bus.on("order.placed", retries=0, ordered=True)
def ship(event: Event[dict[str, Any]]) -> None:
    note("billing.ship", event)

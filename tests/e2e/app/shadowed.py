"""A task that is moved to a handler. `charge` fails for order 3, and order 4 is held."""

from __future__ import annotations

import os
import time
from typing import Any

import redis
from celery import Celery

from celeriac import Event, EventBus
from celeriac.shadow import is_moved, shadow

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

REDIS = os.environ["CELERIAC_REDIS_URL"]
app = Celery("billing", broker=REDIS, backend=REDIS.removesuffix("/0") + "/2")
bus = EventBus(app, service="billing", lease=float(os.environ["LEASE"]))


@app.task  # type: ignore[untyped-decorator]
def charge(order: int) -> None:
    if is_moved(charge):
        return
    while order == 4 and not effects.exists("let go"):
        time.sleep(0.02)
    if order == 3:
        raise ValueError("card 4111 declined")
    effects.rpush("charged by task", order)


shadow(
    bus,
    charge,
    "charge.requested",
    data=lambda order: {"order": order},
    subject=lambda order: f"order/{order}",
    moved=float(os.environ.get("CHARGE_MOVED", "0")),
)


@bus.on("charge.requested")
def charge_card(event: Event[dict[str, Any]]) -> None:
    effects.rpush(
        "charged by handler" if is_moved(event) else "compared by handler", event.data["order"]
    )

"""The next version of `existing`: its handler subscribes to one type more."""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery

from celeriac import Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

app = Celery("legacy", broker=os.environ["CELERIAC_REDIS_URL"])
bus = EventBus(app, service="billing")


@bus.on("order.placed", "order.amended")
def note(event: Event[Any]) -> None:
    effects.rpush("effects:billing.note", event.id)
    effects.incr("amended")

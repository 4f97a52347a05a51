"""An ordinary Celery app with a task of its own, on which a bus was put later."""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery

from celeriac import Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

app = Celery("legacy", broker=os.environ["CELERIAC_REDIS_URL"])
app.conf.update(task_acks_late=True, task_default_queue="legacy")


@app.task(name="legacy.add")  # type: ignore[untyped-decorator]
def add(a: int, b: int) -> None:
    effects.rpush("added", a + b)


bus = EventBus(app, service="billing")


@bus.on("order.placed")
def note(event: Event[Any]) -> None:
    effects.rpush("effects:billing.note", event.id)

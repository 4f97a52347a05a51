"""A Celery app as its owner has configured it, with one handler. See test_settings.py."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

import kombu
import redis
from celery import Celery, Task

import celeriac
from celeriac import Event, EventBus

SERVICE = os.environ["CELERIAC_SERVICE"]
effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)


class Retrying(Task):  # type: ignore[misc]
    """What apps use as `task_cls`."""

    autoretry_for = (Exception,)
    max_retries = 0
    acks_late = True
    rate_limit = "1/h"
    time_limit = 1
    ignore_result = False


app = Celery(SERVICE, broker=os.environ["BROKER_URL"])
names = {"app": app, "celeriac": celeriac, "kombu": kombu, "Retrying": Retrying}
exec(
    os.environ["CONFIGURATION"],
    {**names, "__name__": "own", "SERVICE": SERVICE, "URL": os.environ["BROKER_URL"]},
)


@app.task(name=f"{SERVICE}.beaten")  # type: ignore[untyped-decorator]
def beaten() -> None:
    effects.incr(f"beaten:{SERVICE}")


bus = EventBus(app)


@bus.on(f"{SERVICE}.happened", backoff=0.2)
def handle(event: Event[Any]) -> None:
    """Fails once if the event has `fails`, and takes as long as in the event."""
    if event.data["fails"] and effects.incr(f"failed:{event.id}") == 1:
        raise ValueError("once")
    assert event.time is not None and abs(datetime.now(UTC) - event.time).total_seconds() < 60
    time.sleep(event.data["seconds"])
    effects.rpush(f"effects:{SERVICE}", json.dumps([event.id, event.data["text"]]))

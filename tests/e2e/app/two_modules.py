"""One service whose two modules each make its bus, on one app."""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery

from celeriac import Event, EventBus

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)

app = Celery("shop", broker=os.environ["CELERIAC_REDIS_URL"])


@EventBus(app, service="billing").on("order.placed")
def charge(event: Event[Any]) -> None:
    effects.rpush("effects:billing.charge", event.id)


@EventBus(app, service="billing").on("order.placed")
def mail(event: Event[Any]) -> None:
    effects.rpush("effects:billing.mail", event.id)

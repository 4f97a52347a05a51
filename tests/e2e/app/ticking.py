"""Schedules: one that emits a thousand missed ticks, and one that ticks each second."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import redis

from celeriac import Event, EventBus, Middleware

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)


class Slow(Middleware):
    """Gives other dispatchers time to see the same tick, and the test time to kill this one."""

    def before_emit(self, event: Event[Any]) -> Event[Any]:
        time.sleep(random.uniform(0, 0.02))
        return event


bus = EventBus(lease=float(os.environ.get("LEASE", "3")), middleware=[Slow()])
app = bus.app

if os.environ["CELERIAC_SERVICE"] == "clock":
    bus.schedule("tick.missed", every=60, missed="all")
else:
    bus.schedule("second.passed", every=1, missed="all")

    @bus.on("second.passed")
    def note(event: Event[Any]) -> None:
        effects.rpush("seconds", event.id)

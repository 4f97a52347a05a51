"""A handler of what the gateway receives, and a gateway that can be killed after its emit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import redis

from celeriac import Event, EventBus, Middleware


class KilledOnce(Middleware):
    """Kills its process after the first emit, before the reply: as long as the file exists."""

    def after_emit(self, event: Event[Any]) -> None:
        kill = Path(os.environ.get("KILL", "/nowhere"))
        if kill.exists():
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


bus = EventBus(
    service="billing", lease=float(os.environ.get("LEASE", "3")), middleware=[KilledOnce()]
)
app = bus.app
effects = redis.Redis.from_url(os.environ["EFFECTS_URL"])


@bus.on("parcel.*", "stripe.#", retries=0)
def note(event: Event[Any]) -> None:
    effects.rpush("effects:billing.note", event.id)

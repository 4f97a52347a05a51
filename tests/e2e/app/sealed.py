"""A service that reads cards: it writes what it saw into a file, since Redis must not have it."""

from __future__ import annotations

import os
from typing import Any

from celeriac import Event, EventBus

bus = EventBus(lease=2.0)
app = bus.app
SEEN = os.path.join(os.environ["SEEN"], bus.settings.service)


@bus.on("order.paid", retries=1, backoff=0.05)
def charge(event: Event[dict[str, Any]]) -> None:
    with open(SEEN, "a") as file:
        file.write(f"{event.id} {event.data['card']}\n")
    if event.id == "declined":
        raise ValueError(f"{event.data['card']} was declined")

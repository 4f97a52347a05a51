"""Two services, each with a Redis user of its own: orders emits, billing reads and answers."""

from __future__ import annotations

import os
from typing import Any

from celeriac import Event, EventBus

bus = EventBus(lease=2.0)
app = bus.app
SERVICE = bus.settings.service

if SERVICE == "billing":

    @bus.on("order.placed", retries=1, backoff=0.1, rate_limit="500/s")
    def charge(event: Event[dict[str, Any]]) -> None:
        bus.emit("payment.captured", {"n": event.data["n"]}, id=f"{event.id}.paid", delay=0.1)
        if event.data["n"] == 3:
            raise ValueError("declined")

    @bus.on("order.placed", ordered=True)
    def handlers(event: Event[dict[str, Any]]) -> None: ...


if SERVICE == "orders":

    @bus.on("payment.*")
    def ship(event: Event[Any]) -> None:
        with open(os.environ["SHIPPED"], "a") as file:
            file.write(f"{event.id}\n")

"""Found by `celeriac.contrib.django`, since it is named so."""

from __future__ import annotations

from typing import Any

from mysite import bus

from celeriac import Event
from celeriac.inbox import DjangoInbox
from shop.models import Effect

ONCE = {"inbox": DjangoInbox(), "retries": 200, "backoff": 0.05, "max_backoff": 0.5}


@bus.on("order.placed", **ONCE)
def charge(event: Event[Any]) -> None:
    """Its event follows if and only if its effect is there."""
    Effect.objects.create(handler="charge", event_id=event.id)
    bus.emit("payment.captured", {"of": event.id})


@bus.on("payment.captured", **ONCE)
def thank(event: Event[Any]) -> None:
    Effect.objects.create(handler="thank", event_id=event.data["of"])

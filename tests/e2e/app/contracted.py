"""A reader of `order.placed`, whose code is of the version that the environment names."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import redis

from celeriac import Event, EventBus
from celeriac.contract import contract, upcast

effects = redis.Redis.from_url(os.environ["EFFECTS_URL"], decode_responses=True)
bus = EventBus(service="billing", lease=float(os.environ["LEASE"]))
app = bus.app
CODE = os.environ.get("CONTRACT_CODE", "old")


def charge(event: Event[Any]) -> None:
    effects.rpush("effects:billing.charge", msgspec.json.encode(event.data))


def subscribe(field: str, version: int) -> None:
    """Read `order.placed` as a model with one field."""
    model: Any = msgspec.defstruct("Charge", [(field, int)], module=__name__)
    contract("order.placed", version=version)(model)
    charge.__annotations__["event"] = Event[model]
    bus.on("order.placed")(charge)


if CODE == "new":
    upcast("order.placed", 1)(lambda data: {"amount": data["cents"]})
subscribe("cents" if CODE == "old" else "amount", 2 if CODE == "new" else 1)

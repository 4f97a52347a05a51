"""celeriac: BENCH_HANDLERS handlers, each of its own type where there are BENCH_TYPES of those."""

from __future__ import annotations

import itertools
import os
from typing import Any

from benchmarks.payload import ORDER
from benchmarks.peers import work
from benchmarks.peers.celeriac_parts import forget_rows, signing
from celeriac import Event, EventBus
from celeriac.dispatcher.groups import join

HANDLERS = int(os.environ.get("BENCH_HANDLERS", "1"))
TYPES = int(os.environ.get("BENCH_TYPES", "1"))
DOMAINS = int(os.environ.get("BENCH_DOMAINS", "1"))
BATCH = int(os.environ.get("BENCH_BATCH", "0"))

if "BENCH_NO_MATRIX" in os.environ:
    forget_rows()

# Everything but the service is as a user has it who sets nothing.
bus = EventBus(service=work.SERVICE, redis_url=work.URL, **signing())
app = bus.app

if TYPES == 1:
    types = ["order.placed"]
else:
    types = [f"domain{number % DOMAINS}.type{number}" for number in range(TYPES)]


def handle(event: Event[dict[str, Any]]) -> None:
    work.handle(event.data)


def handle_batch(events: list[Event[dict[str, Any]]]) -> None:
    work.handle_many(events)


for number in range(HANDLERS):
    subscribe = bus.on(
        types[number % TYPES], name=f"handle_{number}", batch=BATCH or None, start="beginning"
    )
    subscribe(handle_batch if BATCH else handle)

_next = itertools.cycle(types)


def emit(data: dict[str, Any]) -> None:
    bus.emit(next(_next), data)


def bulk(events: int) -> None:
    bus.emit_many((next(_next), ORDER) for _ in range(events))


fill = bulk


async def async_one(events: int) -> None:
    for _ in range(events):
        await bus.aemit("order.placed", ORDER)


async def async_bulk(events: int) -> None:
    await bus.aemit_many(("order.placed", ORDER) for _ in range(events))


def subscribe_all() -> None:
    """Every handler gets its groups, as when its worker starts, without a worker."""
    join(bus.service.backend, bus.service.handlers.values(), ())

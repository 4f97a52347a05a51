"""Explaining one event of a large log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks.bench import Bench
from benchmarks.measurement import Candidate, Sample, TakeSample
from benchmarks.payload import ORDER
from celeriac import Event, EventBus
from celeriac.dispatcher.groups import join
from celeriac.event import unpublished_event_id
from celeriac.explain import BusReader, explain, gather, gather_unfound
from celeriac.store.factory import redis_backend
from celeriac.tracking import EventNotFound, Matrix

HANDLERS = 3
LOOKUPS = 5  # in a sample
LEASE_MS = 30_000


@contextmanager
def explained(bench: Bench, candidate: Candidate, url: str) -> Iterator[TakeSample]:
    """ms to explain the oldest event by its given id, and an id that no event has.

    Each lookup has a connection of its own, as a command has. The unknown id has a time, so that
    every search is made.
    """
    bus = EventBus(service="billing", redis_url=url)
    for number in range(HANDLERS):
        bus.on("order.placed", name=f"handle_{number}", start="beginning")(handle)
    join(bus.service.backend, bus.service.handlers.values(), ())
    events = candidate.events or 1_000_000
    bus.emit_many({"type": "order.placed", "data": ORDER, "id": f"{n}"} for n in range(events))

    def lookup_ms(event_id: str) -> float:
        started = time.perf_counter()
        backend = redis_backend(bus.settings)
        reading = BusReader(backend, lease_ms=LEASE_MS)
        try:
            every = gather(reading, Matrix(backend).find(event_id), reading.names)
        except EventNotFound as error:
            every = gather_unfound(reading, event_id, reading.names, is_partial=error.is_partial)
        if HANDLERS != len([explain(facts) for facts in every]):
            raise RuntimeError(f"{len(every)} of {HANDLERS} handlers were explained")
        return (time.perf_counter() - started) * 1000

    def take_sample() -> Sample:
        return {
            "ms": median(lookup_ms("0") for _ in range(LOOKUPS)),
            "unknown ms": median(lookup_ms(unpublished_event_id()) for _ in range(LOOKUPS)),
        }

    yield take_sample


def handle(event: Event) -> None: ...

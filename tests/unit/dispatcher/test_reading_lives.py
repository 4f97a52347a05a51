"""Two workers of a service with many handlers on Redis, in random lives: each has what it wants.

Delivery tasks are lost, dispatchers crash with all their state, one worker has older code, events
are addressed to some, groups are set back. Each seed is one life, the same each time but for when
what happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest

from celeriac import Event, EventBus
from celeriac.dispatcher import Chunk, Dispatcher, domain_reading
from celeriac.registry import WorkerRecord
from celeriac.settings import Settings
from tests.unit.delivery_task import run_task

HANDLERS, TYPES, STEPS = 9, 14, 120


class Life:
    def __init__(self, settings: Settings, seed: int) -> None:
        self.random = Random(seed)
        self.settings = settings
        self.runs: list[tuple[str, str]] = []
        self.emitted = 0
        self.set_back: set[str] = set()  # these run all of it again
        self.wanted: set[tuple[str, str]] = set()
        # What only newer code wants, the newer worker must see registered first.
        self.workers = [self.worker("old", newer=False), self.worker("new", newer=True)]
        self.emitter = EventBus(
            source="test", redis_url=settings.redis_url, namespace=settings.namespace
        )

    def worker(self, name: str, *, newer: bool) -> tuple[EventBus, Dispatcher, list[Chunk]]:
        bus = EventBus(
            service="billing", redis_url=self.settings.redis_url, lease=0.5,
            namespace=self.settings.namespace,
        )  # fmt: skip
        bus.service.worker = f"{name}{self.random.random()}"
        for number in range(HANDLERS):
            patterns = [f"order.t{number}"]
            if newer and number == 0:
                patterns.append(f"order.t{TYPES - 1}")
            bus.on(*patterns, name=f"h{number}", ordered=number == 1)(self.noting(number))
        bus.on("order.#", name="all")(self.noting("all"))
        sent: list[Chunk] = []
        record = WorkerRecord(
            name=bus.service.worker, service="billing", hostname="h", pid=1, pool="solo",
            processes=1, queues=("billing",), version="0",
        )  # fmt: skip
        made = Dispatcher(bus.service, sent.append, processes=1, describe=lambda: record)
        made.run_once()
        return bus, made, sent

    def noting(self, name: int | str) -> Callable[[Event], None]:
        def handle(event: Event) -> None:
            self.runs.append((f"{name}", event.id))

        return handle

    def emit(self) -> None:
        self.emitted += 1
        kind, names = self.random.randrange(TYPES), [f"{n}" for n in range(HANDLERS)]
        meant = {"all", *(f"{kind}" for _ in range(kind < HANDLERS))}
        if kind == TYPES - 1:
            meant.add("0")
        chosen: list[str] = []
        if self.random.random() < 0.1:
            chosen = self.random.sample(names, 3)
            meant &= set(chosen)
        id = self.emitter.emit(
            f"order.t{kind}",
            id=f"e{self.emitted}",
            handlers=[f"billing.h{name}" for name in chosen],
        )
        self.wanted |= {(name, id) for name in meant}

    def run_once(self, which: int) -> None:
        bus, dispatcher, sent = self.workers[which]
        dispatcher.run_once(dispatcher._wait(0.0))
        for chunk in sent:
            if self.random.random() > 0.1:  # else it is lost
                run_task(bus.service, chunk)
        sent.clear()

    def step(self) -> None:
        for _ in range(self.random.choice([0, 1, 1, 2, 12, 40])):
            self.emit()
        which = self.random.randrange(2)
        if which == 1 and self.random.random() < 0.02:
            # Not the older: the code that started last is the newest.
            self.workers[which] = self.worker("again", newer=True)
        self.run_once(which)
        if self.random.random() < 0.01:
            keys = self.emitter.service.backend.event_log.keys  # type: ignore[attr-defined]
            client = self.emitter.service.backend.event_log.client  # type: ignore[attr-defined]
            name = f"billing.h{self.random.randrange(2, HANDLERS)}"
            client.xgroup_setid(keys.events("order"), name, "0-0")
            self.set_back.add(name.partition(".h")[2])

    def left(self) -> dict[str, tuple[int, int | None]]:
        groups = self.emitter.service.backend.event_log.groups("order")
        return {g.handler: (g.pending, g.lag) for g in groups if g.pending or g.lag != 0}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", [domain_reading.PAGE, 4])
@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_each_has_what_it_wants_and_no_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int, page: int
) -> None:
    monkeypatch.setattr(domain_reading, "PAGE", page)  # with 4, more is there than is read at once
    life = Life(settings, seed)
    for _ in range(STEPS):
        life.step()
    deadline = time.monotonic() + 100
    while life.left():
        assert time.monotonic() < deadline, life.left()
        life.run_once(1)  # the older code is gone by then
        time.sleep(0.005)
    assert life.wanted == set(life.runs)
    once = [run for run in life.runs if run[0] not in life.set_back]
    assert len(once) == len(set(once))

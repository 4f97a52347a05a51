"""A process with two timers and undo events, and the handler that feeds it.

Every instance emits `effect.requested` and `effect.paid`. Those with an even number complete after
`effect.sent`. The others are aborted by a timer, and emit `effect.unpaid` and `effect.unrequested`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine

from celeriac import Event, EventBus
from celeriac.process import Process, create_processes, on, reminded, starts
from devtools.faults.apps.handlers import SERVICE, store, work
from devtools.faults.inboxed import write_effect

ACCOUNTS, SALE = f"{SERVICE}.accounts", f"{SERVICE}.sale"
LATE = 1.5  # seconds
COMPLETES = ("effect.requested", "effect.paid", "effect.sent")
ABORTS = ("effect.requested", "effect.paid", "effect.unpaid", "effect.unrequested")


@dataclass
class SaleState:
    steps: int = 0


def completes(key: str) -> bool:
    """Return whether the instance of the key completes. The others are aborted."""
    return int(key[:5]) % 2 == 0


def effects_of(key: str) -> Iterator[tuple[str, str]]:
    """Yield the effects of an instance, each once, as deliveries of the accounts."""
    for type in COMPLETES if completes(key) else ABORTS:
        yield ACCOUNTS, f"{type}/{key}"


def subscribe(bus: EventBus, engine: Engine) -> None:
    """Register the process and the accounts, and create their tables."""
    create_processes(engine)

    class Sale(Process[SaleState], inbox=engine):
        @starts("flow.begun")
        def begun(self, event: Event[Any]) -> None:
            run = self.began(event)
            self.emit("effect.requested", undo="effect.unrequested")
            self.remind("forgotten", after=LATE)
            store().ended(run)

        @on("flow.paid")
        def paid(self, event: Event[Any]) -> None:
            run = self.began(event)
            self.forget("forgotten")
            self.emit("effect.paid", undo="effect.unpaid")
            if not completes(self.key):
                self.remind("late", after=LATE)
            store().ended(run)

        @on("flow.sent")
        def sent(self, event: Event[Any]) -> None:
            run = self.began(event)
            self.emit("effect.sent")
            self.complete()
            store().ended(run)

        @reminded("late")
        def late(self) -> None:
            self.abort("late")

        @reminded("forgotten")
        def forgotten(self) -> None:
            # It may expire before `paid`. After that, it must not.
            self.emit("effect.fired")

        def began(self, event: Event[Any]) -> int:
            run = store().began(SALE, f"{event.type}/{self.key}")
            work()
            self.state.steps += 1
            return run

    bus.process(Sale, retries=60, backoff=0.2, max_backoff=0.5)

    @bus.on("effect.*", name="accounts", inbox=engine, retries=60, backoff=0.2, max_backoff=0.5)
    def accounts(event: Event[Any], connection: Connection) -> None:
        key = str(event.subject)
        run = store().began(ACCOUNTS, f"{event.type}/{key}")
        work()
        write_effect(connection, ACCOUNTS, f"{event.type}/{key}")
        after = {"effect.requested": "flow.paid", "effect.paid": "flow.sent"}.get(event.type)
        if after == "flow.paid" or (after and completes(key)):
            bus.emit(after, subject=key, id=f"{after}-{key}", session=connection)
        store().ended(run)

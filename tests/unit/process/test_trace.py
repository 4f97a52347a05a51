"""The instances of processes in a tree of causes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from celeriac import Event, EventBus
from celeriac.delivery import DeliveryState
from celeriac.dispatcher.groups import join
from celeriac.event import encode
from celeriac.event_log import EntryKind
from celeriac.outbox.database import open_database
from celeriac.process import create_processes, trace
from celeriac.process.query import history
from celeriac.process.trace import TracedInstance, traced_instances
from celeriac.testing.store import Store
from celeriac.tracking import Cause, Tree
from celeriac.tracking.cell import Cell
from tests.unit.process.shop import fulfilment

HANDLER = "billing.fulfilment"


def cause(bus: EventBus, store: Store, event: Event[Any], *handlers: str) -> Cause:
    entry = store.event_log.append(event.domain, encode(event), EntryKind.MADE)
    return Cause(
        id=event.id,
        key=event.id,
        type=event.type,
        domain=event.domain,
        entry=entry,
        cells=cells(*handlers),
    )


def cells(*handlers: str) -> tuple[Cell, ...]:
    return tuple(
        Cell(handler=each, service="billing", state=DeliveryState.PROCESSED) for each in handlers
    )


@pytest.fixture
def registered(bus: EventBus, store: Store, tmp_path: Path) -> str:
    """The address of a database with a process, which is registered."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    engine = create_engine(url, poolclass=NullPool)
    create_processes(engine)
    bus.process(fulfilment(engine))
    store.event_log.register_domains(["order"])

    @bus.on("order.placed")
    def other(event: Event) -> None: ...

    join(store.backend, list(bus.service.handlers.values()), frozenset({"order"}))
    return url


def test_instances_have_their_status_and_each_is_read_once(
    bus: EventBus, store: Store, registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = bus.event("order.placed", {"cents": 1}, subject="42", id="e1")
    receiver = bus.service.handlers[HANDLER].receiver
    assert receiver is not None
    receiver(placed)
    tree = Tree(
        nodes=(
            cause(bus, store, placed, HANDLER, "billing.other"),
            cause(bus, store, bus.event("order.seen", subject="42", id="e2"), HANDLER),
            cause(bus, store, bus.event("order.seen", subject="43", id="e3"), HANDLER),
            cause(bus, store, bus.event("order.seen", id="e4"), HANDLER),
            cause(bus, store, bus.event("order.seen", subject="42", id="e5"), "billing.other"),
            Cause(
                id="e6", key="e6", type="order.seen", domain="order",
                cells=cells(HANDLER),
            ),
        )
    )  # fmt: skip
    read: list[str] = []

    def counting(database: Any, handler: str, key: str) -> Any:
        read.append(key)
        return history(database, handler, key)

    monkeypatch.setattr(trace, "history", counting)
    database = open_database(registered)
    assert [
        TracedInstance(event="e1", handler=HANDLER, key="42", status="open"),
        TracedInstance(event="e2", handler=HANDLER, key="42", status="open"),
        TracedInstance(event="e3", handler=HANDLER, key="43", status=""),
    ] == traced_instances(store.backend, tree, database)
    assert ["42", "43"] == read
    database.close()
    without = traced_instances(store.backend, tree, None)
    assert [("42", ""), ("42", ""), ("43", "")] == [(each.key, each.status) for each in without]
    assert ["42", "43"] == read


def test_an_event_that_is_no_longer_in_the_log_has_no_instance(
    bus: EventBus, store: Store, registered: str
) -> None:
    node = cause(bus, store, bus.event("order.seen", subject="42"), HANDLER)
    trimmed = replace(node, entry="1-1")
    assert [] == traced_instances(store.backend, Tree(nodes=(trimmed,)), None)
    assert 1 == len(traced_instances(store.backend, Tree(nodes=(node,)), None))


def test_without_processes_no_event_is_read(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = cause(bus, store, bus.event("order.seen", subject="42"), HANDLER)
    monkeypatch.setattr(store.event_log, "read", None)
    assert [] == traced_instances(store.backend, Tree(nodes=(node,)), None)

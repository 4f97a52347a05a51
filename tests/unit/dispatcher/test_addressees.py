"""Whom new entries concern, over a log in memory."""

from __future__ import annotations

import pytest

from celeriac import Event, EventBus
from celeriac.dispatcher.addressees import CROWD, MOST_READ, Addressees
from celeriac.ledger import Lane
from celeriac.subscription import Handler
from celeriac.testing.store import Store

Lanes = dict[Lane, Handler]


@pytest.fixture
def lanes(bus: EventBus, store: Store) -> Lanes:
    """A handler for each of the types `order.t0` …, and one more for all of them."""

    def handle(event: Event) -> None: ...

    for number in range(CROWD):
        bus.on(f"order.t{number}", name=f"h{number}")(handle)
    bus.on("order.#", name="all")(handle)
    return {handler.lane("order"): handler for handler in bus.service.handlers.values()}


@pytest.fixture
def addressees(bus: EventBus, store: Store, lanes: Lanes) -> Addressees:
    made = Addressees()
    made.of(store.log, "order", "0-0", lanes)
    return made


def names(lanes: list[Lane]) -> list[str]:
    return [lane.handler.partition(".")[2] for lane in lanes]


def test_at_first_everybody_is_asked_for(store: Store, lanes: Lanes) -> None:
    assert list(lanes) == Addressees().of(store.log, "order", "0-0", lanes)


def test_only_who_wants_something_new_is_asked_for(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    bus.emit("order.t1")
    assert ["h1", "all"] == names(addressees.of(store.log, "order", "9-0", lanes))
    bus.emit("order.t2")
    bus.emit("order.t0")
    assert ["h0", "h2", "all"] == names(addressees.of(store.log, "order", "9-0", lanes))
    assert [] == addressees.of(store.log, "order", "9-0", lanes)


def test_whom_an_event_does_not_name_it_does_not_concern(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    bus.emit("order.t1", handlers=["billing.all"])
    assert ["all"] == names(addressees.of(store.log, "order", "9-0", lanes))


def test_few_lanes_are_asked_for_without_reading(
    store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    few = dict(list(lanes.items())[: CROWD - 1])
    assert list(few) == addressees.of(store.log, "order", "9-0", few)


def test_what_is_no_event_concerns_everybody(
    store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    with store.log.silence():
        store.log.append("order", b"no event")
    assert list(lanes) == addressees.of(store.log, "order", "9-0", lanes)


def test_a_flood_concerns_everybody(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    bus.emit_many(("order.t0", None) for _ in range(MOST_READ))
    newest = store.log.read("order", newest_first=True)[0].id
    assert list(lanes) == addressees.of(store.log, "order", newest, lanes)
    bus.emit("order.t1")
    assert ["h1", "all"] == names(addressees.of(store.log, "order", newest, lanes))


def test_another_handler_is_seen_when_the_types_are_forgotten(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    bus.emit("order.t1")
    addressees.of(store.log, "order", "9-0", lanes)
    later = bus.on("order.t1", name="later")
    later(lambda event: None)
    handler = bus.service.handlers["billing.later"]
    addressees.forget_types()
    bus.emit("order.t1")
    more = {**lanes, handler.lane("order"): handler}
    assert ["h1", "all", "later"] == names(addressees.of(store.log, "order", "9-0", more))

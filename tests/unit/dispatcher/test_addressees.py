"""Whom new entries concern, over a log in memory."""

from __future__ import annotations

import pytest

from celeriac import Event, EventBus
from celeriac.dispatcher.addressees import FIRST, MOST_PAGES, MOST_WANTED, PAGE, Addressees
from celeriac.ledger import Lane
from celeriac.subscription import Handler
from celeriac.testing.store import Store

Lanes = dict[Lane, Handler]
ORDER = ["h0", "h1", "h2", "h3", "all", "later"]


@pytest.fixture
def lanes(bus: EventBus, store: Store) -> Lanes:
    """A handler for each of the types `order.t0` …, and one more for all of them."""

    def handle(event: Event) -> None: ...

    for number in range(4):
        bus.on(f"order.t{number}", name=f"h{number}")(handle)
    bus.on("order.#", name="all")(handle)
    return {handler.lane("order"): handler for handler in bus.service.handlers.values()}


@pytest.fixture
def addressees(bus: EventBus, store: Store, lanes: Lanes) -> Addressees:
    made = Addressees()
    made.of(store.log, "order", "0-0", lanes)
    return made


def names(lanes: list[Lane]) -> list[str]:
    return sorted((lane.handler.partition(".")[2] for lane in lanes), key=ORDER.index)


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


def test_what_is_no_event_concerns_everybody(
    store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    with store.log.silence():
        store.log.append("order", b"no event")
    assert list(lanes) == addressees.of(store.log, "order", "9-0", lanes)


def test_a_flood_concerns_everybody(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    bus.emit_many(("order.t0", None) for _ in range(PAGE * MOST_PAGES))
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
    addressees.forget()
    bus.emit("order.t1")
    more = {**lanes, handler.lane("order"): handler}
    assert ["h1", "all", "later"] == names(addressees.of(store.log, "order", "9-0", more))


# -- what each lane may be moved past


@pytest.fixture
def lane(lanes: Lanes) -> Lane:
    return next(lane for lane in lanes if lane.handler == "billing.h0")


def stretch(addressees: Addressees, lanes: Lanes, lane: Lane) -> tuple[str, str]:
    unwanted = addressees.unwanted(lane, lanes[lane])
    assert ("order.t0",) == unwanted.patterns
    return unwanted.after, unwanted.upto


def emitted(store: Store, addressees: Addressees, lanes: Lanes, *types: str) -> list[str]:
    """The entries, which were read."""
    entries: list[str] = []
    for kind in types:
        body = b'{"specversion":"1.0","id":"%d","source":"s","type":"order.%b"}'
        with store.log.silence():
            entries.append(store.log.append("order", body % (len(entries), kind.encode())))
    addressees.of(store.log, "order", "9-0", lanes)
    return entries


def test_of_a_domain_that_nobody_read_it_is_moved_past_nothing(lanes: Lanes, lane: Lane) -> None:
    assert (FIRST, FIRST) == stretch(Addressees(), lanes, lane)


def test_all_that_was_read_if_it_wants_none_of_it(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t1", "t2")
    assert (FIRST, entries[1]) == stretch(addressees, lanes, lane)
    assert not addressees.waits(lane)


def test_no_further_than_what_it_wants(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t1", "t2", "t0", "t3", "t0")
    assert (FIRST, entries[1]) == stretch(addressees, lanes, lane)
    assert addressees.waits(lane)
    addressees.given(lane, entries[2:3], all_there=False)
    assert (entries[2], entries[3]) == stretch(addressees, lanes, lane)
    addressees.given(lane, entries[4:], all_there=False)
    assert (entries[4], entries[4]) == stretch(addressees, lanes, lane)
    assert not addressees.waits(lane)


def test_nothing_if_what_it_wants_was_the_first(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    emitted(store, addressees, lanes, "t0", "t1")
    assert (FIRST, FIRST) == stretch(addressees, lanes, lane)


def test_what_others_were_given_of_its_group_is_known_when_nothing_is_left(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t0", "t1", "t0")
    addressees.given(lane, [], all_there=False)
    assert addressees.waits(lane)
    addressees.given(lane, [], all_there=True)
    assert not addressees.waits(lane)
    assert entries[2] == stretch(addressees, lanes, lane)[0]


def test_of_one_that_is_not_asked_for_little_is_remembered(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, *["t0"] * MOST_WANTED, "t0", "t1")
    assert (entries[MOST_WANTED], entries[-1]) == stretch(addressees, lanes, lane)


def test_what_is_no_event_is_wanted_by_all(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    with store.log.silence():
        first = store.log.append("order", b"no event")
    addressees.of(store.log, "order", "9-0", lanes)
    assert addressees.waits(lane)
    assert (FIRST, FIRST) == stretch(addressees, lanes, lane)
    addressees.given(lane, [first], all_there=True)
    assert (first, first) == stretch(addressees, lanes, lane)


def test_of_what_a_flood_hid_nothing_is_said(
    bus: EventBus, store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    bus.emit_many(("order.t0", None) for _ in range(PAGE * MOST_PAGES + 1))
    newest = store.log.read("order", newest_first=True)[0].id
    addressees.of(store.log, "order", newest, lanes)
    assert (newest, newest) == stretch(addressees, lanes, lane)


def test_where_lanes_came_or_went_it_begins_anew(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t0", "t1")
    addressees.forget()
    assert (entries[1], entries[1]) == stretch(addressees, lanes, lane)

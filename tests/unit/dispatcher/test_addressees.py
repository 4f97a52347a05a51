"""Whom new entries concern, over a log in memory."""

from __future__ import annotations

import pytest

from celeriac import Event, EventBus
from celeriac.dispatcher.addressees import (
    FIRST,
    MOST_PAGES,
    MOST_WANTED,
    PAGE,
    PAGES_BEHIND,
    Addressees,
)
from celeriac.ledger import Ask, Lane
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


def test_a_flood_is_read_a_few_pages_at_a_time(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    bus.emit_many(("order.t0", None) for _ in range(PAGE * MOST_PAGES))
    bus.emit("order.t1")
    assert ["h0", "all"] == names(addressees.of(store.log, "order", "9-0", lanes))
    assert addressees.is_behind("order", lanes)
    assert ["h1", "all"] == names(addressees.of(store.log, "order", "9-0", lanes))
    assert not addressees.is_behind("order", lanes)


def test_no_more_is_read_while_everybody_has_something_to_take(
    bus: EventBus, store: Store, lanes: Lanes, addressees: Addressees
) -> None:
    types = ["order.t0", "order.t1", "order.t2", "order.t3"]
    bus.emit_many((types[n % 4], None) for n in range(PAGE * MOST_PAGES + 4))
    addressees.of(store.log, "order", "9-0", lanes)
    assert not addressees.is_behind("order", lanes)
    assert [] == addressees.of(store.log, "order", "9-0", lanes)


def test_in_a_backlog_it_is_read_from_where_the_foremost_lane_stands(
    bus: EventBus, store: Store, lanes: Lanes, lane: Lane
) -> None:
    bus.emit_many((f"order.t{n % 4}", None) for n in range(40))
    entries = [entry.id for entry in store.log.read("order", count=40)]
    addressees = Addressees()
    addressees.given(lane, None, entries[:10], all_there=False)
    assert addressees.is_behind("order", lanes)
    addressees.of(store.log, "order", "9-0", lanes)
    found = addressees.stretch(lane, lanes[lane], 3)
    assert (entries[9], entries[23]) == (found.after, found.upto)
    assert [entries[12], entries[16], entries[20]] == [entry for entry, _ in found.wanted]


def test_what_everybody_was_given_is_not_read(
    bus: EventBus, store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    bus.emit_many(("order.t0", None) for _ in range(PAGE * (MOST_PAGES + PAGES_BEHIND + 1)))
    entries = [entry.id for entry in store.log.read("order", count=100_000)]
    addressees.of(store.log, "order", "9-0", lanes)
    for one in lanes:
        addressees.given(one, None, entries[-3:-1], all_there=False)
    addressees.of(store.log, "order", "9-0", lanes)
    found = addressees.stretch(lane, lanes[lane], 3)
    assert (entries[-2], entries[-2]) == (found.after, found.upto)
    assert addressees.waits(lane)


def test_who_was_given_more_than_was_read_may_be_rung_for(
    bus: EventBus, store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    bus.emit_many(("order.t1", None) for _ in range(PAGE * 10))
    newest = store.log.read("order", newest_first=True)[0].id
    addressees.of(store.log, "order", newest, lanes)
    addressees.given(lane, None, [newest], all_there=False)
    assert "h0" in names(addressees.of(store.log, "order", newest, lanes))


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
    found = addressees.stretch(lane, lanes[lane])
    assert (("order.t0",), ()) == (found.patterns, found.wanted)
    return found.after, found.upto


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
    addressees.given(lane, None, entries[2:3], all_there=False)
    assert (entries[2], entries[3]) == stretch(addressees, lanes, lane)
    addressees.given(lane, None, entries[4:], all_there=False)
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
    addressees.given(lane, None, [], all_there=False)
    assert addressees.waits(lane)
    addressees.given(lane, None, [], all_there=True)
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
    addressees.given(lane, None, [first], all_there=True)
    assert (first, first) == stretch(addressees, lanes, lane)


def test_where_lanes_came_or_went_it_begins_anew(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t0", "t1")
    addressees.forget()
    assert (entries[1], entries[1]) == stretch(addressees, lanes, lane)


# -- what it is given by name


def test_a_handler_that_wants_few_of_them_is_given_these_by_name(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t1", "t0", "t2", "t3", "t0", "t2", "t1", "t2")
    found = addressees.stretch(lane, lanes[lane], 10)
    assert (FIRST, entries[7]) == (found.after, found.upto)
    assert ((entries[1], None), (entries[4], None)) == found.wanted
    fewer = addressees.stretch(lane, lanes[lane], 1)
    assert (entries[3], ((entries[1], None),)) == (fewer.upto, fewer.wanted)


def test_one_that_wants_most_of_them_is_given_all(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    entries = emitted(store, addressees, lanes, "t1", "t0", "t0", "t1", "t0")
    found = addressees.stretch(lane, lanes[lane], 10)
    assert (entries[0], ()) == (found.upto, found.wanted)


def test_when_all_that_was_named_was_given_no_more_waits(
    store: Store, lanes: Lanes, lane: Lane, addressees: Addressees
) -> None:
    emitted(store, addressees, lanes, "t1", "t0", "t2", "t3", "t0", "t2", "t1", "t2")
    some = addressees.stretch(lane, lanes[lane], 1)
    addressees.given(lane, some, [], all_there=True)  # another worker has it
    assert addressees.waits(lane)
    rest = addressees.stretch(lane, lanes[lane], 1)
    addressees.given(lane, rest, [], all_there=True)
    assert not addressees.waits(lane)


def test_what_was_not_read_is_never_said_to_be_unwanted(
    bus: EventBus, store: Store, lanes: Lanes, lane: Lane
) -> None:
    bus.emit_many(("order.t0", None) for _ in range(20))
    entries = [entry.id for entry in store.log.read("order", count=20)]
    addressees = Addressees()
    addressees.of(store.log, "order", entries[-1], lanes)
    addressees.given(lane, None, entries[:3], all_there=False)
    found = addressees.stretch(lane, lanes[lane], 10)
    assert (entries[-1], entries[-1]) == (found.after, found.upto)


def test_where_a_group_stands_tells_the_places(
    bus: EventBus, store: Store, lanes: Lanes, lane: Lane
) -> None:
    store.log.join("order", lane.handler, "0")
    bus.emit_many((f"order.t{n % 4}", None) for n in range(20))
    [taken] = store.ledger.take("w1", [Ask(lane, 2)])
    addressees = Addressees()
    given = [one.entry for one in taken.deliveries]
    addressees.given(lane, None, given, all_there=False)
    addressees.of(store.log, "order", "9-0", lanes)
    found = addressees.stretch(lane, lanes[lane], 2)
    assert [5, 9] == [place for _, place in found.wanted]
    assert 12 == found.place

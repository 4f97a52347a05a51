"""Passing over what was read and is not wanted: never more than that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celeriac.ledger import ORDERED, Ask, Lane, Stretch
from celeriac.log import Group
from tests.contract.store import DOMAIN, Store

OTHER = Lane(DOMAIN, "fraud.check")


@pytest.fixture
def entries(store: Store, lane: Lane) -> list[str]:
    return [store.emit(f"e{n}") for n in range(5)]


def stretch(lane: Lane, after: str, upto: str, patterns: tuple[str, ...] = ("a.#",)) -> Stretch:
    return Stretch(lane, patterns, after, upto)


def group(store: Store, lane: Lane) -> Group:
    return next(one for one in store.log.groups(DOMAIN) if one.handler == lane.handler)


def where(store: Store, lane: Lane) -> tuple[str, int, int | None]:
    found = group(store, lane)
    return found.last_delivered, found.pending, found.lag


def taken(store: Store, lane: Lane, stretch: Stretch, limit: int = 100) -> list[str]:
    [found] = store.ledger.take("w1", [Ask(lane, limit, stretch=stretch)])
    return [delivery.entry for delivery in found.deliveries]


def finish(store: Store, lane: Lane, most: int) -> None:
    for one in store.claim(lane, store.take(lane, limit=most).deliveries):
        store.finish(lane, one)


# -- together, for lanes that nobody asks for


def test_a_group_that_stands_at_the_beginning_stands_at_the_end(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    assert [] == store.ledger.pass_over([stretch(lane, "0-0", entries[2])])
    assert (entries[2], 0, 2) == where(store, lane)
    assert entries[3:] == [one.entry for one in store.take(lane).deliveries]


def test_one_that_stands_in_between_does_too(store: Store, lane: Lane, entries: list[str]) -> None:
    finish(store, lane, 2)
    assert [] == store.ledger.pass_over([stretch(lane, "0-0", entries[2])])
    assert (entries[2], 0, 2) == where(store, lane)


def test_one_that_stands_before_keeps_its_place_and_is_to_be_asked_for(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    assert [lane] == store.ledger.pass_over([stretch(lane, entries[0], entries[2])])
    assert ("0-0", 0, 5) == where(store, lane)


def test_one_that_stands_behind_the_end_is_not_set_back(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    finish(store, lane, 4)
    assert [] == store.ledger.pass_over([stretch(lane, "0-0", entries[2])])
    assert (entries[3], 0, 1) == where(store, lane)


def test_it_may_be_said_twice(store: Store, lane: Lane, entries: list[str]) -> None:
    for _ in range(2):
        assert [] == store.ledger.pass_over([stretch(lane, "0-0", entries[-1])])
    assert (entries[-1], 0, 0) == where(store, lane)


def test_what_is_in_flight_stays_so_and_is_to_be_asked_for(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    store.take(lane, limit=1)
    assert [lane] == store.ledger.pass_over([stretch(lane, entries[0], entries[3])])
    assert (entries[3], 1, 1) == where(store, lane)
    assert entries[0] == group(store, lane).oldest_pending


def test_what_came_after_it_was_read_waits(store: Store, lane: Lane, entries: list[str]) -> None:
    later = store.emit("later")
    assert [] == store.ledger.pass_over([stretch(lane, "0-0", entries[-1])])
    assert [later] == [one.entry for one in store.take(lane).deliveries]


def test_newer_code_that_subscribes_to_something_else_decides(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    store.ledger.note_patterns(lane, ["a.#", "b.#"])
    assert [lane] == store.ledger.pass_over([stretch(lane, "0-0", entries[2])])
    assert ("0-0", 0, 5) == where(store, lane)
    same = stretch(lane, "0-0", entries[2], ("a.#", "b.#"))
    assert [] == store.ledger.pass_over([same])
    assert (entries[2], 0, 2) == where(store, lane)


def test_a_log_that_lost_its_end_may_have_others_there(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    ms, sequence = entries[-1].split("-")
    gone = f"{int(ms) + 1}-{sequence}"
    assert [lane] == store.ledger.pass_over([stretch(lane, "0-0", gone)])
    assert ("0-0", 0, 5) == where(store, lane)


def test_a_handler_that_was_removed_is_to_be_asked_for(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    store.log.leave(DOMAIN, lane.handler)
    nowhere = replace(lane, domain="nothing")
    unwanted = [stretch(lane, "0-0", entries[-1]), stretch(nowhere, "0-0", "5-0")]
    assert [lane, nowhere] == store.ledger.pass_over(unwanted)


def test_each_of_many_stands_for_itself(store: Store, lane: Lane, entries: list[str]) -> None:
    many = [replace(lane, handler=f"many.h{n}") for n in range(1200)]
    for one in many:
        store.log.join(DOMAIN, one.handler, "0")
    behind, set_back = many[1100], many[7]
    store.ledger.note_patterns(behind, ["b.#"])
    unwanted = [stretch(one, entries[0] if one is set_back else "0-0", entries[3]) for one in many]
    assert [set_back, behind] == store.ledger.pass_over(unwanted)
    assert {(entries[3], 1)} == {
        (one.last_delivered, one.lag)
        for one in store.log.groups(DOMAIN)
        if one.handler.startswith("many.") and one.handler not in (behind.handler, set_back.handler)
    }


def test_older_code_that_joins_later_passes_nothing_over(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    store.ledger.note_patterns(lane, ["a.#", "b.#"])
    store.ledger.note_patterns(lane, ["a.#"])
    older = stretch(lane, "0-0", entries[2], ("a.#",))
    assert [lane] == store.ledger.pass_over([older])
    assert ("0-0", 0, 5) == where(store, lane)
    assert entries == taken(store, lane, older)


def test_of_different_ends_each_has_its_own(store: Store, lane: Lane, entries: list[str]) -> None:
    store.log.join(DOMAIN, OTHER.handler, "0")
    unwanted = [stretch(lane, "0-0", entries[1]), stretch(OTHER, "0-0", entries[3])]
    assert [] == store.ledger.pass_over(unwanted)
    assert (entries[1], entries[3]) == (where(store, lane)[0], where(store, OTHER)[0])


def test_nothing_is_to_be_asked_for_where_nothing_was_read(store: Store, lane: Lane) -> None:
    assert [] == store.ledger.pass_over([stretch(lane, "0-0", "0-0")])
    assert [] == store.ledger.pass_over([])


# -- while a lane is asked for


def test_it_is_passed_over_before_something_is_taken(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    assert entries[3:4] == taken(store, lane, stretch(lane, "0-0", entries[2]), limit=1)
    assert (entries[3], 1, 1) == where(store, lane)


def test_what_is_wanted_behind_it_is_taken_all_the_same(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    finish(store, lane, 3)
    assert entries[3:] == taken(store, lane, stretch(lane, "0-0", entries[2]))


def test_a_group_that_stands_before_takes_what_it_has_not_been_given(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    assert entries == taken(store, lane, stretch(lane, entries[0], entries[3]))


def test_newer_code_is_given_all(store: Store, lane: Lane, entries: list[str]) -> None:
    store.ledger.note_patterns(lane, ["b.#"])
    assert entries == taken(store, lane, stretch(lane, "0-0", entries[3]))


def test_where_its_end_is_gone_all_is_taken(store: Store, lane: Lane, entries: list[str]) -> None:
    ms, sequence = entries[-1].split("-")
    assert entries == taken(store, lane, stretch(lane, "0-0", f"{int(ms) + 1}-{sequence}"))


def test_nothing_is_taken_where_all_is_passed_over(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    assert [] == taken(store, lane, stretch(lane, "0-0", entries[-1]))
    assert (entries[-1], 0, 0) == where(store, lane)
    assert [] == taken(store, lane, stretch(lane, "0-0", entries[-1]))


def test_the_limit_is_of_what_is_taken(store: Store, lane: Lane, entries: list[str]) -> None:
    assert entries[:2] == taken(store, lane, stretch(lane, entries[0], entries[0]), limit=2)
    assert [] == taken(store, lane, stretch(lane, "0-0", entries[-1]), limit=2)
    assert entries[1] == where(store, lane)[0]


def test_an_ordered_handler_has_its_lanes_without_it(store: Store) -> None:
    ordered = Lane(DOMAIN, "billing.ordered", ORDERED)
    store.log.join(DOMAIN, ordered.handler, "0")
    first, second = store.emit("e1", "order/1"), store.emit("e2", "order/1")
    assert [second] == taken(store, ordered, stretch(ordered, "0-0", first))
    assert 1 == group(store, ordered).pending


# -- by name


def named(lane: Lane, after: str, upto: str, *wanted: str, places: bool = False) -> Stretch:
    numbers = [n if places else None for n in range(1, 100)]
    return Stretch(lane, ("a.#",), after, upto, wanted=tuple(zip(wanted, numbers, strict=False)))


def test_only_what_is_named_is_taken_and_the_group_stands_at_the_end(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    found = taken(store, lane, named(lane, "0-0", entries[3], entries[1], entries[3]))
    assert [entries[1], entries[3]] == found
    assert (entries[3], 2, 1) == where(store, lane)


def test_the_first_may_be_named(store: Store, lane: Lane, entries: list[str]) -> None:
    found = taken(store, lane, named(lane, "0-0", entries[2], entries[0], entries[2]))
    assert [entries[0], entries[2]] == found
    assert (entries[2], 2, 2) == where(store, lane)


def test_what_is_behind_the_stretch_waits(store: Store, lane: Lane, entries: list[str]) -> None:
    assert entries[1:2] == taken(store, lane, named(lane, "0-0", entries[2], entries[1]))
    assert entries[3:] == [one.entry for one in store.take(lane).deliveries]


def test_what_was_given_already_is_not_given_again(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    finish(store, lane, 2)
    found = taken(store, lane, named(lane, "0-0", entries[4], entries[1], entries[3]))
    assert entries[3:4] == found
    assert (entries[4], 1, 0) == where(store, lane)


@pytest.mark.parametrize("limit", [1, 2])
def test_where_there_is_no_room_it_stands_at_the_last_that_was_taken(
    store: Store, lane: Lane, entries: list[str], limit: int
) -> None:
    wanted = [entries[0], entries[2], entries[3]]
    found = taken(store, lane, named(lane, "0-0", entries[4], *wanted), limit=limit)
    assert wanted[:limit] == found
    assert wanted[limit - 1] == where(store, lane)[0]
    rest = taken(store, lane, named(lane, "0-0", entries[4], *wanted))
    assert wanted[limit:] == rest
    assert entries[4] == where(store, lane)[0]


def test_all_that_waits_is_taken_where_the_group_stands_elsewhere(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    assert entries == taken(store, lane, named(lane, entries[0], entries[3], entries[2]))


def test_what_was_taken_by_name_is_a_delivery_like_any(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    [found] = store.ledger.take(
        "w1", [Ask(lane, 9, stretch=named(lane, "0-0", entries[4], entries[3]))]
    )
    [delivery] = found.deliveries
    assert (0, b'"e3"' in (delivery.body or b"")) == (delivery.attempts, True)
    [claimed] = store.claim(lane, found.deliveries)
    assert 1 == claimed.attempt
    store.finish(lane, claimed)
    assert 0 == group(store, lane).pending


def test_what_is_in_the_log_no_more_is_left_out(
    store: Store, lane: Lane, entries: list[str]
) -> None:
    store.pass_ms(10)
    later = store.emit("later")
    ms, sequence = entries[4].split("-")
    gone = f"{ms}-{int(sequence) + 1}"
    assert [later] == taken(store, lane, named(lane, "0-0", later, gone, later))
    assert (later, 1) == where(store, lane)[:2]


def test_the_lag_is_known_where_the_place_is(store: Store, lane: Lane) -> None:
    entries = [store.emit(f"m{n}") for n in range(300)]
    wanted = tuple((entries[n], n + 1) for n in (10, 20, 30))
    stretch = Stretch(lane, ("a.#",), "0-0", entries[99], 100, wanted)
    assert [entries[10], entries[20]] == taken(store, lane, stretch, limit=2)
    assert (279, 21) == (group(store, lane).lag, group(store, lane).read)
    assert [entries[30]] == taken(store, lane, stretch, limit=9)
    assert (200, 100) == (group(store, lane).lag, group(store, lane).read)


def test_an_ordered_handler_takes_one_of_each_subject(store: Store) -> None:
    ordered = Lane(DOMAIN, "billing.ordered", ORDERED)
    store.log.join(DOMAIN, ordered.handler, "0")
    _, *rest = [store.emit(f"e{n}", f"order/{n % 2}") for n in range(5)]
    assert rest[:2] == taken(store, ordered, named(ordered, "0-0", rest[-1], *rest))
    assert {"queued:w1": 2, "parked": 2} == group(store, ordered).holders

"""Which lanes are asked for, and when."""

from __future__ import annotations

from celeriac.dispatcher.agenda import FEW_RESTED, MANY_RESTED, Agenda
from celeriac.ledger import Lane

ORDER, ITEM = Lane("order", "billing.charge"), Lane("item", "billing.count")
FRAUD = Lane("order", "fraud.check")


def agenda(*lanes: Lane) -> Agenda:
    made = Agenda()
    for lane in lanes:
        made.add(lane)
    return made


def rested(*lanes: Lane, until: float = 100.0) -> Agenda:
    made = agenda(*lanes)
    for lane in lanes:
        made.put(lane, until)
    return made


def test_a_new_lane_is_asked_for_at_once() -> None:
    assert [ORDER] == agenda(ORDER).ready(0.0)


def test_adding_a_lane_again_changes_nothing() -> None:
    made = rested(ORDER)
    made.add(ORDER)
    assert [] == made.ready(0.0)


def test_a_lane_rests_until_its_time() -> None:
    made = rested(ORDER, until=5.0)
    assert ([], [ORDER]) == (made.ready(4.9), made.ready(5.0))
    assert made.next() == 5.0


def test_ringing_wakes_every_lane_of_the_domain_and_no_other() -> None:
    made = rested(ORDER, ITEM, FRAUD)
    made.ring({"order", "unknown"})
    assert [ORDER, FRAUD] == made.ready(0.0)


def test_none_wakes_all_in_the_order_in_which_they_came() -> None:
    made = rested(ITEM, ORDER, FRAUD)
    made.ring(None)
    assert [ITEM, ORDER, FRAUD] == made.ready(0.0)


def test_of_those_that_are_ready_the_more_urgent_is_first_though_it_rested() -> None:
    made = agenda(ORDER, ITEM)
    made.rest(ORDER, 100.0)
    made.ring({"item"})
    made.ring({"order"})
    assert [ORDER, ITEM] == made.ready(0.0)


def test_no_turn_is_held_for_a_lane_that_rests() -> None:
    """A thousand of them, each with its own time, would have turns a thousand times a second."""
    made = agenda(ORDER, ITEM)
    made.put(ORDER, 5.0)
    made.rest(ITEM, 1.0)
    assert 5.0 == made.next()
    assert ([], [ITEM]) == (made.ready(0.9), made.ready(1.0))


def test_what_was_rung_for_is_held_up_by_nothing_that_rested() -> None:
    many = [Lane("item", f"a.{n}") for n in range(3 * FEW_RESTED)]
    made = agenda(*many, ORDER)
    for lane in many:
        made.rest(lane, 1.0)
    ready = made.ready(2.0)
    assert (FEW_RESTED + 1, ORDER) == (len(ready), ready[0])


def test_of_a_thousand_each_has_its_turn_soon_though_there_is_always_other_work() -> None:
    many = [Lane("item", f"a.{n}") for n in range(1000)]
    made = agenda(*many, ORDER)
    for lane in many:
        made.rest(lane, 1.0)
    turns, left = 0, set(many)
    while left:
        turns += 1
        made.ring({"order"})
        for lane in made.ready(2.0):
            made.rest(lane, 100.0)
            left.discard(lane)
    assert turns < 20


def test_those_that_had_no_turn_have_the_next() -> None:
    many = [Lane("item", f"a.{n}") for n in range(MANY_RESTED + 1)]
    made = agenda(*many)
    for lane in many:
        made.rest(lane, 1.0)
    for lane in made.ready(2.0):
        made.rest(lane, 100.0)
    assert [many[-1]] == made.ready(2.0)


def test_a_lane_that_rests_is_woken_and_hurried_as_any() -> None:
    made = agenda(ORDER, ITEM)
    for lane in (ORDER, ITEM):
        made.rest(lane, 100.0)
    made.ring({"order"})
    made.hurry([ITEM], 3.0)
    assert ([ORDER], [ORDER, ITEM]) == (made.ready(0.0), made.ready(3.0))


def test_a_lane_that_is_served_no_more_is_forgotten() -> None:
    made = agenda(ORDER, ITEM)
    made.keep({ITEM})
    made.put(ORDER, 0.0)
    made.ring({"order"})
    assert [ITEM] == made.ready(0.0)


def test_without_lanes_there_is_no_next_time() -> None:
    assert agenda().next() == float("inf")

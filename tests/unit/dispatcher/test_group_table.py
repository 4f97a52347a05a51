"""Which groups are looked at, and when."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from celeriac.dispatcher.group_state import NEVER, NOW, GroupState
from celeriac.dispatcher.group_table import (
    FEW_IDLE,
    MANY_IDLE,
    GroupTable,
    idle,
    poll_at,
    poll_soon,
    wake,
)
from tests.unit.dispatcher.groups import make_group

ORDER, ITEM, FRAUD = ("order", "charge"), ("item", "count"), ("order", "check")


def table(*named: tuple[str, str]) -> tuple[GroupTable, list[GroupState]]:
    """With groups that are looked at at 100 s."""
    made, groups = GroupTable(), [make_group(*one) for one in named]
    for state in groups:
        made.add(state)
        poll_at(state, 100.0)
    return made, groups


def test_a_new_group_is_looked_at_at_once() -> None:
    made, state = GroupTable(), make_group("order")
    made.add(state)
    assert [state] == made.ready(0.0)


def test_a_group_is_looked_at_when_its_time_has_come() -> None:
    made, [state] = table(ORDER)
    poll_at(state, 5.0)
    assert ([], [state]) == (made.ready(4.9), made.ready(5.0))
    assert made.next_poll() == 5.0


def test_the_groups_of_a_domain_are_known() -> None:
    made, [order, _, fraud] = table(ORDER, ITEM, FRAUD)
    assert ([order, fraud], []) == (made.in_domain("order"), made.in_domain("unknown"))
    assert {"order", "item"} == made.domains


def test_a_wakeup_is_for_new_or_for_pending_deliveries() -> None:
    made, [order, item] = table(ORDER, ITEM)
    for state in (order, item):
        state.fetch_at = state.pending_at = 50.0
    wake([order], new=True)
    wake([item], pending=True)
    assert [order, item] == made.ready(0.0)
    assert (NOW, 50.0) == (order.fetch_at, order.pending_at)
    assert (50.0, NOW) == (item.fetch_at, item.pending_at)


def test_of_ready_groups_the_more_urgent_is_first_after_a_pause() -> None:
    made, [order, item] = table(ORDER, ITEM)
    idle(order, 100.0)
    wake([item])
    wake([order])
    assert [order, item] == made.ready(0.0)


def test_urgency_is_the_order_of_the_handlers() -> None:
    made, [order, item, fraud] = table(ORDER, ITEM, FRAUD)
    made.order([fraud.handler.id, order.handler.id, item.handler.id])
    assert [fraud, order, item] == list(made)


def test_no_slot_is_reserved_for_an_idle_group() -> None:
    """A thousand of them, each with its own time, would have turns a thousand times a second."""
    made, [order, item] = table(ORDER, ITEM)
    poll_at(order, 5.0)
    idle(item, 1.0)
    assert 5.0 == made.next_poll()
    assert ([], [item]) == (made.ready(0.9), made.ready(1.0))


def test_a_group_without_a_next_poll_is_not_polled() -> None:
    made, [order] = table(ORDER)
    idle(order, NEVER)
    assert ([], math.inf) == (made.ready(1e9), made.next_poll())


def test_groups_that_were_woken_do_not_wait_for_idle_ones() -> None:
    made, groups = table(*[("item", f"a{n}") for n in range(3 * FEW_IDLE)], ORDER)
    for state in groups[:-1]:
        idle(state, 1.0)
    wake(groups[-1:])
    ready = made.ready(2.0)
    assert (FEW_IDLE + 1, groups[-1]) == (len(ready), ready[0])


def test_of_a_thousand_each_has_its_turn_soon_though_there_is_always_other_work() -> None:
    made, groups = table(*[("item", f"a{n}") for n in range(1000)], ORDER)
    for state in groups[:-1]:
        idle(state, 1.0)
    turns, left = 0, {state.group for state in groups[:-1]}
    while left:
        turns += 1
        wake(groups[-1:])
        for state in made.ready(2.0):
            idle(state, 100.0)
            left.discard(state.group)
    assert turns < 20


def test_those_that_had_no_turn_have_the_next() -> None:
    made, groups = table(*[("item", f"a{n}") for n in range(MANY_IDLE + 1)])
    for state in groups:
        idle(state, 1.0)
    for state in made.ready(2.0):
        idle(state, 100.0)
    assert groups[-1:] == made.ready(2.0)


def test_a_group_is_polled_no_later_than_requested() -> None:
    made, [order, item] = table(ORDER, ITEM)
    idle(order, 100.0)
    poll_soon([order, item], 3.0)
    poll_soon([order], 50.0)
    assert ([], [order, item]) == (made.ready(2.9), made.ready(3.0))


def test_a_group_that_is_served_no_more_is_forgotten() -> None:
    made, [order, item] = table(ORDER, ITEM)
    assert [order] == made.keep({item.group})
    assert (1, [item], None) == (len(made), list(made), made.get(order.group))
    assert order.group not in made


def test_without_groups_there_is_no_next_time() -> None:
    assert GroupTable().next_poll() == math.inf


def test_a_group_that_is_served_no_more_is_not_polled_even_if_it_is_woken() -> None:
    made, [order, item, fraud] = table(ORDER, ITEM, FRAUD)
    made.keep({item.group, fraud.group})
    wake([order])
    assert ([], 100.0) == (made.ready(99.0), made.next_poll())
    assert [fraud] == made.in_domain("order")
    assert {"order", "item"} == made.domains
    made.keep({item.group})
    assert [] == made.in_domain("order")
    assert {"item"} == made.domains


def test_the_domains_are_the_same_object_until_they_change() -> None:
    made, _ = table(ORDER)
    before = made.domains
    assert before is made.domains
    made.add(make_group("item"))
    assert {"order"} == before
    assert {"order", "item"} == made.domains


def test_groups_that_were_ordered_are_polled_in_that_order_and_found_by_their_domain() -> None:
    made, [order, item, fraud] = table(ORDER, ITEM, FRAUD)
    made.order([fraud.handler.id, item.handler.id, order.handler.id])
    wake([order, item, fraud])
    assert [fraud, item, order] == made.ready(0.0)
    assert [fraud, order] == made.in_domain("order")


@pytest.mark.parametrize(
    ("groups", "due", "polled"), [(10, 1, 8), (200, 1, 12), (10, 0, 10), (400, 0, 256)]
)
def test_idle_groups_are_polled_a_few_with_others_or_many_alone(
    groups: int, due: int, polled: int
) -> None:
    made, states = table(*[("item", f"a{n}") for n in range(groups)])
    for state in states[due:]:
        idle(state, 1.0)
    wake(states[:due])
    assert due + polled == len(made.ready(2.0))


@pytest.mark.parametrize(
    ("groups", "may_expire", "seconds"),
    [(1, False, 2.0), (1, True, 2.0), (200, False, 2.0), (500, False, 5.0), (500, True, 2.0)],
)
@pytest.mark.parametrize(("jitter", "share"), [(min, 0.5), (max, 1.0)])
def test_of_many_idle_groups_each_is_polled_less_often_unless_a_lease_may_expire(
    monkeypatch: pytest.MonkeyPatch, groups: int, may_expire: bool, seconds: float, share: float,
    jitter: Callable[[float, float], float],
) -> None:  # fmt: skip
    monkeypatch.setattr("celeriac.dispatcher.group_table.random.uniform", jitter)
    made, _ = table(*[("item", f"a{n}") for n in range(groups)])
    assert share * seconds == made.idle_time(2.0, may_expire=may_expire)


def test_without_leases_the_number_of_groups_delays_an_idle_poll() -> None:
    made, _ = table(*[("item", f"a{n}") for n in range(500)])
    assert made.idle_time(2.0) >= 2.5

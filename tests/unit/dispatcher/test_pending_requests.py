"""What a dispatcher requests for each group whose deliveries it fetches one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from celeriac.delivery import FetchRequest
from celeriac.dispatcher.group_state import GroupState
from celeriac.dispatcher.group_table import idle, poll_at
from celeriac.dispatcher.pending import RECLAIM_INTERVAL, PendingDeliveries
from celeriac.dispatcher.poll_interval import BUSY, IDLE
from celeriac.dispatcher.task_sender import TASKS_AHEAD, note_sent
from tests.unit.dispatcher.parts import SETTINGS, Parts

NOW = 100.0
# Two full chunks of 50 ms for each of two processes.
LIMIT = 200
SLOW = 10_000_000


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def pending(parts: Parts) -> PendingDeliveries:
    made = PendingDeliveries(parts.context, parts.service)
    made.reclaim_from = NOW + 1000
    return made


def request(parts: Parts, pending: PendingDeliveries, *ready: GroupState) -> FetchRequest:
    [request] = requests(parts, pending, ready)
    return request


def requests(
    parts: Parts,
    pending: PendingDeliveries,
    ready: Sequence[GroupState],
    fetched: Sequence[GroupState] = (),
) -> list[FetchRequest]:
    pending.fetch(NOW, ready, {state.group for state in fetched})
    return parts.deliveries.requests


def fields(request: FetchRequest) -> tuple[int, bool, int, int | None]:
    return request.limit, request.reclaim, request.max_new, request.max_in_flight


def test_new_and_pending_deliveries_are_requested_up_to_the_limit(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group(concurrency=None)
    assert (LIMIT, False, 1000, None) == fields(request(parts, pending, state))


def test_of_a_shared_domain_only_pending_deliveries_are_requested(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    state.is_shared = True
    assert (LIMIT, False, 0, None) == fields(request(parts, pending, state))


def test_in_every_other_request_a_single_slot_goes_to_a_scheduled_delivery(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    first = [request(parts, pending, state).scheduled_first for _ in range(3)]
    assert [True, False, True] == first


def test_nothing_is_requested_for_a_group_that_is_no_longer_served(
    parts: Parts, pending: PendingDeliveries
) -> None:
    gone, state = parts.group("order"), parts.group("payment")
    parts.groups.keep({state.group})
    assert [state.group] == [one.group for one in requests(parts, pending, [gone, state])]
    assert [state.group] != parts.reclaimed


# -- reclaiming


def test_leases_are_reclaimed_once_in_a_tenth_of_a_lease(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state, interval = parts.group(), SETTINGS.lease * RECLAIM_INTERVAL
    pending.reclaim_from = NOW
    reclaimed = []
    for now in (NOW - 0.1, NOW, NOW + interval - 0.1, NOW + interval):
        pending.fetch(now, [state], ())
        reclaimed.append((parts.deliveries.requests[0].reclaim, parts.reclaimed.copy()))
        parts.reclaimed.clear()
    group = [state.group]
    assert (3.0, [(False, []), (True, group), (False, []), (True, group)]) == (interval, reclaimed)


def test_where_new_deliveries_arrive_in_chunks_pending_ones_are_requested_when_they_may_be_due(
    parts: Parts, pending: PendingDeliveries
) -> None:
    due, later = parts.group("order"), parts.group("payment")
    due.pending_at, later.pending_at = NOW, NOW + 0.1
    [only] = requests(parts, pending, [due, later], [due, later])
    assert (due.group, (LIMIT, False, 0, None)) == (only.group, fields(only))


def test_where_new_deliveries_arrive_in_chunks_expired_leases_are_reclaimed_in_time(
    parts: Parts, pending: PendingDeliveries
) -> None:
    later = parts.group()
    later.pending_at, pending.reclaim_from = NOW + 0.1, NOW
    [only] = requests(parts, pending, [later], [later])
    assert ((LIMIT, True, 0, None), [later.group]) == (fields(only), parts.reclaimed)


# -- limits


@pytest.mark.parametrize("is_fetched", [True, False])
@pytest.mark.parametrize(
    ("begun", "reclaim", "waiting", "queued", "limit"),
    [
        (False, False, 0, 5, LIMIT),
        # A task each, of those that may still wait.
        (True, False, 0, 5, 5 + 2 * TASKS_AHEAD),
        (True, False, 3, 5, 5 + 2 * TASKS_AHEAD - 3),
        (True, False, 2 * TASKS_AHEAD - 1, 5, 6),
        (True, False, 0, LIMIT - 1, LIMIT),
        # Deliveries of lost tasks count as queued.
        (True, True, 3, 5, LIMIT),
    ],
)
def test_deliveries_that_were_begun_before_are_requested_for_the_tasks_that_may_wait(
    parts: Parts, pending: PendingDeliveries, is_fetched: bool, begun: bool, reclaim: bool,
    waiting: int, queued: int, limit: int,
) -> None:  # fmt: skip
    state = parts.group()
    state.has_begun, state.queued = begun, queued
    for _ in range(waiting):
        note_sent(state, 1)
    pending.reclaim_from = NOW if reclaim else NOW + 1
    [only] = requests(parts, pending, [state], [state] if is_fetched else [])
    assert limit == only.limit


@pytest.mark.parametrize("waiting", [2 * TASKS_AHEAD, 2 * TASKS_AHEAD + 2])
def test_in_chunks_one_begun_delivery_is_requested_even_if_no_more_tasks_may_wait(
    parts: Parts, pending: PendingDeliveries, waiting: int
) -> None:
    state = parts.group()
    state.has_begun, state.queued = True, 5
    for _ in range(waiting):
        note_sent(state, 1)
    [only] = requests(parts, pending, [state], [state])
    assert 6 == only.limit


@pytest.mark.parametrize(("reclaim", "limit"), [(False, 0), (True, LIMIT)])
def test_if_enough_tasks_wait_only_expired_leases_are_requested(
    parts: Parts, pending: PendingDeliveries, reclaim: bool, limit: int
) -> None:
    state = parts.group()
    for _ in range(2 * TASKS_AHEAD):
        note_sent(state, 1)
    pending.reclaim_from = NOW if reclaim else NOW + 1
    assert (limit, reclaim, 0, None) == fields(request(parts, pending, state))


def test_groups_whose_tasks_wait_are_polled_soon_where_another_group_of_the_handler_is_full(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state, holding, other = parts.group("order"), parts.group("payment"), parts.group("item")
    for _ in range(2 * TASKS_AHEAD):
        note_sent(holding, 1)
    for each in (state, holding, other):
        poll_at(each, NOW + 50)
    request(parts, pending, state)
    assert [NOW + BUSY, NOW + 50] == [holding.poll_at, other.poll_at]


@pytest.mark.parametrize(
    ("in_flight", "max_in_flight", "is_held"), [(0, 2, False), (1, 2, False), (2, 2, True)]
)
def test_groups_that_hold_the_slots_of_a_limited_handler_are_polled_soon(
    parts: Parts, pending: PendingDeliveries, in_flight: int, max_in_flight: int, is_held: bool
) -> None:
    state = parts.group("order", concurrency=2)
    holding, other = parts.group("payment", concurrency=2), parts.group("item", concurrency=2)
    parts.share.took(holding, in_flight)
    for each in (holding, other):
        poll_at(each, NOW + 50)
    only = request(parts, pending, state)
    # The store counts the deliveries in flight of this group alone.
    assert max_in_flight - in_flight == only.max_in_flight
    is_full = max_in_flight <= in_flight
    assert is_full is is_held
    assert [NOW + BUSY if is_full else NOW + 50, NOW + 50] == [holding.poll_at, other.poll_at]


def test_slow_groups_are_requested_in_turns(parts: Parts, pending: PendingDeliveries) -> None:
    fast = parts.group("order", "fast")
    first, second = (
        parts.group("order", "first", mean_us=SLOW),
        parts.group("order", "second", mean_us=SLOW),
    )
    parts.share.took(first, 0)
    ready = [first, second, fast]
    assert [second.group, fast.group, first.group] == [
        one.group for one in requests(parts, pending, ready)
    ]


# -- handlers that fetch nothing


def test_of_a_group_that_is_left_to_other_versions_only_the_patterns_are_read(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    parts.members.left.add(state.group)
    assert (0, False, 0, None) == fields(request(parts, pending, state))


def test_for_a_paused_handler_nothing_is_requested_until_later(
    parts: Parts, pending: PendingDeliveries
) -> None:
    state = parts.group()
    idle(state, NOW)
    parts.circuits.limits[state.handler.id] = 0
    assert [] == requests(parts, pending, [state])
    assert NOW + IDLE == state.poll_at


@pytest.mark.parametrize(("is_shared", "max_new"), [(False, 1), (True, 0)])
def test_for_a_handler_on_trial_one_delivery_is_requested(
    parts: Parts, pending: PendingDeliveries, is_shared: bool, max_new: int
) -> None:
    state = parts.group()
    state.is_shared = is_shared
    parts.circuits.limits[state.handler.id] = 1
    assert (1, False, max_new, None) == fields(request(parts, pending, state))

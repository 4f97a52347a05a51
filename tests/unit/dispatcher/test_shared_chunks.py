"""Which chunks a reader of shared domains opens, and how it polls and advances the groups."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery.advance import Advanced
from celeriac.delivery.fetch_size import FEW
from celeriac.dispatcher import domain_reader
from celeriac.dispatcher.domain_reader import MAX_CHUNKS, MAX_LAG, ReadResult
from celeriac.dispatcher.group_state import UNKNOWN, GroupState
from tests.unit.dispatcher.domain_readers import POLL_INTERVAL, World, wait_for
from tests.unit.dispatcher.readings import at


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Without jitter."""
    monkeypatch.setattr("celeriac.dispatcher.domain_reader.random.uniform", lambda a, b: b)
    return World()


def test_a_chunk_is_opened_for_each_group_that_waits(world: World) -> None:
    states = world.serve("order")
    wait_for(world, states[1], 11, 13)
    world.fetcher.answers[states[1].group] = Advanced(
        True, "13-0", now_ms=5, open_chunks=2, mean_us=70, is_ambiguous=True, entries_read=12
    )
    read = world.read()
    [chunk] = read.chunks
    assert [(states[1].group, chunk.request.chunk, 2)] == [
        (one.group, one.chunk, one.count) for one in world.fetcher.requests
    ]
    fetched = chunk.fetched
    assert ["11-0", "13-0"] == [one.id for one in fetched.entries]
    assert ("13-0", 5, 2, 70, True, ("order.#",)) == (
        fetched.position, fetched.now_ms, fetched.open_chunks, fetched.mean_us,
        fetched.is_ambiguous, fetched.patterns,
    )  # fmt: skip
    assert (states[1], 0, False) == (chunk.state, chunk.more, chunk.is_direct)
    assert ("13-0", 3, 9) == (states[1].position, states[1].count, world.reading().read_before)
    assert ({}, 0, True) == (
        world.reading().waiting, len(states[1].prefetched), states[1].is_shared
    )  # fmt: skip


def test_a_group_with_more_entries_waits_behind_the_others(world: World) -> None:
    first, second, *_ = world.serve("order")
    wait_for(world, first, 11, 12)
    wait_for(world, second, 12)
    first.mean_us, second.open_chunks = 10_000_000, 4
    [chunk] = world.read().chunks
    assert ["11-0"] == [one.id for one in chunk.fetched.entries]
    assert [12] == [one.number for one in first.prefetched]
    assert [second, first] == list(world.reading().waiting.values())


def test_a_dense_group_leaves_with_a_chunk_whose_process_fetches_more(world: World) -> None:
    state, *_ = world.serve("order")
    wait_for(world, state, 11)
    world.reading().dense.add(state.group)
    read = world.read()
    assert ([FEW], [state], False) == (
        [chunk.more for chunk in read.chunks], read.leaving, state.is_shared
    )  # fmt: skip
    assert set() == world.reading().dense


def test_a_group_that_may_not_share_leaves(world: World) -> None:
    state, other, *_ = world.serve("order")
    wait_for(world, state, 11)
    wait_for(world, other, 11)
    read = world.read(separate=[state])
    assert ([state], [other]) == (read.leaving, [chunk.state for chunk in read.chunks])
    assert 0 == len(state.prefetched)


def test_a_group_whose_deliveries_come_one_by_one_leaves_where_its_first_entry_is(
    world: World,
) -> None:
    state, near, *_ = world.serve("order")
    wait_for(world, state, 15)
    wait_for(world, near, 11)
    read = world.read(one_by_one=[state, near])
    [[move]] = world.fetcher.calls
    assert (state.group, "14-0", None) == (move.group, move.upto, move.chunk)
    assert ([near, state], [], []) == (read.leaving, read.chunks, world.fetcher.requests)
    assert ("14-0", False) == (state.position, state.is_shared)


@pytest.mark.parametrize(("prefetched", "leaves"), [(MAX_LAG - 1, False), (MAX_LAG, True)])
def test_a_group_without_a_slot_is_counted_again_or_leaves_if_it_is_far_behind(
    world: World, prefetched: int, leaves: bool
) -> None:
    state, *_ = world.serve("order")
    wait_for(world, state, *range(11, 11 + prefetched))
    state.open_chunks = 4
    read = world.read()
    assert (1000, [state] if leaves else []) == (MAX_LAG, read.leaving)
    assert ([] if leaves else [state.group]) == world.fetcher.counted
    assert [] == world.fetcher.calls


def test_of_groups_without_a_slot_some_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_COUNTED", 2)
    states = world.serve("order")
    for state in states:
        wait_for(world, state, 11)
        state.open_chunks = 4
    world.read()
    assert [state.group for state in states[:2]] == world.fetcher.counted


# -- delivery tasks


@pytest.mark.parametrize(("capacity", "opened"), [(0, 0), (1, 1), (3, 3), (None, 4)])
def test_as_many_chunks_are_opened_as_tasks_may_be_sent(
    world: World, capacity: int | None, opened: int
) -> None:
    states = world.serve("order")
    for state in states:
        wait_for(world, state, 11)
    read = world.read(capacity=lambda queue: capacity)
    assert opened == len(read.chunks)
    assert [capacity is not None] * opened == [chunk.is_direct for chunk in read.chunks]


def test_tasks_that_use_the_broker_are_limited_in_each_iteration(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_CHUNKS", 3)
    for state in world.serve("order"):
        wait_for(world, state, 11)
    assert (3, 256) == (len(world.read().chunks), MAX_CHUNKS)


def test_domains_open_their_chunks_in_turns(world: World) -> None:
    for domain in "abc":
        for state in world.serve(domain):
            wait_for(world, state, 11)
    turns = []
    for _ in range(4):
        [chunk] = world.read(capacity=lambda queue: 1).chunks
        turns.append(chunk.state.group.domain)
    assert ["b", "c", "a", "b"] == turns


# -- groups that were not advanced


def answered(world: World, **answer: Any) -> tuple[GroupState, ReadResult]:
    state, *_ = world.serve("order")
    wait_for(world, state, 11, 14)
    world.fetcher.answers[state.group] = Advanced(**answer)
    return state, world.read()


def test_a_group_that_another_worker_advanced_is_tried_again_from_there(world: World) -> None:
    state, read = answered(world, position="12-0")
    assert [[("10-0", 2)], [("12-0", 1)]] == [
        [(move.after, move.chunk.count) for move in moves if move.chunk]
        for moves in world.fetcher.calls
    ]
    assert [["14-0"]] == [[one.id for one in chunk.fetched.entries] for chunk in read.chunks]
    assert ("14-0", []) == (state.position, read.leaving)


def test_a_group_that_stays_where_it_was_leaves(world: World) -> None:
    """Another version of its handler has patterns in force."""
    state, read = answered(world, position="10-0")
    assert ([state], 1) == (read.leaving, len(world.fetcher.calls))


def test_a_group_that_was_set_back_leaves(world: World) -> None:
    state, read = answered(world, position="3-0")
    assert ([state], "3-0", 1) == (read.leaving, state.position, len(world.fetcher.calls))


def test_a_group_of_an_unreachable_node_leaves(world: World) -> None:
    state, read = answered(world, is_unknown=True)
    assert ([state], [], 1) == (read.leaving, read.removed, len(world.fetcher.calls))


def test_only_if_few_of_many_groups_advance_none_is_looked_up(world: World) -> None:
    looked_up = {}
    for groups in (8, 9):
        state, *_ = world.serve(f"d{groups}", groups=groups)
        wait_for(world, state, 11)
        world.reading(f"d{groups}").read_before = 5
        world.reading(f"d{groups}").newest.append("11-0")
    world.read()
    for move in world.fetcher.calls[0]:
        looked_up[move.group.domain] = (move.following, move.read)
    assert {"d8": ("", -1), "d9": ("11-0", 6)} == looked_up


def test_a_group_that_is_gone_is_reported(world: World) -> None:
    state, read = answered(world)
    assert ([state], [], False) == (read.removed, read.leaving, state.is_shared)


# -- polls


def test_a_poll_advances_groups_past_what_they_do_not_want(world: World) -> None:
    states = world.serve("order")
    reading = world.reading()
    reading.upto, reading.count = "14-0", 4
    wait_for(world, states[1], 14)
    world.fetcher.answers = {
        states[0].group: Advanced(True, "14-0", entries_read=9, has_open=True),
        states[1].group: Advanced(position="10-0"),
        states[2].group: Advanced(position="12-0"),
    }
    read = world.poll()
    [moves] = world.fetcher.calls
    assert ["10-0", UNKNOWN, "10-0", "10-0"] == [move.after for move in moves]
    assert ["14-0", "10-0", "12-0", "14-0"] == [state.position for state in states]
    assert [4, 0, -1, 4] == [state.count for state in states]
    assert (5, [states[0]], []) == (reading.read_before, read.pending, read.leaving)


def test_a_poll_finds_groups_that_are_gone_or_may_not_share(world: World) -> None:
    gone, separate, *_ = world.serve("order")
    world.fetcher.answers[gone.group] = Advanced()
    read = world.poll(separate=[separate])
    assert ([gone], [separate]) == (read.removed, read.leaving)


def test_of_an_unreachable_node_groups_leave_that_are_not_up_to_date(world: World) -> None:
    reached, behind, *_ = world.serve("order")
    world.reading().upto, world.reading().count = "11-0", 1
    at(reached, 11)
    for state in (reached, behind):
        world.fetcher.answers[state.group] = Advanced(is_unknown=True)
    assert [behind] == world.poll().leaving


def test_a_domain_is_polled_once_in_each_interval(world: World) -> None:
    world.serve("order")
    polled = []
    for now in (0.0, POLL_INTERVAL - 0.1, POLL_INTERVAL):
        world.poll(now)
        polled.append(len(world.fetcher.calls))
    assert [1, 1, 2] == polled


def test_domains_that_are_due_soon_are_polled_with_one_that_is_due(world: World) -> None:
    world.serve("due", "soon", "later")
    for domain, at_s in [("due", 10.0), ("soon", 10.5), ("later", 10.6)]:
        world.reading(domain).poll_at = at_s
    world.poll(9.9)
    assert [] == world.fetcher.calls
    world.poll(10.0)
    assert {"due", "soon"} == {move.group.domain for move in world.fetcher.calls[0]}


@pytest.mark.parametrize(("limit", "domains"), [(1, 1), (4, 1), (7, 1), (8, 2), (12, 3)])
def test_a_poll_is_of_as_many_groups_as_one_iteration_takes_but_of_one_domain(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: int, domains: int
) -> None:
    monkeypatch.setattr(domain_reader, "MAX_POLLED", limit)
    world.serve("a", "b", "c")
    world.poll(0.0)
    assert domains == len({move.group.domain for move in world.fetcher.calls[0]})


def test_in_a_woken_domain_the_groups_with_pending_deliveries_are_found(world: World) -> None:
    states = world.serve("order")
    world.serve("away", "other")
    world.poll(0.0)
    world.reader.wake_pending("order")
    world.reader.wake_pending("away")
    pending = {states[1].handler.id: 2, states[2].handler.id: 0, "billing.gone": 1}
    world.log.pending = {"order": pending, "away": None}
    assert [states[1]] == world.poll(0.1).pending
    assert ["order", "away"] == world.log.counted
    world.poll(0.2)
    assert ["order", "away"] == world.log.counted, "once"

"""`ordered=True`: the events of one subject one at a time and in order, also across retries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celeriac.delivery import MAX_BLOCKED, Group, Outcome
from celeriac.event_log import EntryKind
from tests.contract.store import DOMAIN, HOUR_MS, Store, body


def out(store: Store, group: Group) -> list[str]:
    """The entries that a dispatcher is given."""
    return [delivery.entry for delivery in store.fetch(group).deliveries]


def test_only_the_head_of_a_subject_is_out(store: Store, ordered: Group) -> None:
    a, b, c = (store.emit(name, "order/1") for name in "abc")
    assert [a] == out(store, ordered)
    assert [] == out(store, ordered)
    assert ["blocked", "blocked"] == [store.owner(ordered, entry) for entry in (b, c)]
    assert () == store.reclaim(ordered, limit=1).deliveries[1:]
    assert ["blocked", "blocked"] == [store.owner(ordered, entry) for entry in (b, c)]


@pytest.mark.parametrize("outcome", ["processed", "skipped", "ignored", "dead"])
def test_the_next_is_given_when_the_head_is_completed(
    store: Store, ordered: Group, outcome: str
) -> None:
    _, b, c = (store.emit(name, "order/1") for name in "abc")
    seen = {f"wakeup {DOMAIN}": "0"}
    store.complete(ordered, store.run(ordered)[0], Outcome(outcome))
    assert seen != store.event_log.wait(seen, 1)
    [claimed] = store.run(ordered)
    assert b == claimed.entry
    assert "blocked" == store.owner(ordered, c)
    store.complete(ordered, claimed, Outcome.PROCESSED)
    assert [c] == out(store, ordered)


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.REQUEUED])
def test_the_next_waits_while_the_head_is_to_run_again(
    store: Store, ordered: Group, outcome: Outcome
) -> None:
    a, b = store.emit("a", "order/1"), store.emit("b", "order/1")
    store.complete(ordered, store.run(ordered)[0], outcome, delay_ms=HOUR_MS // 2)
    assert "blocked" == store.owner(ordered, b)
    assert [] == out(store, ordered)
    store.pass_hour()
    assert [a] == out(store, ordered)


def test_a_crash_of_the_head_does_not_let_the_next_pass(store: Store, ordered: Group) -> None:
    a, _ = store.emit("a", "order/1"), store.emit("b", "order/1")
    store.run(ordered)
    assert [a] == [d.entry for d in store.reclaim(ordered, "w2").deliveries]


def test_requeuing_the_head_does_not_let_the_next_pass(store: Store, ordered: Group) -> None:
    a, _ = store.emit("a", "order/1"), store.emit("b", "order/1")
    store.fetch(ordered)
    assert 1 == store.deliveries.requeue("w1", ordered)
    assert [a] == out(store, ordered)


def test_subjects_do_not_delay_each_other(store: Store, ordered: Group) -> None:
    a, _, c = store.emit("a", "order/1"), store.emit("b", "order/1"), store.emit("c", "order/2")
    assert [a, c] == out(store, ordered)


def test_events_without_a_subject_are_one_sequence_unless_partitioned(
    store: Store, ordered: Group
) -> None:
    append = store.event_log.append
    a = append(DOMAIN, b'{"id": "a"}')
    append(DOMAIN, b'{"id": "b", "subject": null}')
    c = append(DOMAIN, b'{"id": "c", "partitionkey": "k"}')
    append(DOMAIN, b'{"id": "d", "partitionkey": "k"}')
    e = append(DOMAIN, b'{"id": "e", "subject": "k2", "partitionkey": "k"}')
    append(DOMAIN, b'{"id": "f", "subject": 7}')
    assert [a, c, e] == out(store, ordered)


def test_an_unordered_handler_does_not_wait(store: Store, group: Group) -> None:
    entries = [store.emit(name, "order/1") for name in "abc"]
    assert entries == out(store, group)


def test_a_subject_is_worked_off_in_order(store: Store, ordered: Group) -> None:
    entries = [store.emit(str(n), f"order/{n % 3}") for n in range(30)]
    done: list[str] = []
    while claimed := store.run(ordered):
        for one in claimed:
            done.append(one.entry)
            assert store.complete(ordered, one)
    assert sorted(entries) == sorted(done)
    for n in range(3):
        group = entries[n::3]
        assert group == [entry for entry in done if entry in group]


def test_a_duplicate_passes_through_its_sequence(store: Store, ordered: Group) -> None:
    store.emit("a", "order/1")
    store.emit("a", "order/1")
    c = store.emit("c", "order/1")
    store.complete(ordered, store.run(ordered)[0])
    store.complete(ordered, store.run(ordered)[0], Outcome.IGNORED)
    assert [c] == out(store, ordered)


def test_more_than_the_limit_of_blocked_ones_stay_in_the_log(store: Store, ordered: Group) -> None:
    bodies = [body(str(n), "order/1") for n in range(MAX_BLOCKED + 50)]
    store.event_log.append_many([(DOMAIN, one, EntryKind.FOREIGN, 0) for one in bodies])
    for _ in range(3):
        store.fetch(ordered, limit=2000)
    [group] = store.event_log.groups(DOMAIN)
    assert {"queued:w1": 1, "blocked": MAX_BLOCKED} == dict(group.holders)
    assert 49 == group.lag
    for n in range(MAX_BLOCKED + 50):
        task = store.fetch(ordered, limit=2000).deliveries
        if n == 0:
            task = store.reclaim(ordered).deliveries
        [claimed] = store.claim(ordered, task)
        assert body(str(n), "order/1") == claimed.body
        store.complete(ordered, claimed)
    assert () == store.fetch(ordered).deliveries


def test_a_replayed_or_redriven_event_joins_the_end_of_its_sequence(
    store: Store, ordered: Group
) -> None:
    a, b = store.emit("a", "order/1"), store.emit("b", "order/1")
    store.complete(ordered, store.run(ordered)[0], Outcome.DEAD)
    [running] = store.run(ordered)
    assert b == running.entry
    store.deliveries.redrive(ordered, [(store.deliveries.dead(DOMAIN)[0], b"")])
    assert "blocked" == store.owner(ordered, a)
    store.complete(ordered, running)
    [again] = store.run(ordered)
    assert (a, 1) == (again.entry, again.attempt)
    assert 1 == store.deliveries.replay(ordered, [(b, "b")])
    assert "blocked" == store.owner(ordered, b)
    store.complete(ordered, again)
    assert [b] == out(store, ordered)


def test_sequences_left_by_a_group_that_was_destroyed_are_open(
    store: Store, ordered: Group
) -> None:
    entries = [store.emit(name, "order/1") for name in "abc"]
    store.run(ordered)
    store.event_log.leave(DOMAIN, ordered.handler)
    store.event_log.join(DOMAIN, ordered.handler, "0")
    for entry in entries:
        # the first may take a second turn, in which its group has been put in order
        [claimed] = store.run(ordered) or store.run(ordered)
        assert entry == claimed.entry
        store.complete(ordered, claimed)


def test_a_new_event_does_not_wait_for_those_of_a_group_that_was_destroyed(
    store: Store, ordered: Group
) -> None:
    for name in "ab":
        store.emit(name, "order/1")
    store.run(ordered)
    store.event_log.leave(DOMAIN, ordered.handler)
    store.event_log.join(DOMAIN, ordered.handler, "$")
    c, d = store.emit("c", "order/1"), store.emit("d", "order/1")
    [claimed] = store.run(ordered)
    assert c == claimed.entry
    assert store.complete(ordered, claimed)
    assert [d] == out(store, ordered)


def test_blocked_deliveries_are_free_when_the_handler_is_no_longer_ordered(
    store: Store, ordered: Group
) -> None:
    a, b, c = (store.emit(name, "order/1") for name in "abc")
    assert [a] == out(store, ordered)
    unordered = replace(ordered, flow_control=None)
    assert [b, c] == out(store, unordered)


def test_a_handler_that_becomes_ordered_takes_what_is_in_flight_along(
    store: Store, ordered: Group
) -> None:
    unordered = replace(ordered, flow_control=None)
    a, b = store.emit("a", "order/1"), store.emit("b", "order/1")
    assert [a, b] == out(store, unordered)
    for claimed in store.claim(ordered, store.reclaim(ordered).deliveries):
        assert store.complete(ordered, claimed)
    c = store.emit("c", "order/1")
    assert [c] == out(store, ordered)

"""What a dispatcher fetches, what it requeues, and what an executor may claim."""

from __future__ import annotations

import pytest

from celeriac.delivery import (
    MAX_LOST_RUNS,
    Claimed,
    ClaimResult,
    Completion,
    FetchRequest,
    Group,
    Outcome,
)
from tests.contract.store import DOMAIN, HOUR_MS, Store, body, settled


def test_what_is_new_is_taken_with_its_body_and_no_attempts(store: Store, group: Group) -> None:
    entry = store.emit("a")
    taken = store.fetch(group)
    [delivery] = taken.deliveries
    assert (entry, body("a"), 0) == (delivery.entry, delivery.body, delivery.attempts)
    assert (0, None, 0, False) == (
        taken.queued, taken.next_due_ms, taken.mean_us, taken.removed
    )  # fmt: skip
    assert "queued:w1" == store.owner(group, entry)


def test_asking_for_nothing_gives_nothing(store: Store, group: Group) -> None:
    store.emit("a")
    assert [] == store.deliveries.fetch("w1", [])
    assert () == store.fetch(group, limit=0).deliveries
    assert () == store.fetch(group, max_new=0).deliveries


def test_each_handler_has_its_own_delivery(store: Store, group: Group, ordered: Group) -> None:
    entry = store.emit("a")
    first, second = store.deliveries.fetch(
        "w1", [FetchRequest(group, 10), FetchRequest(ordered, 10)]
    )
    assert [entry] == [d.entry for d in first.deliveries] == [d.entry for d in second.deliveries]


def test_the_limit_bounds_what_a_worker_holds_queued_old_and_new(
    store: Store, group: Group
) -> None:
    for n in range(10):
        store.emit(str(n))
    assert 3 == len(store.fetch(group, limit=3).deliveries)
    taken = store.fetch(group, limit=4)
    assert (3, 1) == (taken.queued, len(taken.deliveries))
    assert () == store.fetch(group, limit=4).deliveries
    assert 4 == len(store.fetch(group, "w2", limit=4).deliveries)


def test_what_runs_does_not_count_as_queued(store: Store, group: Group) -> None:
    for n in range(4):
        store.emit(str(n))
    store.claim(group, store.fetch(group, limit=2).deliveries)
    taken = store.fetch(group, limit=2)
    assert (0, 2) == (taken.queued, len(taken.deliveries))


def test_a_fetched_delivery_is_given_to_no_other_worker_until_its_lease_expires(
    store: Store, group: Group
) -> None:
    entry = store.emit("a")
    store.fetch(group)
    for worker in ("w1", "w2"):
        [again] = store.deliveries.fetch(worker, [FetchRequest(group, 10, reclaim=True)])
        assert () == again.deliveries
    [delivery] = store.reclaim(group, "w2").deliveries
    assert (entry, 0) == (delivery.entry, delivery.attempts)
    assert "queued:w2" == store.owner(group, entry)


def test_without_reclaiming_leases_are_not_read(store: Store, group: Group) -> None:
    store.emit("a")
    store.fetch(group)
    with store.leases_over():
        assert () == store.fetch(group, "w2").deliveries


def test_a_worker_whose_slots_are_full_of_lost_tasks_fetches_those_again(
    store: Store, group: Group
) -> None:
    entries = [store.emit(str(n)) for n in range(5)]
    store.fetch(group, limit=3)
    taken = store.reclaim(group, limit=3)
    assert entries[:3] == [d.entry for d in taken.deliveries]


def test_a_full_worker_takes_what_others_abandoned(store: Store, group: Group) -> None:
    """Under steady load every worker is always full; a limit more is bounded all the same."""
    abandoned = [store.emit(str(n)) for n in range(3)]
    store.fetch(group, "w2")
    held = store.emit("b")
    store.fetch(group, "w1", limit=1)
    taken = store.reclaim(group, "w1", limit=1)
    assert sorted([held, abandoned[0]]) == sorted(d.entry for d in taken.deliveries)


def test_an_old_copy_of_a_task_does_not_run_what_began_with_others_again(
    store: Store, group: Group
) -> None:
    """Its process died on one of them: each copy would cost all of them another attempt."""
    for name in "abc":
        store.emit(name)
    chunk = store.fetch(group, "w1").deliveries
    assert 3 == len(store.claim(group, chunk, "w1"))
    again = store.reclaim(group, "w1").deliveries
    assert [] == store.claim(group, again, "w1"), "the copy"
    assert [2] == [one.attempt for one in store.claim(group, again[:1], "w1")]


def test_an_attempt_counts_when_it_is_claimed_and_survives_a_crash(
    store: Store, group: Group
) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    assert Claimed(entry, ClaimResult.RUN, 1, body("a")) == claimed
    assert "running:w1" == store.owner(group, entry)
    [delivery] = store.reclaim(group, "w2").deliveries
    assert 1 == delivery.attempts
    [claimed] = store.claim(group, [delivery], "w2")
    assert (ClaimResult.RUN, 2) == (claimed.result, claimed.attempt)


def test_a_lost_task_costs_no_attempt(store: Store, group: Group) -> None:
    store.emit("a")
    store.fetch(group)
    [claimed] = store.claim(group, store.reclaim(group).deliveries)
    assert 1 == claimed.attempt


def test_a_lease_lasts_as_long_as_it_is_renewed(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.pass_ms(60)
    held = store.deliveries.pending(group, claimed.entry)
    assert held is not None and held.held_ms >= 60
    before = store.registry.now_ms()
    assert [] == store.deliveries.renew("w1", group, [(claimed.entry, 1)])
    held = store.deliveries.pending(group, claimed.entry)
    assert held is not None and held.held_ms <= store.registry.now_ms() - before
    assert 1 == held.attempts
    assert store.complete(group, claimed)


def test_only_the_holder_renews(store: Store, group: Group) -> None:
    entry, queued = store.emit("a"), store.emit("b")
    store.claim(group, store.fetch(group).deliveries[:1])
    asked = [(entry, 1), (entry, 2), (queued, 0), ("1-1", 1)]
    assert [entry, queued, "1-1"] == store.deliveries.renew("w1", group, asked)
    assert [entry] == store.deliveries.renew("w2", group, [(entry, 1)])
    assert [] == store.deliveries.renew("w1", group, [])


# -- claims


def test_a_task_that_is_doubled_claims_once(store: Store, group: Group) -> None:
    store.emit("a")
    task = store.fetch(group).deliveries
    assert 1 == len(store.claim(group, task))
    assert [] == store.claim(group, task)
    assert [] == store.claim(group, task, "w2")


def test_a_task_that_names_an_entry_twice_claims_it_once(store: Store, group: Group) -> None:
    store.emit("a")
    [delivery] = store.fetch(group).deliveries
    assert 1 == len(store.claim(group, [delivery, delivery]))


def test_any_worker_may_claim_what_another_queued(store: Store, group: Group) -> None:
    entry = store.emit("a")
    assert 1 == len(store.claim(group, store.fetch(group, "w1").deliveries, "w2"))
    assert "running:w2" == store.owner(group, entry)


def test_what_is_not_queued_is_not_claimed(store: Store, group: Group, ordered: Group) -> None:
    store.emit("scheduled")
    due = store.fetch(group).deliveries
    store.complete(group, store.claim(group, due)[0], Outcome.RETRY)
    store.emit("done")
    done = store.fetch(group, limit=1).deliveries
    for claimed in store.claim(group, done):
        store.complete(group, claimed)
    waiting = store.emit("waiting")
    tasks = [
        (due[0].entry, "scheduled"),
        (done[0].entry, "done"),
        (waiting, "waiting"),
        ("1-1", "x"),
    ]
    assert [] == [
        c for c in store.deliveries.claim("w1", group, tasks, 10) if c.entry != due[0].entry
    ]
    assert [] == store.deliveries.claim("w1", group, [], 10)
    blocked = store.emit("blocked")
    store.fetch(ordered)
    assert "blocked" == store.owner(ordered, blocked)
    assert [] == store.deliveries.claim("w1", ordered, [(blocked, "blocked")], 10)


def test_what_is_due_is_not_claimed_by_an_old_task(store: Store, group: Group) -> None:
    store.emit("a")
    task = store.fetch(group).deliveries
    store.complete(group, store.claim(group, task)[0], Outcome.RETRY)
    assert [] == store.claim(group, task)


def test_runs_that_ended_with_their_lease_count_as_no_attempts(store: Store, group: Group) -> None:
    """Their worker died, of whatever: a node that is drained proves nothing."""
    store.emit("a")
    claimed = store.claim(group, store.fetch(group).deliveries, most=2)
    for lost in (1, 2, 3):
        [delivery] = store.reclaim(group).deliveries
        claimed = store.claim(group, [delivery], most=2)
        assert (lost, lost, 1 + lost) == (
            delivery.lost_runs,
            claimed[0].lost_runs,
            claimed[0].attempt,
        )
        assert (ClaimResult.RUN, 1) == (claimed[0].result, claimed[0].counted)


def test_attempts_after_lost_runs_count(store: Store, group: Group) -> None:
    store.emit("a")
    store.run(group)
    [claimed] = store.claim(group, store.reclaim(group).deliveries, most=1)
    for counted, result in ((1, ClaimResult.RUN), (2, ClaimResult.EXHAUSTED)):
        assert (counted, result) == (claimed.counted, claimed.result)
        assert store.complete(group, claimed, Outcome.RETRY)
        [delivery] = store.fetch(group).deliveries
        assert 0 == delivery.lost_runs
        [claimed] = store.claim(group, [delivery], most=1)


def test_lost_runs_are_forgotten_when_a_delivery_is_completed(store: Store, group: Group) -> None:
    entry = store.emit("a")
    store.run(group)
    [claimed] = store.claim(group, store.reclaim(group).deliveries)
    pending = store.deliveries.pending(group, entry)
    assert pending is not None and 1 == pending.lost_runs
    assert store.complete(group, claimed)
    store.deliveries.replay(group, [(entry, "a")])
    store.run(group)
    [claimed] = store.claim(group, store.reclaim(group).deliveries)
    assert (1, 2) == (claimed.lost_runs, claimed.attempt)


def test_a_delivery_that_lost_very_many_runs_is_exhausted(store: Store, group: Group) -> None:
    entry = store.emit("a")
    claimed = store.run(group)
    for lost in range(1, MAX_LOST_RUNS + 1):
        assert [ClaimResult.RUN] == [c.result for c in claimed]
        claimed = store.claim(group, store.reclaim(group).deliveries, most=2)
        assert [lost] == [c.lost_runs for c in claimed]
    assert [ClaimResult.EXHAUSTED] == [c.result for c in claimed]
    assert "running:w1" == store.owner(group, entry)
    assert store.complete(group, claimed[0], Outcome.DEAD)
    assert 1 == store.deliveries.dead_count(DOMAIN)


# -- handing back, skipping, rate


def test_what_a_stopping_worker_requeues_is_due_for_others(store: Store, group: Group) -> None:
    entries = [store.emit(str(n)) for n in range(3)]
    task = store.fetch(group).deliveries
    [running] = store.claim(group, task[:1])
    assert 2 == store.deliveries.requeue("w1", group)
    assert 0 == store.deliveries.requeue("w1", group)
    assert [] == store.claim(group, task)
    assert entries[1:] == [d.entry for d in store.fetch(group, "w2").deliveries]
    assert store.complete(group, running)


def test_no_more_than_requested_is_requeued_at_once(store: Store, group: Group) -> None:
    for n in range(3):
        store.emit(str(n))
    store.fetch(group)
    assert 2 == store.deliveries.requeue("w1", group, limit=2)
    assert 1 == store.deliveries.requeue("w1", group, limit=2)


def test_requeuing_keeps_the_attempts(store: Store, group: Group) -> None:
    store.emit("a")
    store.run(group)
    store.reclaim(group)
    store.deliveries.requeue("w1", group)
    [delivery] = store.fetch(group).deliveries
    assert 1 == delivery.attempts


def test_what_is_queued_is_completed_at_the_same_time(store: Store, group: Group) -> None:
    store.emit("a")
    store.emit("b")
    a, b = store.fetch(group).deliveries
    unwanted = [
        Completion(a.entry, "a", 0, Outcome.SKIPPED),
        Completion(b.entry, "b", 0, Outcome.IGNORED),
    ]
    assert [a.entry, b.entry] == store.deliveries.skip("w2", group, unwanted)
    assert [a.entry, b.entry] == store.deliveries.complete("w1", group, unwanted)
    assert [] == store.deliveries.skip("w1", group, unwanted)
    assert [a.entry, b.entry] == store.deliveries.skip("w1", group, unwanted)
    row, none = store.deliveries.rows(group, ["a", "b"])
    assert row is not None and (a.entry, "skipped") == (row.entry, row.state)
    assert none is None


def test_what_is_requeued_with_a_delay_while_queued_keeps_its_attempts(
    store: Store, group: Group
) -> None:
    entry = store.emit("a")
    store.run(group)
    store.reclaim(group)
    requeued = Completion(entry, "a", 1, Outcome.REQUEUED, delay_ms=HOUR_MS // 2)
    assert [] == store.deliveries.skip("w1", group, [requeued])
    assert () == store.fetch(group).deliveries
    store.pass_hour()
    [delivery] = store.fetch(group).deliveries
    assert 1 == delivery.attempts


def test_a_handler_that_left_holds_nothing(store: Store, group: Group) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    store.event_log.leave(DOMAIN, group.handler)
    one = settled(claimed, Outcome.PROCESSED)
    assert [] == store.deliveries.claim("w1", group, [(entry, "a")], 10)
    assert [entry] == store.deliveries.complete("w1", group, [one])
    assert [entry] == store.deliveries.skip("w1", group, [one])
    assert [entry] == store.deliveries.renew("w1", group, [(entry, 1)])
    assert 0 == store.deliveries.requeue("w1", group)
    assert not store.deliveries.dead_letter_invalid("w1", group, entry, "no event")
    assert None is store.deliveries.pending(group, entry)


def test_what_was_due_for_a_group_that_left_is_not_due_for_its_successor(
    store: Store, group: Group
) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.RETRY)
    store.event_log.leave(DOMAIN, group.handler)
    store.event_log.join(DOMAIN, group.handler, "$")
    assert () == store.fetch(group).deliveries


def test_what_runs_for_the_successor_is_not_taken_at_the_old_due_time(
    store: Store, group: Group
) -> None:
    entry = store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.RETRY, delay_ms=HOUR_MS // 2)
    store.event_log.leave(DOMAIN, group.handler)
    store.event_log.join(DOMAIN, group.handler, "0")
    [claimed] = store.run(group)
    store.pass_hour()
    assert () == store.fetch(group, "w2").deliveries
    assert "running:w1" == store.owner(group, entry)
    assert store.complete(group, claimed)


def test_a_rate_is_granted_over_all_workers(store: Store) -> None:
    began = store.registry.now_ms()
    granted, wait_ms = store.deliveries.grant("billing.charge", 15, 10.0)
    assert 10 == granted
    assert 0 < wait_ms <= 100
    at_once = store.deliveries.grant("billing.charge", 5, 10.0)[0]
    assert at_once <= (store.registry.now_ms() - began) / 100
    assert 5 == store.deliveries.grant("billing.other", 5, 10.0)[0]
    store.pass_ms(150)
    after = store.deliveries.grant("billing.charge", 5, 10.0)[0]
    assert 1 <= at_once + after <= (store.registry.now_ms() + 1 - began) / 100


def test_how_long_a_rate_limit_is_waited_for_can_be_read(store: Store) -> None:
    assert 0 == store.deliveries.rate_wait_ms("billing.charge", 0.02)
    store.deliveries.grant("billing.charge", 1, 0.02)
    assert 0 < store.deliveries.rate_wait_ms("billing.charge", 0.02) <= 50_000
    assert 0 == store.deliveries.rate_wait_ms("billing.other", 0.02)


def test_a_rate_under_one_a_second_grants_one(store: Store) -> None:
    granted, wait_ms = store.deliveries.grant("billing.slow", 3, 0.1)
    assert 1 == granted
    assert 9000 < wait_ms <= 10_000


def test_the_patterns_in_force_come_with_what_is_taken(store: Store, group: Group) -> None:
    assert store.fetch(group).patterns == ()
    store.deliveries.note_patterns(group, ["order.placed", "order.#"])
    assert store.fetch(group).patterns == ("order.#", "order.placed")


def test_older_code_takes_no_pattern_out_of_force(store: Store, group: Group) -> None:
    assert store.deliveries.note_patterns(group, ["order.a"]) == ("order.a",)
    assert store.deliveries.note_patterns(group, ["order.b", "order.a"]) == ("order.a", "order.b")
    assert store.deliveries.note_patterns(group, ["order.a"]) == ("order.a", "order.b")
    assert store.deliveries.note_patterns(group, ["order.c"]) == ("order.c", "order.a", "order.b")
    assert store.fetch(group).patterns == ("order.c", "order.a", "order.b")
    assert store.deliveries.patterns(group) == ("order.c", "order.a", "order.b")


def test_a_pattern_that_is_gone_goes_out_of_force_unless_this_code_has_it(
    store: Store, group: Group
) -> None:
    store.deliveries.note_patterns(group, ["order.a", "order.b"])
    assert store.deliveries.note_patterns(group, ["order.a"], ["order.a", "order.b"]) == (
        "order.a",
    )
    assert store.deliveries.patterns(group) == ("order.a",)


def test_code_without_marks_gets_the_events_of_all_tenants(store: Store, group: Group) -> None:
    """`@` alone means such code. It is stored only together with marks of tenants."""
    note = store.deliveries.note_patterns
    assert note(group, ["order.a"]) == ("order.a",)
    assert {*note(group, ["order.a", "@acme"])} == {"order.a", "@acme", "@"}
    assert {*note(group, ["order.a"])} == {"order.a", "@acme", "@"}
    assert {*store.fetch(group).patterns} == {"order.a", "@acme", "@"}
    assert note(group, ["order.a"], ["@acme"]) == ("order.a",)
    assert {*note(group, ["order.a", "@acme"], ["@"])} == {"order.a", "@acme"}
    assert {*note(group, ["order.a", "@globex"])} == {"order.a", "@acme", "@globex"}
    assert {*note(group, ["order.b"])} == {"order.a", "order.b", "@acme", "@globex", "@"}


# -- what all workers hold together


def test_most_held_counts_what_other_workers_have_queued_and_running(
    store: Store, group: Group
) -> None:
    for n in range(10):
        store.emit(f"e{n}")
    store.claim(group, store.fetch(group, "w1", limit=2).deliveries, "w1")
    store.fetch(group, "w2", limit=1)
    [taken] = store.deliveries.fetch("w3", [FetchRequest(group, 10, max_in_flight=5)])
    assert (taken.in_flight, taken.in_flight_here, len(taken.deliveries)) == (3, 0, 2)
    [taken] = store.deliveries.fetch("w1", [FetchRequest(group, 10, max_in_flight=5)])
    assert (taken.in_flight, taken.in_flight_here, len(taken.deliveries)) == (5, 2, 0)
    [taken] = store.deliveries.fetch("w2", [FetchRequest(group, 10, max_in_flight=5)])
    assert (taken.in_flight, taken.in_flight_here) == (5, 1)


def test_most_held_does_not_count_what_is_due(store: Store, group: Group) -> None:
    for n in range(3):
        store.emit(f"e{n}")
    for claimed in store.run(group):
        store.complete(group, claimed, Outcome.RETRY, delay_ms=HOUR_MS)
    [taken] = store.deliveries.fetch("w1", [FetchRequest(group, 10, max_in_flight=1)])
    assert (taken.in_flight, taken.deliveries) == (0, ())
    store.pass_hour()
    [taken] = store.deliveries.fetch("w1", [FetchRequest(group, 10, max_in_flight=1)])
    assert len(taken.deliveries) == 1


@pytest.mark.parametrize(("events", "limit"), [(4, 2), (5, 3)])
def test_reclaimed_deliveries_count_once_against_the_limit(
    store: Store, group: Group, events: int, limit: int
) -> None:
    """Those of a dead worker do not prevent that they are reclaimed."""
    for n in range(events):
        store.emit(f"e{n}")
    store.fetch(group, "dead", limit=2)
    with store.leases_over():
        [fetched] = store.deliveries.fetch(
            "w1", [FetchRequest(group, 10, reclaim=True, max_in_flight=limit)]
        )
    assert len(fetched.deliveries) == limit
    [fetched] = store.deliveries.fetch("w1", [FetchRequest(group, 10, max_in_flight=limit)])
    assert (fetched.in_flight, fetched.deliveries) == (limit, ())


def test_the_deliveries_of_one_owner_are_listed_alone(store: Store, group: Group) -> None:
    entries = [store.emit(str(n)) for n in range(6)]
    store.fetch(group, "w1", limit=2)
    store.fetch(group, "w2", limit=4)

    def listed(first: str = "-", most: int = 100, **given: str) -> list[str]:
        found = store.deliveries.pending_between(group, first, "+", most, **given)
        return [pending.entry for pending in found]

    assert entries == listed()
    assert entries[2:] == listed(owner="queued:w2")
    assert entries[2:4] == listed(owner="queued:w2", most=2)
    assert entries[4:] == listed(f"({entries[3]}", owner="queued:w2")
    assert [] == listed(owner="running:w2")


# -- what is due and what is new


def replayed(store: Store, group: Group, count: int) -> set[str]:
    """So many entries that were handled, and are due again."""
    entries = [store.emit(f"old{n}") for n in range(count)]
    for claimed in store.run(group):
        store.complete(group, claimed)
    pairs = [(entry, f"old{n}") for n, entry in enumerate(entries)]
    assert count == store.deliveries.replay(group, pairs)
    return set(entries)


def test_half_of_the_room_is_kept_for_what_is_new(store: Store, group: Group) -> None:
    old = replayed(store, group, 20)
    new = {store.emit(f"new{n}") for n in range(20)}
    taken = {delivery.entry for delivery in store.fetch(group, limit=10).deliveries}
    assert (5, 5) == (len(taken & old), len(taken & new))


@pytest.mark.parametrize("new", [0, 2])
def test_room_that_nothing_new_needs_is_for_what_is_due(
    store: Store, group: Group, new: int
) -> None:
    old = replayed(store, group, 20)
    for n in range(new):
        store.emit(f"new{n}")
    taken = {delivery.entry for delivery in store.fetch(group, limit=10).deliveries}
    assert (10, 10 - new) == (len(taken), len(taken & old))


def test_room_that_nothing_due_needs_is_for_what_is_new(store: Store, group: Group) -> None:
    replayed(store, group, 2)
    for n in range(20):
        store.emit(f"new{n}")
    assert 10 == len(store.fetch(group, limit=10).deliveries)


def test_all_slots_are_for_scheduled_deliveries_where_no_new_ones_are_requested(
    store: Store, group: Group
) -> None:
    old = replayed(store, group, 20)
    store.emit("new")
    taken = {one.entry for one in store.fetch(group, limit=10, max_new=0).deliveries}
    assert 10 == len(taken & old)


@pytest.mark.parametrize("scheduled_first", [True, False])
def test_where_there_is_one_slot_the_request_decides_which(
    store: Store, group: Group, scheduled_first: bool
) -> None:
    old = replayed(store, group, 2)
    store.emit("new")
    [taken] = store.deliveries.fetch(
        "w1", [FetchRequest(group, 1, scheduled_first=scheduled_first)]
    )
    assert scheduled_first == (taken.deliveries[0].entry in old)

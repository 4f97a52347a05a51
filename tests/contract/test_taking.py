"""What a dispatcher is given, what it gives back, and what an executor may claim."""

from __future__ import annotations

import pytest

from celeriac.delivery import MAX_LOST_RUNS, Ask, Claimed, Lane, Outcome, Settled, Verdict
from tests.contract.store import DOMAIN, HOUR_MS, Store, body, settled


def test_what_is_new_is_taken_with_its_body_and_no_attempts(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    taken = store.take(lane)
    [delivery] = taken.deliveries
    assert (entry, body("a"), 0) == (delivery.entry, delivery.body, delivery.attempts)
    assert (0, None, 0, False) == (
        taken.queued, taken.next_due_ms, taken.mean_us, taken.removed
    )  # fmt: skip
    assert "queued:w1" == store.owner(lane, entry)


def test_asking_for_nothing_gives_nothing(store: Store, lane: Lane) -> None:
    store.emit("a")
    assert [] == store.ledger.take("w1", [])
    assert () == store.take(lane, limit=0).deliveries
    assert () == store.take(lane, most_new=0).deliveries


def test_each_handler_has_its_own_delivery(store: Store, lane: Lane, ordered: Lane) -> None:
    entry = store.emit("a")
    first, second = store.ledger.take("w1", [Ask(lane, 10), Ask(ordered, 10)])
    assert [entry] == [d.entry for d in first.deliveries] == [d.entry for d in second.deliveries]


def test_the_limit_bounds_what_a_worker_holds_queued_old_and_new(store: Store, lane: Lane) -> None:
    for n in range(10):
        store.emit(str(n))
    assert 3 == len(store.take(lane, limit=3).deliveries)
    taken = store.take(lane, limit=4)
    assert (3, 1) == (taken.queued, len(taken.deliveries))
    assert () == store.take(lane, limit=4).deliveries
    assert 4 == len(store.take(lane, "w2", limit=4).deliveries)


def test_what_runs_does_not_count_as_queued(store: Store, lane: Lane) -> None:
    for n in range(4):
        store.emit(str(n))
    store.claim(lane, store.take(lane, limit=2).deliveries)
    taken = store.take(lane, limit=2)
    assert (0, 2) == (taken.queued, len(taken.deliveries))


def test_a_taken_delivery_is_given_to_nobody_else_until_its_lease_is_over(
    store: Store, lane: Lane
) -> None:
    entry = store.emit("a")
    store.take(lane)
    for worker in ("w1", "w2"):
        [again] = store.ledger.take(worker, [Ask(lane, 10, sweep=True)])
        assert () == again.deliveries
    [delivery] = store.sweep(lane, "w2").deliveries
    assert (entry, 0) == (delivery.entry, delivery.attempts)
    assert "queued:w2" == store.owner(lane, entry)


def test_without_a_sweep_leases_are_not_looked_at(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.take(lane)
    with store.leases_over():
        assert () == store.take(lane, "w2").deliveries


def test_a_worker_whose_room_is_full_of_lost_hints_takes_those_again(
    store: Store, lane: Lane
) -> None:
    entries = [store.emit(str(n)) for n in range(5)]
    store.take(lane, limit=3)
    taken = store.sweep(lane, limit=3)
    assert entries[:3] == [d.entry for d in taken.deliveries]


def test_a_full_worker_takes_what_others_abandoned(store: Store, lane: Lane) -> None:
    """Under steady load every worker is always full; a limit more is bounded all the same."""
    abandoned = [store.emit(str(n)) for n in range(3)]
    store.take(lane, "w2")
    held = store.emit("b")
    store.take(lane, "w1", limit=1)
    taken = store.sweep(lane, "w1", limit=1)
    assert sorted([held, abandoned[0]]) == sorted(d.entry for d in taken.deliveries)


def test_an_old_copy_of_a_hint_does_not_run_what_was_begun_beside_others_again(
    store: Store, lane: Lane
) -> None:
    """Its process died on one of them: each copy would cost all of them another attempt."""
    for name in "abc":
        store.emit(name)
    chunk = store.take(lane, "w1").deliveries
    assert 3 == len(store.claim(lane, chunk, "w1"))
    again = store.sweep(lane, "w1").deliveries
    assert [] == store.claim(lane, again, "w1"), "the copy"
    assert [2] == [one.attempt for one in store.claim(lane, again[:1], "w1")]


def test_an_attempt_counts_when_it_is_claimed_and_survives_a_crash(
    store: Store, lane: Lane
) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    assert Claimed(entry, Verdict.RUN, 1, body("a")) == claimed
    assert "running:w1" == store.owner(lane, entry)
    [delivery] = store.sweep(lane, "w2").deliveries
    assert 1 == delivery.attempts
    [claimed] = store.claim(lane, [delivery], "w2")
    assert (Verdict.RUN, 2) == (claimed.verdict, claimed.attempt)


def test_a_lost_hint_costs_no_attempt(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.take(lane)
    [claimed] = store.claim(lane, store.sweep(lane).deliveries)
    assert 1 == claimed.attempt


def test_a_lease_lasts_as_long_as_it_is_renewed(store: Store, lane: Lane) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.pass_ms(60)
    held = store.ledger.pending(lane, claimed.entry)
    assert held is not None and held.held_ms >= 60
    assert [] == store.ledger.renew("w1", lane, [(claimed.entry, 1)])
    held = store.ledger.pending(lane, claimed.entry)
    assert held is not None and held.held_ms < 60
    assert 1 == held.attempts
    assert store.finish(lane, claimed)


def test_only_the_holder_renews(store: Store, lane: Lane) -> None:
    entry, queued = store.emit("a"), store.emit("b")
    store.claim(lane, store.take(lane).deliveries[:1])
    asked = [(entry, 1), (entry, 2), (queued, 0), ("1-1", 1)]
    assert [entry, queued, "1-1"] == store.ledger.renew("w1", lane, asked)
    assert [entry] == store.ledger.renew("w2", lane, [(entry, 1)])
    assert [] == store.ledger.renew("w1", lane, [])


# -- claims


def test_a_hint_that_is_doubled_claims_once(store: Store, lane: Lane) -> None:
    store.emit("a")
    hint = store.take(lane).deliveries
    assert 1 == len(store.claim(lane, hint))
    assert [] == store.claim(lane, hint)
    assert [] == store.claim(lane, hint, "w2")


def test_a_hint_that_names_an_entry_twice_claims_it_once(store: Store, lane: Lane) -> None:
    store.emit("a")
    [delivery] = store.take(lane).deliveries
    assert 1 == len(store.claim(lane, [delivery, delivery]))


def test_any_worker_may_claim_what_another_queued(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    assert 1 == len(store.claim(lane, store.take(lane, "w1").deliveries, "w2"))
    assert "running:w2" == store.owner(lane, entry)


def test_what_is_not_queued_is_not_claimed(store: Store, lane: Lane, ordered: Lane) -> None:
    store.emit("due")
    due = store.take(lane).deliveries
    store.finish(lane, store.claim(lane, due)[0], Outcome.RETRY)
    store.emit("done")
    done = store.take(lane, limit=1).deliveries
    for claimed in store.claim(lane, done):
        store.finish(lane, claimed)
    waiting = store.emit("waiting")
    hints = [(due[0].entry, "due"), (done[0].entry, "done"), (waiting, "waiting"), ("1-1", "x")]
    assert [] == [c for c in store.ledger.claim("w1", lane, hints, 10) if c.entry != due[0].entry]
    assert [] == store.ledger.claim("w1", lane, [], 10)
    parked = store.emit("parked")
    store.take(ordered)
    assert "parked" == store.owner(ordered, parked)
    assert [] == store.ledger.claim("w1", ordered, [(parked, "parked")], 10)


def test_what_is_due_is_not_claimed_by_an_old_hint(store: Store, lane: Lane) -> None:
    store.emit("a")
    hint = store.take(lane).deliveries
    store.finish(lane, store.claim(lane, hint)[0], Outcome.RETRY)
    assert [] == store.claim(lane, hint)


def test_runs_that_ended_with_their_lease_count_as_no_attempts(store: Store, lane: Lane) -> None:
    """Their worker died, of whatever: a node that is drained proves nothing."""
    store.emit("a")
    claimed = store.claim(lane, store.take(lane).deliveries, most=2)
    for lost in (1, 2, 3):
        [delivery] = store.sweep(lane).deliveries
        claimed = store.claim(lane, [delivery], most=2)
        assert (lost, lost, 1 + lost) == (
            delivery.lost_runs,
            claimed[0].lost_runs,
            claimed[0].attempt,
        )
        assert (Verdict.RUN, 1) == (claimed[0].verdict, claimed[0].counted)


def test_attempts_after_lost_runs_count(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.run(lane)
    [claimed] = store.claim(lane, store.sweep(lane).deliveries, most=1)
    for counted, verdict in ((1, Verdict.RUN), (2, Verdict.EXHAUSTED)):
        assert (counted, verdict) == (claimed.counted, claimed.verdict)
        assert store.finish(lane, claimed, Outcome.RETRY)
        [delivery] = store.take(lane).deliveries
        assert 0 == delivery.lost_runs
        [claimed] = store.claim(lane, [delivery], most=1)


def test_lost_runs_are_forgotten_when_a_delivery_is_settled(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    store.run(lane)
    [claimed] = store.claim(lane, store.sweep(lane).deliveries)
    pending = store.ledger.pending(lane, entry)
    assert pending is not None and 1 == pending.lost_runs
    assert store.finish(lane, claimed)
    store.ledger.schedule(lane, [(entry, "a")])
    store.run(lane)
    [claimed] = store.claim(lane, store.sweep(lane).deliveries)
    assert (1, 2) == (claimed.lost_runs, claimed.attempt)


def test_a_delivery_that_lost_very_many_runs_is_exhausted(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    claimed = store.run(lane)
    for lost in range(1, MAX_LOST_RUNS + 1):
        assert [Verdict.RUN] == [c.verdict for c in claimed]
        claimed = store.claim(lane, store.sweep(lane).deliveries, most=2)
        assert [lost] == [c.lost_runs for c in claimed]
    assert [Verdict.EXHAUSTED] == [c.verdict for c in claimed]
    assert "running:w1" == store.owner(lane, entry)
    assert store.finish(lane, claimed[0], Outcome.DEAD)
    assert 1 == store.ledger.dead_count(DOMAIN)


# -- handing back, skipping, rate


def test_what_a_stopping_worker_hands_back_is_due_for_others(store: Store, lane: Lane) -> None:
    entries = [store.emit(str(n)) for n in range(3)]
    hint = store.take(lane).deliveries
    [running] = store.claim(lane, hint[:1])
    assert 2 == store.ledger.hand_back("w1", lane)
    assert 0 == store.ledger.hand_back("w1", lane)
    assert [] == store.claim(lane, hint)
    assert entries[1:] == [d.entry for d in store.take(lane, "w2").deliveries]
    assert store.finish(lane, running)


def test_no_more_than_asked_is_handed_back_at_once(store: Store, lane: Lane) -> None:
    for n in range(3):
        store.emit(str(n))
    store.take(lane)
    assert 2 == store.ledger.hand_back("w1", lane, most=2)
    assert 1 == store.ledger.hand_back("w1", lane, most=2)


def test_handing_back_keeps_the_attempts(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.run(lane)
    store.sweep(lane)
    store.ledger.hand_back("w1", lane)
    [delivery] = store.take(lane).deliveries
    assert 1 == delivery.attempts


def test_what_is_queued_is_settled_in_passing(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.emit("b")
    a, b = store.take(lane).deliveries
    unwanted = [
        Settled(a.entry, "a", 0, Outcome.SKIPPED),
        Settled(b.entry, "b", 0, Outcome.IGNORED),
    ]
    assert [a.entry, b.entry] == store.ledger.skip("w2", lane, unwanted)
    assert [a.entry, b.entry] == store.ledger.finish("w1", lane, unwanted)
    assert [] == store.ledger.skip("w1", lane, unwanted)
    assert [a.entry, b.entry] == store.ledger.skip("w1", lane, unwanted)
    row, none = store.ledger.rows(lane, ["a", "b"])
    assert row is not None and (a.entry, "skipped") == (row.entry, row.state)
    assert none is None


def test_what_is_put_off_while_queued_keeps_its_attempts(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    store.run(lane)
    store.sweep(lane)
    put_off = Settled(entry, "a", 1, Outcome.RELEASED, delay_ms=HOUR_MS // 2)
    assert [] == store.ledger.skip("w1", lane, [put_off])
    assert () == store.take(lane).deliveries
    store.pass_hour()
    [delivery] = store.take(lane).deliveries
    assert 1 == delivery.attempts


def test_a_handler_that_left_holds_nothing(store: Store, lane: Lane) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    store.log.leave(DOMAIN, lane.handler)
    one = settled(claimed, Outcome.PROCESSED)
    assert [] == store.ledger.claim("w1", lane, [(entry, "a")], 10)
    assert [entry] == store.ledger.finish("w1", lane, [one])
    assert [entry] == store.ledger.skip("w1", lane, [one])
    assert [entry] == store.ledger.renew("w1", lane, [(entry, 1)])
    assert 0 == store.ledger.hand_back("w1", lane)
    assert not store.ledger.bury_invalid("w1", lane, entry, "no event")
    assert None is store.ledger.pending(lane, entry)


def test_what_was_due_for_a_group_that_left_is_not_due_for_its_successor(
    store: Store, lane: Lane
) -> None:
    store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.RETRY)
    store.log.leave(DOMAIN, lane.handler)
    store.log.join(DOMAIN, lane.handler, "$")
    assert () == store.take(lane).deliveries


def test_what_runs_for_the_successor_is_not_taken_at_the_old_due_time(
    store: Store, lane: Lane
) -> None:
    entry = store.emit("a")
    [claimed] = store.run(lane)
    store.finish(lane, claimed, Outcome.RETRY, delay_ms=HOUR_MS // 2)
    store.log.leave(DOMAIN, lane.handler)
    store.log.join(DOMAIN, lane.handler, "0")
    [claimed] = store.run(lane)
    store.pass_hour()
    assert () == store.take(lane, "w2").deliveries
    assert "running:w1" == store.owner(lane, entry)
    assert store.finish(lane, claimed)


def test_a_rate_is_granted_over_all_workers(store: Store) -> None:
    granted, wait_ms = store.ledger.grant("billing.charge", 15, 10.0)
    assert 10 == granted
    assert 0 < wait_ms <= 100
    assert 0 == store.ledger.grant("billing.charge", 5, 10.0)[0]
    assert 5 == store.ledger.grant("billing.other", 5, 10.0)[0]
    store.pass_ms(150)
    assert 1 <= store.ledger.grant("billing.charge", 5, 10.0)[0] <= 3


def test_how_long_a_rate_limit_is_waited_for_can_be_read(store: Store) -> None:
    assert 0 == store.ledger.rate_wait_ms("billing.charge", 2.0)
    store.ledger.grant("billing.charge", 2, 2.0)
    assert 0 < store.ledger.rate_wait_ms("billing.charge", 2.0) <= 500
    assert 0 == store.ledger.rate_wait_ms("billing.other", 2.0)


def test_a_rate_under_one_a_second_grants_one(store: Store) -> None:
    granted, wait_ms = store.ledger.grant("billing.slow", 3, 0.1)
    assert 1 == granted
    assert 9000 < wait_ms <= 10_000


def test_the_patterns_in_force_come_with_what_is_taken(store: Store, lane: Lane) -> None:
    assert store.take(lane).patterns == ()
    store.ledger.note_patterns(lane, ["order.placed", "order.#"])
    assert store.take(lane).patterns == ("order.#", "order.placed")


def test_older_code_takes_no_pattern_out_of_force(store: Store, lane: Lane) -> None:
    assert store.ledger.note_patterns(lane, ["order.a"]) == ("order.a",)
    assert store.ledger.note_patterns(lane, ["order.b", "order.a"]) == ("order.a", "order.b")
    assert store.ledger.note_patterns(lane, ["order.a"]) == ("order.a", "order.b")
    assert store.ledger.note_patterns(lane, ["order.c"]) == ("order.c", "order.a", "order.b")
    assert store.take(lane).patterns == ("order.c", "order.a", "order.b")
    assert store.ledger.patterns(lane) == ("order.c", "order.a", "order.b")


def test_a_pattern_that_is_gone_goes_out_of_force_unless_this_code_has_it(
    store: Store, lane: Lane
) -> None:
    store.ledger.note_patterns(lane, ["order.a", "order.b"])
    assert store.ledger.note_patterns(lane, ["order.a"], ["order.a", "order.b"]) == ("order.a",)
    assert store.ledger.patterns(lane) == ("order.a",)


# -- what all workers hold together


def test_most_held_counts_what_other_workers_have_queued_and_running(
    store: Store, lane: Lane
) -> None:
    for n in range(10):
        store.emit(f"e{n}")
    store.claim(lane, store.take(lane, "w1", limit=2).deliveries, "w1")
    store.take(lane, "w2", limit=1)
    [taken] = store.ledger.take("w3", [Ask(lane, 10, most_held=5)])
    assert (taken.held, taken.own, len(taken.deliveries)) == (3, 0, 2)
    [taken] = store.ledger.take("w1", [Ask(lane, 10, most_held=5)])
    assert (taken.held, taken.own, len(taken.deliveries)) == (5, 2, 0)
    [taken] = store.ledger.take("w2", [Ask(lane, 10, most_held=5)])
    assert (taken.held, taken.own) == (5, 1)


def test_most_held_does_not_count_what_is_due(store: Store, lane: Lane) -> None:
    for n in range(3):
        store.emit(f"e{n}")
    for claimed in store.run(lane):
        store.finish(lane, claimed, Outcome.RETRY, delay_ms=HOUR_MS)
    [taken] = store.ledger.take("w1", [Ask(lane, 10, most_held=1)])
    assert (taken.held, taken.deliveries) == (0, ())
    store.pass_hour()
    [taken] = store.ledger.take("w1", [Ask(lane, 10, most_held=1)])
    assert len(taken.deliveries) == 1


def test_what_a_dead_worker_held_is_taken_over_within_the_bound(store: Store, lane: Lane) -> None:
    """It does not keep itself from being taken over, nor does it make room for more."""
    for n in range(4):
        store.emit(f"e{n}")
    store.take(lane, "dead", limit=2)
    with store.leases_over():
        [taken] = store.ledger.take("w1", [Ask(lane, 10, sweep=True, most_held=2)])
    assert len(taken.deliveries) == 2
    [taken] = store.ledger.take("w1", [Ask(lane, 10, most_held=2)])
    assert (taken.held, taken.deliveries) == (2, ())


def test_what_was_taken_over_counts_once_against_the_bound(store: Store, lane: Lane) -> None:
    for n in range(5):
        store.emit(f"e{n}")
    store.take(lane, "dead", limit=2)
    with store.leases_over():
        [taken] = store.ledger.take("w1", [Ask(lane, 10, sweep=True, most_held=3)])
    assert len(taken.deliveries) == 3
    [taken] = store.ledger.take("w1", [Ask(lane, 10, most_held=3)])
    assert (taken.held, taken.deliveries) == (3, ())


def test_the_deliveries_of_one_owner_are_listed_alone(store: Store, lane: Lane) -> None:
    entries = [store.emit(str(n)) for n in range(6)]
    store.take(lane, "w1", limit=2)
    store.take(lane, "w2", limit=4)

    def listed(first: str = "-", most: int = 100, **given: str) -> list[str]:
        found = store.ledger.pending_between(lane, first, "+", most, **given)
        return [pending.entry for pending in found]

    assert entries == listed()
    assert entries[2:] == listed(owner="queued:w2")
    assert entries[2:4] == listed(owner="queued:w2", most=2)
    assert entries[4:] == listed(f"({entries[3]}", owner="queued:w2")
    assert [] == listed(owner="running:w2")


# -- what is due and what is new


def replayed(store: Store, lane: Lane, count: int) -> set[str]:
    """So many entries that were handled, and are due again."""
    entries = [store.emit(f"old{n}") for n in range(count)]
    for claimed in store.run(lane):
        store.finish(lane, claimed)
    pairs = [(entry, f"old{n}") for n, entry in enumerate(entries)]
    assert count == store.ledger.schedule(lane, pairs)
    return set(entries)


def test_half_of_the_room_is_kept_for_what_is_new(store: Store, lane: Lane) -> None:
    old = replayed(store, lane, 20)
    new = {store.emit(f"new{n}") for n in range(20)}
    taken = {delivery.entry for delivery in store.take(lane, limit=10).deliveries}
    assert (5, 5) == (len(taken & old), len(taken & new))


@pytest.mark.parametrize("new", [0, 2])
def test_room_that_nothing_new_needs_is_for_what_is_due(store: Store, lane: Lane, new: int) -> None:
    old = replayed(store, lane, 20)
    for n in range(new):
        store.emit(f"new{n}")
    taken = {delivery.entry for delivery in store.take(lane, limit=10).deliveries}
    assert (10, 10 - new) == (len(taken), len(taken & old))


def test_room_that_nothing_due_needs_is_for_what_is_new(store: Store, lane: Lane) -> None:
    replayed(store, lane, 2)
    for n in range(20):
        store.emit(f"new{n}")
    assert 10 == len(store.take(lane, limit=10).deliveries)


def test_all_of_the_room_is_for_what_is_due_where_nothing_new_is_asked_for(
    store: Store, lane: Lane
) -> None:
    old = replayed(store, lane, 20)
    store.emit("new")
    taken = {one.entry for one in store.take(lane, limit=10, most_new=0).deliveries}
    assert 10 == len(taken & old)


@pytest.mark.parametrize("due_first", [True, False])
def test_where_there_is_room_for_one_the_ask_says_which(
    store: Store, lane: Lane, due_first: bool
) -> None:
    old = replayed(store, lane, 2)
    store.emit("new")
    [taken] = store.ledger.take("w1", [Ask(lane, 1, due_first=due_first)])
    assert due_first == (taken.deliveries[0].entry in old)

"""Limits of the events of one key: how many run, how fast, and in whose turn."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from celeriac.delivery import FlowControl, Group, Outcome
from tests.contract.store import DOMAIN, HOUR_MS, Store, body

TENANT = "data.tenant"


def emit(store: Store, tenant: str, count: int = 1, **more: object) -> list[str]:
    bodies = [
        json.dumps({"id": f"{tenant}{n}", "data": {"tenant": tenant}, **more}).encode()
        for n in range(count)
    ]
    return [store.event_log.append(DOMAIN, one) for one in bodies]


def joined(store: Store, **flow_control: object) -> Group:
    group = Group(DOMAIN, "reports.build", FlowControl(key=TENANT, **flow_control))  # type: ignore[arg-type]
    store.event_log.join(DOMAIN, group.handler, "0")
    return group


def out(store: Store, group: Group, limit: int = 100) -> list[str]:
    """The entries that a dispatcher is given."""
    return [delivery.entry for delivery in store.fetch(group, limit=limit).deliveries]


def served(store: Store, group: Group, names: dict[str, str], limit: int = 100) -> str:
    """Takes and finishes one after the other; returns the tenants in the order of their turns."""
    turns = ""
    while claimed := store.claim(group, store.fetch(group, limit=limit).deliveries):
        for one in claimed:
            turns += names[one.entry]
            assert store.complete(group, one)
    return turns


def test_so_many_of_a_key_are_out(store: Store) -> None:
    group = joined(store, concurrency=2)
    a, b = emit(store, "a", 5), emit(store, "b", 1)
    assert [*a[:2], *b] == out(store, group)
    assert [] == out(store, group)
    assert ["blocked"] * 3 == [store.owner(group, entry) for entry in a[2:]]


def test_the_tenant_attribute_is_a_key_of_its_own(store: Store) -> None:
    """Events without a tenant share one key, whatever is in their data."""
    group = Group(DOMAIN, "reports.build", FlowControl(key="tenant", concurrency=1))
    store.event_log.join(DOMAIN, group.handler, "0")
    bodies = [
        *(body(f"a{n}", tenant="acme", data={"tenant": "other"}) for n in range(2)),
        body("b", tenant="globex"),
        *(body(f"none{n}", data={"tenant": f"t{n}"}) for n in range(2)),
    ]
    a, _, b, none, _ = (store.event_log.append(DOMAIN, each) for each in bodies)
    assert [a, b, none] == out(store, group)


@pytest.mark.parametrize("outcome", ["processed", "skipped", "ignored", "dead", "refused"])
def test_a_slot_is_free_when_its_delivery_is_completed(store: Store, outcome: str) -> None:
    group = joined(store, concurrency=2)
    a = emit(store, "a", 4)
    first, _ = store.run(group)
    seen = {f"wakeup {DOMAIN}": "0"}
    assert store.complete(group, first, Outcome(outcome))
    assert seen != store.event_log.wait(seen, 1)
    assert [a[2]] == out(store, group)


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.REQUEUED])
def test_a_retry_needs_a_slot_again_and_goes_first(store: Store, outcome: Outcome) -> None:
    group = joined(store, concurrency=1)
    a = emit(store, "a", 3)
    [first] = store.run(group)
    assert store.complete(group, first, outcome, delay_ms=HOUR_MS // 2)
    [second] = store.run(group)
    assert a[1] == second.entry
    store.pass_hour()
    assert [] == out(store, group)
    assert "blocked" == store.owner(group, a[0])
    assert store.complete(group, second)
    [again] = store.run(group)
    assert (a[0], 1 + (outcome is Outcome.RETRY)) == (again.entry, again.attempt)
    assert store.complete(group, again)
    assert [a[2]] == out(store, group)


def test_a_run_that_lost_its_lease_keeps_its_slot(store: Store) -> None:
    group = joined(store, concurrency=1)
    a = emit(store, "a", 2)
    store.run(group)
    assert [a[0]] == [d.entry for d in store.reclaim(group, "w2").deliveries]
    assert [] == out(store, group)


def test_what_is_requeued_frees_its_slot(store: Store) -> None:
    group = joined(store, concurrency=1)
    a = emit(store, "a", 2)
    assert [a[0]] == out(store, group)
    assert 1 == store.deliveries.requeue("w1", group)
    assert 1 == len(out(store, group))


def test_a_replay_is_held_to_the_limit(store: Store) -> None:
    group = joined(store, concurrency=2)
    a = emit(store, "a", 5)
    while claimed := store.run(group):
        for one in claimed:
            store.complete(group, one)
    assert 5 == store.deliveries.replay(group, [(entry, f"a{n}") for n, entry in enumerate(a)])
    assert 2 == len(out(store, group))
    assert 0 == len(out(store, group))


def test_another_limit_holds_when_the_next_delivery_is_completed(store: Store) -> None:
    group = joined(store, concurrency=2)
    emit(store, "a", 8)
    first, second = store.run(group)
    lower = Group(DOMAIN, group.handler, FlowControl(key=TENANT, concurrency=1))
    store.complete(lower, first)
    assert [] == out(store, lower)
    store.complete(lower, second)
    [third] = store.run(lower)
    higher = Group(DOMAIN, group.handler, FlowControl(key=TENANT, concurrency=4))
    store.complete(higher, third)
    assert 4 == len(out(store, higher))


def test_what_was_blocked_is_free_when_keys_have_no_limit_any_more(store: Store) -> None:
    group = joined(store, concurrency=1)
    a = emit(store, "a", 3)
    assert a[:1] == out(store, group)
    assert a[1:] == out(store, replace(group, flow_control=None))


def test_slots_of_a_group_that_was_destroyed_are_free(store: Store) -> None:
    group = joined(store, concurrency=1)
    emit(store, "a", 3)
    store.run(group)
    store.event_log.leave(DOMAIN, group.handler)
    store.event_log.join(DOMAIN, group.handler, "$")
    [new] = emit(store, "a")
    assert [new] == out(store, group)


def test_an_unwanted_event_waits_for_no_key(store: Store) -> None:
    group = joined(store, concurrency=1)
    store.deliveries.note_patterns(group, ["order.placed", "order.*.paid"])
    a, b = emit(store, "a", 2, type="order.placed")
    c, d = (emit(store, "a", type=type)[0] for type in ("order.seen", "order.x.y.paid"))
    e, f = (emit(store, "a", type=type)[0] for type in ("order.x.paid", "order.placed"))
    g = emit(store, "a", type="order.placed", handlers="other.handler")[0]
    h = emit(store, "a", type="order.placed", handlers=f"other.handler {group.handler}")[0]
    assert [a, c, d, g] == out(store, group)
    assert ["blocked"] * 4 == [store.owner(group, entry) for entry in (b, e, f, h)]


def test_a_rate_is_a_burst_and_then_one_by_one(store: Store) -> None:
    group = joined(store, per_second=2 / 3600)
    a, b = emit(store, "a", 6), emit(store, "b", 1)
    assert [a[0], *b] == out(store, group)
    taken = store.fetch(group)
    assert () == taken.deliveries
    assert taken.next_due_ms is not None
    assert 0 < taken.next_due_ms - taken.now_ms <= HOUR_MS // 2
    assert taken.next_due_ms == store.deliveries.blocked_until_ms(group)
    store.pass_hour()
    assert [a[1]] == out(store, group)


def test_the_burst_is_of_one_second(store: Store) -> None:
    group = joined(store, per_second=5.0)
    emit(store, "a", 9)
    assert 5 <= len(out(store, group)) <= 6


def test_a_rate_is_no_limit_on_what_runs(store: Store) -> None:
    group = joined(store, per_second=1 / 3600)
    emit(store, "a", 3)
    [first] = store.run(group)
    store.complete(group, first)
    assert [] == out(store, group)
    store.pass_hour()
    assert 1 == len(out(store, group))


def test_keys_take_turns(store: Store) -> None:
    group = joined(store, fair=True)
    names = dict.fromkeys(emit(store, "a", 6), "a") | dict.fromkeys(emit(store, "b", 3), "b")
    assert "ababab" == served(store, group, names, limit=1)[:6]


def test_turns_are_taken_by_weight(store: Store) -> None:
    group = joined(store, fair=True, weights=(("b", 3.0),))
    names = dict.fromkeys(emit(store, "a", 20), "a") | dict.fromkeys(emit(store, "b", 20), "b")
    turns = Counter(served(store, group, names, limit=1)[:16])
    assert 4 == turns["a"]
    assert 12 == turns["b"]


def test_a_key_that_was_away_has_no_claim_on_what_it_did_not_use(store: Store) -> None:
    group = joined(store, fair=True)
    names = dict.fromkeys(emit(store, "a", 10), "a")
    for _ in range(6):
        [one] = store.claim(group, store.fetch(group, limit=1).deliveries)
        store.complete(group, one)
    names |= dict.fromkeys(emit(store, "b", 4), "b")
    assert sorted(served(store, group, names, limit=1)[:4]) == ["a", "a", "b", "b"]


def test_a_backlog_of_one_key_does_not_hold_up_another(store: Store) -> None:
    group = joined(store, fair=True)
    emit(store, "crowd", 1500)
    [one] = emit(store, "other")
    taken: list[str] = []
    for _ in range(5):
        deliveries = store.fetch(group, limit=10).deliveries
        taken += [delivery.entry for delivery in deliveries]
        for claimed in store.claim(group, deliveries):
            store.complete(group, claimed)
    # Four takes read it; it has the next turn but one.
    assert one in taken[:50]


def test_turns_within_a_limit_and_a_rate(store: Store) -> None:
    group = joined(store, fair=True, concurrency=2, per_second=3 / 3600)
    a, b = emit(store, "a", 5), emit(store, "b", 5)
    assert {a[0], b[0]} == {*out(store, group)}
    store.pass_hour()
    assert 2 == len(out(store, group))
    store.pass_hour()
    assert [] == out(store, group)

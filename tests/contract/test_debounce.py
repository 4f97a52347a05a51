"""Debounced events: which of a key are delivered, when, and which event represents the others."""

from __future__ import annotations

import json

import pytest

from celeriac.delivery import Completion, DeliveryState, FlowControl, Group, Outcome
from celeriac.delivery.delivery import Delivery
from celeriac.event_log import EntryKind
from tests.contract.store import DOMAIN, HOUR_MS, Store

MINUTE_MS = 60_000


def debounced(store: Store, keep: str, **flow_control: object) -> Group:
    """A key is quiet after half an hour, and waits for three quarters at most."""
    given = {
        "quiet_ms": HOUR_MS // 2,
        "max_quiet_ms": 3 * HOUR_MS // 4,
        "keep": keep,
        **flow_control,
    }
    group = Group(DOMAIN, "docs.index", FlowControl(**given))  # type: ignore[arg-type]
    store.event_log.join(DOMAIN, group.handler, "0")
    return group


def emit(store: Store, *names: str, kind: EntryKind = EntryKind.MADE, **more: object) -> list[str]:
    """Events named by their subject and a number."""
    bodies = [json.dumps({"id": name, "subject": name[0], **more}).encode() for name in names]
    return [store.event_log.append(DOMAIN, one, kind) for one in bodies]


def taken(store: Store, group: Group, worker: str = "w1") -> list[Delivery]:
    return list(store.fetch(group, worker).deliveries)


def coalesce(store: Store, group: Group, deliveries: list[Delivery]) -> None:
    """As a dispatcher completes what other events represent."""
    settled = [
        Completion(
            d.entry, json.loads(d.body or b"")["id"], d.attempts, Outcome.COALESCED, into=d.into
        )
        for d in deliveries
    ]
    assert [] == store.deliveries.skip("w1", group, settled)


@pytest.mark.parametrize("keep", ["last", "first"])
def test_one_event_represents_all_of_its_key(store: Store, keep: str) -> None:
    group = debounced(store, keep)
    a1, a2, a3, b1 = emit(store, "a1", "a2", "a3", "b1")
    absorbed = taken(store, group)
    pairs = [(a1, a2), (a2, a3)] if keep == "last" else [(a2, a1), (a3, a1)]
    assert pairs == [(one.entry, one.into) for one in absorbed]
    coalesce(store, group, absorbed)
    stands = a3 if keep == "last" else a1
    assert ["blocked", "blocked"] == [store.owner(group, entry) for entry in (stands, b1)]
    rows = store.deliveries.rows(group, ["a1", "a2", "a3"])
    assert [(DeliveryState.COALESCED, into) for _, into in pairs] == [
        (row.state, row.into) for row in rows if row is not None
    ]
    store.pass_hour()
    assert {stands, b1} == {one.entry for one in taken(store, group)}


def test_all_of_a_key_are_given_in_one_list(store: Store) -> None:
    group = debounced(store, "all", concurrency=1)
    a1, b1, a2, a3 = emit(store, "a1", "b1", "a2", "a3")
    assert [] == taken(store, group)
    store.pass_hour()
    given = taken(store, group)
    assert {(a1, a1), (a2, a1), (a3, a1), (b1, "")} == {(d.entry, d.together) for d in given}
    [a4] = emit(store, "a4")
    assert [] == taken(store, group)
    store.pass_hour()
    assert [] == taken(store, group), "a list holds one slot of its key"
    for claimed in store.claim(group, given):
        store.complete(group, claimed)
    assert [a4] == [one.entry for one in taken(store, group)]


def test_a_list_that_was_requeued_is_one_again(store: Store) -> None:
    group = debounced(store, "all")
    a1, a2, a3 = emit(store, "a1", "a2", "a3")
    taken(store, group)
    store.pass_hour()
    taken(store, group)
    assert 3 == store.deliveries.requeue("w1", group)
    assert {(a1, a1), (a2, a1), (a3, a1)} == {(d.entry, d.together) for d in taken(store, group)}


def test_a_list_that_lost_its_lease_is_run_one_by_one(store: Store) -> None:
    group = debounced(store, "all", concurrency=1)
    a1, a2, a3 = emit(store, "a1", "a2", "a3")
    taken(store, group)
    store.pass_hour()
    store.claim(group, taken(store, group))
    done = []
    for _ in range(3):
        again = list(store.reclaim(group, "w2").deliveries) or taken(store, group, "w2")
        [one] = [claimed for d in again for claimed in store.claim(group, [d], "w2")]
        done.append(one.entry)
        assert store.complete(group, one, worker="w2")
    assert [a1, a2, a3] == done


def test_a_key_is_quiet_some_time_after_its_last_event(store: Store) -> None:
    group = debounced(store, "last")
    emit(store, "a1")
    first = store.fetch(group)
    assert first.next_due_ms is not None
    wait = first.next_due_ms - first.now_ms
    assert HOUR_MS // 2 - MINUTE_MS < wait <= HOUR_MS // 2


def test_an_event_that_comes_later_waits_by_itself(store: Store) -> None:
    group = debounced(store, "last")
    [a1] = emit(store, "a1")
    taken(store, group)
    store.pass_hour()
    assert [a1] == [one.entry for one in taken(store, group)]
    [a2] = emit(store, "a2")
    assert [] == taken(store, group)
    store.pass_hour()
    assert [(a2, "")] == [(one.entry, one.into) for one in taken(store, group)]


@pytest.mark.parametrize("kind", [EntryKind.FOREIGN, EntryKind.REDRIVEN])
def test_what_may_repeat_an_event_represents_none(store: Store, kind: EntryKind) -> None:
    group = debounced(store, "last")
    [a1] = emit(store, "a1")
    [a2] = emit(store, "a2", kind=kind)
    assert [(a2, "")] == [(one.entry, one.into) for one in taken(store, group)]
    store.pass_hour()
    assert [(a1, "")] == [(one.entry, one.into) for one in taken(store, group)]


def test_an_unwanted_event_represents_none(store: Store) -> None:
    group = debounced(store, "last")
    store.deliveries.note_patterns(group, ["doc.changed"])
    [a1] = emit(store, "a1", type="doc.changed")
    [a2] = emit(store, "a2", type="doc.seen")
    assert [(a2, "")] == [(one.entry, one.into) for one in taken(store, group)]
    assert "blocked" == store.owner(group, a1)


def test_what_was_coalesced_is_so_after_its_dispatcher_died(store: Store) -> None:
    group = debounced(store, "last")
    a1, a2 = emit(store, "a1", "a2")
    taken(store, group)
    again = store.reclaim(group, "w2").deliveries
    assert [(a1, a2)] == [(one.entry, one.into) for one in again]


def test_a_retry_is_not_debounced(store: Store) -> None:
    group = debounced(store, "last")
    (a1,) = emit(store, "a1")
    taken(store, group)
    store.pass_hour()
    [claimed] = store.claim(group, taken(store, group))
    store.complete(group, claimed, Outcome.RETRY)
    emit(store, "a2")
    assert [a1] == [one.entry for one in taken(store, group)]


def test_what_was_coalesced_can_be_replayed(store: Store) -> None:
    group = debounced(store, "last")
    a1, _ = emit(store, "a1", "a2")
    coalesce(store, group, taken(store, group))
    assert 1 == store.deliveries.replay(group, [(a1, "a1")])
    assert [(a1, "")] == [(one.entry, one.into) for one in taken(store, group)]


def test_what_waits_is_delivered_when_keys_are_not_debounced_any_more(store: Store) -> None:
    group = debounced(store, "all")
    entries = emit(store, "a1", "a2")
    taken(store, group)
    plain = Group(DOMAIN, group.handler)
    assert entries == [one.entry for one in taken(store, plain)]


def test_a_list_that_was_requeued_is_one_again_whatever_room_there_is(store: Store) -> None:
    group = debounced(store, "all")
    a1, a2, a3 = emit(store, "a1", "a2", "a3")
    taken(store, group)
    store.pass_hour()
    taken(store, group)
    assert 3 == store.deliveries.requeue("w1", group)
    again = store.fetch(group, limit=1).deliveries
    assert {(a1, a1), (a2, a1), (a3, a1)} == {(d.entry, d.together) for d in again}


@pytest.mark.parametrize("keep", ["all", "last"])
def test_a_key_is_not_quiet_while_there_are_unread_entries(store: Store, keep: str) -> None:
    """A dispatcher that was busy reads entries after their key was quiet."""
    group = debounced(store, keep, quiet_ms=20, max_quiet_ms=60)
    bodies = [json.dumps({"id": name, "subject": "a"}).encode() for name in ("a1", "a2", "a3")]
    assert store.event_log.append_many([(DOMAIN, body, EntryKind.MADE, 0) for body in bodies]) == 3
    store.pass_ms(30)
    read = [store.fetch(group, max_new=1).deliveries for _ in range(4)]
    a1, a2, a3 = (entry.id for entry in store.event_log.read(DOMAIN))
    found = {(d.entry, d.together or d.into) for deliveries in read for d in deliveries}
    assert (
        found
        == {
            "all": {(a1, a1), (a2, a1), (a3, a1)},
            "last": {(a1, a2), (a2, a3), (a3, "")},
        }[keep]
    )

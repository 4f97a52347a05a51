"""Which of the entries with one event counts for a handler that demands signatures."""

from __future__ import annotations

import pytest

from celeriac.delivery import ClaimResult, Completion, Failure, FetchRequest, Group, Outcome
from celeriac.event import read_header
from celeriac.event_log import EntryKind
from celeriac.store.redis.verified import MAX_NOTED
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, RedisStore, Store, key_of
from tests.contract.test_chunks import completion, fetch
from tests.contract.test_registered import event


def test_the_entry_that_is_noted_first_counts_and_the_others_do_not(
    store: Store, group: Group
) -> None:
    noted = store.deliveries.note_verified
    assert {} == noted(group, [])
    assert {} == noted(group, [("1-0", "a"), ("2-0", "b")])
    assert {} == noted(group, [("1-0", "a"), ("3-0", "c")])
    assert {"4-0": "1-0", "6-0": "5-0"} == noted(group, [("4-0", "a"), ("5-0", "d"), ("6-0", "d")])
    # Whichever of them is before the other in the log.
    assert {"0-1": "1-0"} == noted(group, [("0-1", "a"), ("1-0", "a")])


def test_each_handler_has_its_own(store: Store, group: Group) -> None:
    """Their services may trust other keys."""
    other = Group(DOMAIN, "mail.send")
    store.event_log.join(DOMAIN, other.handler, "0")
    assert {} == store.deliveries.note_verified(group, [("1-0", "a")])
    assert {} == store.deliveries.note_verified(other, [("2-0", "a")])
    assert {"2-0": "1-0"} == store.deliveries.note_verified(group, [("2-0", "a")])


def test_many_are_noted_at_once(store: Store, group: Group) -> None:
    verified = [(f"{n}-1", f"id-{n}") for n in range(1, 2 * MAX_NOTED + 10)]
    assert {} == store.deliveries.note_verified(group, verified)
    copies = [(f"{n}-2", f"id-{n}") for n in range(1, 2 * MAX_NOTED + 10)]
    assert [entry for entry, _ in copies] == list(store.deliveries.note_verified(group, copies))


def test_it_is_known_for_a_window_at_least_and_for_two_at_most(make_store: MakeStore) -> None:
    store, group = make_store(dedup_window=1000), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    assert {} == store.deliveries.note_verified(group, [("1-0", "a")])
    store.age(700_000)
    assert {} == store.deliveries.note_verified(group, [("2-0", "b")])
    store.age(400_000)
    assert {"3-0": "2-0"} == store.deliveries.note_verified(group, [("3-0", "b"), ("4-0", "c")])
    store.age(2_100_000)
    assert {} == store.deliveries.note_verified(group, [("5-0", "a"), ("6-0", "b"), ("7-0", "c")])


def test_a_redriven_event_is_noted_again(make_store: MakeStore) -> None:
    """Its entry was trimmed: it has another one now, which is no copy."""
    store, group = make_store(retention_count=0), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    for name in ("a", "b"):
        store.emit(name)
    [claimed, other] = store.run(group)
    key = key_of(claimed.body)
    assert {} == store.deliveries.note_verified(group, [(claimed.entry, key)])
    assert store.complete(group, claimed, Outcome.DEAD)
    assert store.complete(group, other)
    store.event_log.trim(DOMAIN, exact=True)
    [letter] = store.deliveries.dead(DOMAIN)
    assert {"9-0": claimed.entry} == store.deliveries.note_verified(group, [("9-0", key)])
    assert 1 == store.deliveries.redrive(group, [(letter, claimed.body or b"")])
    [again] = store.run(group)
    assert again.entry != claimed.entry
    assert {} == store.deliveries.note_verified(group, [(again.entry, key)])
    assert {"9-0": again.entry} == store.deliveries.note_verified(group, [("9-0", key)])


@pytest.mark.parametrize("in_a_chunk", [True, False])
def test_what_a_handler_refuses_does_not_count_any_longer(
    store: Store, group: Group, in_a_chunk: bool
) -> None:
    raw = event("a")
    key = read_header(raw).key
    entry = store.event_log.append(DOMAIN, raw, EntryKind.MADE)
    refused = Completion(
        entry, key, 1, Outcome.REFUSED, failure=Failure(attempt=1, at=1, error="x")
    )
    assert {} == store.deliveries.note_verified(group, [(entry, key)])
    if in_a_chunk:
        chunk, fetched = fetch(store, group)
        only = completion(fetched.entries, exceptions=[refused])
        assert store.chunks.complete("w1", group, chunk, only)
    else:
        [taken] = store.deliveries.fetch("w1", [FetchRequest(group, 10)])
        pairs = [(one.entry, key) for one in taken.deliveries]
        store.deliveries.claim("w1", group, pairs, 10, verifies=True)
        assert {"9-0": entry} == store.deliveries.note_verified(group, [("9-0", key)])
        assert not store.deliveries.complete("w1", group, [refused])
    assert {} == store.deliveries.note_verified(group, [("9-0", key)])
    assert {entry: "9-0"} == store.deliveries.note_verified(group, [(entry, key)])


def test_nothing_of_it_is_left_of_a_handler_that_was_removed(store: Store, group: Group) -> None:
    assert {} == store.deliveries.note_verified(group, [("1-0", "a")])
    store.deliveries.forget(group)
    assert {} == store.deliveries.note_verified(group, [("2-0", "a")])


def test_a_key_of_another_type_does_not_stop_the_handler(store: Store, group: Group) -> None:
    if not isinstance(store, RedisStore):
        return
    for key in store.keys.verified(DOMAIN, group.handler):
        store.client.set(key, "no hash")
    assert {} == store.deliveries.note_verified(group, [("1-0", "a")])
    assert {"2-0": "1-0"} == store.deliveries.note_verified(group, [("2-0", "a")])


def test_what_others_register_suppresses_nothing_where_signatures_are_verified(
    store: Store, group: Group
) -> None:
    """Any producer of a domain can register ids there."""
    raw = event("a")
    forged = store.event_log.append(DOMAIN, raw, EntryKind.GIVEN)
    true = store.event_log.append(DOMAIN, raw, EntryKind.FOREIGN)
    [taken] = store.deliveries.fetch("w1", [FetchRequest(group, 10)])
    key = read_header(raw).key
    for verifies, result in ((True, ClaimResult.RUN), (False, ClaimResult.DUPLICATE)):
        info = group if verifies else Group(DOMAIN, "mail.send")
        if not verifies:
            store.event_log.join(DOMAIN, info.handler, forged)
            [taken] = store.deliveries.fetch("w1", [FetchRequest(info, 10)])
        assert true in [one.entry for one in taken.deliveries]
        claimed = store.deliveries.claim("w1", info, [(true, key)], 10, verifies=verifies)
        assert [(true, result)] == [(one.entry, one.result) for one in claimed]

"""Which of the entries with one event counts for a handler that demands signatures."""

from __future__ import annotations

import pytest

from celeriac.delivery import Ask, Failure, Lane, Outcome, Settled, Verdict
from celeriac.event import peek
from celeriac.event_log import EntryKind
from celeriac.store.redis.verified import MAX_NOTED
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, RedisStore, Store, key_of
from tests.contract.test_chunks import completion, fetch
from tests.contract.test_registered import event


def test_the_entry_that_is_noted_first_counts_and_the_others_do_not(
    store: Store, lane: Lane
) -> None:
    noted = store.ledger.note_verified
    assert {} == noted(lane, [])
    assert {} == noted(lane, [("1-0", "a"), ("2-0", "b")])
    assert {} == noted(lane, [("1-0", "a"), ("3-0", "c")])
    assert {"4-0": "1-0", "6-0": "5-0"} == noted(lane, [("4-0", "a"), ("5-0", "d"), ("6-0", "d")])
    # Whichever of them is before the other in the log.
    assert {"0-1": "1-0"} == noted(lane, [("0-1", "a"), ("1-0", "a")])


def test_each_handler_has_its_own(store: Store, lane: Lane) -> None:
    """Their services may trust other keys."""
    other = Lane(DOMAIN, "mail.send")
    store.log.join(DOMAIN, other.handler, "0")
    assert {} == store.ledger.note_verified(lane, [("1-0", "a")])
    assert {} == store.ledger.note_verified(other, [("2-0", "a")])
    assert {"2-0": "1-0"} == store.ledger.note_verified(lane, [("2-0", "a")])


def test_many_are_noted_at_once(store: Store, lane: Lane) -> None:
    verified = [(f"{n}-1", f"id-{n}") for n in range(1, 2 * MAX_NOTED + 10)]
    assert {} == store.ledger.note_verified(lane, verified)
    copies = [(f"{n}-2", f"id-{n}") for n in range(1, 2 * MAX_NOTED + 10)]
    assert [entry for entry, _ in copies] == list(store.ledger.note_verified(lane, copies))


def test_it_is_known_for_a_window_at_least_and_for_two_at_most(make_store: MakeStore) -> None:
    store, lane = make_store(dedup_window=1), Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    assert {} == store.ledger.note_verified(lane, [("1-0", "a")])
    store.pass_ms(700)
    assert {} == store.ledger.note_verified(lane, [("2-0", "b")])
    store.pass_ms(400)
    assert {"3-0": "2-0"} == store.ledger.note_verified(lane, [("3-0", "b"), ("4-0", "c")])
    store.pass_ms(2100)
    assert {} == store.ledger.note_verified(lane, [("5-0", "a"), ("6-0", "b"), ("7-0", "c")])


def test_a_redriven_event_is_noted_again(make_store: MakeStore) -> None:
    """Its entry was trimmed: it has another one now, which is no copy."""
    store, lane = make_store(retention_count=0), Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    for name in ("a", "b"):
        store.emit(name)
    [claimed, other] = store.run(lane)
    key = key_of(claimed.body)
    assert {} == store.ledger.note_verified(lane, [(claimed.entry, key)])
    assert store.finish(lane, claimed, Outcome.DEAD)
    assert store.finish(lane, other)
    store.log.trim(DOMAIN, exact=True)
    [letter] = store.ledger.dead(DOMAIN)
    assert {"9-0": claimed.entry} == store.ledger.note_verified(lane, [("9-0", key)])
    assert 1 == store.ledger.redrive(lane, [(letter, claimed.body or b"")])
    [again] = store.run(lane)
    assert again.entry != claimed.entry
    assert {} == store.ledger.note_verified(lane, [(again.entry, key)])
    assert {"9-0": again.entry} == store.ledger.note_verified(lane, [("9-0", key)])


@pytest.mark.parametrize("in_a_chunk", [True, False])
def test_what_a_handler_refuses_does_not_count_any_longer(
    store: Store, lane: Lane, in_a_chunk: bool
) -> None:
    raw = event("a")
    key = peek(raw).key
    entry = store.log.append(DOMAIN, raw, EntryKind.MADE)
    refused = Settled(entry, key, 1, Outcome.REFUSED, failure=Failure(attempt=1, at=1, error="x"))
    assert {} == store.ledger.note_verified(lane, [(entry, key)])
    if in_a_chunk:
        chunk, fetched = fetch(store, lane)
        only = completion(fetched.entries, exceptions=[refused])
        assert store.chunks.complete("w1", lane, chunk, only)
    else:
        [taken] = store.ledger.take("w1", [Ask(lane, 10)])
        hinted = [(one.entry, key) for one in taken.deliveries]
        store.ledger.claim("w1", lane, hinted, 10, verifies=True)
        assert {"9-0": entry} == store.ledger.note_verified(lane, [("9-0", key)])
        assert not store.ledger.finish("w1", lane, [refused])
    assert {} == store.ledger.note_verified(lane, [("9-0", key)])
    assert {entry: "9-0"} == store.ledger.note_verified(lane, [(entry, key)])


def test_nothing_of_it_is_left_of_a_handler_that_was_removed(store: Store, lane: Lane) -> None:
    assert {} == store.ledger.note_verified(lane, [("1-0", "a")])
    store.ledger.forget(lane)
    assert {} == store.ledger.note_verified(lane, [("2-0", "a")])


def test_a_key_of_another_type_does_not_stop_the_handler(store: Store, lane: Lane) -> None:
    if not isinstance(store, RedisStore):
        return
    for key in store.keys.verified(DOMAIN, lane.handler):
        store.client.set(key, "no hash")
    assert {} == store.ledger.note_verified(lane, [("1-0", "a")])
    assert {"2-0": "1-0"} == store.ledger.note_verified(lane, [("2-0", "a")])


def test_what_others_register_suppresses_nothing_where_signatures_are_verified(
    store: Store, lane: Lane
) -> None:
    """Whoever emits into a domain can register ids there."""
    raw = event("a")
    forged = store.log.append(DOMAIN, raw, EntryKind.GIVEN)
    true = store.log.append(DOMAIN, raw, EntryKind.FOREIGN)
    [taken] = store.ledger.take("w1", [Ask(lane, 10)])
    key = peek(raw).key
    for verifies, verdict in ((True, Verdict.RUN), (False, Verdict.DUPLICATE)):
        group = lane if verifies else Lane(DOMAIN, "mail.send")
        if not verifies:
            store.log.join(DOMAIN, group.handler, forged)
            [taken] = store.ledger.take("w1", [Ask(group, 10)])
        assert true in [one.entry for one in taken.deliveries]
        claimed = store.ledger.claim("w1", group, [(true, key)], 10, verifies=verifies)
        assert [(true, verdict)] == [(one.entry, one.verdict) for one in claimed]

"""The counts of dead letters by handler and error are kept, and right whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery import Failure, Lane, Outcome, exception_of
from tests.contract.store import DOMAIN, Store


def bury(store: Store, lane: Lane, event_id: str, error: str) -> str:
    store.emit(event_id)
    for claimed in store.run(lane):
        failure = Failure(attempt=1, at=1000, error=error)
        assert store.finish(lane, claimed, Outcome.DEAD, failure=failure)
    return store.ledger.dead(DOMAIN, newest_first=True)[0].id


def groups(store: Store) -> list[tuple[str, int]]:
    return [(group.exception, group.count) for group in store.ledger.dead_groups(DOMAIN)]


def test_dead_letters_are_counted_by_handler_and_type_of_error(store: Store, lane: Lane) -> None:
    bury(store, lane, "a", "GatewayDown: timed out")
    last = bury(store, lane, "b", "GatewayDown: refused")
    bury(store, lane, "c", "no type: at all")
    other, down = store.ledger.dead_groups(DOMAIN)
    assert ("", 1) == (other.exception, other.count)
    assert (lane.handler, "GatewayDown", 2, last) == (
        down.handler, down.exception, down.count, down.newest
    )  # fmt: skip
    assert [] == store.ledger.dead_groups("nothing")


def test_every_way_out_of_the_dead_letters_counts(store: Store, lane: Lane) -> None:
    for name in "abcd":
        bury(store, lane, name, "Boom: " + name)
    a, b, c, _ = store.ledger.dead(DOMAIN)
    assert 1 == store.ledger.redrive(lane, [(a, b""), (a, b"")])
    assert [("Boom", 3)] == groups(store)
    store.ledger.discard(DOMAIN, [b.id, b.id])
    assert [("Boom", 2)] == groups(store)
    store.ledger.schedule(lane, [(c.entry, "c")])
    assert [("Boom", 1)] == groups(store)
    store.ledger.discard(DOMAIN, [letter.id for letter in store.ledger.dead(DOMAIN)])
    assert [] == groups(store)


def test_what_is_trimmed_is_counted_out(make_store: Callable[..., Store]) -> None:
    store, lane = make_store(dead_retention=1), Lane(DOMAIN, "billing.charge")
    store.log.join(DOMAIN, lane.handler, "0")
    bury(store, lane, "a", "Boom")
    bury(store, lane, "b", "Boom")
    store.pass_ms(1100)
    kept = bury(store, lane, "c", "Boom: kept")
    assert 2 == store.log.trim(DOMAIN)[1]
    [group] = store.ledger.dead_groups(DOMAIN)
    assert ("Boom", 1, kept) == (group.exception, group.count, group.newest)


def test_what_is_no_event_is_counted(store: Store, lane: Lane) -> None:
    store.log.append(DOMAIN, b"not json")
    [delivery] = store.take(lane).deliveries
    store.ledger.bury_invalid("w1", lane, delivery.entry, "InvalidEvent: not JSON")
    assert [("InvalidEvent", 1)] == groups(store)


@pytest.mark.parametrize(
    ("error", "exception"),
    [
        ("Boom", "Boom"),
        ("Boom: with text", "Boom"),
        ("shop.<locals>.Boom: x", "shop.<locals>.Boom"),
        ("two words: x", ""),
        ("Fehlé: x", ""),
        ("", ""),
    ],
)
def test_the_type_is_what_an_error_begins_with(
    store: Store, lane: Lane, error: str, exception: str
) -> None:
    """In both ledgers, one of which finds it in Lua."""
    assert exception == exception_of(error)
    bury(store, lane, "a", error)
    assert [(exception, 1)] == groups(store)


# -- who did it


def test_an_act_is_recorded_with_what_it_did(store: Store, lane: Lane) -> None:
    for name in "abc":
        bury(store, lane, name, "Boom")
    a, b, c = store.ledger.dead(DOMAIN)
    store.ledger.redrive(lane, [(a, b""), (a, b"")], b"first")
    store.ledger.redrive(lane, [(a, b"")], b"comes too late: nothing was done")
    store.ledger.discard(DOMAIN, [b.id], b"second")
    store.ledger.schedule(lane, [(c.entry, "c")], b"third")
    store.ledger.record(DOMAIN, b"fourth")
    found = store.ledger.audited(DOMAIN)
    expected = [(b"fourth", 0), (b"third", 1), (b"second", 1), (b"first", 1)]
    assert expected == [(one.note, one.count) for one in found]
    assert found[2:] == store.ledger.audited(DOMAIN, before=found[1].id)
    assert found[:1] == store.ledger.audited(DOMAIN, count=1)


def test_nobody_is_recorded_where_nobody_is_named(store: Store, lane: Lane) -> None:
    bury(store, lane, "a", "Boom")
    store.ledger.redrive(lane, [(store.ledger.dead(DOMAIN)[0], b"")])
    assert [] == store.ledger.audited(DOMAIN)

"""The counts of dead letters by handler and error are kept, and right whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celeriac.delivery import Failure, Group, Outcome, exception_of
from tests.contract.store import DOMAIN, Store


def make_dead_letter(store: Store, group: Group, event_id: str, error: str) -> str:
    store.emit(event_id)
    for claimed in store.run(group):
        failure = Failure(attempt=1, at=1000, error=error)
        assert store.complete(group, claimed, Outcome.DEAD, failure=failure)
    return store.deliveries.dead(DOMAIN, newest_first=True)[0].id


def groups(store: Store) -> list[tuple[str, int]]:
    return [(info.exception, info.count) for info in store.deliveries.dead_groups(DOMAIN)]


def test_dead_letters_are_counted_by_handler_and_type_of_error(store: Store, group: Group) -> None:
    make_dead_letter(store, group, "a", "GatewayDown: timed out")
    last = make_dead_letter(store, group, "b", "GatewayDown: refused")
    make_dead_letter(store, group, "c", "no type: at all")
    other, down = store.deliveries.dead_groups(DOMAIN)
    assert ("", 1) == (other.exception, other.count)
    assert (group.handler, "GatewayDown", 2, last) == (
        down.handler, down.exception, down.count, down.newest
    )  # fmt: skip
    assert [] == store.deliveries.dead_groups("nothing")


def test_every_way_out_of_the_dead_letters_counts(store: Store, group: Group) -> None:
    for name in "abcd":
        make_dead_letter(store, group, name, "Boom: " + name)
    a, b, c, _ = store.deliveries.dead(DOMAIN)
    assert 1 == store.deliveries.redrive(group, [(a, b""), (a, b"")])
    assert [("Boom", 3)] == groups(store)
    store.deliveries.discard(DOMAIN, [b.id, b.id])
    assert [("Boom", 2)] == groups(store)
    store.deliveries.replay(group, [(c.entry, "c")])
    assert [("Boom", 1)] == groups(store)
    store.deliveries.discard(DOMAIN, [letter.id for letter in store.deliveries.dead(DOMAIN)])
    assert [] == groups(store)


def test_what_is_trimmed_is_counted_out(make_store: Callable[..., Store]) -> None:
    store, group = make_store(dead_retention=60), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    make_dead_letter(store, group, "a", "Boom")
    make_dead_letter(store, group, "b", "Boom")
    store.age(61_000)
    kept = make_dead_letter(store, group, "c", "Boom: kept")
    assert 2 == store.event_log.trim(DOMAIN)[1]
    [info] = store.deliveries.dead_groups(DOMAIN)
    assert ("Boom", 1, kept) == (info.exception, info.count, info.newest)


def test_what_is_no_event_is_counted(store: Store, group: Group) -> None:
    store.event_log.append(DOMAIN, b"not json")
    [delivery] = store.fetch(group).deliveries
    store.deliveries.dead_letter_invalid("w1", group, delivery.entry, "InvalidEvent: not JSON")
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
    store: Store, group: Group, error: str, exception: str
) -> None:
    """In both delivery stores. That of Redis finds it in Lua."""
    assert exception == exception_of(error)
    make_dead_letter(store, group, "a", error)
    assert [(exception, 1)] == groups(store)


# -- who did it


def test_an_act_is_recorded_with_what_it_did(store: Store, group: Group) -> None:
    for name in "abc":
        make_dead_letter(store, group, name, "Boom")
    a, b, c = store.deliveries.dead(DOMAIN)
    store.deliveries.redrive(group, [(a, b""), (a, b"")], b"first")
    store.deliveries.redrive(group, [(a, b"")], b"comes too late: nothing was done")
    store.deliveries.discard(DOMAIN, [b.id], b"second")
    store.deliveries.replay(group, [(c.entry, "c")], b"third")
    store.deliveries.record(DOMAIN, b"fourth")
    found = store.deliveries.audit_log(DOMAIN)
    expected = [(b"fourth", 0), (b"third", 1), (b"second", 1), (b"first", 1)]
    assert expected == [(one.note, one.count) for one in found]
    assert found[2:] == store.deliveries.audit_log(DOMAIN, before=found[1].id)
    assert found[:1] == store.deliveries.audit_log(DOMAIN, count=1)


def test_no_person_is_recorded_where_none_is_named(store: Store, group: Group) -> None:
    make_dead_letter(store, group, "a", "Boom")
    store.deliveries.redrive(group, [(store.deliveries.dead(DOMAIN)[0], b"")])
    assert [] == store.deliveries.audit_log(DOMAIN)

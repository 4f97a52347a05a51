"""A tick of a schedule is emitted once, by whichever caller is first."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac.event import build_event, encode
from celeriac.event_log import EntryKind
from celeriac.schedule import Schedule, make_schedule
from tests.contract.store import DOMAIN, HOUR_MS, Store

EVERY_MS = 60_000


def schedule(service: str = "reports", **given: Any) -> Schedule:
    return make_schedule(f"{DOMAIN}.due", service=service, **{"every": 60, **given})


def body_of(schedule: Schedule, tick_ms: int) -> bytes:
    at = datetime.fromtimestamp(tick_ms / 1000, UTC)
    return encode(
        build_event(
            schedule.type, source="reports", data=None, id=schedule.event_id(tick_ms), time=at
        )
    )


def past(store: Store) -> int:
    """A tick of an hour ago."""
    return (store.registry.now_ms() - HOUR_MS) // EVERY_MS * EVERY_MS


def tick(store: Store, one: Schedule, at: int, **given: Any) -> bool:
    given = {"tick_ms": at, "body": body_of(one, at), "next_ms": at + EVERY_MS, **given}
    return store.schedules.tick(one, expected_ms=at, **given).is_fired


def test_a_new_schedule_begins_with_the_given_tick(store: Store) -> None:
    one = schedule()
    assert store.schedules.read(one) == (None, False, False)
    stored, is_own, is_fired = store.schedules.declare(one, 1234)
    assert stored is not None
    assert (stored.next_ms, stored.last_ms, stored.fired) == (1234, 0, 0)
    assert is_own and not is_fired
    assert store.schedules.all([DOMAIN]) == [stored]
    assert abs(store.schedules.now_ms() - store.registry.now_ms()) < 1000


def test_a_declaration_again_leaves_what_is_stored(store: Store) -> None:
    """So that what was missed while no worker ran is not forgotten."""
    one, at = schedule(), past(store)
    store.schedules.declare(one, at)
    stored, is_own, _ = store.schedules.declare(schedule(), at + HOUR_MS)
    assert is_own and stored is not None and stored.next_ms == at


def test_a_tick_is_emitted_once(store: Store) -> None:
    one, at = schedule(), past(store)
    store.schedules.declare(one, at)
    ticked = store.schedules.tick(
        one, expected_ms=at, next_ms=at + EVERY_MS, tick_ms=at, body=body_of(one, at)
    )
    assert ticked.is_fired and ticked.is_own and ticked.stored is not None
    assert (ticked.stored.next_ms, ticked.stored.last_ms, ticked.stored.fired) == (
        at + EVERY_MS,
        at,
        1,
    )
    assert not tick(store, one, at)
    [entry] = store.event_log.read(DOMAIN)
    assert (entry.body, entry.kind) == (body_of(one, at), EntryKind.GIVEN)


def test_a_tick_that_has_not_come_is_not_emitted(store: Store) -> None:
    """The caller's clock may be ahead."""
    one, at = schedule(), store.registry.now_ms() + HOUR_MS
    store.schedules.declare(one, at)
    assert not tick(store, one, at)
    [stored] = store.schedules.all([DOMAIN])
    assert stored.next_ms == at and store.event_log.length(DOMAIN) == 0


def test_a_missed_tick_can_be_skipped(store: Store) -> None:
    one, at = schedule(), past(store)
    store.schedules.declare(one, at)
    ticked = store.schedules.tick(one, expected_ms=at, next_ms=at + 5 * EVERY_MS, dropped=5)
    assert not ticked.is_fired and ticked.stored is not None
    assert (ticked.stored.next_ms, ticked.stored.last_ms) == (at + 5 * EVERY_MS, 0)
    assert ticked.stored.dropped == 5
    again = at + 5 * EVERY_MS
    assert tick(store, one, again, dropped=2)
    assert not tick(store, one, again, dropped=2)
    [stored] = store.schedules.all([DOMAIN])
    assert (stored.dropped, stored.fired, stored.last_ms) == (7, 1, again)
    replaced = store.schedules.declare(schedule(every=120), again).stored
    assert replaced is not None and (replaced.dropped, replaced.fired) == (7, 1)
    assert store.event_log.length(DOMAIN) == 1


def test_another_definition_begins_again_and_the_earlier_one_stops(store: Store) -> None:
    old, new, at = schedule(), schedule(every=120), past(store)
    store.schedules.declare(old, at)
    assert tick(store, old, at)
    ticked = store.schedules.declare(new, at + 7)
    assert ticked.is_own and ticked.stored is not None
    assert (ticked.stored.next_ms, ticked.stored.last_ms) == (at + 7, at)
    assert not store.schedules.read(old).is_own
    assert not tick(store, old, at + 7)
    assert tick(store, new, at + 7)


def test_an_event_that_is_in_the_log_is_not_emitted_again(store: Store) -> None:
    """As where the schedule was removed and declared again."""
    one, at = schedule(), past(store)
    for _ in range(2):
        stored = store.schedules.declare(one, at).stored
        assert stored is not None
        tick(store, one, at)
        assert store.schedules.remove(stored)
        assert not store.schedules.remove(stored)
    assert store.event_log.length(DOMAIN) == 1
    assert store.schedules.read(one).stored is None


def test_an_event_of_another_kind_is_not_registered(store: Store) -> None:
    """A signed one: another service must not keep it out by its id."""
    one, at = schedule(), past(store)
    store.event_log.append(DOMAIN, body_of(one, at), EntryKind.GIVEN)
    store.schedules.declare(one, at)
    assert tick(store, one, at, kind=EntryKind.FOREIGN)
    assert not tick(store, one, at, kind=EntryKind.FOREIGN)
    kinds = [entry.kind for entry in store.event_log.read(DOMAIN)]
    assert kinds == [EntryKind.GIVEN, EntryKind.FOREIGN]


def test_services_have_schedules_of_the_same_name(store: Store) -> None:
    ours, theirs, at = schedule(), schedule("audit"), past(store)
    store.schedules.declare(ours, at)
    store.schedules.declare(theirs, at)
    assert tick(store, ours, at) and tick(store, theirs, at)
    found = store.schedules.all([DOMAIN, "nothing"])
    assert [(one.service, one.fired) for one in found] == [("audit", 1), ("reports", 1)]
    assert store.schedules.all([]) == []


def test_of_many_callers_one_emits_each_tick(store: Store) -> None:
    one, at = schedule(), past(store)
    store.schedules.declare(one, at)
    fired: list[int] = []

    def run() -> None:
        stored = store.schedules.read(one).stored
        while stored is not None and stored.next_ms < at + 20 * EVERY_MS:
            due = stored.next_ms
            ticked = store.schedules.tick(
                one,
                expected_ms=due,
                next_ms=due + EVERY_MS,
                tick_ms=due,
                body=body_of(one, due),
            )
            if ticked.is_fired:
                fired.append(due)
            stored = ticked.stored

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [at + n * EVERY_MS for n in range(20)]
    assert sorted(fired) == expected
    bodies = [entry.body for entry in store.event_log.read(DOMAIN)]
    assert bodies == [body_of(one, due) for due in expected]


def test_a_domain_with_a_schedule_is_not_forgotten(store: Store) -> None:
    store.event_log.register_domains([DOMAIN])
    stored = store.schedules.declare(schedule(), 1).stored
    assert stored is not None
    assert not store.event_log.forget_domain(DOMAIN, 0)
    store.schedules.remove(stored)
    assert store.event_log.forget_domain(DOMAIN, 0)


@pytest.mark.parametrize("garbage", [b"", b"x", b"1 2 3\n{}", b"\xff"])
def test_a_record_that_cannot_be_read_is_skipped_and_replaced(store: Store, garbage: bytes) -> None:
    client = getattr(store, "client", None)
    if client is None:
        pytest.skip("only other programs write garbage")
    one = schedule()
    client.hset(getattr(store, "keys").schedules(DOMAIN), "reports:order.due", garbage)  # noqa: B009
    assert store.schedules.all([DOMAIN]) == []
    assert store.schedules.read(one).stored is None
    assert store.schedules.declare(one, 1234).is_own

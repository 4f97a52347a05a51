"""Actions of operators in memory: which of them wake dispatchers, and what they change."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from celeriac.delivery import ORDERED, ArchivedDelivery, ArchiveReplay, Group, Outcome
from celeriac.settings import Settings
from celeriac.store.memory.archive_replay import begins
from celeriac.store.memory.clock import MemoryClock
from tests.contract.store import DOMAIN, MemoryStore, body

GROUP = Group(DOMAIN, "billing.charge")
NOTE = b'{"actor":"ann","did":"replay"}'
REPLAY = ArchiveReplay(operation="one", until_ms=9, about="", started_ms=5)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(Settings.load({}))
    store.event_log.clock = store.clock = MemoryClock()  # type: ignore[attr-defined]
    store.event_log.join(DOMAIN, GROUP.handler, "0")
    return store


def wakeup(store: MemoryStore) -> tuple[int, int]:
    return store.event_log.store[DOMAIN].wakeup  # type: ignore[attr-defined, no-any-return]


def finished(store: MemoryStore, *ids: str, outcome: Outcome = Outcome.PROCESSED) -> list[str]:
    entries = [store.emit(id) for id in ids]
    for claimed in store.run(GROUP):
        store.complete(GROUP, claimed, outcome)
    return entries


def test_a_replay_wakes_dispatchers_if_it_schedules_anything(store: MemoryStore) -> None:
    [entry] = finished(store, "a")
    before = wakeup(store)
    assert store.deliveries.replay(GROUP, [(entry, "a")], NOTE) == 1
    assert wakeup(store) > before
    before = wakeup(store)
    assert store.deliveries.replay(GROUP, [(entry, "a")], NOTE) == 0
    assert wakeup(store) == before
    assert [action.count for action in store.deliveries.audit_log(DOMAIN)] == [1]


def test_redriving_or_editing_nothing_needs_no_handler(store: MemoryStore) -> None:
    unknown = Group(DOMAIN, "unknown")
    assert store.deliveries.redrive(unknown, []) == 0
    assert store.deliveries.edit(unknown, []) == 0


def test_a_redrive_wakes_dispatchers(store: MemoryStore) -> None:
    finished(store, "a", outcome=Outcome.DEAD)
    [letter] = store.deliveries.dead(DOMAIN)
    before = wakeup(store)
    assert store.deliveries.redrive(GROUP, [(letter, letter.event)], NOTE) == 1
    assert wakeup(store) > before


@pytest.mark.parametrize(("count", "wakes"), [(0, False), (1, True)])
def test_a_step_of_an_archive_wakes_dispatchers_if_it_schedules_anything(
    store: MemoryStore, count: int, wakes: bool
) -> None:
    entries = finished(store, "a", "b")
    archived = [ArchivedDelivery(one, id, body(id)) for one, id in zip(entries, "ab", strict=True)]
    store.deliveries.begin_archive_replay(GROUP, REPLAY)
    store.deliveries.replay_archived(GROUP, "one", archived[:1])
    before = wakeup(store)
    step = store.deliveries.replay_archived(GROUP, "one", archived[1 : 1 + count])
    assert step.scheduled == 1 + count
    assert (wakeup(store) > before) == wakes


@pytest.mark.parametrize(
    ("stored", "replay", "replaces", "expected"),
    [
        (None, REPLAY, False, True),
        (REPLAY, REPLAY, True, False),
        (replace(REPLAY, is_finished=True), REPLAY, False, False),
        (replace(REPLAY, is_finished=True), replace(REPLAY, started_ms=6), False, True),
        (REPLAY, replace(REPLAY, started_ms=6), True, False),
        (REPLAY, replace(REPLAY, operation="two"), False, False),
        (REPLAY, replace(REPLAY, operation="two"), True, True),
        (replace(REPLAY, is_finished=True), replace(REPLAY, operation="two"), False, True),
    ],
)
def test_which_replay_takes_the_place_of_another(
    stored: ArchiveReplay | None, replay: ArchiveReplay, replaces: bool, expected: bool
) -> None:
    assert begins(stored, replay, replaces) is expected


@pytest.mark.parametrize(("until_ms", "due"), [(-1, 0), (0, 1), (99, 1), (100, 2)])
def test_scheduled_deliveries_are_counted_up_to_a_time(
    store: MemoryStore, until_ms: int, due: int
) -> None:
    for id in "ab":
        store.emit(id)
    claimed = store.run(GROUP)
    store.complete(GROUP, claimed[0], Outcome.RETRY)
    store.complete(GROUP, claimed[1], Outcome.RETRY, delay_ms=100)
    now = store.clock.now_ms()
    groups = [GROUP, Group(DOMAIN, "unknown")]
    assert store.deliveries.due_until(groups, now + until_ms) == [due, 0]
    assert [store.deliveries.due(group) for group in groups] == [2, 0]


def test_the_earlier_deliveries_of_a_sequence_are_named(store: MemoryStore) -> None:
    ordered = Group(DOMAIN, GROUP.handler, ORDERED)
    first, second = store.emit("a", "subject"), store.emit("b", "subject")
    assert [claimed.entry for claimed in store.run(ordered)] == [first]
    assert store.deliveries.earlier_in_sequence(ordered, second) == [first]
    assert store.deliveries.earlier_in_sequence(ordered, first) == []
    assert store.deliveries.blocked_until_ms(ordered) is None

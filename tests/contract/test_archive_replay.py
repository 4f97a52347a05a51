"""Replays from an archive: events that may be trimmed run once for one handler."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from celeriac.delivery import ArchivedDelivery, ArchiveReplay, Group, Outcome, StepEnd
from celeriac.errors import NotFound
from celeriac.event_log import EntryKind
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, Store, body

NOTE = b'{"actor":"ann","did":"replay"}'
FIRST = ArchiveReplay(operation="one", until_ms=9, about="since then", started_ms=5)
OTHER = ArchiveReplay(operation="two", until_ms=8, about="since ever", started_ms=6)


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store(retention_count=0)


def archived(*entries: tuple[str, str]) -> list[ArchivedDelivery]:
    return [
        ArchivedDelivery(entry, id, body(id, handlers="billing.charge")) for entry, id in entries
    ]


def handle(store: Store, group: Group, outcome: Outcome = Outcome.PROCESSED) -> list[str]:
    claimed = store.run(group)
    for each in claimed:
        store.complete(group, each, outcome)
    return [each.entry for each in claimed]


def trim(store: Store) -> None:
    store.event_log.trim(DOMAIN, exact=True)
    assert 0 == store.event_log.length(DOMAIN)


def trimmed(store: Store, group: Group, *ids: str) -> list[ArchivedDelivery]:
    entries = [store.emit(id) for id in ids]
    handle(store, group)
    trim(store)
    return archived(*zip(entries, ids, strict=True))


def begin(store: Store, group: Group, replay: ArchiveReplay = FIRST) -> None:
    assert replay.operation == store.deliveries.begin_archive_replay(group, replay).operation


def test_a_trimmed_event_runs_again_for_the_handler_only(store: Store, group: Group) -> None:
    events = trimmed(store, group, "a", "b")
    begin(store, group)
    step = store.deliveries.replay_archived(group, "one", events, NOTE)
    assert (StepEnd.DONE, events[1].entry, 2, 0) == (
        step.end,
        step.position,
        step.scheduled,
        step.kept,
    )
    entries = store.event_log.read(DOMAIN)
    assert [event.addressed for event in events] == [entry.body for entry in entries]
    assert {EntryKind.REDRIVEN} == {entry.kind for entry in entries}
    assert [entry.id for entry in entries] == handle(store, group)


def test_a_repeated_step_schedules_nothing(store: Store, group: Group) -> None:
    events = trimmed(store, group, "a", "b", "c")
    begin(store, group)
    store.deliveries.replay_archived(group, "one", events[:2], NOTE)
    begin(store, group)
    again = store.deliveries.replay_archived(group, "one", events, NOTE)
    assert (3, 3) == (again.scheduled, store.event_log.length(DOMAIN))
    replay = store.deliveries.archive_replay(group)
    assert replay is not None
    assert (9, "since then", 5, 3, events[2].entry) == (
        replay.until_ms, replay.about, replay.started_ms, replay.scheduled, replay.position,
    )  # fmt: skip


def test_an_event_in_the_log_is_scheduled_and_not_appended(store: Store, group: Group) -> None:
    entry = store.emit("a")
    handle(store, group)
    begin(store, group)
    assert 1 == store.deliveries.replay_archived(group, "one", archived((entry, "a"))).scheduled
    assert (1, [entry]) == (store.event_log.length(DOMAIN), handle(store, group))


def test_unfinished_deliveries_are_left_as_they_are(store: Store, group: Group) -> None:
    running = store.emit("running")
    [claimed] = store.run(group)
    waiting = store.emit("waiting")
    begin(store, group)
    step = store.deliveries.replay_archived(
        group, "one", archived((running, "running"), (waiting, "waiting"))
    )
    assert (0, 2) == (step.scheduled, step.kept)
    assert store.complete(group, claimed)
    assert [waiting] == handle(store, group)


def test_the_dead_letter_of_a_replayed_event_is_removed(store: Store, group: Group) -> None:
    entry = store.emit("a")
    handle(store, group, Outcome.DEAD)
    trim(store)
    begin(store, group)
    store.deliveries.replay_archived(group, "one", archived((entry, "a")), NOTE)
    assert 0 == store.deliveries.dead_count(DOMAIN)
    [restart] = store.deliveries.history(group, "a").restarts
    assert NOTE.decode() == restart.note


def test_a_copy_is_no_duplicate_of_an_event_that_was_verified(store: Store, group: Group) -> None:
    events = trimmed(store, group, "a")
    store.deliveries.note_verified(group, [(events[0].entry, "a")])
    begin(store, group)
    store.deliveries.replay_archived(group, "one", events)
    [copy] = store.event_log.read(DOMAIN)
    assert {} == store.deliveries.note_verified(group, [(copy.id, "a")])


def test_an_ordered_handler_first_fetches_the_events_appended_again(
    store: Store, ordered: Group
) -> None:
    events = trimmed(store, ordered, "a")
    kept = store.emit("b")
    handle(store, ordered)
    events += archived((kept, "b"))
    begin(store, ordered)
    step = store.deliveries.replay_archived(ordered, "one", events, is_last=True)
    assert (StepEnd.BEHIND, events[0].entry, 1) == (step.end, step.position, step.scheduled)
    handle(store, ordered)
    step = store.deliveries.replay_archived(ordered, "one", events, is_last=True)
    assert (StepEnd.DONE, 2) == (step.end, step.scheduled)
    assert [kept] == handle(store, ordered)


def test_an_unfinished_replay_is_neither_begun_again_nor_replaced(
    store: Store, group: Group
) -> None:
    events = trimmed(store, group, "a", "b")
    begin(store, group)
    store.deliveries.replay_archived(group, "one", events[:1])
    later = replace(FIRST, started_ms=FIRST.started_ms + 1)
    for replay in (FIRST, later, OTHER):
        stored = store.deliveries.begin_archive_replay(group, replay)
        assert ("one", events[0].entry, 1) == (stored.operation, stored.position, stored.scheduled)


def test_a_replaced_replay_schedules_nothing_more(store: Store, group: Group) -> None:
    events = trimmed(store, group, "a")
    begin(store, group)
    replaced = store.deliveries.begin_archive_replay(group, OTHER, replaces=True)
    assert OTHER == replaced
    assert StepEnd.REPLACED is store.deliveries.replay_archived(group, "one", events).end
    assert 0 == store.event_log.length(DOMAIN)


def test_a_finished_replay_begins_again_only_if_it_is_started_later(
    store: Store, group: Group
) -> None:
    events = trimmed(store, group, "a")
    begin(store, group)
    store.deliveries.replay_archived(group, "one", events, NOTE, is_last=True)
    stored = store.deliveries.begin_archive_replay(group, FIRST)
    assert (True, 1) == (stored.is_finished, stored.scheduled)
    later = replace(FIRST, started_ms=FIRST.started_ms + 1)
    assert later == store.deliveries.begin_archive_replay(group, later)
    assert 1 == store.deliveries.replay_archived(group, "one", events).scheduled
    assert 2 == store.event_log.length(DOMAIN)


def test_another_replay_takes_the_place_of_a_finished_one(store: Store, group: Group) -> None:
    begin(store, group)
    store.deliveries.replay_archived(group, "one", (), is_last=True)
    begin(store, group, OTHER)


def test_the_operator_is_recorded_at_the_beginning_and_at_the_end(
    store: Store, group: Group
) -> None:
    events = trimmed(store, group, "a", "b")
    store.deliveries.begin_archive_replay(group, FIRST, NOTE)
    store.deliveries.begin_archive_replay(group, FIRST, NOTE)
    store.deliveries.replay_archived(group, "one", events[:1], NOTE)
    for _ in range(2):
        store.deliveries.replay_archived(group, "one", events, NOTE, is_last=True)
    audited = store.deliveries.audit_log(DOMAIN)
    assert [(NOTE, 2), (NOTE, 0)] == [(each.note, each.count) for each in audited]


def test_nothing_is_replayed_for_a_handler_that_left(store: Store, group: Group) -> None:
    events = trimmed(store, group, "a")
    begin(store, group)
    store.event_log.leave(DOMAIN, group.handler)
    with pytest.raises(NotFound, match=r"billing\.charge has no subscription"):
        store.deliveries.replay_archived(group, "one", events)
    store.deliveries.forget(group)
    assert store.deliveries.archive_replay(group) is None

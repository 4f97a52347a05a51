"""The records of one handler: how long they are kept, and what each transition does to them."""

from __future__ import annotations

import pytest

from celeriac.delivery import Completion, DeliveryState, Failure, Outcome
from celeriac.delivery.record import MAX_HISTORY, History, refused_field
from celeriac.event import EmittedEvents
from celeriac.event.correlation import EmittedEvent
from celeriac.store.memory.handler_store import HandlerStore, TTLDict

WINDOW = 1000
RUNNING, SCHEDULED, PROCESSED, DEAD = (
    DeliveryState.RUNNING, DeliveryState.SCHEDULED, DeliveryState.PROCESSED, DeliveryState.DEAD,
)  # fmt: skip
KEY, ENTRY = "key", "5-0"


@pytest.fixture
def store() -> HandlerStore:
    return HandlerStore(lambda: WINDOW)


def failure(at: int) -> Failure:
    return Failure(attempt=1, at=at, error="no")


def test_a_value_is_dropped_a_window_after_it_was_written() -> None:
    window = [WINDOW]
    values: TTLDict[str] = TTLDict(lambda: window[0])
    values.put("a", "1", 0)
    values.put("b", "2", 10)
    values.put("a", "3", 20)
    assert [values.get("b", 1009), values.get("b", 1010)] == ["2", None]
    assert [values.get("a", 1019), values.get("a", 1020)] == ["3", None]
    values.put("c", "4", 2000)
    window[0] = 5
    assert values.get("c", 2005) is None
    values.put("d", "5", 3000)
    values.drop("d")
    values.drop("unknown")
    assert values.get("d", 3000) is None


def test_only_the_first_entry_of_a_verified_event_counts(store: HandlerStore) -> None:
    assert store.note_verified([("1-0", "a"), ("2-0", "a"), ("3-0", "b")], 0) == {"2-0": "1-0"}
    assert store.note_verified([("1-0", "a"), ("4-0", "b")], 500) == {"4-0": "3-0"}
    store.forget_refused("a", "2-0", 500)
    assert store.note_verified([("5-0", "a")], 500) == {"5-0": "1-0"}
    store.forget_refused("a", "1-0", 500)
    assert store.note_verified([("5-0", "a")], 500) == {}
    assert store.note_verified([("6-0", "b")], WINDOW) == {}, "it was forgotten"


@pytest.mark.parametrize(
    ("state", "entry", "removed"),
    [(RUNNING, ENTRY, True), (RUNNING, "6-0", False), (SCHEDULED, ENTRY, False)],
)
def test_only_the_row_of_a_run_of_the_entry_is_removed(
    store: HandlerStore, state: DeliveryState, entry: str, removed: bool
) -> None:
    assert store.unrecord(KEY, ENTRY, 0) is False
    store.record(KEY, state, entry, 1, 0, 0)
    assert store.unrecord(KEY, ENTRY, 0) is removed
    assert (store.rows.get(KEY, 0) is None) == removed


@pytest.mark.parametrize(
    ("state", "recorded", "pending", "before"),
    [
        (PROCESSED, "6-0", (), PROCESSED),
        (PROCESSED, ENTRY, (), PROCESSED),
        (RUNNING, "6-0", ("6-0",), RUNNING),
        (SCHEDULED, "6-0", ("6-0",), SCHEDULED),
        (RUNNING, "6-0", (), None),
        (RUNNING, ENTRY, (ENTRY,), None),
        (SCHEDULED, "6-0", (ENTRY,), None),
        (DEAD, "6-0", (), DEAD),
    ],
)
def test_an_event_came_before_if_another_entry_is_finished_or_in_flight(
    store: HandlerStore,
    state: DeliveryState,
    recorded: str,
    pending: tuple[str, ...],
    before: DeliveryState | None,
) -> None:
    assert store.came_before(KEY, ENTRY, pending, 0) is None
    store.record(KEY, state, recorded, 1, 0, 0)
    assert store.came_before(KEY, ENTRY, pending, 0) is before
    assert store.came_before(KEY, ENTRY, pending, WINDOW) is None


def test_failures_belong_to_the_life_in_which_they_happened(store: HandlerStore) -> None:
    assert store.add_failure(KEY, None, 0) == ()
    assert [one.life for one in store.add_failure(KEY, failure(1), 0)] == [1]
    store.record(KEY, DEAD, ENTRY, 1, 7, 0)
    store.begin_again(KEY, ENTRY, "note", 10)
    assert store.rows.get(KEY, 10) is None
    assert [one.life for one in store.add_failure(KEY, failure(2), 10)] == [1, 2]
    [restart] = store.history(KEY, 10).restarts
    assert (restart.at, restart.note, restart.life) == (10, "note", 2)
    assert (restart.ended, restart.attempts, restart.took) == ("dead", 1, 7)


@pytest.mark.parametrize(
    ("has_row", "has_past", "restarts"), [(False, False, 0), (True, False, 1), (False, True, 1)]
)
def test_a_delivery_without_a_record_begins_no_other_life(
    store: HandlerStore, has_row: bool, has_past: bool, restarts: int
) -> None:
    if has_row:
        store.record(KEY, PROCESSED, ENTRY, 1, 0, 0)
    if has_past:
        store.add_failure(KEY, failure(1), 0)
    store.begin_again(KEY, ENTRY, "", 0)
    assert len(store.history(KEY, 0).restarts) == restarts


@pytest.mark.parametrize("is_refused", [False, True])
def test_an_entry_that_was_refused_has_a_history_of_its_own(
    store: HandlerStore, is_refused: bool
) -> None:
    """The row of the key belongs to another entry."""
    field = refused_field(ENTRY)
    store.record(KEY, PROCESSED, "9-0", 1, 0, 0)
    if is_refused:
        store.record(field, DEAD, ENTRY, 1, 0, 0)
    store.note_edit(KEY, ENTRY, "edited", "note", 1)
    store.begin_again(KEY, ENTRY, "", 2)
    own, other = (field, KEY) if is_refused else (KEY, field)
    edit, restart = store.history(own, 2).restarts
    assert (edit.edited, edit.note, edit.life, restart.life) == ("edited", "note", 1, 2)
    assert store.history(other, 2) == History()
    assert store.rows.get(own, 2) is None
    assert (store.rows.get(KEY, 2) is None) == (not is_refused)


@pytest.mark.parametrize("lines", [1, MAX_HISTORY, MAX_HISTORY + 1, MAX_HISTORY + 5])
def test_the_first_line_and_the_last_ones_are_kept(store: HandlerStore, lines: int) -> None:
    for at in range(1, lines + 1):
        store.add_failure(KEY, failure(at), 0)
    kept = [one.at for one in store.history(KEY, 0).failures]
    last = range(max(2, lines - MAX_HISTORY + 2), lines + 1)
    assert kept == [1, *last]


def test_events_of_several_attempts_are_kept_once(store: HandlerStore) -> None:
    first, second = EmittedEvent("a", "1"), EmittedEvent("b", "2")
    store.add_emitted(KEY, EmittedEvents(), 0)
    assert store.emitted_events.get(KEY, 0) is None
    store.add_emitted(KEY, EmittedEvents((first,)), 0)
    store.add_emitted(KEY, EmittedEvents((first, second)), 0)
    assert store.emitted_events.get(KEY, 0) == EmittedEvents((first, second))


MINUTE = 60_000


def completion(outcome: Outcome, *, entry: str = "0-0", attempt: int = 1) -> Completion:
    return Completion(entry, KEY, attempt, outcome, took_us=2000, type="order.placed")


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Outcome.PROCESSED, True),
        (Outcome.DEAD, True),
        (Outcome.IGNORED, False),
        (Outcome.REQUEUED, False),
        (Outcome.COALESCED, False),
    ],
)
def test_outcomes_are_counted_in_total_and_by_minute(
    store: HandlerStore, outcome: Outcome, counted: bool
) -> None:
    store.count(completion(outcome), outcome, 3 * MINUTE + 5)
    assert set(store.minutes) == ({3} if counted else set())
    assert set(store.counters) == ({"order.placed"} if counted else set())
    if counted:
        assert store.minutes[3] == store.counters


def test_the_last_hour_is_kept_by_minute(store: HandlerStore) -> None:
    for minute in (1, 2, 61, 62):
        store.count(completion(Outcome.PROCESSED), Outcome.PROCESSED, minute * MINUTE)
    assert set(store.minutes) == {61, 62}
    store.count(completion(Outcome.PROCESSED), Outcome.PROCESSED, 120 * MINUTE)
    assert set(store.minutes) == {61, 62, 120}
    assert store.counters["order.placed"].processed == 5


@pytest.mark.parametrize(("entry", "total_us"), [("10-0", 90_000), ("100-0", 0), ("200-0", 0)])
def test_the_total_time_begins_with_the_entry(
    store: HandlerStore, entry: str, total_us: int
) -> None:
    store.count(completion(Outcome.PROCESSED, entry=entry), Outcome.PROCESSED, 100)
    stats = store.counters["order.placed"]
    assert (stats.total.sum_us, stats.run.sum_us) == (total_us, 2000)

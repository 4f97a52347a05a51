"""The event log in memory at times that the tests set: ids, delays, trimming, and removal."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.errors import LogFull
from celeriac.event import build_event, encode, event_key
from celeriac.event_log import EntryKind
from celeriac.event_log.registered import MARGIN_MS
from celeriac.settings import Settings
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.event_ids import LATE_MS
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.stream import MemoryGroup, PendingEntry

NOW, HOUR_MS = 1_700_000_000_000, 3_600_000
DOMAIN = "order"


class Log(MemoryEventLog):
    """A log whose time the tests set."""

    def __init__(self, **settings: Any) -> None:
        self.at = MemoryClock(NOW)
        super().__init__(Settings.load({}, **settings), self.at)

    def emit(self, id: str = "a", **options: Any) -> str:
        return self.append(
            DOMAIN, encode(build_event("order.placed", 1, source="s", id=id)), **options
        )

    @property
    def ids(self) -> Any:
        return self.store[DOMAIN].ids


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_domain_is_discovered_with_its_first_entry(log: Log) -> None:
    log.length("empty")
    log.emit()
    assert log.discover() == {DOMAIN}
    assert log.discover() == frozenset()
    assert log.domains() == {DOMAIN}


@pytest.mark.parametrize(
    ("silent_ms", "after_ms", "forgotten"),
    [(500, 499, False), (500, 500, True), (500, 501, True)],
)
def test_a_silent_domain_is_forgotten(
    log: Log, silent_ms: int, after_ms: int, forgotten: bool
) -> None:
    log.register_domains([DOMAIN])
    entry = log.emit()
    log.store[DOMAIN].events.remove(entry)
    log.at.advance(after_ms)
    assert log.forget_domain(DOMAIN, silent_ms) is forgotten
    assert log.forgotten() == ({DOMAIN} if forgotten else set())
    assert log.domains() == (set() if forgotten else {DOMAIN})
    log.register_domains([DOMAIN])
    assert log.forgotten() == set()


@pytest.mark.parametrize("content", ["event", "dead", "delayed", "schedule", "pending", "action"])
def test_a_domain_with_content_is_kept(log: Log, content: str) -> None:
    store = log.store[DOMAIN]
    if content == "event":
        log.emit()
    elif content == "dead":
        store.dead.append(NOW, "letter")
    elif content == "delayed":
        store.delayed["t"] = NOW
    elif content == "schedule":
        store.schedules["s"] = (b"", None)  # type: ignore[assignment]
    elif content == "pending":
        store.groups["h"] = MemoryGroup((0, 0), {"1-0": PendingEntry("queued:w", 0)})
    else:
        store.actions.append(NOW, (b"", 0))
    log.at.advance(1000)
    assert log.forget_domain(DOMAIN, 0) is False


@pytest.mark.parametrize(("late_ms", "forgotten"), [(-1, False), (0, True)])
def test_the_audit_log_of_a_domain_is_kept_for_its_time(
    log: Log, late_ms: int, forgotten: bool
) -> None:
    log.store[DOMAIN].actions.append(NOW, (b"", 0))
    log.at.advance(int(log.bus.current.dead_retention * 1000) + late_ms)
    assert log.forget_domain(DOMAIN, 0) is forgotten


def test_an_event_that_is_appended_again_is_known_after_its_domain_was_forgotten(log: Log) -> None:
    entry = log.emit(kind=EntryKind.GIVEN)
    log.store[DOMAIN].events.remove(entry)
    log.at.advance(1000)
    assert log.forget_domain(DOMAIN, 0)
    assert log.emit(kind=EntryKind.GIVEN) == entry


@pytest.mark.parametrize(
    ("kind", "since_ms", "intervals"),
    [
        (EntryKind.GIVEN, 0, []),
        (EntryKind.MADE, NOW - 5000, [(NOW - 5000 - MARGIN_MS, NOW + LATE_MS)]),
        (EntryKind.MADE, NOW + 5000, [(NOW - MARGIN_MS, NOW + LATE_MS)]),
        (EntryKind.GIVEN, NOW - 5000, [(NOW, NOW)]),
    ],
)
def test_a_second_try_makes_the_times_of_its_event_ambiguous(
    log: Log, kind: EntryKind, since_ms: int, intervals: list[tuple[int, int]]
) -> None:
    entry = log.emit(kind=kind, since_ms=since_ms)
    assert log.ids.intervals == intervals
    registered = log.ids.get(event_key("a", "s"))
    assert (registered.entry, registered.is_resolved) == (entry, not since_ms)
    assert log.read(DOMAIN)[0].kind is EntryKind.GIVEN
    assert log.emit(kind=kind, since_ms=since_ms) == entry, "once"
    assert log.length(DOMAIN) == 1


@pytest.mark.parametrize(
    ("after", "is_known"), [(0.999, True), (1.0, True), (1.999, True), (2.0, False)]
)
def test_an_id_is_known_for_one_to_two_windows(log: Log, after: float, is_known: bool) -> None:
    window_ms = int(log.bus.current.dedup_window * 1000)
    entry = log.emit(kind=EntryKind.GIVEN)
    for share in (0.5, 1.0, after):
        if share <= after:
            log.at.advance(NOW + int(window_ms * share) - log.at.now_ms())
            log.emit(id=f"at {share}", kind=EntryKind.GIVEN)
    assert (log.emit(kind=EntryKind.GIVEN) == entry) == is_known


def test_a_contested_id_enters_the_log_again(log: Log) -> None:
    entry = log.emit(kind=EntryKind.GIVEN)
    log.ids.contest(event_key("a", "s"), entry)
    log.at.advance(10)
    again = log.emit(kind=EntryKind.GIVEN)
    assert again != entry
    registered = log.ids.get(event_key("a", "s"))
    assert (registered.entry, registered.earlier) == (again, entry)
    assert log.ids.intervals == [(NOW + 10, NOW + 10)]


# -- delayed events


def test_a_new_time_of_a_delayed_event_replaces_the_old_one(log: Log) -> None:
    event = encode(build_event("order.placed", 1, source="s", id="a"))
    given: Any = {"kind": EntryKind.GIVEN}
    assert log.append_delayed(DOMAIN, event, delay_ms=None, at_ms=NOW + 50, **given) == NOW + 50
    log.append_delayed(DOMAIN, event, delay_ms=70, at_ms=None, **given)
    assert log.enqueue_due_many([DOMAIN, "other"]) == [(0, log.upcoming(DOMAIN)[0][0]), (0, None)]
    with pytest.raises(ValueError, match="needs delay_ms or at_ms"):
        log.append_delayed(DOMAIN, event, delay_ms=None, at_ms=None)


def test_delays_move_with_a_clock_that_steps_back_and_times_of_day_do_not(log: Log) -> None:
    log.append_delayed(DOMAIN, b"delay", delay_ms=100, at_ms=None)
    log.append_delayed(DOMAIN, b"time", delay_ms=None, at_ms=NOW + 200)
    log.append_delayed(DOMAIN, b"again", delay_ms=None, at_ms=NOW + 300)
    log.append_delayed(DOMAIN, b"again", delay_ms=300, at_ms=None)
    assert log.enqueue_due(DOMAIN) == (0, NOW + 100)
    log.at.advance(-HOUR_MS)
    assert log.enqueue_due(DOMAIN) == (0, NOW - HOUR_MS + 100)
    assert log.upcoming(DOMAIN) == [
        (NOW - HOUR_MS + 100, b"delay"), (NOW - HOUR_MS + 300, b"again"), (NOW + 200, b"time"),
    ]  # fmt: skip
    log.at.advance(99)
    assert log.enqueue_due(DOMAIN)[0] == 0
    log.at.advance(1)
    assert log.enqueue_due(DOMAIN) == (1, NOW - HOUR_MS + 300)


def test_due_events_are_enqueued_up_to_a_number(log: Log) -> None:
    for n in range(4):
        log.append_delayed(DOMAIN, b"%d" % n, delay_ms=n, at_ms=None)
    log.at.advance(2)
    assert log.enqueue_due(DOMAIN, 2) == (2, NOW + 2)
    assert log.enqueue_due(DOMAIN, 2) == (1, NOW + 3)
    assert [entry.body for entry in log.read(DOMAIN)] == [b"0", b"1", b"2"]
    assert {entry.kind for entry in log.read(DOMAIN)} == {EntryKind.FOREIGN}
    assert log.delayed(DOMAIN) == 1


@pytest.mark.parametrize(("start", "count", "bodies"), [(0, 9, "012"), (1, 1, "1"), (2, 9, "2")])
def test_delayed_events_are_listed_in_pages(log: Log, start: int, count: int, bodies: str) -> None:
    for n in range(3):
        log.append_delayed(DOMAIN, b"%d" % n, delay_ms=n, at_ms=None)
    found = log.upcoming(DOMAIN, start=start, count=count)
    assert b"".join(body for _, body in found).decode() == bodies


# -- reading and trimming


@pytest.mark.parametrize(
    ("options", "indexes"),
    [
        ({}, [0, 1, 2]),
        ({"count": 2}, [0, 1]),
        ({"count": 2, "newest_first": True}, [2, 1]),
    ],
)
def test_entries_are_read_from_either_end(
    log: Log, options: dict[str, Any], indexes: list[int]
) -> None:
    entries = [log.emit(id=f"e{n}") for n in range(3)]
    assert [entry.id for entry in log.read(DOMAIN, **options)] == [entries[n] for n in indexes]


def test_several_domains_are_read_after_a_position(log: Log) -> None:
    entries = [log.emit(id=f"e{n}") for n in range(3)]
    found = log.read_after([(DOMAIN, entries[0], 1), (DOMAIN, entries[1], 9), ("other", "0-0", 9)])
    assert [[entry.id for entry in some or ()] for some in found] == [
        [entries[1]],
        [entries[2]],
        [],
    ]
    assert log.evictions() == []


def aged(log: Log, *ages_ms: int) -> None:
    """Append an event of each age, the oldest first; then it is NOW."""
    log.at.advance(-ages_ms[0])
    for age, following in zip(ages_ms, (*ages_ms[1:], 0), strict=True):
        log.emit(id=f"age {age}")
        log.at.advance(age - following)


@pytest.mark.parametrize(
    ("retention", "count", "removed"),
    [(10, 99, 0), (2, 99, 1), (1.999, 99, 2), (10, 2, 1), (10, 3, 0), (2, 1, 2)],
)
def test_old_entries_and_those_above_the_limit_are_trimmed(
    retention: float, count: int, removed: int
) -> None:
    log = Log(retention=retention, retention_count=count)
    aged(log, 3000, 2000, 1000)
    assert log.trim(DOMAIN) == (removed, 0)
    [trimmed] = log.trim_many([DOMAIN])
    assert (trimmed.entries, trimmed.remaining) == (0, 3 - removed)


def test_what_a_group_has_not_finished_is_not_trimmed() -> None:
    log = Log(retention=1.999)
    aged(log, 3000, 2000, 1000)
    log.join(DOMAIN, "h", "0")
    assert log.trim(DOMAIN) == (0, 0)
    log.store[DOMAIN].groups["h"].last = (NOW - 3000, 0)
    assert log.trim(DOMAIN) == (1, 0)


@pytest.mark.parametrize(
    ("retention", "limit", "removed"), [(10, 9, 0), (2, 9, 1), (1.999, 9, 2), (10, 1, 2)]
)
def test_old_dead_letters_and_those_above_the_limit_are_trimmed(
    retention: float, limit: int, removed: int
) -> None:
    log = Log(dead_retention=retention, max_dead_letters=limit)
    for age in (3000, 2000, 1000):
        log.store[DOMAIN].dead.append(NOW - age, "letter")
    assert log.trim(DOMAIN) == (0, removed)


def test_a_group_is_joined_once_and_leaves_once(log: Log) -> None:
    entry = log.emit()
    assert (log.join(DOMAIN, "new", "$"), log.join(DOMAIN, "old", "0")) == (True, True)
    assert log.join(DOMAIN, "new", "0") is False
    assert {group.handler: group.lag for group in log.groups(DOMAIN)} == {"new": 0, "old": 1}
    assert [group.last_delivered for group in log.groups(DOMAIN)] == [entry, "0-0"]
    assert (log.leave(DOMAIN, "new"), log.leave(DOMAIN, "new")) == (True, False)
    assert log.remove_idle_consumers(DOMAIN) == 0


def test_the_latest_clock_step_is_reported(log: Log) -> None:
    steps = log.store[DOMAIN].clock_steps
    assert log.clock_step(DOMAIN) is None
    for handler, times in (("a", (9_000_000, 5_000_000)), ("b", (9_000_000, 2_000_000))):
        for now in times:
            steps.observe(handler, now)
    step = log.clock_step(DOMAIN)
    assert step is not None and (step.ms, step.at_ms) == (4_000_000, 5_000_000)


def test_waiting_ends_with_what_is_new(log: Log) -> None:
    """Also without a wait: entries and wakeups since the positions that were seen."""
    entry = log.emit()
    seen = {DOMAIN: "0-0", f"wakeup {DOMAIN}": "$"}
    assert log.wait(seen, 60.0) == {DOMAIN: entry, f"wakeup {DOMAIN}": "$"}
    assert log.wait({}, 60.0) == {}
    assert log.wait({DOMAIN: entry}, 0.0) == {DOMAIN: entry}
    before = log.store[DOMAIN].wakeup
    log.append_delayed(DOMAIN, b"later", delay_ms=5, at_ms=None)
    assert log.store[DOMAIN].wakeup > before


@pytest.mark.parametrize("change", ["append", "delay"])
def test_threads_that_wait_are_notified(log: Log, change: str) -> None:
    notified: list[int] = []
    log.lock.notify_all = lambda: notified.append(1)  # type: ignore[method-assign]
    if change == "append":
        log.emit()
    else:
        log.append_delayed(DOMAIN, b"later", delay_ms=5, at_ms=None)
    assert notified == [1]


@pytest.mark.parametrize(("bounded", "is_full"), [(True, True), (False, False)])
def test_the_number_of_domains_is_limited(bounded: bool, is_full: bool) -> None:
    log = Log(max_domains=2)
    log.register_domains(["a", "b"], bounded=bounded)
    log.register_domains(["a"], bounded=bounded)
    if is_full:
        with pytest.raises(LogFull):
            log.register_domains(["a", "c"], bounded=bounded)
    else:
        log.register_domains(["c"], bounded=bounded)
    assert log.domains() == ({"a", "b"} if is_full else {"a", "b", "c"})

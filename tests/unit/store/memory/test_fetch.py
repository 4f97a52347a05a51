"""How the slots of a fetch are shared between reclaimed, scheduled, blocked and new deliveries."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import FetchRequest, FetchResult, FlowControl, Group, Outcome
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.memory.clock import MemoryClock
from tests.contract.store import DOMAIN, MemoryStore, body

HANDLER = "billing.charge"
PLAIN = Group(DOMAIN, HANDLER)
LIMITED = Group(DOMAIN, HANDLER, FlowControl(concurrency=99))
LEASE_MS = 10_000


class Bench(MemoryStore):
    """One handler. Each event has a key of its own, unless it is given one."""

    def __init__(self) -> None:
        super().__init__(Settings.load({}, lease=LEASE_MS / 1000))
        self.event_log.clock = self.clock = MemoryClock()  # type: ignore[attr-defined]
        self.event_log.join(DOMAIN, HANDLER, "0")
        self.number = 0

    def new(self, count: int, key: str = "") -> list[str]:
        """Append events, which wait."""
        entries = []
        for _ in range(count):
            self.number += 1
            event = body(f"e{self.number}", key or f"k{self.number}")
            entries.append(self.event_log.append(DOMAIN, event, EntryKind.MADE))
        return entries

    def due(self, group: Group, count: int) -> list[str]:
        """Make deliveries that are scheduled and due now."""
        entries = self.new(count)
        for claimed in self.claim(group, self.fetch(group).deliveries):
            self.complete(group, claimed, Outcome.RETRY)
        return entries

    def take(self, group: Group, limit: int = 9, worker: str = "w1", **more: Any) -> FetchResult:
        [result] = self.deliveries.fetch(worker, [FetchRequest(group, limit, **more)])
        return result


@pytest.fixture
def bench() -> Bench:
    return Bench()


def entries_of(result: FetchResult) -> list[str]:
    return [delivery.entry for delivery in result.deliveries]


GROUPS = pytest.mark.parametrize("group", [PLAIN, LIMITED], ids=["plain", "limited"])


@GROUPS
@pytest.mark.parametrize(
    ("queued", "due", "new", "options", "expected"),
    [
        (0, 9, 9, {"limit": 4}, (2, 2)),
        (0, 9, 9, {"limit": 5}, (3, 2)),
        (0, 9, 9, {"limit": 2}, (1, 1)),
        (0, 9, 9, {"limit": 1, "scheduled_first": False}, (0, 1)),
        (0, 9, 9, {"limit": 1}, (1, 0)),
        (0, 9, 9, {"limit": 2, "scheduled_first": False}, (1, 1)),
        (0, 1, 9, {"limit": 4}, (1, 3)),
        (0, 9, 1, {"limit": 4}, (3, 1)),
        (0, 9, 9, {"limit": 4, "max_new": 1}, (3, 1)),
        (0, 9, 9, {"limit": 4, "max_new": 0}, (4, 0)),
        (0, 9, 9, {"limit": 0}, (0, 0)),
        (2, 9, 9, {"limit": 4}, (1, 1)),
        (5, 9, 9, {"limit": 4}, (0, 0)),
        (2, 9, 9, {"limit": 9, "max_in_flight": 4}, (1, 1)),
        (2, 9, 9, {"limit": 3, "max_in_flight": 9}, (1, 0)),
        (2, 9, 9, {"limit": 9, "max_in_flight": 1}, (0, 0)),
    ],
)
def test_half_of_the_slots_are_for_new_deliveries(
    bench: Bench,
    group: Group,
    queued: int,
    due: int,
    new: int,
    options: dict[str, Any],
    expected: tuple[int, int],
) -> None:
    bench.new(queued)
    assert len(bench.take(group, queued).deliveries) == queued
    scheduled = bench.due(group, due)
    waiting = bench.new(new)
    result = bench.take(group, **options)
    found = entries_of(result)
    assert result.queued == queued
    counts = (len(set(found) & set(scheduled)), len(set(found) & set(waiting)))
    assert counts == expected
    assert len(found) == sum(expected)


@GROUPS
@pytest.mark.parametrize(
    ("new", "limit", "is_at_end", "has_more"),
    [(0, 3, True, False), (2, 3, True, False), (3, 3, False, True), (4, 3, False, True),
     (4, 0, False, False)],
)  # fmt: skip
def test_a_fetch_returns_whether_it_read_to_the_end(
    bench: Bench, group: Group, new: int, limit: int, is_at_end: bool, has_more: bool
) -> None:
    bench.new(new)
    result = bench.take(group, limit)
    assert result.is_at_end == is_at_end
    # A handler with limits per key is fetched for again at once.
    is_limited = group.flow_control is not None
    assert result.next_due_ms == (result.now_ms if has_more and is_limited else None)


@GROUPS
def test_a_fetch_returns_the_time_of_the_next_scheduled_delivery(
    bench: Bench, group: Group
) -> None:
    bench.new(3)
    claimed = bench.claim(group, bench.fetch(group).deliveries)
    for one, delay_ms in zip(claimed, (500, 300, 100), strict=True):
        bench.complete(group, one, Outcome.RETRY, delay_ms=delay_ms)
    now = bench.clock.now_ms()
    assert bench.take(group).next_due_ms == now + 100
    bench.pass_ms(300)
    result = bench.take(group)
    assert entries_of(result) == [claimed[2].entry, claimed[1].entry], "in the order of time"
    assert result.next_due_ms == now + 500


@GROUPS
def test_what_is_in_flight_is_counted(bench: Bench, group: Group) -> None:
    bench.due(group, 1)
    bench.new(4)
    bench.claim(group, bench.take(group, 2, max_new=2).deliveries[1:])
    bench.take(group, 1, "w2")
    result = bench.take(group, 0)
    assert (result.in_flight, result.in_flight_here, result.queued) == (3, 2, 1)


@GROUPS
@pytest.mark.parametrize(
    ("limit", "after_ms", "reclaim", "lease_ms", "count"),
    [
        (9, LEASE_MS, True, None, 3),
        (9, LEASE_MS - 1, True, None, 0),
        (9, LEASE_MS, False, None, 0),
        (9, 50, True, 50, 3),
        (2, LEASE_MS, True, None, 2),
        (0, LEASE_MS, True, None, 1),
    ],
)
def test_expired_leases_are_reclaimed_for_each_holder(
    bench: Bench, group: Group, limit: int, after_ms: int, reclaim: bool,
    lease_ms: int | None, count: int,
) -> None:  # fmt: skip
    """Reclaimed deliveries have separate slots, and at least one."""
    bench.new(3)
    bench.claim(group, bench.take(group, worker="w2").deliveries, "w2")
    bench.pass_ms(after_ms)
    result = bench.take(group, limit, reclaim=reclaim, lease_ms=lease_ms, max_new=0)
    assert [(one.attempts, one.lost_runs) for one in result.deliveries] == [(1, 1)] * count
    assert bench.deliveries.stats(group).get("lost running", 0) == count


@GROUPS
def test_scheduled_deliveries_have_no_lease(bench: Bench, group: Group) -> None:
    bench.due(group, 1)
    bench.pass_ms(LEASE_MS)
    result = bench.take(group, reclaim=True, max_new=0)
    assert [one.lost_runs for one in result.deliveries] == [0]
    assert "lost scheduled" not in bench.deliveries.stats(group)


# -- keys


def keyed(**flow_control: Any) -> Group:
    return Group(DOMAIN, HANDLER, FlowControl(**flow_control))


@pytest.mark.parametrize("fair", [False, True])
def test_a_blocked_delivery_comes_before_new_ones_unless_keys_take_turns(
    bench: Bench, fair: bool
) -> None:
    group = keyed(concurrency=1, fair=fair)
    _, blocked = bench.new(2, "a")
    [claimed] = bench.run(group)
    bench.complete(group, claimed)
    [new] = bench.new(1, "b")
    assert entries_of(bench.take(group, 1)) == [new if fair else blocked]


def test_blocked_deliveries_are_free_without_limits(bench: Bench) -> None:
    entries = bench.new(3, "a")
    assert entries_of(bench.take(keyed(concurrency=1))) == entries[:1]
    assert entries_of(bench.take(PLAIN, 2)) == entries[1:2]
    assert entries_of(bench.take(PLAIN, 9)) == entries[2:]


def test_no_more_is_read_than_may_be_blocked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.flow_control.MAX_BLOCKED", 2)
    group = keyed(concurrency=1)
    bench.new(9, "a")
    assert len(bench.take(group).deliveries) == 1
    for _ in range(3):
        assert bench.take(group).deliveries == ()
    [info] = bench.event_log.groups(DOMAIN)
    assert (info.holders["blocked"], info.lag) == (2, 6)


def test_turns_need_entries_without_an_available_slot(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a number of them at once."""
    monkeypatch.setattr("celeriac.store.memory.fetch.MAX_PREFETCH", 5)
    a, b = bench.new(4, "a"), bench.new(4, "b")
    group = keyed(fair=True)
    assert entries_of(bench.take(group, 1)) == a[:1]
    [info] = bench.event_log.groups(DOMAIN)
    assert info.lag == 3
    assert entries_of(bench.take(group, 3)) == [b[0], a[1]]


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (2, 2), (9, 3)])
def test_due_deliveries_take_the_slots_of_their_keys(bench: Bench, limit: int, taken: int) -> None:
    bench.due(LIMITED, 3)
    assert len(bench.take(LIMITED, limit, max_new=0).deliveries) == taken


def test_a_due_delivery_of_a_busy_key_is_blocked_and_uses_no_slot(bench: Bench) -> None:
    group = keyed(concurrency=1)
    first = bench.new(1, "a")
    [claimed] = bench.run(group)
    bench.complete(group, claimed, Outcome.RETRY, delay_ms=10)
    second = bench.new(1, "a")
    assert entries_of(bench.take(group)) == second
    bench.pass_ms(10)
    assert entries_of(bench.take(group)) == []
    assert bench.owner(group, first[0]) == "blocked"

"""Only in memory: one lock for all threads, and a clock that can be stopped."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from celeriac.delivery import Completion, FetchRequest, Group, Outcome
from celeriac.event_log import EntryKind
from celeriac.settings import Settings
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.handler_store import TTLDict
from celeriac.store.memory.transitions import Transitions

GROUP = Group("order", "billing.charge")


@pytest.fixture
def event_log() -> MemoryEventLog:
    event_log = MemoryEventLog(Settings.load({}), MemoryClock(1_700_000_000_000))
    event_log.join("order", GROUP.handler, "0")
    return event_log


@pytest.fixture
def deliveries(event_log: MemoryEventLog) -> MemoryDeliveryStore:
    return MemoryDeliveryStore(event_log.settings, event_log)


def test_many_threads_run_each_event_once(
    event_log: MemoryEventLog, deliveries: MemoryDeliveryStore
) -> None:
    event_log.append_many(
        [("order", b'{"id": "%d"}' % n, EntryKind.FOREIGN, 0) for n in range(400)]
    )

    def work(worker: str) -> list[str]:
        done: list[str] = []
        while True:
            [taken] = deliveries.fetch(worker, [FetchRequest(GROUP, 10)])
            if not taken.deliveries:
                return done
            task = [(d.entry, d.entry) for d in taken.deliveries]
            for claimed in deliveries.claim(worker, GROUP, task + task, 3):
                said = Completion(claimed.entry, claimed.entry, 1, Outcome.PROCESSED)
                assert [] == deliveries.complete(worker, GROUP, [said])
                done.append(claimed.entry)

    with ThreadPoolExecutor(4) as pool:
        ran = Counter(entry for done in pool.map(work, "abcd") for entry in done)
    assert 400 == len(ran)
    assert {1} == set(ran.values())


def test_a_move_that_is_not_in_the_table_is_a_bug(
    event_log: MemoryEventLog, deliveries: MemoryDeliveryStore
) -> None:
    entry = event_log.append("order", b"{}")
    deliveries.fetch("w1", [FetchRequest(GROUP, 10)])
    moves = deliveries.moves(GROUP)
    assert isinstance(moves, Transitions)
    with pytest.raises(AssertionError, match=r"renew must not move .* from queued to running"):
        moves.renew(entry, "running:w1")


def test_time_passes_only_when_the_clock_is_advanced(
    event_log: MemoryEventLog, deliveries: MemoryDeliveryStore
) -> None:
    entry = event_log.append("order", b"{}")
    deliveries.fetch("w1", [FetchRequest(GROUP, 10)])
    deliveries.claim("w1", GROUP, [(entry, "a")], 3)
    deliveries.complete("w1", GROUP, [Completion(entry, "a", 1, Outcome.RETRY, delay_ms=5000)])
    [taken] = deliveries.fetch("w1", [FetchRequest(GROUP, 10)])
    assert ((), 1_700_000_005_000) == (taken.deliveries, taken.next_due_ms)
    event_log.clock.advance(5000)
    [taken] = deliveries.fetch("w1", [FetchRequest(GROUP, 10)])
    assert [entry] == [delivery.entry for delivery in taken.deliveries]


def test_values_are_forgotten_a_window_after_they_were_last_written() -> None:
    remembered: TTLDict[int] = TTLDict(lambda: 100)
    remembered.put("a", 1, now_ms=0)
    remembered.put("b", 2, now_ms=50)
    remembered.put("a", 3, now_ms=60)
    assert (3, 2) == (remembered.get("a", 149), remembered.get("b", 149))
    assert (3, None) == (remembered.get("a", 150), remembered.get("b", 150))
    remembered.drop("a")
    remembered.drop("a")
    assert None is remembered.get("a", 150)

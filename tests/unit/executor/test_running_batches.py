"""Batches of a running chunk at simulated times."""

from __future__ import annotations

from typing import Any

from celeriac import Attempt, Event, Middleware
from celeriac.event import encode
from celeriac.event_log import EntryKind
from celeriac.store.memory.event_log import MemoryEventLog
from tests.unit.executor.clocked_chunk import Clocked
from tests.unit.executor.clocked_chunk import bench as bench
from tests.unit.executor.clocked_chunk import bus as bus


def test_the_position_of_a_batch_is_from_its_first_to_its_last_event(bench: Clocked) -> None:
    bench.subscribe(bench.run_time, batch=2)
    for type in ("paid", "placed", "paid", "placed", "placed", "paid"):
        bench.emit(1, f"order.{type}")
    assert bench.chunk().run(longest=60.0) is True
    assert bench.positions == [(5, 2), (2, 1)]


def test_batches_report_like_events(bench: Clocked) -> None:
    bench.subscribe(bench.run_time, batch=2)
    bench.emit(9)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is True
    assert bench.calls == [(0.25, "progress", 4), (0.5, "progress", 4)]
    chunk.complete(None)
    assert bench.stats["busy_us"] == 8 * 62_500 + 125_000
    assert (bench.report.pairs, bench.report.processed) == (9, 9)


def test_batches_end_on_time(bench: Clocked) -> None:
    bench.subscribe(bench.run_time, batch=2)
    bench.emit(9)
    assert bench.chunk().run(longest=0.25) is False
    assert len(bench.ran) == 4


def test_a_batch_that_fails_reports_each_of_its_events(bench: Clocked) -> None:
    def handle(events: list[Event[Any]]) -> None:
        bench.run_time()
        raise ValueError("no")

    bench.subscribe(handle, batch=2)
    bench.emit(1)
    foreign = encode(bench.bus.event("order.placed"))
    MemoryEventLog.append(bench.store.event_log, "order", foreign, EntryKind.FOREIGN)
    bench.emit(1)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is True
    chunk.complete(None)
    assert [one.entry for one in bench.completion.exceptions] == bench.entries
    assert {one.took_us for one in bench.completion.exceptions if one.failure} == {62_500}
    assert (bench.report.processed, len(bench.report.failures)) == (0, 2)


def test_an_entry_between_the_events_of_a_batch_is_reported(bench: Clocked) -> None:
    bench.subscribe(bench.run_time, batch=2)
    bench.emit(1)
    foreign = encode(bench.bus.event("order.placed"))
    MemoryEventLog.append(bench.store.event_log, "order", foreign, EntryKind.FOREIGN)
    bench.emit(1)
    MemoryEventLog.append(bench.store.event_log, "order", foreign, EntryKind.FOREIGN)
    chunk = bench.chunk()
    assert chunk.run(longest=60.0) is True
    chunk.complete(None)
    assert [one.entry for one in bench.completion.exceptions] == bench.entries[1::2]
    assert bench.report.processed == 2


def test_middleware_sees_the_error_of_a_batch_without_sensitive_values(bench: Clocked) -> None:
    shown: list[str] = []

    class Recorder(Middleware):
        def attempt_failed(self, attempt: Attempt) -> None:
            shown.append(str(attempt.error))

    def handle(events: list[Event[Any]]) -> None:
        raise ValueError(f"no {[event.data for event in events]}")

    bench.subscribe(handle, batch=2)
    for card in ("4111", "4222"):
        bench.bus.emit("order.placed", {"card": card}, sensitive=["card"])
    chunk = bench.chunk()
    chunk._work.middleware = [Recorder()]
    chunk.run(longest=60.0)
    assert shown == ["no [{'card': '***'}, {'card': '***'}]"]

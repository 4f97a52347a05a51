"""Running chunks: what runs, what is reported, what is requeued, and when a task ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from celeriac import Event, EventBus, Retry
from celeriac.delivery import DeliveryState, Group, Outcome
from celeriac.delivery.chunk_store import ChunkRequest, Fetched, new_chunk_id
from celeriac.delivery.fetch_size import DRAIN, FEW
from celeriac.delivery.pending_reply import PendingReply
from celeriac.delivery.run_record import RunOutcome
from celeriac.errors import BusUnavailable
from celeriac.event import encode
from celeriac.event_log import EntryKind, time_ms
from celeriac.executor import Executor, Report, chunk_executor, running_chunk
from celeriac.executor.abandoned_chunk import abandon_chunk
from celeriac.handler import Handler
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.testing.store import Store


class Bench:
    """One handler, subscribed to `order.placed`, whose chunks are fetched and run."""

    def __init__(self, bus: EventBus, store: Store) -> None:
        self.bus, self.store = bus, store
        self.executor = Executor(bus.service)
        self.chunks = store.backend.chunks
        self.ran: list[str] = []

    def subscribe(self, function: Callable[..., Any] = lambda event: None, **options: Any) -> None:
        def handle(event: Any) -> Any:
            self.ran += [one.id for one in event] if isinstance(event, list) else [event.id]
            return function(event)

        handle.__annotations__["event"] = list[Event[Any]] if "batch" in options else Event[Any]
        self.bus.on("order.placed", name="handle", **options)(handle)
        self.handler: Handler = self.bus.service.handlers["billing.handle"]
        self.group: Group = self.handler.group("order")
        self.store.event_log.join("order", self.handler.id, "0")

    def emit(self, count: int, type: str = "order.placed") -> list[str]:
        return [self.bus.emit(type) for _ in range(count)]

    def fetch(self, count: int = 100, *, running: bool = False) -> tuple[str, Fetched]:
        request = ChunkRequest(self.group, new_chunk_id(), count, running)
        [fetched] = self.chunks.fetch(self.bus.service.worker, [request])
        return request.chunk, fetched

    def execute(self, count: int = 100, **more: Any) -> Report:
        chunk, fetched = self.fetch(count)
        return self.executor.chunks.execute(self.handler, "order", chunk, fetched.entries, **more)

    @property
    def stats(self) -> dict[str, int]:
        return dict(self.store.deliveries.stats(self.group))

    def pending(self) -> list[tuple[str, int]]:
        found = self.store.deliveries.pending_between(self.group, "-", "+")
        return [(one.owner, one.attempts) for one in found]


@pytest.fixture
def bench(bus: EventBus, store: Store) -> Bench:
    return Bench(bus, store)


@pytest.fixture
def long_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task fetches more for longer than a busy machine stops its process."""
    monkeypatch.setattr(chunk_executor, "LONE_DRAIN", 60.0)


@dataclass
class Reply:
    """A reply before which something happens."""

    reply: PendingReply[bool]
    before: Callable[[], None]

    def result(self) -> bool:
        self.before()
        return self.reply.result()


def test_a_chunk_runs_in_the_order_of_the_log_and_records_how_each_event_ran(bench: Bench) -> None:
    bench.subscribe()
    events = bench.emit(3)
    chunk, fetched = bench.fetch()
    report = bench.executor.chunks.execute(bench.handler, "order", chunk, fetched.entries)
    assert (events, 3, "3 processed") == (bench.ran, report.processed, str(report))
    runs = bench.chunks.runs(bench.group, [entry.id for entry in fetched.entries])
    assert [RunOutcome.PROCESSED] * 3 == [run.outcome for run in runs if run]
    assert {bench.bus.service.worker} == {run.worker for run in runs if run}
    assert ([], []) == (bench.chunks.open_chunks(bench.group), bench.pending())
    stats = bench.stats
    assert (3, 3, 1) == (stats["processed"], stats["claimed"], stats["chunk 2"])
    tally = bench.store.deliveries.counters([bench.group])[0]["order.placed"]
    assert (3, 3, 3) == (tally.processed, tally.run.count, tally.total.count)


def test_a_queued_chunk_is_begun_once(bench: Bench) -> None:
    bench.subscribe()
    events = bench.emit(2)
    chunk, _ = bench.fetch()
    execute = bench.executor.chunks.execute
    assert 2 == execute(bench.handler, "order", chunk).processed
    again = execute(bench.handler, "order", chunk)
    assert "nothing to do: completed, scheduled or running elsewhere" == str(again)
    assert events == bench.ran


def test_a_report_that_waits_for_redis_is_no_run_time_of_the_next_event(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a handler counted as slow in all workers whenever the link of one of them died."""
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 0.0)
    begin_progress, now = bench.chunks.begin_progress, 0.0
    for module in (chunk_executor, running_chunk):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))

    def pass_time() -> None:
        nonlocal now
        now += 0.05

    def wait(*args: Any) -> Reply:
        pass_time()
        return Reply(begin_progress(*args), pass_time)

    monkeypatch.setattr(bench.chunks, "begin_progress", wait)
    bench.subscribe()
    bench.emit(3)
    chunk, fetched = bench.fetch()
    bench.executor.chunks.execute(bench.handler, "order", chunk, fetched.entries)
    runs = bench.chunks.runs(bench.group, [entry.id for entry in fetched.entries])
    assert [0] * 3 == [run.took_us for run in runs if run]


def test_one_that_fails_takes_no_neighbour_with_it(bench: Bench) -> None:
    def fail_second(event: Event[Any]) -> None:
        if len(bench.ran) == 2:
            raise ValueError("no")

    bench.subscribe(fail_second, backoff=10.0)
    first, second, third = bench.emit(3)
    report = bench.execute()
    assert [first, second, third] == bench.ran
    assert [(second, 1, Outcome.RETRY)] == [
        (one.event_id, one.attempt, one.outcome) for one in report.failures
    ]
    assert [("scheduled", 1)] == bench.pending()
    key = report.failures[0].event_key
    [row] = bench.store.deliveries.rows(bench.group, [key])
    assert row is not None
    assert (DeliveryState.SCHEDULED, 1) == (row.state, row.attempt)
    assert (2, 1) == (bench.stats["processed"], bench.stats["retry"])


def test_what_emits_skips_or_dies_gets_a_row_of_its_own(bench: Bench) -> None:
    def act(event: Event[Any]) -> None:
        if len(bench.ran) == 1:
            bench.bus.emit("payment.made")
        else:
            raise ValueError("no")

    bench.subscribe(act, retries=0, when=lambda event: event.data != "skip")
    for data in ("emits", "dies", "skip"):
        bench.bus.emit("order.placed", data)
    report = bench.execute()
    assert (1, 1, 1) == (report.processed, report.skipped, len(report.failures))
    assert (1, 1, 1) == tuple(bench.stats[name] for name in ("processed", "skipped", "dead"))
    assert 1 == bench.store.deliveries.dead_count("order")
    assert [] == bench.pending()


def test_what_cannot_be_decided_in_a_chunk_becomes_due_by_itself(bench: Bench) -> None:
    bench.subscribe()
    event = bench.bus.event("order.placed")
    for body, kind in (
        (b"no JSON", EntryKind.MADE),
        (encode(event), EntryKind.FOREIGN),
        (encode(bench.bus.event("stock.moved")), EntryKind.MADE),
    ):
        MemoryEventLog.append(bench.store.event_log, "order", body, kind)
    [last] = bench.emit(1)
    bench.execute()
    assert [last] == bench.ran
    assert [("scheduled", 0)] * 3 == bench.pending()


@pytest.mark.usefixtures("long_task")
def test_a_repetition_is_recorded_as_ignored(bench: Bench) -> None:
    bench.subscribe()
    body = encode(bench.bus.event("order.placed"))
    first = MemoryEventLog.append(bench.store.event_log, "order", body, EntryKind.MADE)
    # Tried again, since the answer was lost.
    again = MemoryEventLog.append(bench.store.event_log, "order", body, EntryKind.MADE, time_ms())
    assert 1 == bench.execute(1, more=FEW).processed
    runs = bench.chunks.runs(bench.group, [first, again])
    assert [RunOutcome.PROCESSED, RunOutcome.IGNORED] == [run and run.outcome for run in runs]


def test_the_sources_of_what_ran_are_noted(bench: Bench) -> None:
    """For those who look for an event by its id alone."""
    bench.subscribe()
    bench.emit(1)
    bench.bus.emit("order.placed", source="till")
    bench.execute()
    assert {"billing", "till"} == set(bench.store.deliveries.sources("order"))


@pytest.mark.usefixtures("long_task")
def test_what_another_version_may_want_becomes_due_by_itself(bench: Bench) -> None:
    """The dispatcher puts it off until a worker with that code takes it."""
    bench.subscribe()
    bench.emit(1)
    bench.emit(2, "order.amended")
    bench.store.deliveries.note_patterns(bench.group, ["order.placed", "order.amended"])
    bench.execute(1, more=FEW)
    assert [("scheduled", 0)] * 2 == bench.pending()


def test_a_chunk_that_another_version_queued_is_not_skipped(bench: Bench) -> None:
    """The older code reports nothing about an event that only the newer code wants."""
    bench.subscribe()
    bench.emit(1, "order.amended")
    chunk, _ = bench.fetch()
    bench.store.deliveries.note_patterns(bench.group, ["order.placed", "order.amended"])
    bench.executor.chunks.execute(bench.handler, "order", chunk)
    assert [("scheduled", 0)] == bench.pending()


def test_events_that_no_version_wants_leave_nothing(bench: Bench) -> None:
    """Though another process queued the chunk, whose code has the same patterns."""
    bench.subscribe()
    bench.emit(1, "order.amended")
    chunk, _ = bench.fetch()
    bench.store.deliveries.note_patterns(bench.group, ["order.placed"])
    bench.executor.chunks.execute(bench.handler, "order", chunk)
    assert [] == bench.pending()


def test_events_that_the_handler_does_not_want_leave_nothing(bench: Bench) -> None:
    bench.subscribe()
    bench.emit(3, "order.paid")
    report = bench.execute()
    assert ([], 0) == (bench.ran, report.pairs)
    assert ([], []) == (bench.pending(), bench.chunks.open_chunks(bench.group))


@pytest.mark.usefixtures("long_task")
def test_while_there_is_more_one_task_continues(bench: Bench) -> None:
    bench.subscribe()
    events = bench.emit(50)
    report = bench.execute(1, more=FEW)
    assert (events, 50) == (bench.ran, report.processed)
    assert [] == bench.chunks.open_chunks(bench.group)


@pytest.mark.parametrize(("handlers", "runs"), [(1, 17), (2, 4)])
def test_a_task_ends_in_time_and_leaves_the_rest_in_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, handlers: int, runs: int
) -> None:
    """It ends sooner where events of other handlers may wait."""
    passed = 0.0
    for number in range(1, handlers):
        bench.bus.on("order.paid", name=f"other{number}")(lambda event: None)

    def take_its_share(event: Event[Any]) -> None:
        nonlocal passed
        passed += DRAIN * 0.3

    monkeypatch.setattr(chunk_executor, "time", SimpleNamespace(monotonic=lambda: passed))
    monkeypatch.setattr(bench.executor.process, "run_time_us", lambda handler: 1_000_000)
    bench.subscribe(take_its_share)
    bench.emit(50)
    report = bench.execute(1, more=FEW)
    assert runs == report.processed
    assert [] == bench.chunks.open_chunks(bench.group)
    [group] = bench.store.event_log.groups("order")
    assert 50 - report.processed == group.lag


@pytest.mark.parametrize(
    "refusal", [redis.ResponseError("BUSY a script"), redis.ConnectionError("away")]
)
def test_results_are_kept_while_the_time_of_the_server_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    now_ms, refusals = bench.chunks.now_ms, [refusal, refusal]

    def refuse_twice() -> int:
        if refusals:
            raise refusals.pop()
        return now_ms()

    monkeypatch.setattr(bench.chunks, "now_ms", refuse_twice)
    bench.subscribe()
    bench.emit(2)
    assert 2 == bench.execute().processed
    assert ([], []) == (bench.chunks.open_chunks(bench.group), bench.pending())
    assert 2 == bench.stats["processed"]


def test_of_a_slow_handler_as_many_are_fetched_as_run_before_others_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    complete_and_fetch = bench.chunks.complete_and_fetch

    def note(*args: Any) -> Any:
        counts.append(args[-1].count)
        return complete_and_fetch(*args)

    monkeypatch.setattr(bench.chunks, "complete_and_fetch", note)
    monkeypatch.setattr(chunk_executor, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(bench.executor.process, "run_time_us", lambda handler: 5_000)
    bench.subscribe()
    bench.emit(300)
    assert 300 == bench.execute(1, more=FEW).processed
    assert [int(DRAIN / 0.005)] * 14 == counts[:-1]
    # What is left for each open chunk, of which this is the only one.
    assert 19 == counts[-1]


def test_one_event_runs_while_the_answer_to_a_report_is_under_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 0.0)
    awaited: list[int] = []
    begin_progress = bench.chunks.begin_progress

    def note(*args: Any) -> Reply:
        before = len(bench.ran)
        return Reply(begin_progress(*args), lambda: awaited.append(len(bench.ran) - before))

    monkeypatch.setattr(bench.chunks, "begin_progress", note)
    bench.subscribe()
    bench.emit(5)
    bench.execute()
    assert [1, 1, 1, 1] == awaited
    assert [] == bench.chunks.open_chunks(bench.group)
    stats = bench.stats
    assert (5, 5, 1) == (stats["processed"], stats["claimed"], stats["chunk 3"])


@pytest.mark.parametrize("lost", ["sending", "answer"])
def test_a_report_whose_answer_was_lost_is_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 0.0)
    begin_progress, failures = bench.chunks.begin_progress, [1]

    def fail() -> None:
        raise redis.ConnectionError("away")

    def fail_once(*args: Any) -> PendingReply[bool]:
        if failures and lost == "sending":
            failures.clear()
            raise redis.ConnectionError("away")
        reply = begin_progress(*args)
        if failures:
            failures.clear()
            return Reply(reply, fail)
        return reply

    monkeypatch.setattr(bench.chunks, "begin_progress", fail_once)
    bench.subscribe()
    events = bench.emit(3)
    assert 3 == bench.execute().processed
    assert (events, [], []) == (bench.ran, bench.chunks.open_chunks(bench.group), bench.pending())
    assert 3 == bench.stats["processed"]


def test_without_more_to_come_nothing_is_fetched(bench: Bench) -> None:
    bench.subscribe()
    bench.emit(2)
    assert 1 == bench.execute(1).processed
    [group] = bench.store.event_log.groups("order")
    assert 1 == group.lag


def test_batches_are_filled_from_the_chunk(bench: Bench) -> None:
    sizes: list[int] = []
    bench.subscribe(lambda events: sizes.append(len(events)), batch=4)
    bench.emit(10)
    assert 10 == bench.execute().processed
    assert [4, 4, 2] == sizes


def test_a_batch_that_fails_is_retried_event_by_event(bench: Bench) -> None:
    def fail(events: list[Event[Any]]) -> None:
        raise Retry("later", after=60)

    bench.subscribe(fail, batch=3)
    bench.emit(3)
    assert 3 == len(bench.execute().failures)
    assert [("scheduled", 1)] * 3 == bench.pending()


def test_progress_is_reported_while_the_chunk_continues(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 0.0)
    left: list[int] = []
    bench.subscribe(
        lambda event: left.extend(one.count for one in bench.chunks.open_chunks(bench.group))
    )
    bench.emit(3)
    bench.execute()
    assert [3, 2, 1] == left


def test_what_was_lost_is_not_run_any_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Except for the one event that runs until the reply arrives."""
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 0.0)
    bench.subscribe(
        lambda event: bench.chunks.requeue(bench.bus.service.worker, bench.group, chunk)
    )
    events = bench.emit(3)
    chunk, fetched = bench.fetch()
    report = bench.executor.chunks.execute(bench.handler, "order", chunk, fetched.entries, more=FEW)
    assert events[:2] == bench.ran
    assert 1 == len(report.lost)
    assert [("scheduled", 0)] * 3 == bench.pending()


def test_a_chunk_that_was_requeued_while_its_task_waited_does_not_run(bench: Bench) -> None:
    """As in a warm stop, or where the lease expired: though the task carries the entries."""
    bench.subscribe()
    events = bench.emit(2)
    held, lost = bench.fetch(1), bench.fetch(1)
    bench.chunks.requeue(bench.bus.service.worker, bench.group, lost[0])
    for chunk, fetched in (held, lost, held):
        bench.executor.chunks.execute(bench.handler, "order", chunk, fetched.entries)
    assert events[:1] == bench.ran


def test_a_process_that_was_frozen_past_its_lease_runs_nothing_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, now = bench.bus.service.worker, [0.0]
    for module in (chunk_executor, running_chunk):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def freeze(event: Event[Any]) -> None:
        bench.chunks.requeue(worker, bench.group, chunk)
        now[0] += bench.bus.settings.lease

    bench.subscribe(freeze)
    events = bench.emit(3)
    chunk, fetched = bench.fetch()
    bench.executor.chunks.execute(bench.handler, "order", chunk, fetched.entries)
    assert events[:1] == bench.ran


def test_a_handler_that_becomes_slow_requeues_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_executor, "LONGEST_CHUNK", 0.005)
    bench.subscribe(lambda event: time.sleep(0.01))
    events = bench.emit(6)
    bench.execute(3)
    assert events[:1] == bench.ran
    assert [("scheduled", 0)] * 2 == bench.pending()
    bench.execute(3)
    assert events[:1] == bench.ran, "nor does the next chunk hold the process"
    assert [("scheduled", 0)] * 5 == bench.pending()


def test_what_ran_just_before_the_rest_is_requeued_is_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.executor.running_chunk.REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(chunk_executor, "LONGEST_CHUNK", 0.005)
    bench.subscribe(lambda event: time.sleep(0.01))
    bench.emit(3)
    bench.execute()
    assert (1, 1) == (len(bench.ran), bench.stats["processed"])
    assert [("scheduled", 0)] * 2 == bench.pending()


@pytest.mark.usefixtures("long_task")
def test_a_result_whose_reply_was_lost_is_reported_again_and_the_fetch_requeued(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()
    bench.emit(2)
    complete_and_fetch = bench.chunks.complete_and_fetch

    def lose(*told: Any) -> Any:
        complete_and_fetch(*told)
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(bench.chunks, "complete_and_fetch", lose)
    bench.execute(1, more=FEW)
    assert 1 == bench.stats["processed"]
    assert [("scheduled", 0)] == bench.pending()


def test_a_begin_whose_answer_was_lost_is_requeued(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()
    bench.emit(1)
    chunk, _ = bench.fetch()
    begin, tries = bench.chunks.begin, []

    def lose(*named: Any, **more: Any) -> Any:
        found = begin(*named, **more)
        tries.append(found)
        if len(tries) == 1:
            raise redis.ConnectionError("reset")
        return found

    monkeypatch.setattr(bench.chunks, "begin", lose)
    bench.executor.chunks.execute(bench.handler, "order", chunk)
    assert ([], [("scheduled", 0)]) == (bench.ran, bench.pending())


def test_a_begin_that_reaches_the_store_at_the_second_try_runs_the_chunk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()
    events = bench.emit(1)
    chunk, _ = bench.fetch()
    begin, tries = bench.chunks.begin, []

    def refuse_once(*named: Any, **more: Any) -> Any:
        tries.append(named)
        if len(tries) == 1:
            raise redis.ConnectionError("refused")
        return begin(*named, **more)

    monkeypatch.setattr(bench.chunks, "begin", refuse_once)
    bench.executor.chunks.execute(bench.handler, "order", chunk)
    assert (events, []) == (bench.ran, bench.pending())


def test_a_chunk_without_runs_reports_no_run_time(bench: Bench) -> None:
    bench.subscribe()
    bench.emit(3, "order.paid")
    bench.execute()
    assert ([], 0) == (bench.ran, bench.stats.get("mean_us", 0))


def test_a_store_that_stays_away_ends_the_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()

    def refuse(*named: Any, **more: Any) -> Any:
        raise redis.ConnectionError("reset")

    monkeypatch.setattr(bench.chunks, "begin", refuse)
    monkeypatch.setattr(bench.bus.service.settings.__class__, "lease", 0.05)
    with pytest.raises(BusUnavailable):
        bench.executor.chunks.execute(bench.handler, "order", new_chunk_id())


def test_what_ends_the_process_reports_what_was_done_and_requeues_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_chunk, "REPORT_INTERVAL", 60.0)  # no report before it

    def stop(event: Event[Any]) -> None:
        if len(bench.ran) == 2:
            raise KeyboardInterrupt

    bench.subscribe(stop)
    bench.emit(3)
    with pytest.raises(KeyboardInterrupt):
        bench.execute()
    assert 1 == bench.stats["processed"]
    assert [("scheduled", 0)] * 2 == bench.pending()


# -- a process that died


def die(bench: Bench, chunk: str, at: int | None, end: int = 0) -> None:
    """As the main process finds it: the process was at the entries from the `at` last one on."""
    shared_progress = bench.executor.process.shared_progress
    shared_progress.begin_chunk(chunk)
    if at is not None:
        shared_progress.enter(at, end)


def abandon(bench: Bench, chunk: str, monkeypatch: pytest.MonkeyPatch) -> int:
    pid = os.getpid()
    monkeypatch.setattr("celeriac.executor.abandoned_chunk.os.getpid", lambda: -1)
    error = RuntimeError("SIGSEGV")
    return abandon_chunk(bench.executor.process, bench.handler, "order", chunk, error, pid)


def test_the_event_that_was_being_run_failed_and_its_neighbours_did_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe(backoff=60.0)
    bench.emit(4)
    chunk, _ = bench.fetch()
    die(bench, chunk, 3, 2)
    assert 1 == abandon(bench, chunk, monkeypatch)
    assert 0 == abandon(bench, chunk, monkeypatch), "idempotent"
    assert [
        ("scheduled", 0),
        ("scheduled", 1),
        ("scheduled", 0),
        ("scheduled", 0),
    ] == bench.pending()
    assert [] == bench.chunks.open_chunks(bench.group)
    assert 1 == bench.stats["retry"]


def test_a_process_that_died_before_the_first_event_costs_no_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()
    bench.emit(2)
    chunk, _ = bench.fetch()
    die(bench, chunk, None)
    abandon(bench, chunk, monkeypatch)
    assert [("scheduled", 0)] * 2 == bench.pending()


def test_the_chunk_that_was_fetched_since_is_completed_as_well(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe(backoff=60.0)
    bench.emit(3)
    first, second, third = (bench.fetch(1)[0] for _ in range(3))
    die(bench, second, 1)
    bench.executor.process.shared_progress.expect_chunk(third)
    abandon(bench, first, monkeypatch)
    assert [("scheduled", 0), ("scheduled", 1), ("scheduled", 0)] == bench.pending()


def test_of_a_batch_none_is_given_up_for_the_death(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe(lambda events: None, batch=2, retries=0)
    bench.emit(2)
    chunk, _ = bench.fetch()
    die(bench, chunk, 2)
    abandon(bench, chunk, monkeypatch)
    assert ([("scheduled", 1)] * 2, 0) == (
        bench.pending(),
        bench.store.deliveries.dead_count("order"),
    )


def test_a_lone_event_without_retries_is_dead(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe(retries=0)
    bench.emit(2)
    chunk, _ = bench.fetch()
    die(bench, chunk, 2, 1)
    abandon(bench, chunk, monkeypatch)
    [letter] = bench.store.deliveries.dead("order")
    assert "SIGSEGV" in letter.error
    assert [("scheduled", 0)] == bench.pending()


def test_the_chunk_of_another_worker_is_left_unchanged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe()
    bench.emit(1)
    [_] = bench.chunks.fetch("other", [ChunkRequest(bench.group, "0" * 16, 1, running=True)])
    die(bench, "0" * 16, 1)
    abandon(bench, "0" * 16, monkeypatch)
    assert ["0" * 16] == [one.id for one in bench.chunks.open_chunks(bench.group)]

"""Executing what a delivery task names: each event separately, exactly as the claim allows."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from itertools import count
from typing import Any

import pytest
import redis

from celeriac import CircuitOpen, Event, Reject, Retry, current_attempt, current_event
from celeriac.delivery import MAX_LOST_RUNS, DeliveryState, FetchRequest, Group, Outcome
from celeriac.event import build_event, encode, event_key
from celeriac.executor import Report
from celeriac.executor.completion_reporter import REPORT_INTERVAL
from celeriac.executor.error_text import LONGEST_ERROR, describe
from celeriac.executor.process import typical_us
from celeriac.testing.store import SimulatedCrash
from tests.unit.executor.conftest import Bench

ran: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


def note(event: Event) -> None:
    ran.append(event.id)


def fail_on_b(event: Event) -> None:
    ran.append(event.id)
    if event.id == "b":
        raise ValueError("not b")


def test_what_is_sent_runs_in_order_and_is_processed(bench: Bench) -> None:
    bench.subscribe(note)
    bench.emit(*"abc")
    report = bench.execute()
    assert ["a", "b", "c"] == ran
    assert (3, 3, "3 processed") == (report.pairs, report.processed, str(report))
    assert {DeliveryState.PROCESSED} == {bench.place(id) for id in "abc"}
    assert 0 == bench.store.event_log.groups("order")[0].pending


@pytest.mark.parametrize("retries", [0, 5])
def test_an_open_circuit_requeues_without_an_attempt(bench: Bench, retries: int) -> None:
    """A delivery that waits for its endpoint's circuit never becomes a dead letter for it."""
    attempts: list[int] = []

    def call_endpoint(event: Event) -> None:
        attempts.append(current_attempt())
        if len(attempts) < 4:
            raise CircuitOpen("down", after=30)

    bench.subscribe(call_endpoint, retries=retries)
    bench.emit("a")
    for _ in range(3):
        report = bench.execute()
        assert report.failures == []
        assert bench.row("a") is None
        assert 1 == bench.store.event_log.groups("order")[0].pending
        bench.store.clock.advance(31_000)
    bench.execute()
    assert attempts == [1, 1, 1, 1]
    assert bench.place("a") is DeliveryState.PROCESSED


def test_a_failure_leaves_its_neighbours_alone(bench: Bench) -> None:
    bench.subscribe(fail_on_b, backoff=5.0, jitter=0.0)
    bench.emit(*"abc")
    report = bench.execute()
    assert ["a", "b", "c"] == ran
    assert [DeliveryState.PROCESSED, DeliveryState.SCHEDULED, DeliveryState.PROCESSED] == [
        bench.place(id) for id in "abc"
    ]
    (failure,) = report.failures
    assert ("b", "order.placed", 1, Outcome.RETRY) == (
        failure.event_id, failure.event_type, failure.attempt, failure.outcome
    )  # fmt: skip
    assert "fail_on_b" in failure.traceback
    # it begins in the code of the handler, not in ours that called it
    assert "celeriac/executor" not in failure.traceback
    assert "2 processed, 1 retried" == str(report)
    assert report.sole_failure is None


def test_each_failed_attempt_is_recorded_and_the_last_is_dead(bench: Bench) -> None:
    bench.subscribe(fail_on_b, retries=1, backoff=1.0, jitter=0.0)
    bench.emit("b")
    assert (failure := bench.execute().sole_failure) and isinstance(failure.error, ValueError)
    bench.store.clock.advance(1000)
    assert "1 dead" == str(bench.execute())
    failures = bench.store.deliveries.failures(bench.group, bench.key("b"))
    assert [(1, "ValueError: not b"), (2, "ValueError: not b")] == [
        (f.attempt, f.error) for f in failures
    ]
    (letter,) = bench.store.deliveries.dead("order")
    assert ("billing.handle", "b", 2) == (letter.handler, letter.event_id, letter.attempts)
    assert "Traceback" in letter.traceback and "not b" in letter.traceback


def test_a_failed_batch_is_retried_one_by_one(bench: Bench) -> None:
    def store(events: list[Event]) -> None:
        ran.append([event.id for event in events])
        if len(events) > 1:
            raise ValueError("too many")

    bench.subscribe(store, batch=2, backoff=1.0, jitter=0.0)
    bench.emit(*"abc")
    report = bench.execute()
    assert [["a", "b"], ["c"]] == ran
    assert ["a", "b"] == [failure.event_id for failure in report.failures]
    assert 1 == report.processed
    bench.store.clock.advance(1000)
    for task in bench.queue():
        bench.execute([task])
    assert [["a"], ["b"]] == ran[2:]
    assert {DeliveryState.PROCESSED} == {bench.place(id) for id in "abc"}


def test_coroutines_run_in_one_loop_that_is_kept(bench: Bench) -> None:
    async def handle(event: Event) -> None:
        await asyncio.sleep(0)
        ran.append(asyncio.get_running_loop())

    bench.subscribe(handle)
    bench.emit(*"ab")
    bench.execute()
    assert ran[0] is ran[1]


def test_a_coroutine_behind_a_plain_decorator_runs_too(bench: Bench) -> None:
    async def handle(event: Event) -> None:
        note(event)

    @functools.wraps(handle)
    def plain(event: Event) -> Any:
        return handle(event)

    plain.__dict__.pop("__wrapped__")
    bench.subscribe(plain)
    bench.emit("a")
    assert 1 == bench.execute().processed
    assert ["a"] == ran


@pytest.mark.parametrize("batch", [None, 2])
def test_sys_exit_in_a_handler_is_a_failure(bench: Bench, batch: int | None) -> None:
    def one(event: Event) -> None:
        sys.exit(3)

    def many(events: list[Event]) -> None:
        sys.exit(3)

    bench.subscribe(many if batch else one, batch=batch)
    bench.emit(*"ab")
    report = bench.execute()
    assert ["SystemExit: 3"] * 2 == [describe(failure.error) for failure in report.failures]


def test_a_coroutine_that_was_cancelled_has_failed(bench: Bench) -> None:
    async def handle(event: Event) -> None:
        raise asyncio.CancelledError

    bench.subscribe(handle)
    bench.emit(*"ab")
    assert "2 retried" == str(bench.execute())


def test_what_ends_the_process_propagates_and_completed_work_is_reported(bench: Bench) -> None:
    def handle(event: Event) -> None:
        if event.id == "b":
            raise KeyboardInterrupt

    bench.subscribe(handle)
    bench.emit(*"abc")
    with pytest.raises(KeyboardInterrupt):
        bench.execute()
    assert [DeliveryState.PROCESSED, DeliveryState.RUNNING, DeliveryState.RUNNING] == [
        bench.place(id) for id in "abc"
    ]


def test_a_duplicate_is_completed_without_a_run(bench: Bench) -> None:
    bench.subscribe(note)
    bench.emit("a", "a", "b")
    report = bench.execute()
    assert ["a", "b"] == ran
    assert 2 == report.processed
    assert 0 == bench.store.event_log.groups("order")[0].pending


def test_a_task_given_twice_runs_once(bench: Bench) -> None:
    bench.subscribe(note)
    bench.emit("a")
    task = bench.queue()
    bench.execute(task)
    assert "nothing to do: completed, scheduled or running elsewhere" == str(bench.execute(task))
    assert ["a"] == ran


def test_an_event_whose_workers_all_died_is_dead_lettered_as_poison(bench: Bench) -> None:
    bench.subscribe(note, retries=1)
    bench.emit("a")
    for _ in range(MAX_LOST_RUNS):
        bench.store.deliveries.claim("dead", bench.group, bench.queue(), 2)
        bench.store.clock.advance(bench.store.deliveries.lease_ms)
    report = bench.execute()
    assert [] == ran
    assert "1 dead" == str(report)
    (letter,) = bench.store.deliveries.dead("order")
    assert "died, or lost the lease, in 10 of 10 runs; dead-lettered as poison" in letter.error
    # the claim that gave it up was no attempt to run it
    (failure,) = bench.store.deliveries.failures(bench.group, bench.key("a"))
    (row,) = bench.store.deliveries.rows(bench.group, [bench.key("a")])
    assert row is not None
    told = {failure.attempt, letter.attempts, row.attempt, report.failures[0].attempt}
    assert {MAX_LOST_RUNS} == told


def test_the_deaths_of_its_workers_leave_an_event_all_its_retries(bench: Bench) -> None:
    """They prove nothing: nodes are drained, and another event may have taken all the memory."""

    def fail(event: Event) -> None:
        ran.append(event.id)
        raise ValueError("each time")

    bench.subscribe(fail, retries=1, backoff=0.0)
    bench.emit("a")
    for _ in range(MAX_LOST_RUNS - 1):
        bench.store.deliveries.claim("dead", bench.group, bench.queue(), 2)
        bench.store.clock.advance(bench.store.deliveries.lease_ms)
    bench.execute()
    assert DeliveryState.SCHEDULED is bench.place("a")
    bench.execute()
    assert DeliveryState.DEAD is bench.place("a")
    assert ["a", "a"] == ran


@pytest.mark.parametrize("forged", [event_key("b", "billing"), event_key("a", "shop"), "a", "b"])
def test_a_task_with_another_event_key_is_requeued_and_not_run(bench: Bench, forged: str) -> None:
    bench.subscribe(note)
    bench.emit("a")
    ((entry, _),) = bench.queue()
    report = bench.execute([(entry, forged)])
    assert [] == ran
    assert "nothing to do: completed, scheduled or running elsewhere" == str(report)
    pending = bench.store.deliveries.pending(bench.group, entry)
    assert pending and (DeliveryState.SCHEDULED, 0) == (pending.owner, pending.attempts)
    assert [None] == bench.store.deliveries.rows(bench.group, [forged])
    bench.execute()
    assert ["a"] == ran


def test_a_task_for_what_is_not_queued_runs_nothing(bench: Bench) -> None:
    bench.subscribe(note)
    bench.emit("a")
    bench.execute(
        [("1-1", bench.key("a")), (bench.store.event_log.read("order")[0].id, bench.key("a"))]
    )
    assert [] == ran


def test_data_that_does_not_fit_is_dead_at_once(bench: Bench) -> None:
    def handle(event: Event[int]) -> None:
        ran.append(event.data)

    bench.subscribe(handle, retries=9)
    bench.emit("a", data="text")
    bench.emit("b", data=2)
    assert "1 processed, 1 dead" == str(bench.execute())
    assert [2] == ran
    assert "does not fit int" in bench.store.deliveries.dead("order")[0].error


def test_an_envelope_that_breaks_the_standard_is_dead_at_once(bench: Bench) -> None:
    bench.subscribe(note)
    body = encode(build_event("order.placed", 1, source="x", id="a")).replace(b'"x"', b'""')
    with bench.store.event_log.silence():
        bench.store.event_log.append("order", body)
    assert "1 dead" == str(bench.execute())
    assert "InvalidEvent" in bench.store.deliveries.dead("order")[0].error


def test_retry_and_reject_are_control_flow(bench: Bench) -> None:
    def handle(event: Event) -> None:
        raise Retry(after=30) if event.id == "a" else Reject("no such customer")

    bench.subscribe(handle)
    bench.emit(*"ab")
    assert "1 retried, 1 dead" == str(bench.execute())
    assert "Reject: no such customer" == bench.store.deliveries.dead("order")[0].error
    bench.store.clock.advance(29_999)
    assert [] == bench.queue()
    bench.store.clock.advance(1)
    assert 1 == len(bench.queue())


def test_when_is_called_again_and_its_failure_counts(bench: Bench) -> None:
    bench.subscribe(note, when=lambda event: event.data["n"] > 1)
    bench.emit("a", data={"n": 1})
    bench.emit("b", data={"n": 2})
    bench.emit("c", data={})
    report = bench.execute()
    assert "1 processed, 1 skipped, 1 retried" == str(report)
    assert [DeliveryState.SKIPPED, DeliveryState.PROCESSED, DeliveryState.SCHEDULED] == [
        bench.place(id) for id in "abc"
    ]


def test_cause_and_correlation_follow_by_themselves(bench: Bench) -> None:
    def handle(event: Event) -> None:
        ran.append((current_event(), current_attempt()))
        bench.bus.emit("payment.captured", id="effect")

    bench.subscribe(handle)
    bench.bus.emit("order.placed", id="cause", correlationid="chain")
    bench.execute()
    ((event, attempt),) = ran
    assert ("cause", 1) == (event.id, attempt)
    effect = bench.store.event_log.emitted[-1].event
    assert ("cause", "chain") == (effect.causationid, effect.correlationid)
    assert (None, 0) == (current_event(), current_attempt())


def test_what_a_lost_lease_gave_away_is_reported(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(event: Event) -> None:
        bench.store.clock.advance(bench.store.deliveries.lease_ms)
        bench.queue()

    bench.subscribe(handle)
    bench.emit("a")
    assert "1 processed, 1 lease lost" == str(bench.execute())
    assert "no longer owned" in caplog.text
    assert bench.place("a") is DeliveryState.RUNNING


def test_slow_work_is_reported_event_by_event(bench: Bench) -> None:
    places: list[Any] = []

    def handle(event: Event) -> None:
        places.append([bench.place(id) for id in "ab"])
        time.sleep(REPORT_INTERVAL)

    bench.subscribe(handle)
    bench.emit(*"ab")
    bench.execute()
    assert [
        [DeliveryState.RUNNING, DeliveryState.RUNNING],
        [DeliveryState.PROCESSED, DeliveryState.RUNNING],
    ] == places


def test_no_lease_is_kept_of_what_was_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its renewal would be refused, and reported as a lost lease."""
    monkeypatch.setattr("celeriac.executor.completion_reporter.REPORT_INTERVAL", 0.0)
    held: list[dict[str, int]] = []
    keeping = bench.executor.process.leases.keeping

    def noted(group: Group, entries: dict[str, int]) -> Any:
        held.append(entries)
        return keeping(group, entries)

    monkeypatch.setattr(bench.executor.process.leases, "keeping", noted)
    bench.subscribe(lambda event: ran.append([*held[0]]))
    bench.emit(*"abc")
    task = bench.queue()
    bench.execute(task)
    first, second, third = (entry for entry, _ in task)
    assert [[first, second, third], [second, third], [third]] == ran
    assert [{}] == held


@pytest.mark.parametrize("in_answer", [False, True], ids=["sending", "answer"])
def test_a_failed_report_is_repeated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, in_answer: bool
) -> None:
    """And the next one does not wait for it: the handler runs while the answer is under way."""

    begin_complete, calls = bench.store.deliveries.begin_complete, count()

    class Lost:
        def result(self) -> list[str]:
            ran.append("lost")
            raise redis.ConnectionError

    def begin(worker: str, group: Any, settled: Any, mean_us: int = 0) -> Any:
        # The first try of each report fails.
        if next(calls) % 2:
            return begin_complete(worker, group, settled, mean_us)
        return Lost() if in_answer else Lost().result()

    monkeypatch.setattr(bench.store.deliveries, "begin_complete", begin)
    monkeypatch.setattr("celeriac.executor.completion_reporter.REPORT_INTERVAL", 0.0)
    bench.subscribe(note)
    bench.emit(*"ab")
    assert "2 processed" == str(bench.execute())
    assert (["a", "b", "lost", "lost"] if in_answer else ["a", "lost", "b", "lost"]) == ran
    assert {DeliveryState.PROCESSED} == {bench.place(id) for id in "ab"}
    assert 0 == bench.store.event_log.groups("order")[0].pending


def test_quick_work_is_reported_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    finish = bench.store.deliveries.complete

    def counted(worker: str, group: Any, settled: Any, mean_us: int = 0) -> list[str]:
        told.append(len(settled))
        return finish(worker, group, settled, mean_us)

    monkeypatch.setattr(bench.store.deliveries, "complete", counted)
    monkeypatch.setattr("celeriac.executor.completion_reporter.REPORT_INTERVAL", 60.0)
    bench.subscribe(note)
    bench.emit(*"abcde")
    bench.execute()
    assert [5] == told


def test_the_run_time_is_measured_for_the_dispatcher(bench: Bench) -> None:
    bench.subscribe(lambda event: time.sleep(0.002))
    bench.emit("a")
    began = time.perf_counter()
    bench.execute()
    took_us = (time.perf_counter() - began) * 1_000_000
    assert 2000 <= bench.store.deliveries.stats(bench.group)["mean_us"] <= took_us


def test_a_handler_that_hangs_is_known_to_be_slow_at_its_first_event(bench: Bench) -> None:
    """Others would wait for as many of its events as it takes to be sure."""
    handler = bench.subscribe(note)
    for _ in range(20):
        bench.executor.process.note_run_times(handler, [60])
    assert 3_000_000 == bench.executor.process.note_run_times(handler, [3_000_000])
    assert 60 == bench.executor.process.note_run_times(handler, [60])
    assert 3_000_000 == typical_us([60] * 100 + [3_000_000])
    assert 60 == typical_us([50, 70])


def test_the_mean_moves_and_is_never_zero(bench: Bench) -> None:
    handler = bench.subscribe(note)
    assert [1000, 1000, 1500, 1000, 1500] == [
        bench.executor.process.note_run_times(handler, [took])
        for took in (1000, 2000, 1500, 0, 1800)
    ]
    assert 1 == [bench.executor.process.note_run_times(handler, [0]) for _ in range(50)][-1]


def test_one_held_up_by_the_machine_does_not_make_the_handler_slow(bench: Bench) -> None:
    """Chunks would shrink from hundreds of events to a few, each at the cost of a task."""
    handler = bench.subscribe(note)
    means = [
        bench.executor.process.note_run_times(handler, [took])
        for took in (5, 5, 20_000, 6, 30_000, 5)
    ]
    assert max(means) == 6
    for _ in range(5):
        bench.executor.process.note_run_times(handler, [6])
    assert [6, 6, 9_000] == [
        bench.executor.process.note_run_times(handler, [9_000]) for _ in range(3)
    ]


def test_abandoning_fails_only_what_this_worker_was_running(bench: Bench) -> None:
    handler = bench.subscribe(note, backoff=1.0, jitter=0.0)
    bench.emit(*"abc")
    task = bench.queue()
    worker = bench.bus.service.worker
    bench.store.deliveries.claim(worker, bench.group, task[:1], 9)
    bench.store.deliveries.claim("another", bench.group, task[1:2], 9)
    for _ in range(2):
        bench.executor.abandon(handler, "order", task, RuntimeError("SIGKILL"))
    owners = [bench.store.deliveries.pending(bench.group, entry) for entry, _ in task]
    assert [DeliveryState.SCHEDULED, "running:another", f"queued:{worker}"] == [
        o and o.owner for o in owners
    ]
    (failure,) = bench.store.deliveries.failures(bench.group, bench.key("a"))
    assert (1, "RuntimeError: SIGKILL") == (failure.attempt, failure.error)


def test_a_crash_in_company_gives_none_up_even_without_retries(bench: Bench) -> None:
    """One of them is poison, which one is unknown: each runs again alone, which finds it."""
    handler = bench.subscribe(note, retries=0)
    bench.emit(*"ab")
    task = bench.queue()
    worker = bench.bus.service.worker
    bench.store.deliveries.claim(worker, bench.group, task, handler.failure.max_attempts)
    bench.executor.abandon(handler, "order", task, RuntimeError("SIGSEGV"))
    owners = [bench.store.deliveries.pending(bench.group, entry) for entry, _ in task]
    assert [DeliveryState.SCHEDULED, DeliveryState.SCHEDULED] == [o and o.owner for o in owners]


def test_a_crash_alone_without_retries_is_final(bench: Bench) -> None:
    handler = bench.subscribe(note, retries=0)
    bench.emit("a")
    task = bench.queue()
    worker = bench.bus.service.worker
    bench.store.deliveries.claim(worker, bench.group, task, handler.failure.max_attempts)
    bench.executor.abandon(handler, "order", task, RuntimeError("SIGSEGV"))
    assert ["a"] == [letter.event_id for letter in bench.store.deliveries.dead("order")]


def test_a_process_that_was_frozen_runs_nothing_that_another_has_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes after its lease with the rest of its chunk still in hand."""
    seen: list[str] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if event.id == "a":
            # Frozen in the middle of it; meanwhile another worker took the rest and ran "b".
            real = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: real() + 1000)
            rest = [pair for pair in task if pair[1] != bench.key("a")]
            bench.store.deliveries.lease_ms = 0
            bench.store.deliveries.fetch("w2", [FetchRequest(bench.group, 9, reclaim=True)])
            bench.store.deliveries.claim("w2", bench.group, rest, 9)

    bench.subscribe(handle)
    bench.emit(*"abc")
    task = bench.queue()
    report = bench.execute(task)
    assert ["a"] == seen
    assert {bench.key("b"), bench.key("c")} <= {key for entry, key in task if entry in report.lost}


def test_a_process_whose_chunk_was_cut_begins_no_other_one_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one was sent before the handler was measured as slow."""
    late, real = 0.0, time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + late)

    def handle(event: Event) -> None:
        nonlocal late
        ran.append(event.id)
        late += 3.0 if event.id == "a" else 0.0

    bench.subscribe(handle)
    tasks = []
    for ids in ("ab", "cd", "e"):
        bench.emit(*ids)
        tasks.append(bench.queue())
    for task in tasks:
        bench.execute(task)
    assert ["a", "e"] == ran
    late += 3.0
    assert "3 processed" == str(bench.execute())
    assert {"b", "c", "d"} == set(ran[2:])
    assert {1} == {row.attempt for id in "abcde" if (row := bench.row(id))}


def test_a_process_frozen_between_claim_and_run_runs_only_what_it_still_holds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.subscribe(note)
    bench.emit(*"ab")
    task = bench.queue()
    deliveries = bench.store.deliveries
    claim, real = deliveries.claim, time.monotonic

    def frozen_after(worker: str, *rest: Any, **options: Any) -> Any:
        claimed = claim(worker, *rest, **options)
        monkeypatch.setattr(time, "monotonic", lambda: real() + 1000)
        with monkeypatch.context() as lease:
            lease.setattr(deliveries, "lease_ms", 0)
            deliveries.fetch("w2", [FetchRequest(bench.group, 1, reclaim=True)])
        return claimed

    monkeypatch.setattr(deliveries, "claim", frozen_after)
    report = bench.execute(task)
    assert ["b"] == ran
    assert [task[0][0]] == report.lost


def test_an_executor_that_dies_before_its_report_leaves_all_running(bench: Bench) -> None:
    bench.subscribe(note)
    bench.emit("a")
    bench.store.deliveries.crashes = 1
    with pytest.raises(SimulatedCrash):
        bench.execute()
    assert bench.place("a") is DeliveryState.RUNNING


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("a\n  b"), "ValueError: a b"),
        (ValueError(), "ValueError"),
        (Mute(), "Mute: (its message cannot be shown)"),
        (OSError("\udcff.txt"), "OSError: \\udcff.txt"),
        (ValueError("x" * 9999), ("ValueError: " + "x" * 9999)[:LONGEST_ERROR]),
    ],
)
def test_any_error_can_be_described_and_stored(bench: Bench, error: Exception, text: str) -> None:
    def handle(event: Event) -> None:
        raise error

    bench.subscribe(handle)
    bench.emit("a")
    assert "1 retried" == str(bench.execute())
    (failure,) = bench.store.deliveries.failures(bench.group, bench.key("a"))
    assert text == failure.error
    failure.encode()


def test_a_report_of_one_event_has_its_failure() -> None:
    assert Report(pairs=1).sole_failure is None


def test_an_event_of_another_domain_than_its_log_does_not_run(bench: Bench) -> None:
    """Also where a forged delivery task leads to it past the dispatcher."""
    bench.bus.on("payment.captured", "order.placed", name="handle")(note)
    bench.handler = bench.bus.service.handlers["billing.handle"]
    bench.group = bench.handler.group("order")
    bench.store.event_log.join("order", "billing.handle", "0")
    foreign = encode(build_event("payment.captured", None, source="x", id="p"))
    bench.store.event_log.append("order", foreign)
    report = bench.execute()
    assert ran == []
    (failure,) = report.failures
    assert "does not belong to the domain 'order'" in str(failure.error)

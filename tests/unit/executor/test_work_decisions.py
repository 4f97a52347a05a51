"""What becomes of each claimed delivery: before it runs, after it ran, and when it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import Attempt, CircuitOpen, Event, EventBus, Middleware, Skip
from celeriac.delivery import (
    MAX_REQUEUE_DELAY_MS,
    REQUEUE_DELAY_MS,
    Claimed,
    ClaimResult,
    Completion,
    Outcome,
)
from celeriac.delivery.pending_reply import ReceivedReply
from celeriac.errors import SubjectErased, UntrustedEvent
from celeriac.event import (
    NONE_EMITTED,
    EmittedEvents,
    build_event,
    decode_unchecked,
    encode,
    event_key,
)
from celeriac.event.correlation import EmittedEvent
from celeriac.event.encrypted import ENCRYPTED
from celeriac.executor import Executor, Report, work
from celeriac.executor.admission import Admission
from celeriac.executor.work import Work

RUN, CONCURRENT = ClaimResult.RUN, ClaimResult.CONCURRENT
EMITTED = EmittedEvents((EmittedEvent("order.paid", "b"),))


class Guard:
    """Raises `error` for each event."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def verify(self, raw: bytes, event: Any, domain: str) -> None:
        raise self.error

    def decrypt(self, event: Any) -> Any:
        raise self.error


class Bench:
    """The work of a handler of `order.placed`, at a simulated time. `completed` has what it
    completes."""

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus

    def subscribe(self, function: Callable[..., Any] = lambda event: None, **options: Any) -> Work:
        def handle(event: Any) -> Any:
            return function(event)

        handle.__annotations__["event"] = list[Event[Any]] if "batch" in options else Event[Any]
        self.bus.on("order.placed", name="handle", backoff=5.0, jitter=0.0, **options)(handle)
        handler = self.bus.service.handlers["billing.handle"]

        def report(completions: Sequence[Completion]) -> ReceivedReply[list[str]]:
            raise AssertionError("the tests drain it")

        self.work = Executor(self.bus.service).process.work(handler, "order", {}, report)
        return self.work

    def secure(self, error: Exception, *, signed: bool = False) -> None:
        guard: Any = Guard(error)
        self.work.admission = Admission(guard, "order")
        self.work.handler = replace(self.work.handler, signed=signed)

    def completed(self) -> list[Completion]:
        return self.work.reporter.drain()


@pytest.fixture
def bench(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(work, "time", SimpleNamespace(time=lambda: 7.0, perf_counter=lambda: 2.0))
    return Bench(bus)


def claim(
    result: ClaimResult = RUN,
    *,
    entry: str = "1-0",
    type: str = "order.placed",
    body: bytes | None = b"event",
    attempt: int = 1,
    lost_runs: int = 0,
    **attributes: Any,
) -> Claimed:
    if body == b"event":
        body = encode(build_event(type, {"n": 1}, source="shop", id="a", **attributes))
    return Claimed(entry, result, attempt, body, lost_runs)


KEY = event_key("a", "shop")


def read(bench: Bench, claimed: Claimed, path: str) -> Any:
    """Read a delivery as a separate one, with its key, or as an entry of a chunk."""
    if path == "separate":
        return bench.work.read(claimed, KEY)
    event = decode_unchecked(claimed.body or b"")
    assert event is not None
    return bench.work.admit(claimed, event)


PATHS = pytest.mark.parametrize("path", ["separate", "chunk"])


@PATHS
def test_a_wanted_event_runs(bench: Bench, path: str) -> None:
    bench.subscribe()
    event = read(bench, claim(), path)
    assert (event.id, event.data) == ("a", {"n": 1})
    assert (bench.completed(), bench.work.report) == ([], Report())


@pytest.mark.parametrize("claimed", [claim(ClaimResult.DUPLICATE), claim(body=None)])
def test_a_duplicate_or_deleted_event_is_ignored(bench: Bench, claimed: Claimed) -> None:
    bench.subscribe()
    assert bench.work.read(claimed, KEY) is None
    [done] = bench.completed()
    assert (done.outcome, done.event_key, done.entry) == (Outcome.IGNORED, KEY, "1-0")


@pytest.mark.parametrize(
    ("type", "key", "delay_ms"),
    [("order.placed", event_key("b", "shop"), 0), ("order.paid", KEY, REQUEUE_DELAY_MS)],
)
def test_what_this_code_cannot_run_is_requeued(
    bench: Bench, type: str, key: str, delay_ms: int
) -> None:
    """A forged task at once; a type that only newer code of the handler wants after a delay."""
    bench.subscribe()
    assert bench.work.read(claim(type=type), key) is None
    [done] = bench.completed()
    assert (done.outcome, done.delay_ms, done.attempt) == (Outcome.REQUEUED, delay_ms, 1)


@PATHS
def test_an_event_whose_subject_was_erased_is_skipped(bench: Bench, path: str) -> None:
    bench.subscribe()
    bench.secure(SubjectErased("erased"))
    assert read(bench, claim(datacontenttype=ENCRYPTED), path) is None
    [done] = bench.completed()
    assert (done.outcome, done.type, done.event_key) == (Outcome.SKIPPED, "order.placed", KEY)
    assert bench.work.report == Report(skipped=1)


@PATHS
def test_an_event_without_a_trusted_signature_is_refused(bench: Bench, path: str) -> None:
    bench.subscribe()
    bench.secure(UntrustedEvent("unsigned"), signed=True)
    assert read(bench, claim(), path) is None
    [done] = bench.completed()
    assert (done.outcome, done.type, done.event_key) == (Outcome.REFUSED, "order.placed", KEY)
    assert done.failure is not None
    assert (done.failure.took, done.failure.at) == (0, 7000)
    assert len(bench.work.report.failures) == 1


@PATHS
def test_an_entry_that_was_verified_needs_no_second_verification(bench: Bench, path: str) -> None:
    bench.subscribe()
    bench.secure(UntrustedEvent("unsigned"), signed=True)
    bench.work.admission.verified["1-0"] = ("shop", "order.placed", None)
    assert read(bench, claim(), path) is not None


@PATHS
def test_a_filter_that_fails_is_a_failed_attempt(bench: Bench, path: str) -> None:
    def when(event: Event[Any]) -> bool:
        raise ValueError("no")

    bench.subscribe(when=when)
    assert read(bench, claim(), path) is None
    [done] = bench.completed()
    assert (done.outcome, done.delay_ms, done.took_us) == (Outcome.RETRY, 5000, 0)


@PATHS
@pytest.mark.parametrize(("accepted", "skipped"), [(True, 0), (False, 1)])
def test_a_filter_skips_events(bench: Bench, path: str, accepted: bool, skipped: int) -> None:
    bench.subscribe(when=lambda event: accepted)
    assert (read(bench, claim(), path) is not None) == accepted
    done = bench.completed()
    assert [(one.outcome, one.type) for one in done] == [
        (Outcome.SKIPPED, "order.placed")
    ] * skipped
    assert bench.work.report == Report(skipped=skipped)


@PATHS
@pytest.mark.parametrize(
    ("tenants", "outcome", "delay_ms"),
    [
        ("nothing recorded", Outcome.SKIPPED, 0),
        (["acme"], Outcome.SKIPPED, 0),
        (["acme", "third"], Outcome.SKIPPED, 0),
        (["other"], Outcome.REQUEUED, REQUEUE_DELAY_MS),
        (None, Outcome.REQUEUED, REQUEUE_DELAY_MS),
    ],
)
def test_events_of_another_tenant_wait_for_the_version_that_gets_them(
    bench: Bench, path: str, tenants: Any, outcome: Outcome, delay_ms: int
) -> None:
    """`tenants` are those of another version of the handler."""
    asked: list[int] = []

    def in_force() -> Sequence[str]:
        asked.append(1)
        if tenants == "nothing recorded":
            return ()
        other = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")

        @other.on("order.placed", name="handle", tenants=tenants)
        def handle(event: Event[Any]) -> None: ...

        return other.service.handlers["billing.handle"].interests

    bench.subscribe(tenants=["acme"])
    bench.work._in_force = in_force
    for _ in range(2):
        assert read(bench, claim(tenant="other"), path) is None
        [done] = bench.completed()
        assert (done.outcome, done.delay_ms) == (outcome, delay_ms)
        assert done.event_key == KEY or outcome is Outcome.SKIPPED
    assert bench.work.report.skipped == (2 if outcome is Outcome.SKIPPED else 0)
    assert asked == [1], "read once"
    assert read(bench, claim(tenant="acme"), path) is not None


NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("age_ms", "delay_ms"),
    [
        (0, REQUEUE_DELAY_MS),
        (-5000, REQUEUE_DELAY_MS),
        (REQUEUE_DELAY_MS * 2 + 20, REQUEUE_DELAY_MS + 10),
        (MAX_REQUEUE_DELAY_MS * 2 - 20, MAX_REQUEUE_DELAY_MS - 10),
        (MAX_REQUEUE_DELAY_MS * 9, MAX_REQUEUE_DELAY_MS),
    ],
)
def test_a_copy_waits_half_of_its_age(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, age_ms: int, delay_ms: int
) -> None:
    monkeypatch.setattr(work, "time", SimpleNamespace(time=lambda: NOW_MS / 1000))
    bench.subscribe()
    assert bench.work.read(claim(CONCURRENT, entry=f"{NOW_MS - age_ms}-0"), KEY) is None
    [done] = bench.completed()
    assert (done.outcome, done.delay_ms) == (Outcome.REQUEUED, delay_ms)


# -- after a run


@pytest.mark.parametrize(
    ("error", "outcome", "counts", "delay_ms"),
    [
        (None, Outcome.PROCESSED, (1, 0, 0), 0),
        (Skip("paid"), Outcome.SKIPPED, (0, 1, 0), 0),
        (CircuitOpen("down", after=30), Outcome.REQUEUED, (0, 0, 0), 30_000),
        (ValueError("no"), Outcome.RETRY, (0, 0, 1), 5000),
    ],
)
def test_the_outcome_of_a_run(
    bench: Bench,
    error: Exception | None,
    outcome: Outcome,
    counts: tuple[int, int, int],
    delay_ms: int,
) -> None:
    bench.subscribe()
    event = build_event("order.placed", None, source="shop", id="a", correlationid="chain")
    bench.work.complete_run(claim(), KEY, event, 42, error, EMITTED)
    [done] = bench.completed()
    assert (done.outcome, done.delay_ms, done.event_key) == (outcome, delay_ms, KEY)
    if outcome is not Outcome.REQUEUED:
        assert (done.took_us, done.type, done.emitted_events) == (42, "order.placed", EMITTED)
    report = bench.work.report
    assert (report.processed, report.skipped, len(report.failures)) == counts
    if report.failures:
        assert report.failures[0].correlation == "chain"
        assert done.failure is not None
        assert (done.failure.took, done.failure.attempt, done.failure.at) == (42, 1, 7000)


@pytest.mark.parametrize(("batch", "took"), [(None, 1_500_000), (10, 500_000)])
def test_the_run_time_of_a_batch_is_shared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, batch: int | None, took: int
) -> None:
    now = [2.0]

    def handle(event: Any) -> None:
        now[0] += 1.5

    monkeypatch.setattr(work, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    bench.subscribe(handle, **({"batch": batch} if batch else {}))
    bench.work.reporter.report_if_due = lambda: None  # type: ignore[method-assign]
    claims = [claim(entry=f"{n}-0") for n in range(1, 4 if batch else 2)]
    bench.work.run(claims, {one.entry: KEY for one in claims})
    assert [done.took_us for done in bench.completed()] == [took] * len(claims)


def test_emitted_events_belong_to_the_first_of_a_batch(bench: Bench) -> None:
    bench.subscribe(batch=10)
    event = build_event("order.placed", None, source="shop", id="a")
    ready = [(claim(entry=f"{n}-0"), KEY, event) for n in (1, 2, 3)]
    bench.work.complete_batch(ready, 5, None, EMITTED)
    emitted = [done.emitted_events for done in bench.completed()]
    assert emitted == [EMITTED, NONE_EMITTED, NONE_EMITTED]


def test_an_event_that_did_not_begin_is_requeued_without_an_attempt(bench: Bench) -> None:
    bench.subscribe()
    bench.work.requeue([claim()], {"1-0": KEY})
    [done] = bench.completed()
    assert (done.outcome, done.event_key, done.delay_ms) == (Outcome.REQUEUED, KEY, 0)


def test_an_exhausted_delivery_counts_the_attempts_before_the_claim(bench: Bench) -> None:
    bench.subscribe()
    assert bench.work.read(claim(ClaimResult.EXHAUSTED, attempt=4), KEY) is None
    [done] = bench.completed()
    assert done.failure is not None
    assert (done.outcome, done.failure.attempt, done.attempt) == (Outcome.DEAD, 3, 4)


# -- within middleware


class Recorder(Middleware):
    def __init__(self, failing: str = "") -> None:
        self.seen: list[Any] = []
        self._failing = failing

    def after_attempt(self, attempt: Attempt) -> None:
        self.seen.append(("after", attempt.outcome, len(attempt.events), attempt.number))
        if self._failing:
            raise KeyError(self._failing)

    def attempt_failed(self, attempt: Attempt) -> None:
        self.seen.append(("failed", attempt.outcome, str(attempt.error)))


@pytest.mark.parametrize(
    ("raises", "failing", "error", "seen"),
    [
        (None, "", type(None), [("after", "processed", 1, 3)]),
        (Skip("paid"), "", Skip, [("after", "skipped", 1, 3)]),
        (ValueError("no"), "", ValueError, [("failed", "dead", "no")]),
        (None, "hook", KeyError, [("after", "processed", 1, 3), ("failed", "dead", "'hook'")]),
        (Skip("x"), "hook", KeyError, [("after", "skipped", 1, 3), ("failed", "dead", "'hook'")]),
    ],
)
def test_middleware_sees_the_outcome_and_its_failure_is_that_of_the_attempt(
    bench: Bench, raises: Exception | None, failing: str, error: type, seen: list[Any]
) -> None:
    def handle(event: Event[Any]) -> None:
        if raises is not None:
            raise raises

    bench.subscribe(handle, retries=2)
    recorder = Recorder(failing)
    bench.work.middleware = [recorder]
    event = build_event("order.placed", None, source="shop", id="a")
    failure, emitted = bench.work.call(event, event, 3, (encode(event),))
    assert (type(failure), emitted) == (error, NONE_EMITTED)
    assert recorder.seen == seen


def test_middleware_sees_all_events_of_a_batch(bench: Bench) -> None:
    bench.subscribe(batch=10)
    recorder = Recorder()
    bench.work.middleware = [recorder]
    events = [build_event("order.placed", None, source="shop") for _ in range(3)]
    assert bench.work.call(events, events[0], 1, [encode(one) for one in events])[0] is None
    assert recorder.seen == [("after", "processed", 3, 1)]

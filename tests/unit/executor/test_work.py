"""Which claimed deliveries complete without a run, and what is recorded about them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from celeriac import Event, EventBus
from celeriac.delivery import Claimed, ClaimResult, Completion, Outcome
from celeriac.delivery.pending_reply import ReceivedReply
from celeriac.event import encode, event_key
from celeriac.executor import Executor
from celeriac.executor.work import Work


@pytest.fixture
def work(bus: EventBus) -> Work:
    @bus.on("order.placed")
    def charge(event: Event[None]) -> None: ...

    def report(completions: Sequence[Completion]) -> ReceivedReply[list[str]]:
        return ReceivedReply([])

    handler = bus.service.handlers["billing.charge"]
    return Executor(bus.service).process.work(handler, "order", {}, report)


def claimed(
    bus: EventBus, result: ClaimResult, *, entry: str = "1-0", attempt: int = 1, lost_runs: int = 0
) -> Claimed:
    body = encode(bus.event("order.placed", id="a"))
    return Claimed(entry, result, attempt, body, lost_runs=lost_runs)


def outcomes(work: Work) -> list[tuple[str, Outcome]]:
    return [(one.entry, one.outcome) for one in work.reporter.drain()]


def test_a_copy_of_an_event_that_was_admitted_is_ignored(bus: EventBus, work: Work) -> None:
    key = event_key("a", "billing")
    assert work.read(claimed(bus, ClaimResult.RUN), key)
    assert work.read(claimed(bus, ClaimResult.CONCURRENT, entry="2-0"), key) is None
    assert outcomes(work) == [("2-0", Outcome.IGNORED)]


def test_a_copy_of_an_event_that_another_process_runs_waits(bus: EventBus, work: Work) -> None:
    key = event_key("a", "billing")
    assert work.read(claimed(bus, ClaimResult.CONCURRENT, entry="2-0"), key) is None
    assert outcomes(work) == [("2-0", Outcome.REQUEUED)]


def test_an_event_admitted_without_a_key_makes_no_copy_of_others(bus: EventBus, work: Work) -> None:
    assert work.read(claimed(bus, ClaimResult.RUN), "")
    assert work.read(claimed(bus, ClaimResult.CONCURRENT, entry="2-0"), "") is None
    assert outcomes(work) == [("2-0", Outcome.REQUEUED)]


@pytest.mark.parametrize(
    ("lost_runs", "reason"),
    [
        (0, "all 3 attempts are used up"),
        (2, "its worker died, or lost the lease, in 2 of 3 runs; dead-lettered as poison"),
    ],
)
def test_a_dead_letter_has_the_reason_why_its_attempts_are_used_up(
    bus: EventBus, work: Work, lost_runs: int, reason: str
) -> None:
    claim = claimed(bus, ClaimResult.EXHAUSTED, attempt=4, lost_runs=lost_runs)
    assert work.read(claim, event_key("a", "billing")) is None
    [completion] = work.reporter.drain()
    assert completion.outcome is Outcome.DEAD
    assert completion.failure is not None
    assert reason in completion.failure.error

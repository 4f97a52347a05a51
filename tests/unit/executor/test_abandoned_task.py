"""The deliveries of a task whose process died: which of them failed, and which only wait again."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Breaker, Event
from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import DeliveryState
from celeriac.executor import executor
from tests.unit.executor.conftest import Bench

ERROR = RuntimeError("SIGKILL")


def ignore(event: Event[Any]) -> None: ...


def claimed(bench: Bench, ids: str, **options: Any) -> list[tuple[str, str]]:
    """A task for events with these ids, which this worker is running."""
    bench.subscribe(ignore, backoff=60.0, **options)
    bench.emit(*ids)
    task = bench.queue()
    bench.store.deliveries.claim(bench.bus.service.worker, bench.group, task, 9)
    return task


def states(bench: Bench, ids: str) -> list[Any]:
    return [bench.place(id) for id in ids]


def test_deliveries_of_other_tasks_keep_running(bench: Bench) -> None:
    a, _, c = claimed(bench, "abc")
    assert bench.executor.abandon(bench.handler, "order", [a, c], ERROR) == 2
    pending = bench.store.deliveries.pending_between(bench.group, "-", "+")
    running = f"running:{bench.bus.service.worker}"
    assert [one.owner for one in pending] == ["scheduled", running, "scheduled"]


def test_tasks_of_any_size_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "PAGE", 2)
    task = claimed(bench, "abcde")
    assert bench.executor.abandon(bench.handler, "order", task, ERROR) == 5
    assert states(bench, "abcde") == [DeliveryState.SCHEDULED] * 5


def test_the_running_event_fails_and_the_others_count_no_attempt(bench: Bench) -> None:
    task = claimed(bench, "abc")
    progress = bench.executor.process.shared_progress
    progress.of = lambda *args: range(1, 2)  # type: ignore[method-assign]
    assert bench.executor.abandon(bench.handler, "order", task, ERROR, 7) == 1
    pending = bench.store.deliveries.pending_between(bench.group, "-", "+")
    assert [one.attempts for one in pending] == [0, 1, 0]
    [failure] = bench.store.deliveries.failures(bench.group, bench.key("b"))
    assert (failure.error, failure.took, failure.attempt) == ("RuntimeError: SIGKILL", 0, 1)


@pytest.mark.parametrize(("ids", "dead"), [("a", ["a"]), ("ab", [])])
def test_only_a_lone_suspect_is_given_up(
    bench: Bench, caplog: pytest.LogCaptureFixture, ids: str, dead: list[str]
) -> None:
    task = claimed(bench, ids, retries=0)
    assert bench.executor.abandon(bench.handler, "order", task, ERROR) == len(ids)
    assert "billing.handle failed on order.placed a in attempt 1" in caplog.text
    letters = bench.store.deliveries.dead("order")
    assert [letter.event_id for letter in letters] == dead
    assert all(b'"order.placed"' in letter.event for letter in letters)
    assert [letter.attempts for letter in letters] == [1 for _ in dead]


def test_the_circuit_of_the_handler_counts_a_crash_as_one_failed_call(bench: Bench) -> None:
    task = claimed(bench, "ab", breaker=Breaker(failures=1))
    bench.executor.abandon(bench.handler, "order", task, ERROR)
    circuit = bench.store.backend.circuits.get(bench.handler.id)
    assert circuit.state is CircuitState.OPEN
    assert circuit.reason == "RuntimeError: SIGKILL"


def test_a_crash_after_the_task_is_no_failure_of_its_handler(bench: Bench) -> None:
    bench.subscribe(ignore, breaker=Breaker(failures=1))
    bench.emit("a")
    task = bench.queue()
    bench.execute(task)
    assert bench.executor.abandon(bench.handler, "order", task, ERROR) == 0
    assert bench.store.backend.circuits.all() == {}

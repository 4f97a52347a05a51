"""The parts that the executors of a process share."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Event, EventBus
from celeriac.executor import Report, process
from celeriac.executor.process import RESULT_KEPT, SURELY_SLOW_US, ExecutorProcess, typical_us
from celeriac.handler import Handler
from celeriac.testing.store import Store


@pytest.fixture
def handler(bus: EventBus) -> Handler:
    @bus.on("order.placed")
    def charge(event: Event[Any]) -> None: ...

    return bus.service.handlers["billing.charge"]


@pytest.fixture
def executing(bus: EventBus) -> ExecutorProcess:
    return ExecutorProcess(bus.service)


@pytest.mark.parametrize(
    ("took_us", "typical"),
    [
        ([7], 7),
        ([1, 2], 1.5),
        ([1, SURELY_SLOW_US - 1], SURELY_SLOW_US / 2),
        ([1, SURELY_SLOW_US], SURELY_SLOW_US),
        ([SURELY_SLOW_US + 9, 1], SURELY_SLOW_US + 9),
    ],
)
def test_the_typical_run_time_is_the_mean_unless_one_is_surely_slow(
    took_us: list[int], typical: float
) -> None:
    assert typical_us(took_us) == typical


def test_without_runs_the_run_time_is_unknown(executing: ExecutorProcess, handler: Handler) -> None:
    assert executing.run_time_us(handler) == 0
    assert executing.note_run_times(handler, []) == 0
    assert executing.note_run_times(handler, [0]) == 1
    assert executing.run_time_us(handler) == 1
    assert executing.note_run_times(handler, []) == 0, "nothing new to report"
    assert executing.run_time_us(handler) == 1


@pytest.mark.parametrize(
    ("means", "median"),
    [
        ([10], 10),
        ([10, 20], 10),
        ([10, 20, 30], 20),
        ([9, 9, 9, 1, 2, 3, 4, 5], 3),  # only the last five count
        ([10, 10, 10, SURELY_SLOW_US], SURELY_SLOW_US),
        ([10, 10, 10, SURELY_SLOW_US - 1], 10),
        ([SURELY_SLOW_US, 10], 10),
    ],
)
def test_the_run_time_is_the_median_of_the_last_means(
    executing: ExecutorProcess, handler: Handler, means: list[int], median: int
) -> None:
    noted = [executing.note_run_times(handler, [mean]) for mean in means]
    assert noted[-1] == executing.run_time_us(handler) == median


@pytest.mark.parametrize(("lease", "result", "call"), [(30, RESULT_KEPT, 30), (7200, 7200, 7200)])
def test_results_are_repeated_longer_than_other_calls(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, lease: int, result: float, call: float
) -> None:
    executing = ExecutorProcess(EventBus(service="billing", lease=lease).service)
    seconds: list[float] = []

    def persist(call: Any, **options: Any) -> Any:
        assert (options["url"], options["wait_for_memory"]) == (executing.settings.redis_url, True)
        seconds.append(options["seconds"])
        return call()

    monkeypatch.setattr(process, "persist", persist)
    assert executing.persist_result(lambda: "reply") == "reply"
    assert executing.persist(lambda: "reply") == "reply"
    assert executing.persist(lambda: "reply", 0.0) == "reply"
    assert seconds == [result, call, 0.0]


def test_results_are_added_to_the_given_report(
    executing: ExecutorProcess, handler: Handler
) -> None:
    report = Report()
    for given, used in ((report, report), (None, None)):
        work = executing.work(handler, "order", {}, lambda completions: None, given)  # type: ignore[arg-type, return-value]
        assert (work.report is used) == (given is not None)
        assert work.report == Report()


def test_other_versions_of_the_handler_are_read_from_the_store(
    executing: ExecutorProcess, handler: Handler, store: Store
) -> None:
    store.deliveries.note_patterns(handler.group("order"), ["order.amended"])
    work = executing.work(handler, "order", {}, lambda completions: None)  # type: ignore[arg-type, return-value]
    assert list(work._in_force()) == ["order.amended"]


def test_requeueing_a_chunk_is_repeated_until_the_store_replies(
    executing: ExecutorProcess, handler: Handler, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    requeued: list[tuple[Any, ...]] = []
    monkeypatch.setattr(store.backend.chunks, "requeue", lambda *args: requeued.append(args))
    monkeypatch.setattr(process, "persist", lambda call, **options: call())
    executing.requeue_chunk(handler.group("order"), "chunk")
    assert requeued == [(executing.worker, handler.group("order"), "chunk")]

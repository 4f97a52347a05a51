"""How many workers a service needs, from its load."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import ConfigurationError
from celeriac.scale import HandlerLoad, ScaleTarget, WorkersWanted, workers_wanted
from celeriac.scale.wanted import DueTick

CHARGE = "billing.charge_card"


def wanted(*loads: HandlerLoad, **target: float) -> WorkersWanted:
    given_target = ScaleTarget(**target)  # type: ignore[arg-type]
    return workers_wanted("billing", loads, given_target)


def load(**fields: object) -> HandlerLoad:
    return HandlerLoad(**{"handler": CHARGE, "mean_us": 100_000, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ahead", "processes", "workers"),
    [(300, 1, 1), (301, 1, 2), (600, 1, 2), (600, 2, 1), (601, 2, 2), (30_000, 4, 25)],
)
def test_the_work_is_divided_by_the_drain_target_and_the_processes(
    ahead: int, processes: int, workers: int
) -> None:
    assert wanted(load(ahead=ahead), processes=processes).workers == workers


def test_all_that_may_run_within_the_drain_target_is_work() -> None:
    answer = wanted(load(ahead=100, queued=50, running=20, blocked=30, due=100, later=9_999))
    assert (answer.handlers[0].backlog, answer.work_s, answer.workers) == (300, 30.0, 1)


def test_the_work_of_all_handlers_is_summed_before_it_is_rounded() -> None:
    loads = [load(handler=f"billing.h{n}", ahead=30) for n in range(10)]
    assert wanted(*loads).workers == 1


def test_no_backlog_needs_no_worker() -> None:
    answer = wanted(load(), load(handler="billing.other", mean_us=0))
    assert (answer.workers, answer.reasons) == (0, ("nothing runs within 300 s",))


def test_a_delivery_that_is_due_within_the_cooldown_keeps_one_worker() -> None:
    answer = wanted(load(later=1_000))
    assert (answer.workers, answer.work_s) == (1, 0)
    assert answer.reasons == (f"{CHARGE}: 1,000 due within 300 s",)


def test_a_tick_within_the_cooldown_keeps_one_worker() -> None:
    ticks = [DueTick(name="billing:report", due_ms=1), DueTick(name="billing:x", due_ms=1)]
    answer = workers_wanted("billing", [], ScaleTarget(), ticks)
    assert answer.workers == 1
    assert answer.reasons[0] == "billing:report: a tick is due within 300 s"


def test_the_reason_for_an_overdue_tick_is_that_its_schedule_may_be_gone() -> None:
    ticks = [DueTick(name="billing:report", due_ms=1, is_overdue=True)]
    [reason] = workers_wanted("billing", [], ScaleTarget(), ticks).reasons
    assert "if no code has this schedule, remove it" in reason


def test_a_handler_without_a_measured_run_time_needs_one_worker() -> None:
    answer = wanted(load(ahead=1_000_000, mean_us=0))
    assert answer.workers == 1
    assert answer.reasons == (f"{CHARGE}: run time not measured yet; one worker measures it",)


def test_unread_entries_need_one_worker() -> None:
    answer = wanted(load(is_estimate=True, is_unknown=True))
    assert answer.workers == 1
    assert "found none of its events" in answer.reasons[0]


def test_a_concurrency_limit_bounds_the_workers_that_help() -> None:
    answer = wanted(load(ahead=100_000, concurrency=6), processes=2)
    assert answer.workers == 3
    assert answer.reasons[-1] == f"{CHARGE}: concurrency=6 limits how many workers help"


def test_a_rate_limit_bounds_the_workers_that_help() -> None:
    """10 events per second of 100 ms each are the work of one process."""
    answer = wanted(load(ahead=100_000, per_second=20.0))
    assert answer.workers == 2
    assert answer.reasons[-1] == f"{CHARGE}: rate_limit=20/s limits how many workers help"


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("why", [{"is_paused": True}, {"is_in_code": False}])
def test_what_does_not_start_needs_no_worker(why: dict[str, bool], unknown: bool) -> None:
    answer = wanted(load(ahead=10_000, due=3, later=4, is_unknown=unknown, **why))
    assert answer.workers == 0
    assert answer.reasons[0].endswith("; 10,007 deliveries wait")


def test_a_running_delivery_of_a_paused_handler_keeps_its_worker() -> None:
    assert wanted(load(ahead=10_000, running=1, is_paused=True)).workers == 1


def test_an_open_circuit_needs_one_worker_for_its_trial() -> None:
    answer = wanted(load(ahead=1_000_000, is_on_trial=True))
    assert answer.workers == 1
    assert answer.reasons[-1] == f"{CHARGE}: its circuit is not closed; one delivery is tried"
    assert wanted(load(is_on_trial=True)).workers == 0


def test_the_largest_answer_can_be_given() -> None:
    answer = wanted(load(ahead=30_000), max_workers=4)
    assert (answer.workers, answer.uncapped) == (4, 100)
    assert answer.reasons[-1] == "limited to 4 of 100 workers"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drain_target", 0), ("drain_target", -1), ("drain_target", math.nan),
        ("drain_target", math.inf), ("processes", 0), ("cooldown", -1), ("cooldown", math.nan),
        ("max_workers", -1),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match="is out of range"):
        ScaleTarget(**{name: value})  # type: ignore[arg-type]


loads = st.builds(
    HandlerLoad,
    handler=st.just(CHARGE),
    ahead=st.integers(0, 10**7),
    queued=st.integers(0, 1000),
    running=st.integers(0, 1000),
    due=st.integers(0, 1000),
    later=st.integers(0, 1000),
    mean_us=st.integers(0, 10**7),
    concurrency=st.none() | st.integers(1, 100),
    per_second=st.none() | st.floats(0.01, 1000),
    is_paused=st.booleans(),
    is_in_code=st.booleans(),
    is_on_trial=st.booleans(),
)


@given(st.lists(loads, max_size=5), st.integers(1, 64), st.floats(0.1, 3600))
def test_the_workers_can_do_the_work_and_one_fewer_cannot(
    loads: list[HandlerLoad], processes: int, drain_target: float
) -> None:
    target = ScaleTarget(drain_target=drain_target, processes=processes)
    answer = workers_wanted("billing", loads, target)
    work_us, per_worker_us = round(answer.work_s * 1e6), target.drain_us * processes
    assert answer.workers * per_worker_us >= work_us - 1
    assert answer.workers <= 1 or (answer.workers - 1) * per_worker_us < work_us + 1
    assert (answer.workers == 0) == (not any(load.needs_worker for load in loads))

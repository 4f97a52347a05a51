"""The store of instances in memory keeps the promises of a transaction."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.event import build_event
from celeriac.process.decision import Status
from celeriac.process.instance import Instance, ProcessStep, StepChanges, TimerRecord
from celeriac.process.memory import MemoryProcesses
from celeriac.process.store import ProcessStore

HANDLER, KEY = "billing.flow", "42"


def timer(name: str, at_ms: int) -> TimerRecord:
    return TimerRecord(name, f"event of {name}", at_ms, "process", b"{}")


def save(processes: MemoryProcesses, seq: int = 1, **values: Any) -> None:
    """Store a step of an instance, with the timers and the other values of the instance."""
    timers = {name: values.pop(name, ()) for name in ("set_timers", "removed_timers")}
    step = ProcessStep(seq=seq, at_ms=1, event_id="e", event_type="a.b", status=Status.OPEN)
    changes = StepChanges(Instance(HANDLER, KEY, seq=seq, **values), step, **timers)

    def run(event: object, store: ProcessStore) -> None:
        store.save(changes)

    processes.receive(HANDLER, build_event("a.b", None, source="shop", id=f"{seq}"), run)


def test_nothing_changes_if_the_run_raises() -> None:
    processes, runs = MemoryProcesses(), []
    event = build_event("a.b", None, source="shop", id="e")

    def run(event: object, store: ProcessStore) -> None:
        runs.append(event)
        step = ProcessStep(seq=1, at_ms=1, event_id="e", event_type="a.b", status=Status.OPEN)
        store.save(StepChanges(Instance(HANDLER, KEY), step, set_timers=(timer("late", 5),)))
        if len(runs) == 1:
            raise ValueError

    with pytest.raises(ValueError):
        processes.receive(HANDLER, event, run)
    assert ({}, {}, {}) == (processes.instances, processes.timers, processes.steps)
    for _ in range(2):
        processes.receive(HANDLER, event, run)
    assert 2 == len(runs), "a handled event does not run again"
    processes.receive("billing.other", event, run)
    assert 3 == len(runs), "another handler has not handled it"


def test_a_step_sets_and_removes_timers() -> None:
    processes = MemoryProcesses()
    assert processes.next_timer_ms() is None
    save(processes, 1, set_timers=(timer("late", 5), timer("later", 7)))
    assert 5 == processes.next_timer_ms()
    save(processes, 2, removed_timers=("late", "unknown"), set_timers=(timer("again", 9),))
    assert [7, 9] == sorted(row.at_ms for row in processes.timers.values())
    assert [1, 2] == [step.seq for step in processes.steps[HANDLER, KEY]]


def test_expired_timers_are_taken_once_and_oldest_first() -> None:
    processes = MemoryProcesses()
    save(processes, set_timers=(timer("b", 6), timer("a", 5), timer("c", 7)))
    assert ["a", "b"] == [row.name for row in processes.take_due(6)]
    assert [] == processes.take_due(6)
    assert 7 == processes.next_timer_ms()


@pytest.mark.parametrize(("now_ms", "is_kept"), [(8, True), (9, False), (10, False)])
def test_an_expired_instance_is_deleted_when_its_key_is_used(now_ms: int, is_kept: bool) -> None:
    processes = MemoryProcesses()
    save(processes, expires_ms=9)
    found: list[Instance | None] = []

    def run(event: object, store: ProcessStore) -> None:
        found.append(store.lock(HANDLER, KEY, insert=True, now_ms=now_ms))
        assert store.lock(HANDLER, "unknown", insert=True, now_ms=now_ms) is None

    processes.receive(HANDLER, build_event("a.b", None, source="shop"), run)
    assert is_kept == (found[0] is not None)
    kept = {(HANDLER, KEY)} if is_kept else set()
    assert (kept, kept) == ({*processes.instances}, {*processes.steps})


def test_a_locked_instance_is_a_copy() -> None:
    processes = MemoryProcesses()
    save(processes, undo=["u"])

    def run(event: object, store: ProcessStore) -> None:
        instance = store.lock(HANDLER, KEY, insert=False, now_ms=1)
        assert instance is not None
        instance.undo.append("v")

    processes.receive(HANDLER, build_event("a.b", None, source="shop"), run)
    assert ["u"] == processes.instances[HANDLER, KEY].undo

"""For which event a crash of a pool process counts."""

from __future__ import annotations

import os
from typing import Any

from celeriac import Event
from celeriac.delivery import DeliveryState
from celeriac.executor.shared_progress import SharedProgress
from tests.unit.executor.conftest import Bench

HINT = [(f"{n}-0", f"e{n}") for n in range(5)]


def in_child(do: Any) -> int:
    """Runs it in a forked process, which ends without cleaning up as if it was killed."""
    pid = os.fork()
    if not pid:
        try:
            do()
        finally:
            os._exit(9)
    os.waitpid(pid, 0)
    return pid


def test_a_parent_reads_where_its_dead_child_was() -> None:
    shared_progress = SharedProgress()

    def crash() -> None:
        shared_progress.begin("billing.h", "order", HINT)
        shared_progress.enter(0, 1)
        shared_progress.enter(3, 4)

    pid = in_child(crash)
    assert range(3, 4) == shared_progress.of(pid, "billing.h", "order", HINT)


def test_a_process_that_was_at_another_chunk_or_at_none_tells_nothing() -> None:
    shared_progress = SharedProgress()
    pid = in_child(lambda: shared_progress.begin("billing.h", "order", HINT))
    assert None is shared_progress.of(pid, "billing.h", "order", HINT)
    assert None is shared_progress.of(pid + 4096, "billing.h", "order", HINT)
    assert None is shared_progress.of(None, "billing.h", "order", HINT)

    def crash() -> None:
        shared_progress.begin("billing.h", "order", HINT)
        shared_progress.enter(1, 2)

    pid = in_child(crash)
    assert None is shared_progress.of(pid, "billing.h", "order", HINT[1:])
    assert None is shared_progress.of(pid, "billing.other", "order", HINT)
    assert range(1, 2) == shared_progress.of(pid, "billing.h", "order", HINT)


def crashed(bench: Bench, at: str, **options: Any) -> None:
    """A pool process of the worker runs a chunk of five and dies at one of them."""

    def handle(event: Event) -> None:
        if event.id == at:
            os._exit(9)

    handler = bench.subscribe(handle, **options)
    bench.emit(*"abcde")
    hint = bench.queue()
    # What a process of its own does with a store in memory dies with it: here is what Redis has.
    worker = bench.bus.service.worker
    most = handler.failure.max_attempts
    pid = in_child(lambda: bench.execute(hint))
    bench.store.deliveries.claim(worker, bench.group, hint, most)
    bench.executor.abandon(handler, "order", hint, RuntimeError("SIGKILL"), pid)


def test_a_crash_in_company_counts_for_the_event_at_hand_alone(bench: Bench) -> None:
    crashed(bench, at="c", backoff=60.0)
    taken = [(id, attempts) for id, attempts in due(bench)]
    assert [(id, 0) for id in "abde"] == taken
    assert ["c"] == [
        id for id in "abcde" if bench.store.deliveries.failures(bench.group, bench.key(id))
    ]
    assert DeliveryState.SCHEDULED is bench.place("c")


def test_a_crash_in_company_without_retries_is_final_for_the_event_at_hand(bench: Bench) -> None:
    crashed(bench, at="c", retries=0)
    assert ["c"] == [letter.event_id for letter in bench.store.deliveries.dead("order")]
    assert list("abde") == [id for id, _ in due(bench)]


def test_neighbours_of_a_crash_run_in_company_again(bench: Bench) -> None:
    """Each alone would be hundreds of tasks for each crash."""
    crashed(bench, at="a", retries=0)
    bench.handler = bench.bus.service.handlers["billing.handle"]
    hint = bench.queue()
    report = bench.execute(hint)
    assert (4, 4) == (len(hint), report.processed)


def due(bench: Bench) -> list[tuple[str, int]]:
    pending = bench.store.deliveries.pending_between(bench.group, "-", "+")
    ids = {e.id: id for e, id in zip(bench.store.event_log.read("order"), "abcde", strict=True)}
    now = bench.store.registry.now_ms()
    return [
        (ids[one.entry], one.attempts)
        for one in pending
        if one.due_ms is not None and one.due_ms <= now
    ]

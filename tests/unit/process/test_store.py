"""Every store keeps the same promises."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from celeriac import Event
from celeriac.process import Process, Status, on, reminded, starts
from celeriac.process.query import fire_timer
from tests.unit.process.conftest import Bench
from tests.unit.process.shop import State, fulfilment

KEY = "order-42"


@pytest.fixture
def process(bench: Bench, stored: tuple[Engine, str | None]) -> type[Process[State]]:
    return bench.bus.process(fulfilment(stored[0]))


def emit(bench: Bench, type: str, data: object = None, key: str = KEY) -> None:
    bench.bus.emit(type, data, subject=key)


def place(bench: Bench, key: str = KEY) -> None:
    emit(bench, "order.placed", {"cents": 990}, key)
    bench.run(jump=False)


def test_an_instance_is_stored_with_its_state_timers_undo_and_steps(
    bench: Bench, process: type[Process[State]]
) -> None:
    place(bench)
    found = bench.history(process, KEY)
    assert found is not None
    instance, now = found.instance, bench.memory.store.clock.now_ms()
    assert instance.state == b'{"cents":990,"paid":false,"picked":false}'
    assert (instance.status, instance.seq, instance.version) == (Status.OPEN, 1, 1)
    assert instance.timers["unpaid"].at_ms == now + 86_400_000
    assert len(instance.undo) == 1
    [step] = found.steps
    assert (step.event_type, step.status) == ("order.placed", Status.OPEN)
    assert [type for type, _ in step.emitted] == ["payment.asked"]
    assert step.reminders == (("unpaid", now + 86_400_000),)
    assert (instance.started_ms, instance.updated_ms) == (now, now)


def test_a_deadline_aborts_and_undoes_newest_first(
    bench: Bench, process: type[Process[State]]
) -> None:
    place(bench)
    bench.memory.advance(timedelta(days=1))
    bench.run()
    found = bench.history(process, KEY)
    assert found is not None
    assert (found.instance.status, found.instance.reason) == (Status.ABORTED, "not paid in a day")
    assert (found.instance.timers, found.instance.undo) == ({}, [])
    assert bench.memory.emitted.types[-1] == "payment.refund"


def test_a_timer_does_not_fire_after_forget(bench: Bench, process: type[Process[State]]) -> None:
    place(bench)
    emit(bench, "payment.captured")
    bench.run(jump=False)
    bench.memory.advance(timedelta(days=2))
    bench.run()
    found = bench.history(process, KEY)
    assert found is not None
    assert found.instance.status is Status.OPEN
    assert found.steps[-1].forgotten == ("unpaid",)


def test_a_timer_in_the_event_log_does_not_fire_after_forget(
    bench: Bench, process: type[Process[State]]
) -> None:
    place(bench)
    emit(bench, "payment.captured")
    bench.run(jump=False)
    place(bench, "other")
    bench.memory.advance(timedelta(days=1))
    bench.relay()
    emit(bench, "payment.captured", key="other")
    bench.run(shuffle=1)
    found = bench.history(process, "other")
    assert found is not None
    # Whichever was handled first has won, and the other did nothing.
    assert len(found.steps) == 2
    assert (found.instance.status is Status.ABORTED) != (b'"paid":true' in found.instance.state)


def test_events_wait_for_the_start_and_are_skipped_after_the_end(
    bench: Bench, process: type[Process[State]]
) -> None:
    emit(bench, "payment.captured")
    bench.memory.run_until_idle(jump=False)
    assert bench.history(process, KEY) is None
    emit(bench, "order.placed", {"cents": 1})
    bench.memory.run_until_idle()
    bench.memory.assert_no_dead()
    emit(bench, "payment.failed")
    bench.memory.run_until_idle()
    emit(bench, "parcel.sent")
    assert bench.memory.run_until_idle().skipped == 1


def test_a_method_that_raises_changes_nothing(
    bench: Bench, stored: tuple[Engine, str | None]
) -> None:
    runs: list[str] = []

    class Failing(Process[State], inbox=stored[0]):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            self.state.cents += 1
            self.emit("payment.asked")
            self.remind("unpaid", after=5)
            runs.append(event.id)
            if len(runs) == 1:
                raise ConnectionError

        @reminded("unpaid")
        def unpaid(self) -> None:
            self.complete()

    bench.bus.process(Failing)
    emit(bench, "order.placed")
    bench.memory.run_until_idle(jump=False)
    assert bench.history(Failing, KEY) is None
    assert bench.memory.emitted.types == ["order.placed"]
    bench.memory.advance(2)
    bench.memory.run_until_idle(jump=False)
    found = bench.history(Failing, KEY)
    assert found is not None
    assert (found.instance.state, found.instance.seq) == (
        b'{"cents":1,"paid":false,"picked":false}',
        1,
    )
    assert bench.memory.emitted.types == ["order.placed", "payment.asked"]


def test_a_timer_that_is_set_again_fires_once_at_the_new_time(
    bench: Bench, stored: tuple[Engine, str | None]
) -> None:
    fired: list[str] = []

    class Pinged(Process[State], inbox=stored[0]):
        @starts("ping.sent")
        def sent(self, event: Event) -> None:
            self.remind("silent", after=60)

        @reminded("silent")
        def silent(self) -> None:
            fired.append(self.now.isoformat())
            self.complete()

    bench.bus.process(Pinged)
    for _ in range(3):
        emit(bench, "ping.sent")
        bench.run(jump=False)
        bench.memory.advance(40)
        bench.run(jump=False)
    assert fired == []
    bench.memory.advance(20)
    bench.run()
    assert len(fired) == 1


@pytest.mark.parametrize("key", ["Straße 7", "order 42 ", "a" * 300, "A", "a"])
def test_keys_are_compared_exactly(bench: Bench, process: type[Process[State]], key: str) -> None:
    place(bench, key)
    place(bench, "a " if key == "a" else "b")
    emit(bench, "payment.captured", key=key)
    bench.run(jump=False)
    other = bench.history(process, "a " if key == "a" else "b")
    assert other is not None
    assert b'"paid":false' in other.instance.state


def test_an_ended_instance_is_kept_and_then_deleted_by_the_relay(
    bench: Bench, process: type[Process[State]]
) -> None:
    if bench.database is None:
        pytest.skip("the store in memory deletes it when its key is used again")
    from celeriac.outbox.pruning import prune

    place(bench)
    place(bench, "open")
    emit(bench, "payment.failed")
    bench.run(jump=False)
    now = bench.memory.store.clock.now_ms()
    for days, kept in ((29, True), (31, False)):
        with bench.database.transaction() as execute:
            assert prune(execute, bench.database.kind, now + days * 86_400_000) == (not kept)
        assert (bench.history(process, KEY) is not None) == kept
        with bench.database.transaction() as execute:
            steps = execute("SELECT COUNT(*) FROM celeriac_process_step", {})
        assert steps[0][0] == (3 if kept else 1)
    assert bench.history(process, "open") is not None


def test_a_key_starts_again_after_its_instance_was_kept_for_its_time(
    bench: Bench, stored: tuple[Engine, str | None]
) -> None:
    process = bench.bus.process(fulfilment(stored[0], keep=60))
    place(bench)
    emit(bench, "payment.failed")
    bench.run(jump=False)
    for seconds, status, steps in ((59, Status.ABORTED, 2), (1, Status.OPEN, 1)):
        bench.memory.advance(seconds)
        place(bench)
        found = bench.history(process, KEY)
        assert found is not None
        assert (found.instance.status, len(found.steps)) == (status, steps)


def test_a_timer_can_be_fired_now(bench: Bench, process: type[Process[State]]) -> None:
    if bench.database is None:
        pytest.skip("operators see databases")
    place(bench)
    # Fires by the clock of this host; the clock of the bus began with it.
    assert fire_timer(bench.database, "billing.fulfilment", KEY, "unpaid")
    assert not fire_timer(bench.database, "billing.fulfilment", KEY, "other")
    assert not fire_timer(bench.database, "billing.fulfilment", "unknown", "unpaid")
    bench.memory.advance(3600)
    bench.run()
    found = bench.history(process, KEY)
    assert found is not None
    assert found.instance.status is Status.ABORTED


def test_several_starting_types_and_a_wildcard(
    bench: Bench, stored: tuple[Engine, str | None]
) -> None:
    seen: list[str] = []

    class Wide(Process[State], inbox=stored[0], key="data.order"):
        @starts("order.placed", "order.imported")
        def begun(self, event: Event) -> None:
            seen.append(f"start {self.key}")

        @on("payment.*")
        def payment(self, event: Event) -> None:
            seen.append(event.type)

    bench.bus.process(Wide)
    bench.bus.emit("order.imported", {"order": 7})
    bench.run()
    bench.bus.emit("payment.late", {"order": 7.0})
    bench.run()
    bench.memory.assert_no_dead()
    assert seen == ["start 7", "payment.late"]

"""The life of an instance on a bus in memory: start, wait, remind, complete, abort."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import create_engine

from celeriac import EventBus
from celeriac.process import Process, Status
from celeriac.testing import MemoryBus, in_memory
from tests.unit.process.shop import State, fulfilment

SUBJECT = "order-42"


@pytest.fixture
def process(bus: EventBus) -> type[Process[State]]:
    # Never opened: instances are in memory.
    return bus.process(fulfilment(create_engine("sqlite:////nonexistent/no.sqlite")))


def emit(bus: EventBus, type: str, data: object = None, **options: object) -> None:
    bus.emit(type, data, subject=SUBJECT, **options)  # type: ignore[arg-type]


def place(bus: EventBus, memory: MemoryBus) -> None:
    emit(bus, "order.placed", {"cents": 990})
    memory.run_until_idle(jump=False)


def types(memory: MemoryBus) -> list[str]:
    return [event.type for event in memory.emitted]


def test_an_order_that_is_paid_and_sent_is_completed(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        instance = memory.instance(process, SUBJECT)
        assert (instance.status, instance.state) == (Status.OPEN, State(cents=990))
        assert instance.timers == {"unpaid": memory.now + timedelta(days=1)}
        for type in ("payment.captured", "stock.picked", "parcel.sent"):
            # Domains have no order among each other.
            emit(bus, type)
            memory.run_until_idle()
        memory.assert_no_dead()
        instance = memory.instance(process, SUBJECT)
        assert (instance.status, instance.timers) == (Status.COMPLETED, {})
        assert instance.state == State(cents=990, paid=True, picked=True)
        assert [event.subject for event in memory.emitted.of("order.fulfilled")] == [SUBJECT]
        assert "payment.refund" not in types(memory)


def test_a_deadline_aborts_and_undoes(bus: EventBus, process: type[Process[State]]) -> None:
    with in_memory(bus) as memory:
        emit(bus, "order.placed", {"cents": 990})
        started = memory.now
        memory.run_until_idle()
        instance = memory.instance(process, SUBJECT)
        assert (instance.status, instance.reason) == (Status.ABORTED, "not paid in a day")
        assert memory.now - started >= timedelta(days=1)
        assert types(memory) == ["order.placed", "payment.asked", "payment.refund"]
        refund = memory.emitted.of("payment.refund")[0]
        assert (refund.data, refund.subject) == ("all", SUBJECT)


def test_undo_events_are_emitted_newest_first(bus: EventBus, process: type[Process[State]]) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        emit(bus, "payment.captured")
        memory.run_until_idle()
        emit(bus, "stock.missing")
        memory.run_until_idle()
        assert types(memory)[-2:] == ["stock.returned", "payment.refund"]


def test_a_forgotten_timer_does_not_fire(bus: EventBus, process: type[Process[State]]) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        emit(bus, "payment.captured")
        memory.run_until_idle(jump=False)
        memory.advance(timedelta(days=2))
        memory.run_until_idle()
        assert memory.instance(process, SUBJECT).status is Status.OPEN


def test_a_timer_that_expired_before_it_was_forgotten_does_not_fire(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        emit(bus, "payment.captured")
        # The event of the timer is in the event log, behind the payment or before it.
        memory.advance(timedelta(days=2))
        memory._expire_timers()
        memory.run_until_idle(shuffle=3)
        instance = memory.instance(process, SUBJECT)
        fired = instance.status is Status.ABORTED
        assert fired or instance.state.paid
        assert len(instance.steps) == 2


def test_an_event_before_the_start_waits_for_it(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        emit(bus, "payment.captured")
        memory.run_until_idle(jump=False)
        memory.advance(30)
        emit(bus, "order.placed", {"cents": 1})
        result = memory.run_until_idle()
        memory.assert_no_dead()
        assert memory.instance(process, SUBJECT).state.paid
        assert result.processed == 2


def test_an_event_that_waits_in_vain_is_dead_with_the_reason(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        emit(bus, "payment.captured")
        before = memory.now
        memory.run_until_idle()
        [dead] = memory.dead
        assert "NotStarted: billing.fulfilment has not started for order-42" in dead.error
        assert timedelta(minutes=10) <= memory.now - before <= timedelta(minutes=13)


def test_events_of_an_ended_instance_are_skipped_until_it_expires(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        emit(bus, "payment.failed")
        memory.run_until_idle()
        for type in ("parcel.sent", "order.placed"):
            emit(bus, type, {"cents": 1})
        assert memory.run_until_idle().skipped == 2
        memory.advance(timedelta(days=30))
        emit(bus, "order.placed", {"cents": 2})
        memory.run_until_idle(jump=False)
        assert memory.instance(process, SUBJECT).state == State(cents=2)


@pytest.mark.parametrize("missing", ["start", "skip"])
def test_missing_decides_upon_an_event_without_an_instance(bus: EventBus, missing: str) -> None:
    process = bus.process(fulfilment(create_engine("sqlite://"), missing=missing))
    with in_memory(bus) as memory:
        emit(bus, "payment.captured")
        result = memory.run_until_idle()
        memory.assert_no_dead()
        if missing == "skip":
            assert result.skipped == 1
            with pytest.raises(LookupError, match="no instance 'order-42'"):
                memory.instance(process, SUBJECT)
        else:
            assert memory.instance(process, SUBJECT).state == State(paid=True)


def test_repeated_deliveries_change_nothing(bus: EventBus, process: type[Process[State]]) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        emit(bus, "payment.captured")
        memory.crash_before_ack()
        memory.run_until_idle()
        before = types(memory)
        memory.redeliver_all()
        memory.duplicate_all()
        memory.run_until_idle()
        assert types(memory) == before
        assert len(memory.instance(process, SUBJECT).steps) == 2


def test_an_operator_aborts_an_instance(bus: EventBus, process: type[Process[State]]) -> None:
    with in_memory(bus) as memory:
        place(bus, memory)
        data = {"key": SUBJECT, "reason": "fraud"}
        bus.emit("process.abort_requested", data, handlers=["billing.fulfilment"])
        memory.run_until_idle()
        instance = memory.instance(process, SUBJECT)
        assert (instance.status, instance.reason) == (Status.ABORTED, "fraud")
        assert types(memory)[-1] == "payment.refund"


def test_instances_of_different_keys_are_separate(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        for number in range(3):
            bus.emit("order.placed", {"cents": number}, subject=f"order-{number}")
        memory.run_until_idle(jump=False)
        states = [memory.instance(process, f"order-{n}").state.cents for n in range(3)]
        assert states == [0, 1, 2]


def test_an_event_without_a_key_is_dead(bus: EventBus, process: type[Process[State]]) -> None:
    with in_memory(bus) as memory:
        bus.emit("order.placed", {"cents": 1}, id="x")
        memory.run_until_idle()
        assert "order.placed x has no subject" in memory.dead[0].error


def test_emitted_events_follow_from_the_handled_event(
    bus: EventBus, process: type[Process[State]]
) -> None:
    with in_memory(bus) as memory:
        emit(bus, "order.placed", {"cents": 1}, id="placed")
        memory.run_until_idle()
        asked = memory.emitted.of("payment.asked")[0]
        refund = memory.emitted.of("payment.refund")[0]
        assert (asked.causationid, asked.correlationid) == ("placed", "placed")
        # Caused by the event of the timer.
        assert refund.causationid not in (None, "placed")
        assert refund.correlationid == "placed"

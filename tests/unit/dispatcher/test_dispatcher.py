"""A turn of the dispatcher, over the store in memory and with a broker that only takes notes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from celeriac import Breaker, BusUnavailable, Event, EventBus
from celeriac.delivery import DeliveryState, Group
from celeriac.dispatcher.poll_interval import BUSY, IDLE
from celeriac.dispatcher.task_sender import TASKS_AHEAD
from celeriac.testing.store import Store
from tests.unit.delivery_task import run_task
from tests.unit.dispatcher.conftest import MakeDispatcher, Sent

ORDER = Group("order", "billing.charge")


def charge(event: Event) -> None: ...
def bill(event: Event) -> None: ...
def fail(event: Event) -> None:
    raise ValueError("no")


@pytest.fixture
def charging(bus: EventBus, store: Store) -> EventBus:
    bus.on("order.placed")(charge)
    return bus


@pytest.fixture
def taking(bus: EventBus, store: Store) -> EventBus:
    """A breaker is asked before each delivery, so that they are taken one by one."""
    bus.on("order.placed", breaker=Breaker())(charge)
    return bus


def emit(bus: EventBus, *ids: str, type: str = "order.placed", **attributes: Any) -> None:
    for id in ids:
        bus.emit(type, id=id, **attributes)


def run(bus: EventBus, sent: Sent) -> None:
    """What the workers' pool does with the delivery tasks."""
    for chunk in sent:
        run_task(bus.service, chunk)
    sent.clear()


def test_a_new_event_is_sent_once(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    turning = dispatcher()
    emit(charging, "a")
    turning.run_once()
    turning.run_once()
    assert [["a"]] == sent.ids
    assert ORDER == sent[0].group


def test_what_came_before_the_first_start_is_not_for_it(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    emit(charging, "before")
    dispatcher().run_once()
    assert [] == sent.ids


def test_a_worker_holds_no_more_than_its_limit(
    taking: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher(processes=2)
    emit(taking, *"abcdefgh")
    turning.run_once()
    pause = turning.run_once()
    # unmeasured: one event a chunk, two chunks read ahead for each of two processes
    assert [["a"], ["b"], ["c"], ["d"]] == sent.ids
    assert BUSY <= pause <= IDLE
    assert 4 == store.event_log.groups("order")[0].lag


def test_room_is_filled_again(taking: EventBus, dispatcher: MakeDispatcher, sent: Sent) -> None:
    turning = dispatcher()
    emit(taking, *"abcd")
    turning.run_once()
    run(taking, sent)
    turning.run_once()
    assert ["c", "d"] == [id for chunk in sent.ids for id in chunk]


def test_what_the_handler_does_not_want_is_completed_at_the_same_time_without_a_pause(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    turning = dispatcher()
    emit(charging, *"abcd", type="order.paid")
    turns = 1
    while turning.run_once() == 0.0:
        turns += 1
    (state,) = store.event_log.groups("order")
    assert [] == sent
    assert (0, 0) == (state.pending, state.lag)
    assert 1 < turns <= 4


def test_a_slow_handler_does_not_slow_the_passing_over_of_what_it_does_not_want(
    charging: EventBus, dispatcher: MakeDispatcher, store: Store
) -> None:
    turning = dispatcher()
    store.deliveries.handler_store(ORDER).stats["mean_us"] = 10_000_000
    emit(charging, *"abcdef", type="order.paid")
    assert [0.0, 0.0, 0.0] == [turning.run_once() for _ in range(3)]


def test_after_a_failure_it_is_sent_alone(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("order.placed", batch=3, backoff=1.0, jitter=0.0)(lambda_batch)
    turning = dispatcher()
    emit(bus, *"abc")
    turning.run_once()
    assert [["a", "b", "c"]] == sent.ids
    run(bus, sent)
    assert [] == sent.ids
    store.clock.advance(1000)
    turning.run_once()
    assert [["a"], ["b"], ["c"]] == sent.ids


def lambda_batch(events: list[Event]) -> None:
    raise ValueError("no")


def test_a_retry_is_not_sent_before_its_time(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("order.placed", backoff=10.0, jitter=0.0)(fail)
    turning = dispatcher()
    emit(bus, "a")
    turning.run_once()
    run(bus, sent)
    store.clock.advance(9_999)
    assert turning.run_once() == pytest.approx(BUSY)
    assert [] == sent.ids
    store.clock.advance(1)
    turning.run_once()
    assert [["a"]] == sent.ids


def test_a_task_that_the_broker_refused_is_sent_in_the_next_iteration(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    charging.on("order.placed", "payment.failed")(bill)
    turning = dispatcher()
    emit(charging, "a")
    emit(charging, "b", type="payment.failed")
    sent.away = BusUnavailable("the broker is away")
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            turning.run_once()
    sent.away = None
    turning.run_once()
    # those of other handlers and domains that were taken in the same turn included
    assert [["a"], ["a"], ["b"]] == sorted(sent.ids)


def test_more_urgent_handlers_are_sent_first(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("order.placed", name="low")(charge)
    bus.on("order.placed", name="urgent", priority=9)(charge)
    bus.on("order.placed", name="also_low")(charge)
    turning = dispatcher()
    emit(bus, "a")
    turning.run_once()
    assert ["urgent", "also_low", "low"] == [chunk.handler.name for chunk in sent]


def test_only_handlers_of_consumed_queues_are_served(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("order.placed", name="here")(charge)
    bus.on("order.placed", name="elsewhere", queue="slow")(charge)
    turning = dispatcher(queues=lambda: ["billing"])
    emit(bus, "a")
    turning.run_once()
    assert ["here"] == [chunk.handler.name for chunk in sent]
    assert {"billing.here"} == store.registry.handlers().keys()


def test_a_handler_that_is_removed_while_it_joins_a_new_domain_is_served_no_more(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bus.on("#")(charge)
    bus.on("ship.#")(bill)
    now = [0.0]
    turning = dispatcher(clock=lambda: now[0])
    make_group = store.event_log.join

    def make_group_after_removal(domain: str, handler: str, start: str) -> bool:
        store.registry.unregister("billing.charge")
        return make_group(domain, handler, start)

    monkeypatch.setattr(store.event_log, "join", make_group_after_removal)
    emit(bus, "a", type="ship.sent")
    now[0] += 60
    turning.run_once()
    assert "billing.charge was removed by an operator" in caplog.text
    assert {"billing.bill"} == store.registry.handlers().keys()
    assert ["billing.bill"] == [state.handler for state in store.event_log.groups("ship")]
    assert {"bill"} == {chunk.handler.name for chunk in sent}


def test_a_removed_handler_stops_being_served_in_all_its_domains(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    bus.on("order.placed", "payment.failed")(charge)
    bus.on("order.placed")(bill)
    turning = dispatcher()
    store.registry.unregister("billing.charge")
    for domain in ("order", "payment"):
        store.event_log.leave(domain, "billing.charge")
    with caplog.at_level(logging.WARNING):
        turning.run_once()
    assert "billing.charge was removed by an operator" in caplog.text
    emit(bus, "a")
    turning.run_once()
    assert ["bill"] == [chunk.handler.name for chunk in sent]
    assert {"billing.bill"} == store.registry.handlers().keys()


@pytest.mark.parametrize("pattern", ["order.placed", "#"])
def test_a_handler_whose_group_was_lost_joins_again(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent, pattern: str
) -> None:
    bus.on(pattern)(charge)
    emit(bus, "old")
    turning = dispatcher()
    store.event_log.store.clear()
    store.event_log._announced.clear()
    store.registry._handlers.clear()
    emit(bus, "new")
    turning.run_once()
    turning.run_once()
    assert [["new"]] == sent.ids
    assert store.registry.handlers().keys() == {"billing.charge"}


def test_a_domain_that_appears_later_is_served_from_its_first_entry(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("#")(charge)
    turning = dispatcher()
    emit(bus, "first", "second", type="brand.new")
    turning.run_once()
    turning.run_once()
    assert [["first"], ["second"]] == sent.ids


def test_a_rate_limit_requeues_what_is_over_it(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("order.placed", rate_limit="2/s")(charge)
    turning = dispatcher(processes=4)
    emit(bus, *"abcde")
    turning.run_once()
    assert [["a"], ["b"]] == sent.ids
    run(bus, sent)
    turning.run_once()
    assert [] == sent.ids
    due = [one.due_ms or 0 for one in store.deliveries.pending_between(ORDER, "-", "+")]
    assert [0, 500] == [at - due[0] for at in due]
    for _ in range(8):
        store.clock.advance(500)
        turning.run_once()
        assert 1 >= len(sent)
        run(bus, sent)
    assert (0, 0) == (
        store.event_log.groups("order")[0].pending,
        store.event_log.groups("order")[0].lag,
    )


def test_an_abandoned_delivery_is_sent_when_its_lease_is_over(
    taking: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    turning = dispatcher()
    emit(taking, "a")
    turning.run_once()
    store.deliveries.claim("dead worker", ORDER, sent[0].pairs, 9)
    store.clock.advance(store.deliveries.lease_ms)
    turning.run_once()
    assert [["a"], ["a"]] == sent.ids
    assert sent[1].items[0].attempts == 1


def test_what_is_no_event_is_a_dead_letter_once_for_all_handlers(
    charging: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    charging.on("order.placed")(bill)
    turning = dispatcher()
    with store.event_log.silence():
        store.event_log.append("order", b"not an event")
    turning.run_once()
    (letter,) = store.deliveries.dead("order")
    assert b"not an event" == letter.event
    assert [0, 0] == [state.pending for state in store.event_log.groups("order")]
    assert [] == sent


def test_a_delayed_event_enters_the_log_when_its_time_has_come(
    charging: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    turning = dispatcher()
    charging.emit("order.placed", id="a", delay=60)
    store.clock.advance(59_999)
    turning.run_once()
    turning.run_once()
    assert [] == sent.ids
    store.clock.advance(1)
    assert 0.0 == turning.run_once()
    turning.run_once()
    assert [["a"]] == sent.ids


def test_requeuing_makes_what_is_queued_due_for_others(
    taking: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    turning = dispatcher()
    emit(taking, *"ab")
    turning.run_once()
    assert [taking.service.worker] == [worker.name for worker in store.registry.workers()]
    store.deliveries.claim(taking.service.worker, ORDER, sent[0].pairs, 9)
    turning.requeue()
    places = [store.deliveries.pending(ORDER, c.items[0].entry) for c in sent]
    assert [DeliveryState.RUNNING, DeliveryState.SCHEDULED] == [
        p and p.owner.partition(":")[0] for p in places
    ]
    assert [] == store.registry.workers()


def test_a_stopped_dispatcher_turns_no_more(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    turning = dispatcher()
    emit(charging, "a")
    turning.stop()
    turning.run()
    assert [] == sent.ids


def test_a_failed_iteration_is_reported_and_followed_by_the_next(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    turning = dispatcher()
    emit(charging, "a")
    failures = iter([BusUnavailable("the broker is away"), None])

    def send(chunk: object) -> None:
        error = next(failures)
        if error is not None:
            raise error
        turning.stop()

    turning._tasks._send = send
    with caplog.at_level(logging.INFO):
        turning.run()
    assert "the broker is away; retrying" in caplog.text
    assert "dispatching again" in caplog.text


def test_while_enough_tasks_wait_new_events_go_into_a_larger_one(
    taking: EventBus, dispatcher: MakeDispatcher, sent: Sent, store: Store
) -> None:
    """A quick handler under a steady flow gets few large delivery tasks, not one for each event."""
    made = dispatcher(clock=lambda: 0.0)  # between two sweeps, which may always take
    emit(taking, "first")
    made.run_once()
    run(taking, sent)
    made.run_once()
    for n in range(TASKS_AHEAD + 10):
        emit(taking, f"e{n}")
        made.run_once()
    assert [len(ids) for ids in sent.ids] == [1] * TASKS_AHEAD
    run(taking, sent)
    made.run_once()
    made.run_once()
    assert [len(ids) for ids in sent.ids] == [10]


def test_only_groups_that_were_woken_are_fetched(
    charging: EventBus, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    """A thousand handlers must not each cost a script for every event of another domain."""
    charging.on("item.sold")(bill)
    turning = dispatcher(clock=lambda: 100.0)  # no other group is polled for its time
    emit(charging, "a")
    emit(charging, "b", type="item.sold")
    turning.run_once({"item"})
    assert [["b"]] == sent.ids
    turning.run_once({"order"})
    assert [["b"], ["a"]] == sent.ids


def test_a_retry_is_fetched_at_its_time_without_a_wakeup(
    bus: EventBus, store: Store, dispatcher: MakeDispatcher, sent: Sent
) -> None:
    bus.on("order.placed", name="charge", backoff=30.0, jitter=0)(fail)
    turning = dispatcher(clock=lambda: store.clock.now_ms() / 1000)
    emit(bus, "a")
    turning.run_once({"order"})
    run(bus, sent)
    turning.run_once({"wakeup order"})  # finish rings, so that the time is known
    assert [] == sent
    store.clock.advance(30_000)
    turning.run_once(())
    assert [["a"]] == sent.ids

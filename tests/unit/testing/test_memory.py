"""Services on a bus in memory: the same routing and executor, without Redis."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from celeriac import Event, EventBus, Retry, aemit, emit, set_default_bus
from celeriac.event import build_event, encode
from celeriac.service import Service
from celeriac.testing import NeverIdle, in_memory

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def billing() -> EventBus:
    return EventBus(service="billing", redis_url=NOWHERE, broker_url="redis://127.0.0.1:1/1")


@pytest.fixture
def shipping() -> EventBus:
    return EventBus(service="shipping", redis_url=NOWHERE)


@pytest.fixture
def ran() -> list[Any]:
    return []


def test_a_result_shows_counts_and_errors_without_tracebacks(billing: EventBus) -> None:
    @billing.on("order.placed", retries=2)
    def charge(event: Event) -> None:
        raise ValueError("declined")

    with in_memory(billing) as memory:
        assert "RunResult(processed=0, skipped=0, retried=0, dead=0, crashed=0)" == repr(
            memory.run_until_idle()
        )
        billing.emit("order.placed")
        shown = repr(memory.run_until_idle())
    assert shown == (
        "RunResult(processed=0, skipped=0, retried=2, dead=1, crashed=0, "
        "failures=[3 x ValueError: declined])"
    )


def test_an_event_goes_from_service_to_service(
    billing: EventBus, shipping: EventBus, ran: list[Any]
) -> None:
    @billing.on("order.placed")
    def charge(event: Event) -> None:
        billing.emit("payment.captured", {"order": event.data["n"]})

    @shipping.on("payment.*")
    async def ship(event: Event) -> None:
        ran.append(event.data)
        await shipping.aemit("shipment.sent")

    with in_memory(billing, shipping) as memory:
        billing.emit("order.placed", {"n": 1}, id="root")
        result = memory.run_until_idle()
        assert (2, 0, 0) == (result.processed, result.retried, result.dead)
        sent = memory.emitted.assert_emitted(
            "shipment.sent", correlationid="root", source="shipping"
        )
        assert sent.causationid == memory.emitted.assert_emitted("payment.captured").id
        assert ["order.placed"] == memory.processed(charge).types
        assert ["payment.captured"] == memory.processed("shipping.ship").types
        memory.assert_no_dead()
    assert [{"order": 1}] == ran


def test_all_is_as_before_afterwards(billing: EventBus) -> None:
    backend = billing.service.backend
    with pytest.raises(ZeroDivisionError), in_memory(billing):
        assert backend is not billing.service.backend
        raise ZeroDivisionError
    assert backend is billing.service.backend
    assert Service.override is None


def test_the_functions_of_the_module_emit_into_it_too(billing: EventBus, ran: list[Any]) -> None:
    billing.on("#", name="note")(lambda event: ran.append(event.type))
    set_default_bus(None)
    with in_memory(billing) as memory:
        emit("order.placed")
        asyncio.run(aemit("order.paid"))
        memory.run_until_idle()
    assert ["order.placed", "order.paid"] == ran
    set_default_bus(None)


def test_without_a_bus_the_default_one_is_served(billing: EventBus, ran: list[Any]) -> None:
    billing.on("order.placed", name="note")(lambda event: ran.append(event.type))
    set_default_bus(billing)
    with in_memory() as memory:
        emit("order.placed")
        memory.run_until_idle()
    assert ["order.placed"] == ran
    set_default_bus(None)


def test_a_handler_that_is_added_later_gets_later_events(billing: EventBus, ran: list[Any]) -> None:
    with in_memory(billing) as memory:
        billing.emit("order.placed", 1)
        billing.on("order.placed", name="note")(lambda event: ran.append(event.data))
        billing.emit("order.placed", 2)
        memory.run_until_idle()
    assert [2] == ran


def test_retries_and_delays_take_no_time(billing: EventBus, ran: list[Any]) -> None:
    @billing.on("order.placed", retries=2, backoff=600.0, jitter=0.0)
    def handle(event: Event) -> None:
        ran.append((memory.now - began).total_seconds())
        raise ValueError("no")

    started = time.monotonic()
    with in_memory(billing) as memory:
        began = memory.now
        billing.emit("order.placed", delay=3600)
        result = memory.run_until_idle()
    assert [3600, 4200, 4800] == ran
    assert (0, 2, 1) == (result.processed, result.retried, result.dead)
    assert ["no"] * 3 == [str(failure.error) for failure in result.failures]
    assert time.monotonic() - started < 5


def test_without_jumping_what_is_not_due_stays(billing: EventBus, ran: list[Any]) -> None:
    billing.on("order.placed", name="note")(lambda event: ran.append(event.id))
    with in_memory(billing) as memory:
        billing.emit("order.placed", id="later", delay=60)
        billing.emit("order.placed", id="now")
        memory.run_until_idle(jump=False)
        assert ["now"] == ran
        memory.advance(59.999)
        memory.run_until_idle(jump=False)
        assert ["now"] == ran
        memory.advance(timedelta(seconds=0.001))
        memory.run_until_idle(jump=False)
    assert ["now", "later"] == ran


def test_dead_letters_are_listed_and_asserted_on(billing: EventBus) -> None:
    @billing.on("order.placed", retries=0)
    def handle(event: Event[int]) -> None:
        raise ValueError("no money")

    with in_memory(billing) as memory:
        memory.assert_no_dead()
        billing.emit("order.placed", 5, id="a")
        billing.emit("order.placed", "five", id="b")
        memory.run_until_idle()
        first, second = memory.dead
        assert first.event and ("billing.handle", "a", 5, 1) == (
            first.handler, first.event.id, first.event.data, first.attempts
        )  # fmt: skip
        assert "does not fit int" in second.error
        with pytest.raises(AssertionError) as caught:
            memory.assert_no_dead()
    assert "billing.handle: order.placed a, after 1 attempt: ValueError: no money" in str(
        caught.value
    )
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__ is first.exception
    assert first.exception is not None and first.exception.__context__ is None


def test_what_is_no_event_is_dead_without_one(billing: EventBus) -> None:
    billing.on("order.placed", name="note")(lambda event: None)
    with in_memory(billing) as memory:
        memory.store.event_log.register_domains(["order"])
        with memory.store.event_log.silence():
            memory.store.event_log.append("order", b"{}")
        memory.run_until_idle()
        (dead,) = memory.dead
    assert dead.event is None and "an invalid event" in str(dead)


def test_handlers_that_emit_for_one_another_are_distinguished_from_work(billing: EventBus) -> None:
    billing.on("ping", name="pong")(lambda event: billing.emit("ping"))
    billing.on("ping", name="slow", retries=500)(_later)
    with in_memory(billing) as memory:
        billing.emit("ping")
        with pytest.raises(NeverIdle) as caught:
            memory.run_until_idle(max_steps=20)
    assert "remain after 20 steps" in str(caught.value)
    assert {"billing.pong", "billing.slow"} == {left.handler for left in caught.value.unfinished}
    assert any(left.state == "scheduled" and left.due_in for left in caught.value.unfinished)


def _later(event: Event) -> None:
    raise Retry(after=86_400)


def test_routing_is_that_of_a_worker(billing: EventBus, ran: list[Any]) -> None:
    def note(event: Event) -> None:
        ran.append((event.type, event.data))

    billing.on("order.*", name="big", when=lambda event: event.data > 5)(note)
    billing.on("#.failed", name="failed")(note)
    with in_memory(billing) as memory:
        billing.emit("order.placed", 3)
        billing.emit("order.placed", 9)
        billing.emit("payment.card.failed", 1)
        billing.emit("order.failed", 10, handlers=["billing.failed"])
        result = memory.run_until_idle()
    assert [("order.failed", 10), ("order.placed", 9), ("payment.card.failed", 1)] == sorted(ran)
    assert 3 == result.processed


def test_a_batch_is_a_batch(billing: EventBus, ran: list[Any]) -> None:
    @billing.on("metric.#", batch=3)
    def store(events: list[Event[int]]) -> None:
        ran.append([event.data for event in events])

    with in_memory(billing) as memory:
        billing.emit_many([("metric.cpu", n) for n in range(4)])
        memory.run_until_idle()
    assert [[0, 1, 2], [3]] == ran


def test_a_rate_limit_is_kept_on_the_bus_s_own_clock(billing: EventBus, ran: list[Any]) -> None:
    with in_memory(billing) as memory:
        began = memory.now

        @billing.on("order.placed", rate_limit="1/s")
        def slow(event: Event) -> None:
            ran.append((memory.now - began).total_seconds())

        billing.emit_many([("order.placed", n) for n in range(4)])
        memory.run_until_idle()
    assert [0, 1, 2, 3] == [round(at) for at in ran]


def test_within_an_event_loop_coroutines_run_all_the_same(
    billing: EventBus, ran: list[Any]
) -> None:
    @billing.on("order.placed")
    async def handle(event: Event) -> None:
        await asyncio.sleep(0)
        ran.append(event.id)

    async def test() -> None:
        with in_memory(billing) as memory:
            await billing.aemit("order.placed", id="a")
            memory.run_until_idle()

    asyncio.run(test())
    assert ["a"] == ran


def test_a_handler_that_took_no_part_is_named(billing: EventBus) -> None:
    billing.on("order.placed", name="note")(lambda event: None)
    with (
        in_memory(billing) as memory,
        pytest.raises(LookupError, match=r"The handlers are billing\.note"),
    ):
        memory.processed("billing.nobody")


def test_a_thousand_events_complete_soon(billing: EventBus, ran: list[Any]) -> None:
    billing.on("order.placed", name="note")(lambda event: ran.append(1))
    started = time.process_time()  # other processes may have the processors for long
    with in_memory(billing) as memory:
        billing.emit_many([("order.placed", n) for n in range(1000)])
        memory.run_until_idle()
    assert 1000 == len(ran)
    assert time.process_time() - started < 5


def test_an_event_in_the_log_of_another_domain_is_dead_once_and_never_handled(
    billing: EventBus,
) -> None:
    """The ACL may allow a service to write to the event log of `order` only."""
    ran: list[str] = []
    for name in ("one", "two"):
        billing.on("order.*", "payment.*", name=name)(lambda event: ran.append(event.type))
    for n in range(5):  # so many that entries are requested by the read part of the event log
        billing.on(f"order.t{n}", name=f"t{n}")(lambda event: ran.append(event.type))
    foreign = encode(build_event("payment.captured", {}, source="x"))
    with in_memory(billing) as memory:
        billing.emit("order.placed")
        memory.run_until_idle()
        with memory.store.event_log.silence():
            memory.store.event_log.append("order", foreign)
        memory.run_until_idle()
        billing.emit("order.placed")
        memory.run_until_idle()
        (dead,) = memory.dead
    assert ran == ["order.placed"] * 4
    assert "does not belong to the domain 'order'" in dead.error


def test_two_sources_may_use_one_id(billing: EventBus, ran: list[Any]) -> None:
    @billing.on("order.placed")
    def charge(event: Event) -> None:
        ran.append(event.source)

    with in_memory(billing) as memory:
        for _ in range(2):
            billing.emit("order.placed", id="a")
            billing.emit("order.placed", id="a", source="rival")
            body = encode(build_event("order.placed", None, source="php", id="a"))
            memory.store.event_log.append("order", body)
        memory.run_until_idle()
        assert ["billing", "php", "rival"] == sorted(ran)
        memory.duplicate_all()
        memory.run_until_idle()
        assert 3 == len(ran)
        assert 3 == memory.redeliver_all()
        memory.run_until_idle()
    assert 6 == len(ran)


def test_a_delayed_event_of_a_domain_without_handlers_is_published(billing: EventBus) -> None:
    with in_memory(billing) as memory:
        billing.emit("order.placed", delay=60)
        memory.run_until_idle()
        assert memory.store.event_log.length("order") == 1


def test_schedules_tick_when_the_clock_is_advanced(billing: EventBus, ran: list[Any]) -> None:
    billing.schedule("report.due", every=timedelta(hours=1), missed="all")

    @billing.on("report.due")
    def report(event: Event) -> None:
        ran.append(event.time)

    with in_memory(billing) as memory:
        memory.run_until_idle()
        assert ran == []
        memory.advance(timedelta(hours=3))
        memory.run_until_idle()
        assert len(ran) == 3
        assert all(event.id.startswith("billing:") for event in memory.emitted.of("report.due"))


def test_a_service_with_schedules_alone_ticks(shipping: EventBus, billing: EventBus) -> None:
    shipping.schedule("parcel.counted", every=60)
    with in_memory(shipping, billing) as memory:
        memory.run_until_idle()
        memory.advance(60)
        memory.run_until_idle()
        memory.emitted.assert_emitted("parcel.counted", times=1, source="shipping")

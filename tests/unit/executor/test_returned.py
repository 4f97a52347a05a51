"""Events that a handler returns are emitted with its completion, and once despite repetitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from celeriac import BusUnavailable, Emit, Event, EventBus, Retry
from celeriac.delivery import DeliveryState
from celeriac.testing import in_memory
from celeriac.testing.memory import MemoryBus
from tests.unit.executor.conftest import Bench

PAID, SENT = Emit("order.paid", {"n": 1}), Emit("parcel.sent", {"n": 2})


def returns(event: Event) -> list[Emit]:
    return [PAID, SENT]


def yields(event: Event) -> Iterator[Emit]:
    yield PAID
    yield SENT


async def returns_async(event: Event) -> list[Emit]:
    return [PAID, SENT]


async def yields_async(event: Event) -> AsyncIterator[Emit]:
    yield PAID
    yield SENT


FUNCTIONS = [returns, yields, returns_async, yields_async]


def types(memory: MemoryBus) -> list[str]:
    """The types of what is in the event log, but for the cause."""
    log = memory.store.event_log
    entries = [entry for domain in sorted(log.domains()) for entry in log.read(domain)]
    found = [log_type(entry.body) for entry in entries]
    return [type for type in found if type != "order.placed"]


def log_type(body: bytes | None) -> str:
    type: str = msgspec.json.decode(body or b"")["type"]
    return type


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_a_handler_returns_or_yields_is_emitted_with_its_cause(
    bus: EventBus, function: Callable[..., Any]
) -> None:
    bus.on("order.placed")(function)
    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        assert memory.run_until_idle().processed == 1
        _, paid, sent = memory.emitted
    assert (paid.type, sent.type) == ("order.paid", "parcel.sent")
    for event in (paid, sent):
        assert (event.causationid, event.correlationid) == ("a", "a")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_repeated_run_emits_nothing_twice(bus: EventBus, function: Callable[..., Any]) -> None:
    bus.on("order.placed")(function)
    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.crash_before_ack()
        assert memory.run_until_idle().crashed == 1
        memory.redeliver_all()
        memory.run_until_idle()
        assert types(memory) == ["order.paid", "parcel.sent"]


def test_equal_events_of_one_run_are_as_many_events(bus: EventBus) -> None:
    @bus.on("order.placed")
    def split(event: Event) -> list[Emit]:
        return [PAID, PAID, SENT]

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        bus.emit("order.placed", id="a", source="rival")
        memory.run_until_idle()
        assert types(memory) == ["order.paid"] * 4 + ["parcel.sent"] * 2


def test_two_handlers_of_one_event_emit_their_own(bus: EventBus) -> None:
    bus.on("order.placed", name="one")(returns)
    bus.on("order.placed", name="two")(returns)
    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.run_until_idle()
        assert types(memory) == ["order.paid"] * 2 + ["parcel.sent"] * 2


@pytest.mark.parametrize("is_generator", [False, True])
def test_a_failed_attempt_emits_nothing(bus: EventBus, is_generator: bool) -> None:
    runs: list[str] = []

    def fail(event: Event) -> Any:
        runs.append(event.id)
        if len(runs) == 1:
            raise Retry(after=1)
        return PAID

    def fail_late(event: Event) -> Iterator[Emit]:
        yield PAID
        runs.append(event.id)
        if len(runs) == 1:
            raise Retry(after=1)

    bus.on("order.placed", name="handle")(fail_late if is_generator else fail)
    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.run_until_idle(jump=False)
        assert types(memory) == []
        memory.run_until_idle()
        assert types(memory) == ["order.paid"]


def test_a_delayed_one_is_emitted_later_and_once(bus: EventBus) -> None:
    @bus.on("order.placed")
    def remind(event: Event) -> Emit:
        return Emit("order.reminded", delay=60)

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        memory.crash_before_ack()
        memory.run_until_idle(jump=False)
        assert types(memory) == []
        memory.advance(3600)
        memory.run_until_idle()
        assert types(memory) == ["order.reminded"]


def test_a_given_id_is_kept_and_an_invalid_event_fails_the_attempt(bus: EventBus) -> None:
    @bus.on("order.placed", retries=0)
    def handle(event: Event) -> Emit:
        return Emit("order.paid", id="p1") if event.id == "a" else Emit("", {})

    with in_memory(bus) as memory:
        bus.emit("order.placed", id="a")
        bus.emit("order.placed", id="b")
        memory.run_until_idle()
        [paid] = memory.emitted.of("order.paid")
        assert paid.id == "p1"
        [dead] = memory.dead
        assert dead.event is not None and dead.event.id == "b"


def test_an_emit_that_fails_fails_the_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what is processed has emitted."""
    bench.subscribe(returns, retries=1, backoff=0)
    bench.emit("a")
    pairs = bench.queue()

    def fail(*_: Any) -> int:
        raise BusUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(bench.bus.emitter, "emit_many", fail)
        bench.execute(pairs)
    assert bench.place("a") == DeliveryState.SCHEDULED


def test_the_events_of_a_batch_get_ids_of_their_own(bus: EventBus) -> None:
    """After a failure its events run alone: an id derived from the first would hide an event."""

    @bus.on("order.placed", batch=10)
    def count(events: list[Event]) -> Emit:
        return Emit("order.counted", {"n": len(events)})

    with in_memory(bus) as memory:
        for id in "abc":
            bus.emit("order.placed", id=id)
        memory.crash_before_ack()
        memory.run_until_idle()
        counted = memory.emitted.of("order.counted")
        assert sum(event.data["n"] for event in counted) == 6
        assert len({event.id for event in counted}) == len(counted) == len(types(memory))


def test_what_was_returned_shows_as_emitted_by_the_delivery(bench: Bench) -> None:
    bench.subscribe(returns)
    bench.emit("a")
    bench.execute()
    [emitted] = bench.store.deliveries.emitted_events(bench.group, [bench.key("a")])
    assert [one.type for one in emitted.named] == ["order.paid", "parcel.sent"]

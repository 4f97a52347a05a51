"""One trace from emit to every handler, also through what handlers emit in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from celeriac import Event, EventBus, InvalidEvent, Reject, Retry
from celeriac.observability.tracing.carrier import context_of
from celeriac.testing import in_memory

Spans = Callable[[], list[ReadableSpan]]
GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def a_bus(service: str, tracing: str = "on") -> EventBus:
    return EventBus(service=service, tracing=tracing, redis_url="redis://127.0.0.1:1/0")


def by_name(spans: Spans) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for span in spans():
        found.setdefault(span.name, []).append(span)
    return found


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def ident(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def run_chain(tracing: str) -> None:
    """shop → billing.charge → shipping.send and billing.receipt."""
    shop, billing, shipping = (a_bus(name, tracing) for name in ("shop", "billing", "shipping"))

    @billing.on("order.placed")
    def charge(event: Event) -> None:
        billing.emit("payment.captured", {"n": 1}, subject="order/7", id="p")

    @billing.on("payment.captured")
    async def receipt(event: Event) -> None:
        await asyncio.sleep(0)

    @shipping.on("payment.captured")
    def send(event: Event) -> None:
        pass

    with in_memory(shop, billing, shipping) as memory:
        shop.emit("order.placed", {"card": "secret"}, id="o", correlationid="c")
        memory.run_until_idle()
        memory.assert_no_dead()


def test_what_follows_from_one_emit_is_one_trace(spans: Spans) -> None:
    run_chain("on")
    found = by_name(spans)
    (placed,), (charge,) = found["send order.placed"], found["process order.placed"]
    (captured,) = found["send payment.captured"]
    assert {trace_id(placed)} == {trace_id(span) for span in spans()}
    assert [None, ident(placed), ident(charge)] == [parent(s) for s in (placed, charge, captured)]
    both = found["process payment.captured"]
    assert [ident(captured)] * 2 == [parent(span) for span in both]
    groups = {str((s.attributes or {})["messaging.consumer.group.name"]) for s in both}
    assert {"billing.receipt", "shipping.send"} == groups


def test_linked_each_attempt_is_a_trace_of_its_own_that_names_its_cause(spans: Spans) -> None:
    run_chain("linked")
    found = by_name(spans)
    (placed,), (charge,) = found["send order.placed"], found["process order.placed"]
    (captured,) = found["send payment.captured"]
    assert charge.parent is None
    assert [ident(placed)] == [link.context.span_id for link in charge.links]
    assert ident(charge) == parent(captured)
    assert 4 == len({trace_id(span) for span in spans()})


def test_spans_follow_the_conventions_and_have_no_data(spans: Spans) -> None:
    run_chain("on")
    found = by_name(spans)
    (captured,), process = found["send payment.captured"], found["process payment.captured"][0]
    assert (SpanKind.PRODUCER, SpanKind.CONSUMER) == (captured.kind, process.kind)
    assert {
        "messaging.system": "celeriac",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "payment.captured",
        "messaging.message.id": "p",
        "messaging.message.conversation_id": "c",
        "cloudevents.event_source": "billing",
        "cloudevents.event_subject": "order/7",
    } == dict(captured.attributes or {})
    assert {"process", 1} <= set(dict(process.attributes or {}).values())
    assert not any("secret" in str(span.to_json()) for span in spans())


def test_each_attempt_is_a_span_of_its_own_with_its_failure(spans: Spans) -> None:
    bus = a_bus("billing")

    @bus.on("order.placed", retries=2)
    def charge(event: Event) -> None:
        attempt = len([span for span in spans() if span.name == "process order.placed"]) + 1
        if attempt == 1:
            raise Retry(after=1)
        raise ConnectionError("away") if attempt == 2 else Reject("no card")

    with in_memory(bus) as memory:
        bus.emit("order.placed")
        memory.run_until_idle()
    found = by_name(spans)
    attempts = found["process order.placed"]
    attributes = [dict(span.attributes or {}) for span in attempts]
    assert [1, 2, 3] == [a["celeriac.attempt"] for a in attributes]
    assert ["retry", "retry", "dead"] == [a["celeriac.outcome"] for a in attributes]
    # asking for another try is no error
    assert [None, "ConnectionError", "Reject"] == [a.get("error.type") for a in attributes]
    assert [StatusCode.UNSET, StatusCode.ERROR, StatusCode.ERROR] == [
        span.status.status_code for span in attempts
    ]
    assert ["exception"] == [event.name for event in attempts[1].events]
    assert 1 == len({trace_id(span) for span in spans()})


def test_a_batch_is_one_span_that_links_to_each_of_its_events(spans: Spans) -> None:
    bus = a_bus("billing")

    @bus.on("metric.#", batch=10)
    def store(events: list[Event]) -> None:
        bus.emit("report.made")

    with in_memory(bus) as memory:
        for n in range(3):
            bus.emit("metric.cpu" if n else "metric.memory", id=str(n))
        memory.run_until_idle()
    found = by_name(spans)
    (process,) = found["process metric"]
    sent = [span for span in spans() if span.name.startswith("send metric")]
    assert process.parent is None
    assert {ident(s) for s in sent} == {link.context.span_id for link in process.links}
    assert 3 == (process.attributes or {})["messaging.batch.message_count"]
    assert ident(process) == parent(found["send report.made"][0])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_emit_many_is_one_span_with_its_context_in_each_event(
    spans: Spans, asynchronous: bool
) -> None:
    bus = a_bus("billing")
    with in_memory(bus) as memory:
        events: list[Any] = [("order.placed", n) for n in range(3)]
        if asynchronous:
            asyncio.run(bus.aemit_many(events))
        else:
            bus.emit_many(events)
        parents = {one.traceparent for one in memory.emitted}
    (span,) = spans()
    assert ("send order.placed", 3) == (
        span.name, (span.attributes or {})["messaging.batch.message_count"]
    )  # fmt: skip
    (one,) = parents
    context = context_of(one)
    assert context is not None and context.span_id == ident(span)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_emit_is_an_error_with_the_number_of_appended_events(
    spans: Spans, asynchronous: bool
) -> None:
    bus = a_bus("billing")
    events: list[Any] = [("order.placed", n) for n in range(501)] + [("not a type", 1)]
    with in_memory(bus), pytest.raises(InvalidEvent) as failed:
        if asynchronous:
            asyncio.run(bus.aemit_many(events))
        else:
            bus.emit_many(events)
    assert 500 == failed.value.emitted
    (span,) = spans()
    assert StatusCode.ERROR == span.status.status_code
    assert "InvalidEvent" == (span.attributes or {})["error.type"]


def test_a_delayed_and_an_awaited_emit_are_traced_too(spans: Spans) -> None:
    bus = a_bus("billing")

    @bus.on("order.placed")
    def charge(event: Event) -> None:
        pass

    with in_memory(bus) as memory:
        bus.emit("order.placed", delay=60)
        asyncio.run(bus.aemit("order.placed"))
        memory.run_until_idle()
    found = by_name(spans)
    sent = {ident(span) for span in found["send order.placed"]}
    assert sent == {parent(span) for span in found["process order.placed"]}
    assert 2 == len(sent)


def test_a_context_that_is_given_is_the_parent(spans: Spans) -> None:
    bus = a_bus("billing")
    with in_memory(bus) as memory, trace.get_tracer("web").start_as_current_span("POST /order"):
        bus.emit("order.placed", traceparent=GIVEN)
        bus.emit("order.placed")
    given, own, request = spans()
    context = context_of(GIVEN)
    assert context is not None and parent(given) == context.span_id
    assert parent(own) == ident(request)
    assert memory.emitted[0].traceparent != GIVEN


def test_off_leaves_an_event_as_it_is(spans: Spans) -> None:
    bus = a_bus("billing", "off")

    @bus.on("order.placed")
    def charge(event: Event) -> None:
        bus.emit("payment.captured")

    with in_memory(bus) as memory:
        bus.emit("order.placed", traceparent=GIVEN)
        memory.run_until_idle()
    assert [] == spans()
    # without spans of our own, those around us still belong together
    assert [GIVEN, GIVEN] == [event.traceparent for event in memory.emitted]


def test_a_span_records_the_exception_of_a_handler_without_sensitive_values(spans: Spans) -> None:
    bus = a_bus("billing")

    @bus.on("order.placed", retries=0)
    def charge(event: Event) -> None:
        raise ValueError(f"bad card {event.data['card']}")

    with in_memory(bus) as memory:
        bus.emit("order.placed", {"card": "4111111111111111"}, sensitive=["card"])
        memory.run_until_idle()
    [failed] = by_name(spans)["process order.placed"]
    [recorded] = failed.events
    attributes = dict(recorded.attributes or {})
    assert attributes["exception.type"] == "ValueError"
    assert "4111111111111111" not in str(attributes)

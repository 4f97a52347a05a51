"""The trace context within an event: what goes in comes out, and nonsense is no context."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from celeriac.event import build_event, decode, encode
from celeriac.observability.tracing.carrier import context_of, put_context

EVENT = build_event("order.placed", None, source="shop", id="7")
TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


def test_it_travels_through_the_wire() -> None:
    state = TraceState([("vendor", "a:1")])
    context = SpanContext(
        TRACE, SPAN, is_remote=False, trace_flags=TraceFlags(1), trace_state=state
    )
    event = decode(encode(put_context(EVENT, context)))
    assert "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" == event.traceparent
    found = context_of(event.traceparent, event.extensions)
    assert found is not None and found.is_remote
    assert (TRACE, SPAN, 1) == (found.trace_id, found.span_id, found.trace_flags)
    assert state == found.trace_state


def test_without_a_vendors_state_the_event_has_no_more_than_traceparent() -> None:
    context = SpanContext(TRACE, SPAN, is_remote=False)
    assert {} == dict(put_context(EVENT, context).extensions)


def test_the_state_of_another_span_does_not_stay() -> None:
    context = SpanContext(TRACE, SPAN, is_remote=False)
    old = build_event(
        "order.placed", None, source="shop", extensions={"tracestate": "vendor=1", "region": "t"}
    )
    assert {"region": "t"} == dict(put_context(old, context).extensions)


def test_a_span_without_a_context_changes_nothing() -> None:
    assert put_context(EVENT, SpanContext(0, 0, is_remote=False)) is EVENT


@pytest.mark.parametrize(
    "nonsense", [None, "", "00-0-0-0", "ff" * 30, f"00-{'0' * 32}-{'1' * 16}-01"]
)
def test_nonsense_is_no_context(nonsense: str | None) -> None:
    assert context_of(nonsense) is None

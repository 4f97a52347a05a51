"""The trace context in an event: W3C `traceparent` and `tracestate`, as in CloudEvents.

See the CloudEvents extension "Distributed Tracing". `tracestate` is present only if a vendor's
tracer uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from celeriac.event import Event
from celeriac.event.extensions import Extensions

_propagator = TraceContextTextMapPropagator()


def put_context(event: Event[Any], context: trace.SpanContext) -> Event[Any]:
    """Return the event with the span's context; unchanged if the span has none."""
    if not context.is_valid:
        return event
    flags = int(context.trace_flags) & 0xFF
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    state = context.trace_state.to_header() if context.trace_state else ""
    if state or "tracestate" in event.extensions:
        kept = {name: value for name, value in event.extensions.items() if name != "tracestate"}
        if state:
            kept["tracestate"] = state
        event = msgspec.structs.replace(event, extensions=Extensions(kept))
    return msgspec.structs.replace(event, traceparent=parent)


def context_of(
    traceparent: str | None, extensions: Mapping[str, object] | None = None
) -> trace.SpanContext | None:
    """Return the context in an event; None if it has no valid one."""
    if traceparent is None:
        return None
    carrier = {"traceparent": traceparent}
    state = extensions.get("tracestate") if extensions else None
    if isinstance(state, str):
        carrier["tracestate"] = state
    # Into an empty context: otherwise the current span would be returned as the extracted one.
    context = trace.get_current_span(_propagator.extract(carrier, Context())).get_span_context()
    return context if context.is_valid else None

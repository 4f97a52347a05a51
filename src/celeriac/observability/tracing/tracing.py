"""The spans: `send` of the emitter, `dispatch` of the dispatcher, `process` of each attempt.

With "on", a span is a child of the span that its event comes from, so that a chain of events is one
trace. With "linked", it is a child of the surrounding span and links to the event's span: for
endless chains. Spans of several events have links to each of them in both modes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from celeriac.errors import Retry
from celeriac.event import Event, EventHeader, current_handling
from celeriac.observability.tracing.attributes import (
    Attributes,
    destination,
    of_dispatch,
    of_process,
    of_send,
    of_send_many,
)
from celeriac.observability.tracing.carrier import context_of, put_context
from celeriac.settings import VERSION

MAX_LINKS = 128  # the number of links that the SDK keeps by default


@dataclass(frozen=True, slots=True)
class Tracing:
    """Creates spans. Thread-safe and fork-safe. An error within a span is recorded and raised."""

    linked: bool = False

    @property
    def tracer(self) -> Tracer:
        # Read each time: a provider can be set after the bus was created, and in each process.
        return trace.get_tracer("celeriac", VERSION)

    @contextmanager
    def send(self, event: Event[Any]) -> Iterator[Callable[[Event[Any]], Event[Any]]]:
        """Open a span around one emit; yield a function that puts its context into the event."""
        with self._span(
            f"send {event.type}", SpanKind.PRODUCER, _parent_of(event), (), of_send(event)
        ) as span:
            context = span.get_span_context()
            yield lambda event: put_context(event, context)

    @contextmanager
    def send_many(self) -> Iterator[Callable[[Event[Any]], Event[Any]]]:
        """Run the emit of many in one span; yield a function that adds the context to an event."""
        types: set[str] = set()
        count = 0
        with self._span("send", SpanKind.PRODUCER, None, (), {}) as span:
            context = span.get_span_context()

            def put(event: Event[Any]) -> Event[Any]:
                nonlocal count
                count += 1
                if len(types) < MAX_LINKS:
                    types.add(event.type)
                return put_context(event, context)

            try:
                yield put
            finally:
                if span.is_recording():
                    span.set_attributes(of_send_many(sorted(types), count))
                    span.update_name(f"send {destination(sorted(types))}".rstrip())

    @contextmanager
    def dispatch(self, handler: str, events: Sequence[EventHeader]) -> Iterator[None]:
        """Run the sending of one delivery task in a span."""
        contexts = (context_of(event.traceparent) for event in events[:MAX_LINKS])
        parent, links = self._relation([context for context in contexts if context], len(events))
        with self._span(
            f"dispatch {handler}", SpanKind.CONSUMER, parent, links, of_dispatch(handler, events)
        ):
            yield

    @contextmanager
    def process(
        self,
        handler: str,
        worker: str,
        events: Sequence[Event[Any]],
        attempt: int,
        *,
        batch: bool,
    ) -> Iterator[Callable[[BaseException, str], None]]:
        """Run one attempt in a span; yield a function that records its failure and outcome."""
        contexts = (context_of(e.traceparent, e.extensions) for e in events[:MAX_LINKS])
        parent, links = self._relation(
            [context for context in contexts if context], 2 if batch else 1
        )
        attributes = of_process(handler, worker, events, attempt, batch=batch)
        name = f"process {attributes.get('messaging.destination.name', handler)}"
        with self._span(name, SpanKind.CONSUMER, parent, links, attributes) as span:

            def note(error: BaseException, outcome: str) -> None:
                span.set_attribute("celeriac.outcome", outcome)
                if not isinstance(error, Retry):
                    _note_error(span, error)

            yield note

    def _relation(
        self, causes: Sequence[SpanContext], events: int
    ) -> tuple[SpanContext | None, Sequence[Link]]:
        """Return the parent span, None for the current one, and the linked spans."""
        if events > 1 or self.linked or not causes:
            return None, [Link(cause) for cause in causes]
        around = trace.get_current_span().get_span_context()
        return causes[0], [Link(around)] if around.is_valid else []

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        links: Sequence[Link],
        attributes: Attributes,
    ) -> Iterator[Span]:
        context = None
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        with self.tracer.start_as_current_span(
            name,
            context,
            kind,
            attributes,
            links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                _note_error(span, error)
                raise


def _note_error(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__qualname__)
    span.record_exception(error)
    span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))


def _parent_of(event: Event[Any]) -> SpanContext | None:
    """Return the span that was given to the event; None for the current span.

    The context inherited from the event being handled adds nothing to the current span.
    """
    given = context_of(event.traceparent, event.extensions)
    if given is None:
        return None
    now = current_handling()
    if now is not None and event.traceparent == now.event.traceparent:
        return None if trace.get_current_span().get_span_context().is_valid else given
    return given

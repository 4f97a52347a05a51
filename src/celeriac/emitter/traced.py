"""Emitters that make a span of each emit, and send its context along with the event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from celeriac.emitter.async_emitter import AsyncEmitter, Emissions
from celeriac.emitter.emitter import Emission, Emitter
from celeriac.event import Event
from celeriac.event_log import AsyncEventLog, EventLog
from celeriac.observability.tracing.tracing import Tracing
from celeriac.settings import Settings

# What puts the context of the span of an emit_many under way into each of its events.
_put: ContextVar[Callable[[Event[Any]], Event[Any]] | None] = ContextVar(
    "celeriac_put_context", default=None
)


class TracedEmitter(Emitter):
    """See Emitter for the promises."""

    def __init__(
        self, settings: Settings, event_log: Callable[[], EventLog], tracing: Tracing
    ) -> None:
        super().__init__(settings, event_log)
        self.tracing = tracing

    def emit(
        self,
        event: Event[Any],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        made: bool = False,
    ) -> str:
        with self.tracing.send(event) as traced:
            return super().emit(traced, delay=delay, at=at, made=made)

    def emit_many(self, events: Iterable[Emission | Mapping[str, Any]]) -> int:
        with _many(self.tracing):
            return super().emit_many(events)

    def as_event(self, given: Emission | Mapping[str, Any], ids: Iterator[str]) -> Event[Any]:
        event, put = super().as_event(given, ids), _put.get()
        return event if put is None else put(event)


class TracedAsyncEmitter(AsyncEmitter):
    """See AsyncEmitter for the promises."""

    def __init__(self, emitter: TracedEmitter, event_log: Callable[[], AsyncEventLog]) -> None:
        super().__init__(emitter, event_log)
        self.tracing = emitter.tracing

    async def emit(
        self,
        event: Event[Any],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        made: bool = False,
    ) -> str:
        with self.tracing.send(event) as traced:
            return await super().emit(traced, delay=delay, at=at, made=made)

    async def emit_many(self, events: Emissions) -> int:
        with _many(self.tracing):
            return await super().emit_many(events)


@contextmanager
def _many(tracing: Tracing) -> Iterator[None]:
    with tracing.send_many() as put:
        token = _put.set(put)
        try:
            yield
        finally:
            _put.reset(token)

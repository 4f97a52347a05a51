"""Tracing as middleware: a span for each emit, and for each attempt of a handler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from celeriac.event import Event
from celeriac.middleware import Attempt, Middleware, Through
from celeriac.observability.tracing.tracing import Tracing


class TracingMiddleware(Middleware):
    """Events carry the context of their span, so that a chain of events is one trace."""

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing

    def around_emit(self, event: Event[Any] | None) -> AbstractContextManager[Through]:
        return self.tracing.send_many() if event is None else self.tracing.send(event)

    @contextmanager
    def around_attempt(self, attempt: Attempt) -> Iterator[None]:
        with self.tracing.process(
            attempt.handler,
            attempt.worker,
            attempt.events,
            attempt.number,
            batch=attempt.is_batch,
        ) as note:
            yield
            if attempt.error is not None:
                note(attempt.error, attempt.outcome)

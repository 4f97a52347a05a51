"""A span for each attempt of a handler: at one event, or at a batch."""

from __future__ import annotations

from typing import Any

from celeriac.event import EmittedEvents, Event
from celeriac.executor.work import Work
from celeriac.handler import decide
from celeriac.observability.tracing.tracing import Tracing


class TracedWork(Work):
    """See Work."""

    def __init__(self, tracing: Tracing, *args: Any) -> None:
        super().__init__(*args)
        self.tracing = tracing

    def call(
        self, argument: Any, cause: Event[Any], attempt: int
    ) -> tuple[BaseException | None, EmittedEvents]:
        handler = self.handler
        batch = handler.batch is not None
        with self.tracing.process(
            handler.id, self.worker, argument if batch else (cause,), attempt, batch=batch
        ) as note:
            error, emitted_events = super().call(argument, cause, attempt)
            if error is not None:
                note(error, decide(handler.failure, error, attempt).outcome.value)
            return error, emitted_events

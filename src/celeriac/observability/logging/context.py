"""The fields of the event to which a log record belongs."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from celeriac.event import Event, current_handling

# In display order. On a record they are attributes with the same names.
FIELDS = ("event_type", "event_id", "handler", "attempt", "correlation_id", "batch", "trace_id")


class EventContext(logging.Filter):
    """A filter that adds the fields of the current event to each record, for any formatter.

    Add it to a `logging.Handler`; with `dictConfig`: `"filters": {"event": {"()":
    "celeriac.observability.logging.EventContext"}}`. Outside a handler, each field is an empty
    string, so a format with `%(event_id)s` works everywhere. Fields that a record already has are
    kept. Every record passes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        fields = fields_of(record)
        for name in FIELDS:
            record.__dict__.setdefault(name, fields.get(name, ""))
        return True


def fields_of(record: logging.LogRecord) -> Mapping[str, str | int]:
    """Return the fields of the record's event: those of the record, else of the running handler.

    A formatter runs in the thread that logs, unless there is a queue in between. Then add
    EventContext to the QueueHandler.
    """
    in_record = {name: record.__dict__[name] for name in FIELDS if record.__dict__.get(name)}
    if in_record or hasattr(record, FIELDS[0]):
        return in_record
    now = current_handling()
    if now is None:
        return {}
    return event_fields(now.event, now.handler, now.attempt, now.size)


def event_fields(
    event: Event[object], handler: str, attempt: int, size: int = 1
) -> dict[str, str | int]:
    """Return the fields of an event, or of the first of a batch of `size`. Never its data."""
    fields: dict[str, str | int] = {
        "event_type": event.type,
        "event_id": event.id,
        "handler": handler,
        "attempt": attempt,
        "correlation_id": event.correlationid or event.id,
    }
    if size > 1:
        fields["batch"] = size
    if event.traceparent is not None:
        fields["trace_id"] = event.traceparent.split("-")[1]
    return fields

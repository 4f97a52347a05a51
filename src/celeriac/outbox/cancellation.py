"""Rows of the outbox that cancel a delayed event, behind the row of the event.

The relay publishes rows in order, so it cancels what it has published before. To delete the row of
the event would race with a relay that is publishing it.
"""

from __future__ import annotations

from celeriac.errors import InvalidEvent
from celeriac.event import event_key
from celeriac.event.attributes import check_id, check_text, check_type
from celeriac.outbox.write import Values, row

# No event begins like this: events are JSON.
_MARK = b"cancel "


def cancel_row(event_id: str, type: str | None, source: str) -> Values:
    """Return the row that cancels an event. Raises InvalidEvent without a valid id and type."""
    check_id(event_id)
    check_text("source", source)
    if type is None:
        raise InvalidEvent(
            f"cancel of {event_id} in a transaction: type is missing. Give the type of the event: "
            "bus.cancel(id, type='order.reminded', session=session)"
        )
    check_type(type)
    key = event_key(event_id, source)
    return row(event_id, type.partition(".")[0], _MARK + key.encode())


def cancelled_key(body: bytes) -> str | None:
    """Return the key of the event that a row cancels; None for the row of an event."""
    return body.removeprefix(_MARK).decode() if body.startswith(_MARK) else None

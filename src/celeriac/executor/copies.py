"""Finding copies of signed events.

Whoever may append to a log can append an event of others again, in any field. So for a handler that
demands signatures, events are compared once they are verified, and with verified ones only: what
anybody may write suppresses none of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.event import decode, event_key
from celeriac.executor.admission import Admission
from celeriac.executor.process import ExecutorProcess
from celeriac.ledger import Lane


def find_copies(
    process: ExecutorProcess,
    group: Lane,
    admission: Admission,
    entries: Iterable[tuple[str, bytes | None]],
) -> set[str]:
    """Verify the events of entries, and note that in `admission`; return the entries that repeat
    the event of another one. Blocks for a round trip. Raises BusUnavailable."""
    verified = [
        (entry, key)
        for entry, body in entries
        if body is not None and (key := _key_of_trusted(admission, body))
    ]
    if not verified:
        return set()
    admission.verified.update(entry for entry, _ in verified)
    ledger = process.service.backend.ledger
    return set(process.persist(lambda: ledger.note_verified(group, verified)))


def _key_of_trusted(admission: Admission, body: bytes) -> str:
    """Empty for what is to be refused, which claims no id."""
    try:
        event = decode(body)
        admission.guard.verify(body, event, admission.domain)
    except (InvalidEvent, UntrustedEvent):
        return ""
    return event_key(event.id, event.source)

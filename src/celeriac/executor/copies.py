"""Finding copies of signed events.

Whoever may append to a log can append an event of others again, in any field. So for a handler that
demands signatures, events are compared once they are verified, and with verified ones only: what
anybody may write suppresses none of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.event import Peek, peek
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
    verified: list[tuple[str, str]] = []
    for entry, body in entries:
        event = _trusted(admission, body or b"")
        if event is not None:
            admission.verified[entry] = event.source, event.type
            verified.append((entry, event.key))
    if not verified:
        return set()
    ledger = process.service.backend.ledger
    return set(process.persist(lambda: ledger.note_verified(group, verified)))


def _trusted(admission: Admission, body: bytes) -> Peek | None:
    """None for what is to be refused, which claims no id."""
    try:
        event = peek(body, admission.domain)
        admission.guard.verify(body, event, admission.domain)
    except (InvalidEvent, UntrustedEvent):
        return None
    return event

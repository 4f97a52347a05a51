"""Find copies of signed events.

Any producer of a log can append an event of another producer again, in any field. So for a handler
that requires signatures, events are compared after verification, and only with verified events: an
unverified entry suppresses none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celeriac.delivery import ClaimResult, DeliveryState, Group
from celeriac.errors import InvalidEvent, UntrustedEvent
from celeriac.event import EventHeader, read_header
from celeriac.executor.admission import Admission
from celeriac.executor.process import ExecutorProcess


def find_signed_duplicates(
    process: ExecutorProcess,
    group: Group,
    admission: Admission,
    entries: Iterable[tuple[str, bytes | None]],
) -> dict[str, str]:
    """Verify the events of entries and record that in `admission`; return the duplicates.

    Each duplicate is mapped to the entry that was recorded first. Blocks for a round trip. Raises
    BusUnavailable.
    """
    verified: list[tuple[str, str]] = []
    for entry, body in entries:
        event = _trusted(admission, body or b"")
        if event is not None:
            admission.verified[entry] = event.source, event.type, event.tenant
            verified.append((entry, event.key))
    if not verified:
        return {}
    deliveries = process.service.backend.deliveries
    return process.persist(lambda: deliveries.note_verified(group, verified))


def claim_results(
    process: ExecutorProcess, group: Group, copies: Mapping[str, str]
) -> dict[str, ClaimResult]:
    """Return the result for each copy: it waits while the other entry may still be refused.

    Blocks for two round trips, and one for each copy. Raises BusUnavailable.
    """
    if not copies:
        return {}
    backend = process.service.backend
    # Chunks first: an entry that has left all chunks is pending or completed.
    chunks = process.persist(lambda: backend.chunks.open_chunks(group))
    results = {}
    for copy, other in copies.items():
        pending = process.persist(lambda other=other: backend.deliveries.pending(group, other))  # type: ignore[misc]
        has_run = (
            pending is not None
            and pending.owner == DeliveryState.SCHEDULED
            and pending.attempts > 0
        )
        is_open = pending is not None or any(chunk.has(other) for chunk in chunks)
        results[copy] = ClaimResult.CONCURRENT if is_open and not has_run else ClaimResult.DUPLICATE
    return results


def _trusted(admission: Admission, body: bytes) -> EventHeader | None:
    """Return None for an event that will be refused, which claims no id."""
    try:
        event = read_header(body, admission.domain)
        admission.guard.verify(body, event, admission.domain)
    except (InvalidEvent, UntrustedEvent):
        return None
    return event

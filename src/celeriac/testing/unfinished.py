"""Uncompleted deliveries, and when the next one can run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from celeriac.delivery import DeliveryState, Group, Pending
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.event_log import group_info
from celeriac.store.factory import Backend
from celeriac.testing.run_result import Unfinished
from celeriac.tracking import state_of

MAX_READ = 1_000_000  # entries of one read; a test has fewer


def next_time_ms(backend: Backend, groups: Iterable[Group], lease_ms: int) -> int | None:
    """Return when the next delivery can run, which may be now; None if none is left."""
    now = backend.registry.now_ms()
    times = [
        time_ms
        for domain in backend.event_log.domains()
        for time_ms, _ in backend.event_log.upcoming(domain)
    ]
    circuits = backend.circuits.all()
    for group in groups:
        circuit = circuits.get(group.handler)
        if circuit is not None and not circuit.allows_runs:
            if circuit.until_ms is not None and _unfinished(backend, group):
                times.append(circuit.until_ms)
            continue
        if _waiting(backend, group):
            return now
        if (until_ms := backend.deliveries.blocked_until_ms(group)) is not None:
            times.append(until_ms)
        for pending in _in_flight(backend, group):
            if pending.due_ms is not None:
                times.append(pending.due_ms)
            elif pending.owner != DeliveryState.BLOCKED:
                times.append(now - pending.held_ms + lease_ms)
    return max(now, min(times)) if times else None


def unfinished(backend: Backend, groups: Iterable[Group]) -> Iterator[Unfinished]:
    """Yield every uncompleted delivery, for display."""
    now = backend.registry.now_ms()
    for group in groups:
        for pending in _in_flight(backend, group):
            body = next(
                (e.body for e in backend.event_log.read(group.domain, start=pending.entry)), b""
            )
            due = None if pending.due_ms is None else max(0, pending.due_ms - now) / 1000
            yield Unfinished(group.handler, _named(body), state_of(pending.owner), due)
        after = _delivered(backend, group)
        for entry in backend.event_log.read(group.domain, start=f"({after}") if after else ():
            yield Unfinished(group.handler, _named(entry.body), DeliveryState.WAITING)
    for domain in sorted(backend.event_log.domains()):
        for time_ms, body in backend.event_log.upcoming(domain):
            yield Unfinished("", _named(body), "delayed", max(0, time_ms - now) / 1000)


def _in_flight(backend: Backend, group: Group) -> list[Pending]:
    return [
        *_in_chunks(backend, group),
        *backend.deliveries.pending_between(group, "-", "+", MAX_READ),
    ]


def _in_chunks(backend: Backend, group: Group) -> Iterator[Pending]:
    now = backend.registry.now_ms()
    for chunk in backend.chunks.open_chunks(group):
        for entry in backend.event_log.read(group.domain, start=f"({chunk.after}", end=chunk.upto):
            yield Pending(entry.id, chunk.owner, now - chunk.renewed_ms, 0)


def _delivered(backend: Backend, group: Group) -> str | None:
    info = group_info(backend.event_log, group.domain, group.handler)
    return None if info is None else info.last_delivered


def _waiting(backend: Backend, group: Group) -> bool:
    info = group_info(backend.event_log, group.domain, group.handler)
    return info is not None and bool(info.lag)


def _unfinished(backend: Backend, group: Group) -> bool:
    return _waiting(backend, group) or bool(_in_flight(backend, group))


def _named(body: bytes | None) -> str:
    try:
        event = read_header(body or b"")
    except InvalidEvent:
        return "(invalid event)"
    return f"{event.type} {event.id}"

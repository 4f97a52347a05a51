"""What is not settled yet, and when it can go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from celeriac.delivery import DeliveryState, Group, Pending
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.store.factory import Backend
from celeriac.testing.run_result import Unfinished
from celeriac.tracking import state_of

MOST = 1_000_000  # of what is read at once; a test has less


def next_time_ms(backend: Backend, groups: Iterable[Group], lease_ms: int) -> int | None:
    """When something can go on, which may be now; None where nothing is left."""
    now = backend.registry.now_ms()
    times = [
        at for domain in backend.event_log.domains() for at, _ in backend.event_log.upcoming(domain)
    ]
    circuits = backend.circuits.all()
    for group in groups:
        circuit = circuits.get(group.handler)
        if circuit is not None and not circuit.flows:
            if circuit.until_ms is not None and _unfinished(backend, group):
                times.append(circuit.until_ms)
            continue
        if _waiting(backend, group):
            return now
        if (at := backend.deliveries.blocked_until_ms(group)) is not None:
            times.append(at)
        for held in _in_flight(backend, group):
            if held.due_ms is not None:
                times.append(held.due_ms)
            elif held.owner != DeliveryState.BLOCKED:
                times.append(now - held.held_ms + lease_ms)
    return max(now, min(times)) if times else None


def unfinished(backend: Backend, groups: Iterable[Group]) -> Iterator[Unfinished]:
    """Everything that is left, for people."""
    now = backend.registry.now_ms()
    for group in groups:
        for held in _in_flight(backend, group):
            body = next(
                (e.body for e in backend.event_log.read(group.domain, start=held.entry)), b""
            )
            due = None if held.due_ms is None else max(0, held.due_ms - now) / 1000
            yield Unfinished(group.handler, _named(body), state_of(held.owner), due)
        after = _delivered(backend, group)
        for entry in backend.event_log.read(group.domain, start=f"({after}") if after else ():
            yield Unfinished(group.handler, _named(entry.body), DeliveryState.WAITING)
    for domain in sorted(backend.event_log.domains()):
        for at, body in backend.event_log.upcoming(domain):
            yield Unfinished("", _named(body), "postponed", max(0, at - now) / 1000)


def _in_flight(backend: Backend, group: Group) -> list[Pending]:
    return [*_in_chunks(backend, group), *backend.deliveries.pending_between(group, "-", "+", MOST)]


def _in_chunks(backend: Backend, group: Group) -> Iterator[Pending]:
    now = backend.registry.now_ms()
    for chunk in backend.chunks.open_chunks(group):
        for entry in backend.event_log.read(group.domain, start=f"({chunk.after}", end=chunk.upto):
            yield Pending(entry.id, chunk.owner, now - chunk.renewed_ms, 0)


def _delivered(backend: Backend, group: Group) -> str | None:
    groups = backend.event_log.groups(group.domain)
    return next((g.last_delivered for g in groups if g.handler == group.handler), None)


def _waiting(backend: Backend, group: Group) -> bool:
    groups = backend.event_log.groups(group.domain)
    return any(info.handler == group.handler and info.lag for info in groups)


def _unfinished(backend: Backend, group: Group) -> bool:
    return _waiting(backend, group) or bool(_in_flight(backend, group))


def _named(body: bytes | None) -> str:
    try:
        event = read_header(body or b"")
    except InvalidEvent:
        return "(no event)"
    return f"{event.type} {event.id}"

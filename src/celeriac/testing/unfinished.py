"""What is not settled yet, and when it can go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from celeriac.delivery import Lane, Pending, Place
from celeriac.errors import InvalidEvent
from celeriac.event import peek
from celeriac.store.factory import Backend
from celeriac.testing.run_result import Unfinished
from celeriac.tracking import State, state_of

MOST = 1_000_000  # of what is read at once; a test has less


def next_time_ms(backend: Backend, lanes: Iterable[Lane], lease_ms: int) -> int | None:
    """When something can go on, which may be now; None where nothing is left."""
    now = backend.registry.now_ms()
    times = [at for domain in backend.log.domains() for at, _ in backend.log.upcoming(domain)]
    circuits = backend.circuits.all()
    for lane in lanes:
        circuit = circuits.get(lane.handler)
        if circuit is not None and not circuit.flows:
            if circuit.until_ms is not None and _unfinished(backend, lane):
                times.append(circuit.until_ms)
            continue
        if _waiting(backend, lane):
            return now
        if (at := backend.ledger.blocked_until_ms(lane)) is not None:
            times.append(at)
        for held in _in_flight(backend, lane):
            if held.due_ms is not None:
                times.append(held.due_ms)
            elif held.owner != Place.PARKED:
                times.append(now - held.held_ms + lease_ms)
    return max(now, min(times)) if times else None


def unfinished(backend: Backend, lanes: Iterable[Lane]) -> Iterator[Unfinished]:
    """Everything that is left, for people."""
    now = backend.registry.now_ms()
    for lane in lanes:
        for held in _in_flight(backend, lane):
            body = next((e.body for e in backend.log.read(lane.domain, start=held.entry)), b"")
            due = None if held.due_ms is None else max(0, held.due_ms - now) / 1000
            yield Unfinished(lane.handler, _named(body), state_of(held.owner), due)
        after = _delivered(backend, lane)
        for entry in backend.log.read(lane.domain, start=f"({after}") if after else ():
            yield Unfinished(lane.handler, _named(entry.body), State.WAITING)
    for domain in sorted(backend.log.domains()):
        for at, body in backend.log.upcoming(domain):
            yield Unfinished("", _named(body), "postponed", max(0, at - now) / 1000)


def _in_flight(backend: Backend, lane: Lane) -> list[Pending]:
    return [*_in_chunks(backend, lane), *backend.ledger.pending_between(lane, "-", "+", MOST)]


def _in_chunks(backend: Backend, lane: Lane) -> Iterator[Pending]:
    now = backend.registry.now_ms()
    for chunk in backend.chunks.open_chunks(lane):
        for entry in backend.log.read(lane.domain, start=f"({chunk.after}", end=chunk.upto):
            yield Pending(entry.id, chunk.owner, now - chunk.renewed_ms, 0)


def _delivered(backend: Backend, lane: Lane) -> str | None:
    groups = backend.log.groups(lane.domain)
    return next((g.last_delivered for g in groups if g.handler == lane.handler), None)


def _waiting(backend: Backend, lane: Lane) -> bool:
    groups = backend.log.groups(lane.domain)
    return any(group.handler == lane.handler and group.lag for group in groups)


def _unfinished(backend: Backend, lane: Lane) -> bool:
    return _waiting(backend, lane) or bool(_in_flight(backend, lane))


def _named(body: bytes | None) -> str:
    try:
        event = peek(body or b"")
    except InvalidEvent:
        return "(no event)"
    return f"{event.type} {event.id}"

"""Reading the facts about one event and one handler. Moves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from celeriac.errors import InvalidEvent
from celeriac.event import RawEvent, compile_patterns, encode, event_key, meant_for, peek
from celeriac.explain.code import Code, Judgement
from celeriac.explain.fact import Facts, Other
from celeriac.ledger import IN_FLIGHT, DeadLetter, Lane, Pending, Row, refused_field
from celeriac.matrix import Located, State, state_of
from celeriac.matrix.page import Item, page_cells
from celeriac.matrix.stand import Stand, stands
from celeriac.registry import HandlerRecord, is_alive
from celeriac.subscription import Backend

MAX_OTHERS = 3
LETTERS_READ = 100


@dataclass(frozen=True, slots=True)
class _Reader:
    """What holds for every event: the bus, the handler, and its code where that is at hand."""

    backend: Backend
    handler: str
    record: HandlerRecord | None
    code: Code | None
    lease_ms: int

    def common(self, event_id: str, registered: Sequence[str]) -> Facts:
        registry, bus = self.backend.registry, self.backend.bus.current
        record, now_ms = self.record, self.backend.registry.now_ms()
        removed = record is None and registry.was_removed(self.handler)
        from_code = record is None and self.code is not None
        if from_code and self.code is not None:
            record = self.code.record()
        service = record.service if record is not None else ""
        living = (w for w in registry.workers() if is_alive(w, now_ms) and w.service == service)
        return Facts(
            handler=self.handler,
            now_ms=now_ms,
            event_id=event_id,
            domains=tuple(sorted(self.backend.log.domains())),
            retention_s=bus.retention,
            dedup_window_s=bus.dedup_window,
            lease_ms=self.lease_ms,
            record=record,
            from_code=from_code,
            removed=removed,
            registered=tuple(sorted(registered)),
            circuit=self.backend.circuits.get(self.handler),
            workers=tuple(living),
        )


def _reader(
    backend: Backend, handler: str, code: Code | None, lease_ms: int
) -> tuple[_Reader, list[str]]:
    records = backend.registry.handlers()
    return _Reader(backend, handler, records.get(handler), code, lease_ms), list(records)


def gather(
    backend: Backend, handler: str, located: Located, *, lease_ms: int, code: Code | None = None
) -> Facts:
    """Return the facts about an event that was found. Blocks for about 20 round trips, however
    long the log is. With `code` its `when=` runs. Raises redis.RedisError."""
    reader, registered = _reader(backend, handler, code, lease_ms)
    event, domain = located.event, located.domain
    facts = replace(
        reader.common(event.id, registered),
        event=event,
        domain=domain,
        entry=located.entry,
        time_ms=located.time_ms,
        **_judged(reader, located),
    )
    record = facts.record
    if record is None:
        return facts
    wanted = meant_for(
        record.id, compile_patterns(*record.patterns).matches(event.type), event.handlers
    )
    facts = replace(facts, wanted=wanted)
    if located.entry is None:
        return replace(facts, state=State.WAITING if wanted else None)
    item = Item.of(located.entry, event, located.kind)
    cells = page_cells(backend, [record], domain, [item], ignored=True)[0]
    stand = _stand(backend, record, domain)
    if stand is not None:
        subscribed = stand.was_subscribed(located.entry, event)
        facts = replace(facts, group=stand.group, subscribed=subscribed)
    if not cells:
        return facts
    found = cells[0][1]
    facts = replace(
        facts,
        state=found.state,
        row=found.row,
        pending=found.pending,
        chunk=found.chunk,
        run=found.run,
        repeats=found.repeats,
    )
    return _with_state(backend, facts, located, refused=found.refused)


def _with_state(backend: Backend, facts: Facts, located: Located, *, refused: bool) -> Facts:
    """With what explains the state: failures, the dead letter, other deliveries in the way."""
    assert facts.record is not None
    assert located.entry is not None
    lane = Lane(facts.domain, facts.handler, facts.record.flow_control)
    key = event_key(located.event.id, located.event.source)
    if facts.repeats:
        original = backend.log.registered(facts.domain, [key])[0]
        facts = replace(facts, original=original or "")
    if facts.attempts:
        field = refused_field(located.entry) if refused else key
        facts = replace(facts, history=backend.ledger.history(lane, field))
    if facts.state is State.DEAD:
        letter = find_letter(backend, lane, key, facts.row, refused_entry=located.entry)
        return replace(facts, letter=letter)
    if facts.state is State.BLOCKED:
        earlier = backend.ledger.earlier_in_sequence(lane, located.entry)
        others = tuple(_other(backend, lane, entry) for entry in earlier[:MAX_OTHERS])
        return replace(facts, earlier=others, earlier_count=len(earlier))
    if facts.state in (State.WAITING, State.SCHEDULED):
        return _with_limits(backend, facts, lane)
    return facts


def find_letter(
    backend: Backend, lane: Lane, key: str, row: Row | None, *, refused_entry: str = ""
) -> DeadLetter | None:
    """The dead letter of a delivery. It was written when its row was."""
    if row is None:
        return None
    for letter in backend.ledger.dead(lane.domain, after=f"{row.at_ms - 1}-0", count=LETTERS_READ):
        is_own = letter.event_key == key or letter.entry == refused_entry
        if letter.handler == lane.handler and is_own:
            return letter
    return None


def _with_limits(backend: Backend, facts: Facts, lane: Lane) -> Facts:
    assert facts.record is not None
    options = facts.record.options
    limit, rate = _number(options.get("concurrency")), _number(options.get("rate", "")[:-2])
    if limit is not None:
        held, holding = _holding(backend, facts.record)
        facts = replace(facts, concurrency=int(limit), held=held, holding=holding)
    if rate:
        wait_ms = backend.ledger.rate_wait_ms(lane.handler, rate)
        facts = replace(facts, rate_wait_ms=wait_ms)
    return facts


def _holding(backend: Backend, record: HandlerRecord) -> tuple[int, tuple[Other, ...]]:
    """How many deliveries of the handler are queued or running, in all domains, and the first."""
    held, found = 0, list[Other]()
    for domain in sorted(record.since):
        lane = Lane(domain, record.id, record.flow_control)
        group = next((g for g in backend.log.groups(domain) if g.handler == record.id), None)
        for owner, count in (group.holders if group is not None else {}).items():
            if not owner.startswith(("queued:", "running:")):
                continue
            held += count
            if len(found) < MAX_OTHERS:
                most = MAX_OTHERS - len(found)
                pending = backend.ledger.pending_between(lane, "-", "+", most, owner=owner)
                found += [_other(backend, lane, one.entry, one) for one in pending]
    return held, tuple(found)


def _other(backend: Backend, lane: Lane, entry: str, pending: Pending | None = None) -> Other:
    pending = pending or backend.ledger.pending(lane, entry)
    read = backend.log.read(lane.domain, start=entry, end=entry, count=1)
    try:
        event = peek(read[0].body or b"") if read else None
    except InvalidEvent:
        event = None
    other = Other(
        entry=entry,
        event_id=event.id if event is not None else "",
        subject=(event.subject or "") if event is not None else "",
    )
    if pending is None:
        return other
    error = ""
    if pending.attempts and event is not None:
        failures = backend.ledger.failures(lane, event.key)
        error = failures[-1].error if failures else ""
    return replace(
        other,
        state=state_of(pending.owner),
        due_ms=pending.due_ms,
        attempts=pending.attempts,
        error=error,
        worker=pending.owner.partition(":")[2],
    )


def gather_unemitted(
    backend: Backend, handler: str, event: RawEvent, *, lease_ms: int, code: Code | None = None
) -> Facts:
    """Return the facts about an event that was described, not emitted."""
    reader, registered = _reader(backend, handler, code, lease_ms)
    judged = Judgement()
    if code is not None:
        judged = code.judge(encode(event), event)
    # A producer signs as it emits.
    return replace(
        reader.common(event.id, registered),
        event=event,
        emitted=False,
        domain=event.domain,
        **{**judged.facts(), "signature": None},
    )


def gather_unfound(
    backend: Backend,
    handler: str,
    event_id: str,
    *,
    lease_ms: int,
    source: str | None = None,
    is_partial: bool = False,
) -> Facts:
    """Return the facts about an event that the logs do not have: what the handler's records have
    of it. `is_partial` says that the logs were not read in full."""
    reader, registered = _reader(backend, handler, None, lease_ms)
    facts = replace(reader.common(event_id, registered), is_partial=is_partial)
    record = facts.record
    for domain in sorted(record.since) if record is not None else ():
        lane = Lane(domain, handler)
        sources = [source] if source is not None else backend.ledger.sources(domain)
        keys = [event_key(event_id, one) for one in sources]
        for key, row in zip(keys, backend.ledger.rows(lane, keys), strict=True):
            if row is None:
                continue
            pending = backend.ledger.pending(lane, row.entry) if row.state in IN_FLIGHT else None
            return replace(
                facts,
                domain=domain,
                row=row,
                pending=pending,
                entry=row.entry,
                state=state_of(pending.owner if pending is not None else row.state),
                history=backend.ledger.history(lane, key),
                letter=find_letter(backend, lane, key, row),
            )
    return facts


def _judged(reader: _Reader, located: Located) -> dict[str, Any]:
    if reader.code is None or located.entry is None:
        return {}
    read = reader.backend.log.read(located.domain, start=located.entry, end=located.entry, count=1)
    body = read[0].body if read else None
    if body is None:
        return {}
    judged = reader.code.judge(body, located.event)
    return judged.facts()


def _stand(backend: Backend, record: HandlerRecord, domain: str) -> Stand | None:
    return next(iter(stands(backend.log, [record], domain)), None)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

"""Read the facts about one event and one handler, without changing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from msgspec import structs

from celeriac.circuit_breaker import Circuit
from celeriac.contract import VERSIONS, schema_uri
from celeriac.contract.registered import RegisteredContracts, fit_of
from celeriac.contract.schema_uri import FIRST
from celeriac.delivery import IN_FLIGHT, DeadLetter, Group, Pending, Row, refused_field
from celeriac.errors import InvalidEvent
from celeriac.event import RawEvent, compile_patterns, encode, event_key, meant_for, read_header
from celeriac.explain.code import Code, CodeResults
from celeriac.explain.fact import Facts, Other
from celeriac.registry import HandlerRecord, WorkerRecord, is_alive
from celeriac.store.factory import Backend
from celeriac.tracking import UNFINISHED, DeliveryState, Located, state_of
from celeriac.tracking.page import PageItem, StoredCell, page_cells
from celeriac.tracking.position import GroupPosition, group_positions

MAX_OTHERS = 3
LETTERS_READ = 100


class BusReader:
    """Read the facts that all handlers share, once, when they are first needed.

    `code` maps handlers to their code, if it is available: their `when=` is run.
    """

    def __init__(
        self, backend: Backend, *, lease_ms: int, code: Mapping[str, Code] | None = None
    ) -> None:
        self.backend, self.lease_ms = backend, lease_ms
        self.code = code or {}

    @cached_property
    def records(self) -> Mapping[str, HandlerRecord]:
        return self.backend.registry.handlers()

    @property
    def names(self) -> list[str]:
        """The names of all handlers that are registered or have code."""
        return sorted({*self.records, *self.code})

    @cached_property
    def now_ms(self) -> int:
        return self.backend.registry.now_ms()

    @cached_property
    def workers(self) -> list[WorkerRecord]:
        """The running workers."""
        return [
            worker for worker in self.backend.registry.workers() if is_alive(worker, self.now_ms)
        ]

    @cached_property
    def domains(self) -> tuple[str, ...]:
        return tuple(sorted(self.backend.event_log.domains()))

    @cached_property
    def contracts(self) -> RegisteredContracts:
        return RegisteredContracts.read(self.backend.contracts)

    def newest_version(self, type_: str) -> int:
        """Return the newest version of the type that is registered, or in available code."""
        versions = VERSIONS.get(type_) if self.code else None
        return max(self.contracts.newest(type_), versions.newest if versions else FIRST)

    @cached_property
    def circuits(self) -> Mapping[str, Circuit]:
        return self.backend.circuits.all()

    def common(self, handler: str, event_id: str) -> Facts:
        """Return the facts about the handler and the bus."""
        bus, record = self.backend.bus.current, self.records.get(handler)
        removed = record is None and self.backend.registry.was_removed(handler)
        from_code = record is None and handler in self.code
        if from_code:
            record = self.code[handler].record()
        service = record.service if record is not None else ""
        pull = record.pull if record is not None else None
        return Facts(
            handler=handler,
            now_ms=self.now_ms,
            event_id=event_id,
            domains=self.domains,
            retention_s=bus.retention,
            dedup_window_s=bus.dedup_window,
            lease_ms=self.lease_ms if pull is None else int(pull.lease * 1000),
            record=record,
            from_code=from_code,
            removed=removed,
            registered=tuple(sorted(self.records)),
            circuit=self.circuits.get(handler, Circuit(handler=handler)),
            workers=tuple(worker for worker in self.workers if worker.service == service),
        )

    def with_readers(self, facts: Facts) -> Facts:
        """Add what the handler's registered readers make of the event, unless its code is known."""
        event, handler = facts.event, facts.handler
        if event is None or facts.record is None or handler in self.code:
            return facts
        running = Counter(w.reads[handler] for w in facts.workers if handler in w.reads)
        has_data = facts.emitted or event.data is not None
        readers = self.contracts.readers_of(handler, running)
        fits = tuple(
            fit_of(reads, event, has_data=has_data, workers=running[made])
            for made, reads in readers.items()
        )
        return replace(facts, fits=fits, has_contract=self.contracts.is_known(event.type))


def gather(reading: BusReader, located: Located, names: Sequence[str]) -> list[Facts]:
    """Return the facts about an event in the log or delayed, for each handler.

    Blocks for about 20 round trips, and up to 8 more per handler, independent of the size of the
    log. Raises redis.RedisError.
    """
    backend, event, domain = reading.backend, located.event, located.domain
    body = _body(reading, located)
    all_facts = [
        replace(
            reading.common(name, event.id),
            event=event,
            domain=domain,
            entry=located.entry,
            time_ms=located.time_ms,
            **(
                reading.code[name].judge(body, event).facts()
                if body and name in reading.code
                else {}
            ),
        )
        for name in names
    ]
    records = [facts.record for facts in all_facts if facts.record is not None]
    positions = {
        position.record.id: position
        for position in group_positions(backend.event_log, records, domain)
    }
    stored: dict[str, StoredCell] = {}
    if located.entry is not None and records:
        item = PageItem.of(located.entry, event, located.kind)
        cells = page_cells(backend, records, domain, [item], ignored=True)[0]
        stored = {position.record.id: cell for position, cell in cells}
    every = [
        _of_event(backend, facts, located, positions.get(facts.handler), stored.get(facts.handler))
        for facts in all_facts
    ]
    return [
        reading.with_readers(facts)
        if facts.state in UNFINISHED or facts.state is DeliveryState.DEAD
        else facts
        for facts in every
    ]


def _of_event(
    backend: Backend,
    facts: Facts,
    located: Located,
    position: GroupPosition | None,
    stored: StoredCell | None,
) -> Facts:
    record, event = facts.record, located.event
    if record is None:
        return facts
    wanted = meant_for(
        record.id, compile_patterns(*record.patterns).matches(event.type), event.handlers
    )
    if located.entry is None:
        return replace(facts, state=DeliveryState.WAITING if wanted else None)
    if position is not None:
        subscribed = position.was_subscribed(located.entry, event)
        facts = replace(facts, info=position.info, subscribed=subscribed)
    if stored is None:
        return facts
    facts = replace(
        facts,
        state=stored.state,
        row=stored.row,
        pending=stored.pending,
        chunk=stored.chunk,
        run=stored.run,
        repeats=stored.repeats,
    )
    return _with_state(backend, facts, located, refused=stored.refused)


def _with_state(backend: Backend, facts: Facts, located: Located, *, refused: bool) -> Facts:
    """Add the facts that explain the state: failures, the dead letter, blocking deliveries."""
    assert facts.record is not None
    assert located.entry is not None
    group = Group(facts.domain, facts.handler, facts.record.flow_control)
    key = event_key(located.event.id, located.event.source)
    if facts.repeats:
        original = backend.event_log.registered(facts.domain, [key])[0]
        facts = replace(facts, original=original or "")
    if facts.attempts:
        field = refused_field(located.entry) if refused else key
        facts = replace(facts, history=backend.deliveries.history(group, field))
    if facts.state is DeliveryState.DEAD:
        dead_letter = dead_letter_of(backend, group, key, facts.row, refused_entry=located.entry)
        return replace(facts, dead_letter=dead_letter)
    if facts.state is DeliveryState.BLOCKED:
        earlier = backend.deliveries.earlier_in_sequence(group, located.entry)
        others = tuple(_other(backend, group, entry) for entry in earlier[:MAX_OTHERS])
        return replace(facts, earlier=others, earlier_count=len(earlier))
    if facts.state in (DeliveryState.WAITING, DeliveryState.SCHEDULED):
        return _with_limits(backend, facts, group)
    return facts


def dead_letter_of(
    backend: Backend, group: Group, key: str, row: Row | None, *, refused_entry: str = ""
) -> DeadLetter | None:
    """Return the dead letter of a delivery. It was written together with the row."""
    if row is None:
        return None
    for dead_letter in backend.deliveries.dead(
        group.domain, after=f"{row.at_ms - 1}-0", count=LETTERS_READ
    ):
        is_own = dead_letter.event_key == key or dead_letter.entry == refused_entry
        if dead_letter.handler == group.handler and is_own:
            return dead_letter
    return None


def _with_limits(backend: Backend, facts: Facts, group: Group) -> Facts:
    assert facts.record is not None
    options = facts.record.options
    limit, rate = _number(options.get("concurrency")), _number(options.get("rate", "")[:-2])
    if limit is not None:
        in_flight, occupying = _holding(backend, facts.record)
        facts = replace(facts, concurrency=int(limit), in_flight=in_flight, occupying=occupying)
    if rate:
        wait_ms = backend.deliveries.rate_wait_ms(group.handler, rate)
        facts = replace(facts, rate_wait_ms=wait_ms)
    return facts


def _holding(backend: Backend, record: HandlerRecord) -> tuple[int, tuple[Other, ...]]:
    """Count the queued and running deliveries in all domains; return also the first ones."""
    in_flight, others = 0, list[Other]()
    for domain in sorted(record.since):
        group = Group(domain, record.id, record.flow_control)
        info = next((g for g in backend.event_log.groups(domain) if g.handler == record.id), None)
        for owner, count in (info.holders if info is not None else {}).items():
            if not owner.startswith(("queued:", "running:")):
                continue
            in_flight += count
            if len(others) < MAX_OTHERS:
                maximum = MAX_OTHERS - len(others)
                pending = backend.deliveries.pending_between(group, "-", "+", maximum, owner=owner)
                others += [_other(backend, group, delivery.entry, delivery) for delivery in pending]
    return in_flight, tuple(others)


def _other(backend: Backend, group: Group, entry: str, pending: Pending | None = None) -> Other:
    pending = pending or backend.deliveries.pending(group, entry)
    read = backend.event_log.read(group.domain, start=entry, end=entry, count=1)
    try:
        event = read_header(read[0].body or b"") if read else None
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
        failures = backend.deliveries.failures(group, event.key)
        error = failures[-1].error if failures else ""
    return replace(
        other,
        state=state_of(pending.owner),
        due_ms=pending.due_ms,
        attempts=pending.attempts,
        error=error,
        worker=pending.owner.partition(":")[2],
    )


def gather_unemitted(reading: BusReader, event: RawEvent, names: Sequence[str]) -> list[Facts]:
    """Return the facts about a described event that is not emitted, for each handler.

    Without a `dataschema`, it has the newest version that is registered or in the code.
    """
    newest = reading.newest_version(event.type)
    if event.dataschema is None and newest > FIRST:
        event = structs.replace(event, dataschema=schema_uri(event.type, newest))
    all_facts = []
    for name in names:
        judged = CodeResults()
        if name in reading.code:
            judged = reading.code[name].judge(encode(event), event)
        # The producer signs when it emits.
        given = {**judged.facts(), "signature": None}
        facts = reading.common(name, event.id)
        facts = replace(facts, event=event, emitted=False, domain=event.domain, **given)
        all_facts.append(reading.with_readers(facts))
    return all_facts


def gather_unfound(
    reading: BusReader,
    event_id: str,
    names: Sequence[str],
    *,
    source: str | None = None,
    is_partial: bool = False,
) -> list[Facts]:
    """Return the facts about an event that is not in the logs, from the handlers' records.

    `is_partial`: the logs were not read completely.
    """
    return [_unfound(reading, event_id, name, source, is_partial) for name in names]


def _unfound(
    reading: BusReader, event_id: str, handler: str, source: str | None, is_partial: bool
) -> Facts:
    backend = reading.backend
    facts = replace(reading.common(handler, event_id), is_partial=is_partial)
    record = facts.record
    for domain in sorted(record.since) if record is not None else ():
        group = Group(domain, handler)
        sources = [source] if source is not None else backend.deliveries.sources(domain)
        keys = [event_key(event_id, name) for name in sources]
        for key, row in zip(keys, backend.deliveries.rows(group, keys), strict=True):
            if row is None:
                continue
            pending = (
                backend.deliveries.pending(group, row.entry) if row.state in IN_FLIGHT else None
            )
            return replace(
                facts,
                domain=domain,
                row=row,
                pending=pending,
                entry=row.entry,
                state=state_of(pending.owner if pending is not None else row.state),
                history=backend.deliveries.history(group, key),
                dead_letter=dead_letter_of(backend, group, key, row),
            )
    return facts


def _body(reading: BusReader, located: Located) -> bytes:
    """Return the event as in the log, if code checks it."""
    if not reading.code or located.entry is None:
        return b""
    entry = located.entry
    read = reading.backend.event_log.read(located.domain, start=entry, end=entry, count=1)
    return (read[0].body or b"") if read else b""


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None

"""Join handlers: each gets its consumer group on each domain that its patterns match."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec

from celeriac.delivery import Group
from celeriac.dispatcher.versions import marks_in_force, patterns_in_force
from celeriac.event import compile_patterns
from celeriac.event_log import EventLog
from celeriac.handler import Handler
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tenant import all_marks, is_tenant_mark

FIRST_START = "first start with paused=True"
FIRST = "0-0"
NEWEST = "$"


def plan_joins(
    handler: Handler, known: HandlerRecord | None, domains: Collection[str]
) -> Mapping[str, str]:
    """Return domain → the entry after which the handler begins, for domains that it has not joined.

    A new handler begins at its `start`. For a known handler, a domain that its old patterns also
    matched appeared later, so it begins with the first entry; a domain that only its new patterns
    match begins at `start`. Pure.
    """
    matcher = handler.matcher
    reached = set(matcher.literal_domains)
    if matcher.domains is None:
        reached |= set(domains)
    since = known.since if known else {}
    before = compile_patterns(*known.patterns).domains if known else frozenset()
    plan = {}
    for domain in sorted(reached - since.keys()):
        appeared_later = known is not None and (before is None or domain in before)
        plan[domain] = FIRST if appeared_later else _start(handler)
    return plan


def _recovered(
    backend: Backend, handlers: Iterable[Handler], domains: Collection[str], newest: dict[str, str]
) -> dict[str, HandlerRecord]:
    """Return records from the groups of handlers whose record is missing. A wildcard must not begin
    "now" in a domain that appeared in the meantime. A handler without any group is new."""
    wild = {h.id: h for h in handlers if h.matcher.domains is None}
    recovered: dict[str, HandlerRecord] = {}
    for domain in sorted(domains) if wild else ():
        for state in backend.event_log.groups(domain):
            handler = wild.get(state.handler)
            if handler is None or backend.registry.was_removed(handler.id):
                continue
            if domain not in newest:
                newest[domain] = _newest(backend.event_log, domain)
            in_force = backend.deliveries.patterns(handler.group(domain))
            before = recovered.get(handler.id)
            recovered[handler.id] = HandlerRecord(
                id=handler.id,
                service=handler.service,
                patterns=patterns_in_force(
                    [p for p in in_force if not is_tenant_mark(p)] or handler.patterns, before
                ),
                tenants=marks_in_force(in_force or handler.interests, before),
                queue=handler.queue,
                since={**(before.since if before else {}), domain: newest[domain]},
                registered_ms=before.registered_ms if before else backend.registry.now_ms(),
            )
    return recovered


def _start(handler: Handler) -> str:
    if isinstance(handler.start, datetime):
        # XGROUP CREATE means "after this id": the last one before that millisecond
        return f"{max(0, int(handler.start.timestamp() * 1000) - 1)}-{2**64 - 1}"
    return FIRST if handler.start == "beginning" else NEWEST


def join(
    backend: Backend,
    handlers: Iterable[Handler],
    domains: Collection[str],
    joined: Collection[Group] = (),
    registered: Collection[str] = (),
) -> list[HandlerRecord]:
    """Join each handler's groups and register it. Idempotent; returns the records in order.

    Groups in `joined` exist, so that among thousands of domains only new ones cost a call. The
    handlers in `registered` were registered by this worker before. If an operator removed one of
    them since, it does not join, and no record of it is returned.
    """
    handlers = list(handlers)
    forgotten = backend.event_log.forgotten()
    known = {
        name: without_domains(record, forgotten)
        for name, record in backend.registry.handlers().items()
    }
    newest: dict[str, str] = {}
    known |= _recovered(backend, [h for h in handlers if h.id not in known], domains, newest)
    records = [
        _join(backend, h, known.get(h.id), domains, newest, joined, h.id not in registered)
        for h in handlers
    ]
    return [record for record in records if record is not None]


def _is_new(backend: Backend, handler: Handler, domains: Iterable[str]) -> bool:
    """Return whether no group of the handler is left from before its record was lost."""
    groups = (state for domain in domains for state in backend.event_log.groups(domain))
    return not any(state.handler == handler.id for state in groups)


def leave_domains(backend: Backend, handlers: Collection[str], gone: Collection[str]) -> None:
    """Remove domains that were removed as empty from the handlers' records."""
    for name, record in backend.registry.handlers().items():
        updated = without_domains(record, gone)
        if name in handlers and updated != record:
            backend.registry.update(updated)


def without_domains(record: HandlerRecord, gone: Collection[str]) -> HandlerRecord:
    """Return the record without these domains, except those that the handler names."""
    if not gone:
        return record
    named = {pattern.partition(".")[0] for pattern in record.patterns}
    since = {d: at for d, at in record.since.items() if d not in gone or d in named}
    return msgspec.structs.replace(record, since=since)


def _join(
    backend: Backend,
    handler: Handler,
    known: HandlerRecord | None,
    domains: Collection[str],
    newest: dict[str, str],
    joined: Collection[Group],
    is_starting: bool,
) -> HandlerRecord | None:
    if not is_starting and known is None and backend.registry.was_removed(handler.id):
        return None
    since = dict(known.since) if known else {}
    plan = plan_joins(handler, known, domains)
    if handler.paused and known is None and is_starting and _is_new(backend, handler, plan):
        # Before the group exists: no worker of the service may fetch for it.
        backend.circuits.pause(handler.id, reason=FIRST_START)
    for domain, start in plan.items():
        if start == NEWEST:
            if domain not in newest:
                newest[domain] = _newest(backend.event_log, domain)
            start = newest[domain]
        since[domain] = start
    # A known handler normally has its groups; after a loss of Redis data it does not.
    made = [
        domain
        for domain, start in since.items()
        if handler.group(domain) not in joined and backend.event_log.join(domain, handler.id, start)
    ]
    record = HandlerRecord(
        id=handler.id,
        service=handler.service,
        patterns=patterns_in_force(handler.patterns, known),
        queue=handler.queue,
        flow_control=handler.flow_control,
        concurrency=handler.concurrency,
        per_second=handler.per_second,
        when=handler.has_filter,
        tenants=marks_in_force(handler.interests, known),
        since=since,
        added=_added(backend, handler, known),
        leaving=_without(
            {*handler.patterns, *all_marks(handler.interests)}, known.leaving if known else {}
        ),
        retired=_without(handler.patterns, known.retired if known else {}),
        registered_ms=known.registered_ms if known else backend.registry.now_ms(),
        options=handler.describe_options(),
        doc=handler.doc,
        pull=handler.pull,
    )
    if known and set(record.patterns) == set(known.patterns):
        # Two versions with the same patterns in force must not overwrite each other repeatedly.
        record = msgspec.structs.replace(record, patterns=known.patterns)
    if is_starting:
        if record != known:
            backend.registry.register(record)
    elif (record != known or made) and not backend.registry.update(record):
        # Removed since it was read. The operator may have searched for groups before these existed.
        for domain in made:
            backend.event_log.leave(domain, handler.id)
            backend.deliveries.forget(handler.group(domain))
        return None
    return record


def _without(patterns: Collection[str], times: Mapping[str, int]) -> dict[str, int]:
    return {pattern: at_ms for pattern, at_ms in times.items() if pattern not in patterns}


def _added(backend: Backend, handler: Handler, known: HandlerRecord | None) -> dict[str, int]:
    if known is None or not known.since:
        return {}
    new = set(handler.patterns) - set(known.patterns)
    now = backend.registry.now_ms() if new else 0
    kept = {p: ms for p, ms in known.added.items() if p in known.patterns}
    return kept | dict.fromkeys(sorted(new), now)


def rejoin(backend: Backend, handler: Handler, domain: str) -> HandlerRecord | None:
    """Join again after a group vanished from the domain; None if an operator removed the handler.

    If Redis lost all its data, begins with the first entry: all current entries are newer.
    """
    if backend.registry.was_removed(handler.id):
        return None
    if handler.id not in backend.registry.handlers():
        backend.registry.update(
            HandlerRecord(
                id=handler.id,
                service=handler.service,
                patterns=handler.patterns,
                tenants=marks_in_force(handler.interests, None),
                queue=handler.queue,
                pull=handler.pull,
            )
        )
    # The set of domains may be lost too, and wildcard patterns name no domain.
    domains = backend.event_log.domains() | {domain}
    return next(iter(join(backend, [handler], domains, registered=[handler.id])), None)


def _newest(event_log: EventLog, domain: str) -> str:
    entries = event_log.read(domain, count=1, newest_first=True)
    return entries[0].id if entries else FIRST

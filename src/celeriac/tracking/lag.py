"""How far each handler is: the groups of the log, and the statistics of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from celeriac.delivery import Lane, Ledger
from celeriac.event import compile_patterns
from celeriac.event_log import EventLog, Group, entry_time_ms
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import HandlerLag
from celeriac.tracking.position import Stand, stands
from celeriac.tracking.state import State, state_of

PAGE = 500
# Where Redis cannot tell how many entries a group has before it, more are not counted either.
MOST_WAITING_COUNTED = 100_000


def lag_of(backend: Backend, records: Sequence[HandlerRecord], domain: str) -> list[HandlerLag]:
    """Every handler of one domain, and every group that belongs to no handler."""
    dead = _dead_by_handler(backend.ledger, domain)
    now = backend.registry.now_ms()
    there = stands(backend.log, records, domain)
    known = {stand.record.id for stand in there}
    groups = backend.log.groups(domain)
    orphans = [_orphan(domain, group) for group in groups if group.handler not in known]
    stats = backend.ledger.stats_many([stand.lane for stand in (*there, *orphans)])
    return [
        _lag(backend, stand, counts, dead, now, registered=n < len(there))
        for n, (stand, counts) in enumerate(zip((*there, *orphans), stats, strict=True))
    ]


def _orphan(domain: str, group: Group) -> Stand:
    service = group.handler.partition(".")[0]
    record = HandlerRecord(id=group.handler, service=service, patterns=("#",), queue="")
    return Stand(record, compile_patterns("#"), Lane(domain, group.handler), group)


def _lag(
    backend: Backend,
    stand: Stand,
    stats: Mapping[str, int],
    dead: Mapping[str, int],
    now_ms: int,
    *,
    registered: bool,
) -> HandlerLag:
    domain, group, record = stand.lane.domain, stand.group, stand.record
    waiting = _waiting(backend.log, stand)
    held: Counter[State] = Counter()
    for owner, count in group.holders.items() if group is not None else ():
        held[state_of(owner)] += count
    oldest = _oldest(backend.log, stand) if waiting or held else None
    return HandlerLag(
        handler=record.id,
        service=record.service,
        domain=domain,
        waiting=waiting,
        queued=held[State.QUEUED],
        running=held[State.RUNNING],
        scheduled=held[State.SCHEDULED],
        blocked=held[State.BLOCKED],
        dead=dead.get(record.id, 0),
        processed=stats.get("processed", 0),
        retried=stats.get("retry", 0),
        skipped=stats.get("skipped", 0),
        failed=stats.get("dead", 0),
        oldest_s=None if oldest is None else max(0, now_ms - oldest) / 1000,
        mean_us=stats.get("mean_us", 0),
        joined=group is not None,
        registered=registered,
    )


def _waiting(log: EventLog, stand: Stand) -> int:
    domain, group = stand.lane.domain, stand.group
    if group is None:
        return log.length(domain) if stand.since is None else 0
    if group.lag is not None:
        return group.lag
    count, start = 0, f"({group.last_delivered}"
    while count < MOST_WAITING_COUNTED and (some := log.read(domain, start=start, count=PAGE)):
        count += len(some)
        start = f"({some[-1].id}"
    return count


def _oldest(log: EventLog, stand: Stand) -> int | None:
    """The time of the oldest entry that is not finished."""
    group = stand.group
    pending = None if group is None else group.oldest_pending
    start = pending or ("-" if group is None else f"({group.last_delivered}")
    found = log.read(stand.lane.domain, start=start, count=1)
    if found:
        return found[0].time_ms
    return None if pending is None else entry_time_ms(pending)


def _dead_by_handler(ledger: Ledger, domain: str) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for group in ledger.dead_groups(domain):
        counted[group.handler] += group.count
    return counted

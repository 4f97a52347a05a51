"""How far each handler is: the groups of the log, and the statistics of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from celeriac.delivery import DeliveryState, DeliveryStore, Group
from celeriac.event import compile_patterns
from celeriac.event_log import EventLog, GroupInfo, entry_time_ms
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import HandlerLag
from celeriac.tracking.position import GroupPosition, stands
from celeriac.tracking.state import state_of

PAGE = 500
# Where Redis cannot tell how many entries a group has before it, more are not counted either.
MOST_WAITING_COUNTED = 100_000


def lag_of(backend: Backend, records: Sequence[HandlerRecord], domain: str) -> list[HandlerLag]:
    """Every handler of one domain, and every group that belongs to no handler."""
    dead = _dead_by_handler(backend.deliveries, domain)
    now = backend.registry.now_ms()
    there = stands(backend.event_log, records, domain)
    known = {stand.record.id for stand in there}
    groups = backend.event_log.groups(domain)
    orphans = [_orphan(domain, info) for info in groups if info.handler not in known]
    stats = backend.deliveries.stats_many([stand.group for stand in (*there, *orphans)])
    return [
        _lag(backend, stand, counts, dead, now, registered=n < len(there))
        for n, (stand, counts) in enumerate(zip((*there, *orphans), stats, strict=True))
    ]


def _orphan(domain: str, info: GroupInfo) -> GroupPosition:
    service = info.handler.partition(".")[0]
    record = HandlerRecord(id=info.handler, service=service, patterns=("#",), queue="")
    return GroupPosition(record, compile_patterns("#"), Group(domain, info.handler), info)


def _lag(
    backend: Backend,
    stand: GroupPosition,
    stats: Mapping[str, int],
    dead: Mapping[str, int],
    now_ms: int,
    *,
    registered: bool,
) -> HandlerLag:
    domain, info, record = stand.group.domain, stand.info, stand.record
    waiting = _waiting(backend.event_log, stand)
    held: Counter[DeliveryState] = Counter()
    for owner, count in info.holders.items() if info is not None else ():
        held[state_of(owner)] += count
    oldest = _oldest(backend.event_log, stand) if waiting or held else None
    return HandlerLag(
        handler=record.id,
        service=record.service,
        domain=domain,
        waiting=waiting,
        queued=held[DeliveryState.QUEUED],
        running=held[DeliveryState.RUNNING],
        scheduled=held[DeliveryState.SCHEDULED],
        blocked=held[DeliveryState.BLOCKED],
        dead=dead.get(record.id, 0),
        processed=stats.get("processed", 0),
        retried=stats.get("retry", 0),
        skipped=stats.get("skipped", 0),
        failed=stats.get("dead", 0),
        oldest_s=None if oldest is None else max(0, now_ms - oldest) / 1000,
        mean_us=stats.get("mean_us", 0),
        joined=info is not None,
        registered=registered,
    )


def _waiting(event_log: EventLog, stand: GroupPosition) -> int:
    domain, info = stand.group.domain, stand.info
    if info is None:
        return event_log.length(domain) if stand.since is None else 0
    if info.lag is not None:
        return info.lag
    count, start = 0, f"({info.last_delivered}"
    while count < MOST_WAITING_COUNTED and (
        some := event_log.read(domain, start=start, count=PAGE)
    ):
        count += len(some)
        start = f"({some[-1].id}"
    return count


def _oldest(event_log: EventLog, stand: GroupPosition) -> int | None:
    """The time of the oldest entry that is not finished."""
    info = stand.info
    pending = None if info is None else info.oldest_pending
    start = pending or ("-" if info is None else f"({info.last_delivered}")
    found = event_log.read(stand.group.domain, start=start, count=1)
    if found:
        return found[0].time_ms
    return None if pending is None else entry_time_ms(pending)


def _dead_by_handler(deliveries: DeliveryStore, domain: str) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for info in deliveries.dead_groups(domain):
        counted[info.handler] += info.count
    return counted

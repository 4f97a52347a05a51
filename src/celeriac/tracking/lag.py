"""The backlog of each handler, from consumer groups and the counters of the delivery store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from celeriac.delivery import DeliveryState, DeliveryStore, Group
from celeriac.event import compile_patterns
from celeriac.event_log import EventLog, GroupInfo, entry_time_ms
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import HandlerLag
from celeriac.tracking.position import GroupPosition, group_positions
from celeriac.tracking.state import state_of

PAGE = 500
# If Redis does not report a group's lag, this many entries are counted at most.
MAX_WAITING_COUNTED = 100_000


def lag_of(backend: Backend, records: Sequence[HandlerRecord], domain: str) -> list[HandlerLag]:
    """Return the backlog of every handler of a domain, and of orphaned groups."""
    dead = _dead_by_handler(backend.deliveries, domain)
    now = backend.registry.now_ms()
    positions = group_positions(backend.event_log, records, domain)
    known = {position.record.id for position in positions}
    groups = backend.event_log.groups(domain)
    orphans = [_orphan(domain, info) for info in groups if info.handler not in known]
    stats = backend.deliveries.stats_many([position.group for position in (*positions, *orphans)])
    return [
        _lag(backend, position, counts, dead, now, registered=n < len(positions))
        for n, (position, counts) in enumerate(zip((*positions, *orphans), stats, strict=True))
    ]


def _orphan(domain: str, info: GroupInfo) -> GroupPosition:
    service = info.handler.partition(".")[0]
    record = HandlerRecord(id=info.handler, service=service, patterns=("#",), queue="")
    return GroupPosition(record, compile_patterns("#"), Group(domain, info.handler), info)


def _lag(
    backend: Backend,
    position: GroupPosition,
    stats: Mapping[str, int],
    dead: Mapping[str, int],
    now_ms: int,
    *,
    registered: bool,
) -> HandlerLag:
    domain, info, record = position.group.domain, position.info, position.record
    waiting = _waiting(backend.event_log, position)
    by_state: Counter[DeliveryState] = Counter()
    for owner, count in info.holders.items() if info is not None else ():
        by_state[state_of(owner)] += count
    oldest = _oldest(backend.event_log, position) if waiting or by_state else None
    return HandlerLag(
        handler=record.id,
        service=record.service,
        domain=domain,
        waiting=waiting,
        queued=by_state[DeliveryState.QUEUED],
        running=by_state[DeliveryState.RUNNING],
        scheduled=by_state[DeliveryState.SCHEDULED],
        blocked=by_state[DeliveryState.BLOCKED],
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


def _waiting(event_log: EventLog, position: GroupPosition) -> int:
    domain, info = position.group.domain, position.info
    if info is None:
        return event_log.length(domain) if position.since is None else 0
    if info.lag is not None:
        return info.lag
    count, start = 0, f"({info.last_delivered}"
    while count < MAX_WAITING_COUNTED and (
        entries := event_log.read(domain, start=start, count=PAGE)
    ):
        count += len(entries)
        start = f"({entries[-1].id}"
    return count


def _oldest(event_log: EventLog, position: GroupPosition) -> int | None:
    """Return the time of the oldest unfinished entry."""
    info = position.info
    pending = None if info is None else info.oldest_pending
    start = pending or ("-" if info is None else f"({info.last_delivered}")
    entries = event_log.read(position.group.domain, start=start, count=1)
    if entries:
        return entries[0].time_ms
    return None if pending is None else entry_time_ms(pending)


def _dead_by_handler(deliveries: DeliveryStore, domain: str) -> Mapping[str, int]:
    counted: Counter[str] = Counter()
    for info in deliveries.dead_groups(domain):
        counted[info.handler] += info.count
    return counted

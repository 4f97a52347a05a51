"""Read the load of a service, without changing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from celeriac.circuit_breaker import Circuit
from celeriac.delivery import DeliveryState
from celeriac.errors import InvalidEvent, NotFound
from celeriac.event import compile_patterns, read_header
from celeriac.registry import HandlerRecord, WorkerRecord, is_alive
from celeriac.scale.ahead import count_ahead
from celeriac.scale.combine import GroupLoad, handler_load
from celeriac.scale.wanted import (
    COOLDOWN,
    DRAIN_TARGET,
    DueTick,
    ScaleTarget,
    WorkersWanted,
    workers_wanted,
)
from celeriac.schedule import StoredSchedule, is_overdue
from celeriac.store.factory import Backend
from celeriac.tracking import state_of
from celeriac.tracking.position import GroupPosition, group_positions
from celeriac.visible import listed

# Delayed events that are read of a domain, and at once.
MAX_DELAYED, DELAYED_PAGE = 1_000, 100


class ScaleReader:
    """Reads how many workers a service needs. Make it by `ScaleReader(bus.service.backend)`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def read(
        self,
        service: str,
        *,
        drain_target: float = DRAIN_TARGET,
        cooldown: float = COOLDOWN,
        processes: int | None = None,
        max_workers: int | None = None,
        queue: str | None = None,
    ) -> WorkersWanted:
        """Return the number of workers, with what it was computed from.

        Args:
            drain_target: Seconds in which the backlog should be finished.
            cooldown: Seconds for which a worker is kept if something is due within them.
            processes: Deliveries that one worker runs at once. Default: as the service's workers
                reported, or 1 if none did within the last hour.
            max_workers: The largest answer.
            queue: Only the handlers of this queue.

        Blocks for about ten round trips, and about five more for each domain that the service
        reads. Reads at most 10,000 entries, or 5 MB, for each distinct position of its handlers.

        Raises:
            NotFound: The bus has no handler, schedule or worker of the service.
            ConfigurationError: A number is out of range.
            redis.RedisError: Redis is unreachable.
        """
        registry = self.backend.registry
        workers = [worker for worker in registry.workers() if worker.service == service]
        target = ScaleTarget(
            drain_target=drain_target,
            cooldown=cooldown,
            processes=reported_processes(workers) if processes is None else processes,
            max_workers=max_workers,
        )
        everything = registry.handlers().values()
        records = [record for record in everything if record.service == service]
        schedules = self._schedules(service)
        if not (records or schedules or workers):
            services = listed(sorted({record.service for record in everything})) or "none"
            raise NotFound(
                f"service not found: {service}. Services with handlers: {services}. Start a worker "
                "of the service once: it registers its handlers."
            )
        chosen = [record for record in records if queue in (None, record.queue)]
        now_ms = registry.now_ms()
        times = now_ms + round(1000 * min(drain_target, cooldown)), now_ms + round(1000 * cooldown)
        groups = [
            group
            for domain in self._domains(chosen)
            for group in self._groups(domain, chosen, *times)
        ]
        circuits = self.backend.circuits.all()
        loads = [
            handler_load(
                record,
                [group for group in groups if group.handler == record.id],
                circuit=circuits.get(record.id, Circuit(handler=record.id)),
                running=[worker for worker in workers if is_alive(worker, now_ms)],
                until_ms=times[1],
            )
            for record in sorted(chosen, key=lambda record: record.id)
        ]
        ticks = [
            DueTick(
                name=f"{service}:{schedule.name}",
                due_ms=schedule.next_ms,
                is_overdue=is_overdue(schedule, now_ms),
            )
            for schedule in schedules
            if schedule.next_ms <= times[1]
        ]
        return workers_wanted(service, loads, target, ticks)

    def _schedules(self, service: str) -> list[StoredSchedule]:
        domains = sorted(self.backend.event_log.domains())
        stored = self.backend.schedules.all(domains)
        return [schedule for schedule in stored if schedule.service == service]

    def _domains(self, records: Iterable[HandlerRecord]) -> list[str]:
        """Return the domains from which the handlers get events."""
        reached: set[str] = set()
        known = self.backend.event_log.domains()
        for record in records:
            domains = compile_patterns(*record.patterns).domains
            reached |= record.since.keys() | (known if domains is None else known & domains)
        return sorted(reached)

    def _groups(
        self, domain: str, records: Sequence[HandlerRecord], soon_ms: int, until_ms: int
    ) -> list[GroupLoad]:
        """Return the load of each handler in a domain."""
        backend = self.backend
        positions = group_positions(backend.event_log, records, domain)
        groups = [position.group for position in positions]
        delayed = self._delayed(domain, positions, soon_ms, until_ms)
        soon = backend.deliveries.due_until(groups, soon_ms)
        later = backend.deliveries.due_until(groups, until_ms)
        stats = backend.deliveries.stats_many(groups)
        ahead = count_ahead(backend.event_log, domain, positions)
        loads = []
        for n, position in enumerate(positions):
            states = _by_state(position)
            delayed_soon, delayed_later = delayed[n]
            loads.append(
                GroupLoad(
                    handler=position.record.id,
                    ahead=ahead[n],
                    queued=states[DeliveryState.QUEUED],
                    running=states[DeliveryState.RUNNING],
                    blocked=states[DeliveryState.BLOCKED],
                    due=soon[n] + delayed_soon,
                    later=max(0, later[n] - soon[n]) + delayed_later,
                    mean_us=stats[n].get("mean_us", 0),
                )
            )
        return loads

    def _delayed(
        self, domain: str, positions: Sequence[GroupPosition], soon_ms: int, until_ms: int
    ) -> list[tuple[int, int]]:
        """Return how many delayed events each handler wants, until each of the two times."""
        counts = [[0, 0] for _ in positions]
        for start in range(0, MAX_DELAYED, DELAYED_PAGE):
            page = self.backend.event_log.upcoming(domain, start=start, count=DELAYED_PAGE)
            for time_ms, body in page:
                if time_ms > until_ms:
                    break
                for n, position in enumerate(positions):
                    counts[n][time_ms > soon_ms] += _wants(position, body)
            if len(page) < DELAYED_PAGE or page[-1][0] > until_ms:
                break
        return [(soon, later) for soon, later in counts]


def reported_processes(workers: Iterable[WorkerRecord]) -> int:
    """Return the processes of one worker, the least of those reported; 1 if none was."""
    return min((worker.processes for worker in workers if worker.processes > 0), default=1)


def _by_state(position: GroupPosition) -> Counter[DeliveryState]:
    states: Counter[DeliveryState] = Counter()
    for owner, count in position.info.holders.items() if position.info is not None else ():
        states[state_of(owner)] += count
    return states


def _wants(position: GroupPosition, body: bytes) -> bool:
    try:
        return position.wants(read_header(body))
    except InvalidEvent:
        return True

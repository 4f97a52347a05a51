"""The input of all metrics, read at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from celeriac.delivery import Counters, Group
from celeriac.delivery.tenant_counts import TenantCount
from celeriac.event_log import StreamStats
from celeriac.registry import Registry, WorkerRecord
from celeriac.registry.scale_target import targets_of
from celeriac.reply import RequestStats
from celeriac.schedule import StoredSchedule
from celeriac.store.factory import Backend
from celeriac.tracking import HandlerLag, Matrix

# A worker without a heartbeat for longer is not counted; heartbeats are sent every five seconds.
ALIVE_MS = 20_000


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """One handler in one domain."""

    lag: HandlerLag
    counters: Counters
    stats: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class InstanceCount:
    """The instances of a process in one status. `oldest_s` is the age of the first of them."""

    handler: str
    status: str
    number: int
    oldest_s: float


# Reads the instances of processes from the service's database; blocks.
ReadInstances = Callable[[], Sequence[InstanceCount]]


def no_instances() -> Sequence[InstanceCount]:
    """Return nothing, for a service without processes."""
    return ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The input of all metrics. `took_s` is the duration of the reading.

    `scaled_to_zero` has each service whose autoscaler asks: whether it needs no worker now.
    """

    groups: tuple[GroupSnapshot, ...]
    stream_stats: tuple[StreamStats, ...]
    workers: tuple[WorkerRecord, ...]
    took_s: float
    instances: tuple[InstanceCount, ...] = ()
    schedules: tuple[StoredSchedule, ...] = ()
    tenants: Mapping[TenantCount, int] = field(default_factory=dict)
    requests: Mapping[str, RequestStats] = field(default_factory=dict)
    scaled_to_zero: Mapping[str, bool] = field(default_factory=dict)


def take_snapshot(backend: Backend, read_instances: ReadInstances = no_instances) -> Snapshot:
    """Return a snapshot. Blocks for some round trips. Raises redis.RedisError."""
    started = time.monotonic()
    lags = Matrix(backend).lag()
    groups = [Group(lag.domain, lag.handler) for lag in lags]
    counters, stats = backend.deliveries.counters(groups), backend.deliveries.stats_many(groups)
    groups_ = (GroupSnapshot(*row) for row in zip(lags, counters, stats, strict=True))
    oldest = backend.registry.now_ms() - ALIVE_MS
    tenants = backend.tenant_counts.read()
    instances, domains = tuple(read_instances()), sorted(backend.event_log.domains())
    return Snapshot(
        groups=tuple(groups_),
        stream_stats=tuple(backend.event_log.stream_stats(domains)),
        workers=tuple(worker for worker in backend.registry.workers() if worker.beat_ms >= oldest),
        took_s=time.monotonic() - started,
        instances=instances,
        schedules=tuple(backend.schedules.all(domains)),
        tenants=tenants,
        requests=backend.replies.stats(),
        scaled_to_zero=_scaled_to_zero(backend.registry),
    )


def _scaled_to_zero(registry: Registry) -> dict[str, bool]:
    records, now_ms = registry.scale_targets().values(), registry.now_ms()
    targets = {
        service: targets_of(records, service, now_ms)
        for service in {record.service for record in records}
    }
    return {
        service: not any(target.is_overdue(now_ms) for target in active)
        for service, active in targets.items()
        if active
    }

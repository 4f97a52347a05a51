"""The input of all metrics, read at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from celeriac.delivery import Counters, Group
from celeriac.event_log import StreamStats
from celeriac.registry import WorkerRecord
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
    """The input of all metrics. `took_s` is the duration of the reading."""

    groups: tuple[GroupSnapshot, ...]
    stream_stats: tuple[StreamStats, ...]
    workers: tuple[WorkerRecord, ...]
    took_s: float
    instances: tuple[InstanceCount, ...] = ()


def take_snapshot(backend: Backend, read_instances: ReadInstances = no_instances) -> Snapshot:
    """Return a snapshot. Blocks for some round trips. Raises redis.RedisError."""
    started = time.monotonic()
    lags = Matrix(backend).lag()
    groups = [Group(lag.domain, lag.handler) for lag in lags]
    counters, stats = backend.deliveries.counters(groups), backend.deliveries.stats_many(groups)
    groups_ = (GroupSnapshot(*row) for row in zip(lags, counters, stats, strict=True))
    oldest = backend.registry.now_ms() - ALIVE_MS
    instances = tuple(read_instances())
    return Snapshot(
        groups=tuple(groups_),
        stream_stats=tuple(backend.event_log.stream_stats(sorted(backend.event_log.domains()))),
        workers=tuple(worker for worker in backend.registry.workers() if worker.beat_ms >= oldest),
        took_s=time.monotonic() - started,
        instances=instances,
    )

"""All that metrics are made of, read at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from celeriac.delivery import Counters, Group
from celeriac.event_log import StreamStats
from celeriac.registry import WorkerRecord
from celeriac.store.factory import Backend
from celeriac.tracking import HandlerLag, Matrix

# Without a beat for longer, a worker is not counted; it beats every five seconds.
ALIVE_MS = 20_000


@dataclass(frozen=True, slots=True)
class LaneState:
    """One handler in one domain."""

    lag: HandlerLag
    counters: Counters
    stats: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`took_s` is how long the reading took."""

    groups: tuple[LaneState, ...]
    stream_stats: tuple[StreamStats, ...]
    workers: tuple[WorkerRecord, ...]
    took_s: float


def take_snapshot(backend: Backend) -> Snapshot:
    """Blocks for some round trips. Raises redis.RedisError."""
    started = time.monotonic()
    lags = Matrix(backend).lag()
    groups = [Group(one.domain, one.handler) for one in lags]
    counters, stats = backend.deliveries.counters(groups), backend.deliveries.stats_many(groups)
    states = (LaneState(*one) for one in zip(lags, counters, stats, strict=True))
    oldest = backend.registry.now_ms() - ALIVE_MS
    return Snapshot(
        groups=tuple(states),
        stream_stats=tuple(backend.event_log.stream_stats(sorted(backend.event_log.domains()))),
        workers=tuple(one for one in backend.registry.workers() if one.beat_ms >= oldest),
        took_s=time.monotonic() - started,
    )

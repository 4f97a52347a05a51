"""What `top` shows, read from the ledger; rates are those between two readings. Frozen."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from celeriac.circuit_breaker import CircuitState
from celeriac.delivery import Counters, Group, HandlerStats
from celeriac.registry import WorkerRecord
from celeriac.store.factory import Backend
from celeriac.tracking import HandlerLag, Matrix

ALIVE_MS = 20_000  # since the last beat of a worker
LEAST_SPAN_S = 0.2  # between two readings, for a rate that means something


class HandlerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One handler, domains together. Rates are per second; `failed` and `dead_rate` of attempts.

    `run_p95_s` and `wait_p95_s` are of the last minute or two, None without a run in them.
    """

    handler: str
    service: str
    rate: float = 0.0
    failing: float = 0.0
    lag: int = 0
    oldest_s: float | None = None
    waiting: int = 0
    queued: int = 0
    running: int = 0
    scheduled: int = 0
    blocked: int = 0
    dead: int = 0
    run_p95_s: float | None = None
    wait_p95_s: float | None = None
    circuit: CircuitState = CircuitState.CLOSED
    registered: bool = True


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One service: its living workers, their pool processes, and all its handlers together."""

    service: str
    workers: int = 0
    processes: int = 0
    handlers: int = 0
    rate: float = 0.0
    failing: float = 0.0
    lag: int = 0


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One frame. `emitted` is per second, over all domains."""

    at_ms: int
    services: tuple[ServiceRow, ...]
    handlers: tuple[HandlerRow, ...]
    emitted: float = 0.0
    length: int = 0
    postponed: int = 0

    @property
    def rate(self) -> float:
        return sum(row.rate for row in self.handlers)

    @property
    def failing(self) -> float:
        return sum(row.failing for row in self.handlers)

    @property
    def lag(self) -> int:
        return sum(row.lag for row in self.handlers)

    @property
    def dead(self) -> int:
        return sum(row.dead for row in self.handlers)

    @property
    def oldest_s(self) -> float | None:
        return max((r.oldest_s for r in self.handlers if r.oldest_s is not None), default=None)


class Watch:
    """Reads frame after frame. Not thread-safe. `view` blocks, and raises redis.RedisError."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._matrix = Matrix(backend)
        self._counted: tuple[float, Mapping[str, HandlerStats], int] | None = None

    def view(self) -> View:
        """The first frame has the rates of the last minute or two, the others live ones."""
        backend = self._backend
        lags = self._matrix.lag()
        groups = [Group(one.domain, one.handler) for one in lags]
        ever = _by_handler(groups, backend.deliveries.counters(groups))
        minutes = backend.deliveries.counters_by_minute(groups, 2)
        lately = _by_handler(groups, (t for group in minutes for t in [*group.values()]), each=2)
        stream_stats = backend.event_log.stream_stats(sorted(backend.event_log.domains()))
        now_ms, read_at = backend.registry.now_ms(), time.monotonic()
        appended = sum(volume.appended for volume in stream_stats)
        rates = _Rates(self._counted, (read_at, ever, appended), lately, 60 + now_ms / 1000 % 60)
        if self._counted is None or rates.live:
            self._counted = (read_at, ever, appended)
        alive = [w for w in backend.registry.workers() if w.beat_ms >= now_ms - ALIVE_MS]
        rows = _handlers(lags, rates, lately)
        return View(
            at_ms=now_ms,
            services=tuple(_services(rows, alive)),
            handlers=rows,
            emitted=rates.emitted,
            length=sum(volume.length for volume in stream_stats),
            postponed=sum(volume.postponed for volume in stream_stats),
        )


class _Rates:
    """Per second: between two counts, or of the last minutes where there is one only."""

    def __init__(
        self,
        before: tuple[float, Mapping[str, HandlerStats], int] | None,
        now: tuple[float, Mapping[str, HandlerStats], int],
        lately: Mapping[str, HandlerStats],
        lately_s: float,
    ) -> None:
        self.live = before is not None and now[0] - before[0] >= LEAST_SPAN_S
        self._new, self._seconds = lately, lately_s
        self._old: Mapping[str, HandlerStats] = {}
        self.emitted = 0.0
        if self.live and before is not None:
            self._new, self._old, self._seconds = now[1], before[1], now[0] - before[0]
            self.emitted = max(0, now[2] - before[2]) / self._seconds

    def of(self, handler: str) -> tuple[float, float]:
        """Processed, and failed attempts."""
        new, old = self._new.get(handler, HandlerStats()), self._old.get(handler, HandlerStats())
        processed = new.processed - old.processed
        failed = new.retried + new.dead - old.retried - old.dead
        return max(0, processed) / self._seconds, max(0, failed) / self._seconds


def _by_handler(
    groups: Sequence[Group], counters: Iterable[Counters], each: int = 1
) -> dict[str, HandlerStats]:
    """All types, domains and minutes of a handler together; `each` tallies belong to a lane."""
    found: defaultdict[str, HandlerStats] = defaultdict(HandlerStats)
    for n, of_lane in enumerate(counters):
        for tally in of_lane.values():
            found[groups[n // each].handler].add(tally)
    return dict(found)


def _handlers(
    lags: Sequence[HandlerLag], rates: _Rates, lately: Mapping[str, HandlerStats]
) -> tuple[HandlerRow, ...]:
    own: dict[str, list[HandlerLag]] = {}
    for lag in lags:
        own.setdefault(lag.handler, []).append(lag)
    return tuple(_handler(several, rates, lately.get(name)) for name, several in own.items())


def _handler(lags: Sequence[HandlerLag], rates: _Rates, lately: HandlerStats | None) -> HandlerRow:
    first = lags[0]
    rate, failing = rates.of(first.handler)
    return HandlerRow(
        handler=first.handler,
        service=first.service,
        rate=rate,
        failing=failing,
        lag=sum(one.unfinished for one in lags),
        oldest_s=max((one.oldest_s for one in lags if one.oldest_s is not None), default=None),
        waiting=sum(one.waiting for one in lags),
        queued=sum(one.queued for one in lags),
        running=sum(one.running for one in lags),
        scheduled=sum(one.scheduled for one in lags),
        blocked=sum(one.blocked for one in lags),
        dead=sum(one.dead for one in lags),
        run_p95_s=lately.run.quantile(0.95) if lately else None,
        wait_p95_s=lately.wait.quantile(0.95) if lately else None,
        circuit=first.circuit,
        registered=all(one.registered for one in lags),
    )


def _services(rows: Sequence[HandlerRow], workers: Sequence[WorkerRecord]) -> Iterable[ServiceRow]:
    for name in sorted({row.service for row in rows} | {one.service for one in workers}):
        own = [row for row in rows if row.service == name]
        there = [one for one in workers if one.service == name]
        yield ServiceRow(
            service=name,
            workers=sum(one.processes > 0 for one in there),
            processes=sum(one.processes for one in there),
            handlers=len(own),
            rate=sum(row.rate for row in own),
            failing=sum(row.failing for row in own),
            lag=sum(row.lag for row in own),
        )

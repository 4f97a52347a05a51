"""The frames of `top`. Rates are measured between two readings."""

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

ALIVE_MS = 20_000  # since the last heartbeat of a worker
LEAST_SPAN_S = 0.2  # between two readings, for a meaningful rate


class HandlerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One handler, over all its domains. Rates are per second.

    `run_p95_s` and `wait_p95_s` cover the last minute or two; None without a run.
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
    """One service: its running workers, their pool processes, and all its handlers."""

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
    delayed: int = 0

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
    """Read frames from the store. Not thread-safe."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._matrix = Matrix(backend)
        self._counted: tuple[float, Mapping[str, HandlerStats], int] | None = None

    def view(self) -> View:
        """Return a frame. Blocks, and raises redis.RedisError.

        The first frame has the rates of the last minute or two; later frames have the rates since
        the frame before.
        """
        backend = self._backend
        lags = self._matrix.lag()
        groups = [Group(lag.domain, lag.handler) for lag in lags]
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
            delayed=sum(volume.delayed for volume in stream_stats),
        )


class _Rates:
    """Rates per second between two readings, or of the last minutes if there is only one."""

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
        """Return the rates of processed and of failed attempts."""
        new, old = self._new.get(handler, HandlerStats()), self._old.get(handler, HandlerStats())
        processed = new.processed - old.processed
        failed = new.retried + new.dead - old.retried - old.dead
        return max(0, processed) / self._seconds, max(0, failed) / self._seconds


def _by_handler(
    groups: Sequence[Group], counters: Iterable[Counters], each: int = 1
) -> dict[str, HandlerStats]:
    """Sum counters by handler over types, domains and minutes; a group has `each` counters."""
    stats: defaultdict[str, HandlerStats] = defaultdict(HandlerStats)
    for n, by_type in enumerate(counters):
        for counted in by_type.values():
            stats[groups[n // each].handler].add(counted)
    return dict(stats)


def _handlers(
    lags: Sequence[HandlerLag], rates: _Rates, lately: Mapping[str, HandlerStats]
) -> tuple[HandlerRow, ...]:
    by_handler: dict[str, list[HandlerLag]] = {}
    for lag in lags:
        by_handler.setdefault(lag.handler, []).append(lag)
    return tuple(
        _handler(handler_lags, rates, lately.get(name)) for name, handler_lags in by_handler.items()
    )


def _handler(lags: Sequence[HandlerLag], rates: _Rates, lately: HandlerStats | None) -> HandlerRow:
    first = lags[0]
    rate, failing = rates.of(first.handler)
    return HandlerRow(
        handler=first.handler,
        service=first.service,
        rate=rate,
        failing=failing,
        lag=sum(lag.unfinished for lag in lags),
        oldest_s=max((lag.oldest_s for lag in lags if lag.oldest_s is not None), default=None),
        waiting=sum(lag.waiting for lag in lags),
        queued=sum(lag.queued for lag in lags),
        running=sum(lag.running for lag in lags),
        scheduled=sum(lag.scheduled for lag in lags),
        blocked=sum(lag.blocked for lag in lags),
        dead=sum(lag.dead for lag in lags),
        run_p95_s=lately.run.quantile(0.95) if lately else None,
        wait_p95_s=lately.wait.quantile(0.95) if lately else None,
        circuit=first.circuit,
        registered=all(lag.registered for lag in lags),
    )


def _services(rows: Sequence[HandlerRow], workers: Sequence[WorkerRecord]) -> Iterable[ServiceRow]:
    for name in sorted({row.service for row in rows} | {worker.service for worker in workers}):
        handlers = [row for row in rows if row.service == name]
        alive = [worker for worker in workers if worker.service == name]
        yield ServiceRow(
            service=name,
            workers=sum(worker.processes > 0 for worker in alive),
            processes=sum(worker.processes for worker in alive),
            handlers=len(handlers),
            rate=sum(row.rate for row in handlers),
            failing=sum(row.failing for row in handlers),
            lag=sum(row.lag for row in handlers),
        )

"""The activity of each handler, now and in the last hour, over all its domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from celeriac.delivery import Counters, Group, HandlerStats, sum_counters
from celeriac.event import compile_patterns
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.tracking.cell import HandlerLag

MINUTES = 60
LEAST_SPAN_S = 5.0  # a rate over a shorter time is meaningless


class Minute(msgspec.Struct, frozen=True):
    """One minute of a handler: processed deliveries and failed attempts."""

    processed: int
    failed: int


class TypeView(msgspec.Struct, frozen=True, kw_only=True):
    """One handler and one event type. Counts and times cover the last hour, `ever` all time.

    `rate` is processed per second in the last minute or two, `p95_s` the 95th percentile from emit
    to processed.
    """

    type: str
    rate: float = 0.0
    processed: int = 0
    retried: int = 0
    dead: int = 0
    skipped: int = 0
    p95_s: float | None = None
    run_p95_s: float | None = None
    ever: int = 0

    @property
    def failed(self) -> int:
        """The number of failed attempts."""
        return self.retried + self.dead


class HandlerView(msgspec.Struct, frozen=True, kw_only=True):
    """One handler, all domains together.

    Attributes:
        lags: How far it is in each domain.
        types: What it did in the last hour, by event type.
        minutes: Counts of the last 60 minutes, the current one included.
        rate: Deliveries processed per second, lately.
        failing: The part of the last hour's attempts that failed; None without attempts.
        p95_s: 95th percentile of the seconds from emit to processed.
        wait_p95_s: 95th percentile of the seconds from emit to the start of the handler.
        run_p95_s: 95th percentile of the handler's run time, in seconds.
    """

    handler: str
    service: str
    patterns: tuple[str, ...]
    ordered: bool
    registered: bool
    lags: tuple[HandlerLag, ...]
    types: tuple[TypeView, ...]
    minutes: tuple[Minute, ...]
    rate: float
    failing: float | None
    p95_s: float | None
    wait_p95_s: float | None
    run_p95_s: float | None

    def total(self, name: str) -> int:
        """Return a count of HandlerLag, over all domains."""
        return sum(getattr(lag, name) for lag in self.lags)

    @property
    def lag(self) -> int:
        """The number of unfinished deliveries."""
        return sum(lag.unfinished for lag in self.lags)

    @property
    def oldest_s(self) -> float | None:
        return max((lag.oldest_s for lag in self.lags if lag.oldest_s is not None), default=None)

    def wants(self, type: str) -> bool:
        """Return whether one of its patterns matches the type."""
        return bool(self.patterns) and compile_patterns(*self.patterns).matches(type)


def overview(
    backend: Backend, records: Sequence[HandlerRecord], lags: Sequence[HandlerLag]
) -> list[HandlerView]:
    """Return every handler, sorted by name, and orphaned groups.

    `lags` is the result of `Matrix.lag`. The rest is read in three round trips.
    """
    by_id = {record.id: record for record in records}
    groups = [Group(row.domain, row.handler) for row in lags]
    ever = backend.deliveries.counters(groups)
    by_minute = backend.deliveries.counters_by_minute(groups, MINUTES)
    into_minute = backend.registry.now_ms() % 60_000 / 1000
    rows = sorted(zip(lags, ever, by_minute, strict=True), key=lambda row: row[0].handler)
    views = []
    for handler, info in groupby(rows, key=lambda row: row[0].handler):
        handler_rows = list(info)
        minutes = [
            sum_counters(m.get(k, {}) for _, _, m in handler_rows)
            for k in sorted(handler_rows[0][2])
        ]
        views.append(
            _view(
                handler,
                by_id.get(handler),
                tuple(lag for lag, _, _ in handler_rows),
                sum_counters(total for _, total, _ in handler_rows),
                minutes,
                into_minute,
            )
        )
    return views


def _view(
    handler: str,
    record: HandlerRecord | None,
    lags: tuple[HandlerLag, ...],
    ever: Counters,
    minutes: Sequence[Counters],
    into_minute: float,
) -> HandlerView:
    hour = sum_counters(minutes)
    total = _sum(hour.values())
    by_minute = [_sum(counters.values()) for counters in minutes]
    return HandlerView(
        handler=handler,
        service=lags[0].service,
        patterns=record.patterns if record else (),
        ordered=record.ordered if record else False,
        registered=record is not None,
        lags=lags,
        types=tuple(
            _type_view(type, hour.get(type, HandlerStats()), ever[type], minutes, into_minute)
            for type in sorted(ever)
        ),
        minutes=tuple(
            Minute(minute.processed, minute.retried + minute.dead) for minute in by_minute
        ),
        rate=_rate([minute.processed for minute in by_minute], into_minute),
        failing=(total.retried + total.dead) / total.attempts if total.attempts else None,
        p95_s=total.total.quantile(0.95),
        wait_p95_s=total.wait.quantile(0.95),
        run_p95_s=total.run.quantile(0.95),
    )


def _type_view(
    type: str,
    hour: HandlerStats,
    ever: HandlerStats,
    minutes: Sequence[Mapping[str, HandlerStats]],
    into_minute: float,
) -> TypeView:
    counts = [minute[type].processed if type in minute else 0 for minute in minutes[-2:]]
    return TypeView(
        type=type,
        rate=_rate(counts, into_minute),
        processed=hour.processed,
        retried=hour.retried,
        dead=hour.dead,
        skipped=hour.skipped,
        p95_s=hour.total.quantile(0.95),
        run_p95_s=hour.run.quantile(0.95),
        ever=ever.attempts + ever.skipped,
    )


def _sum(counters: Iterable[HandlerStats]) -> HandlerStats:
    total = HandlerStats()
    for stats in counters:
        total.add(stats)
    return total


def _rate(counts: Sequence[int], into_minute: float) -> float:
    """Return the rate per second over the last full minute and the current one.

    If activity began in the current minute, only that minute counts.
    """
    *_, last, present = (0, 0, *counts)
    span = into_minute + (60.0 if last else 0.0)
    return (last + present) / max(span, LEAST_SPAN_S)

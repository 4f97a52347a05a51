"""What the demo shows, read from the matrix."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from celeriac.tracking import HandlerLag, Matrix

RATE_OVER = 2.0  # seconds
HISTORY = 60  # points of the curve


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """One handler, all its domains together. `retried` counts attempts that were to be repeated."""

    handler: str
    waiting: int
    in_flight: int
    scheduled: int
    processed: int
    retried: int
    dead: int
    mean_us: int
    rate: float = 0.0

    @property
    def unsettled(self) -> int:
        return self.waiting + self.in_flight + self.scheduled


@dataclass(frozen=True, slots=True)
class View:
    """A look at the whole. `orders` were placed; `events` are they and what came of them."""

    orders: int
    events: int
    rows: Sequence[HandlerRow]
    rates: Sequence[float]

    @property
    def processed(self) -> int:
        return sum(row.processed for row in self.rows)

    @property
    def retried(self) -> int:
        return sum(row.retried for row in self.rows)

    @property
    def dead(self) -> int:
        return sum(row.dead for row in self.rows)

    @property
    def unsettled(self) -> int:
        return sum(row.unsettled for row in self.rows)

    @property
    def moved(self) -> int:
        """A number that grows with whatever happens."""
        return self.events + self.processed + self.retried + self.dead

    def to_do(self) -> str:
        """Which handlers have something left to do, in words."""
        return ", ".join(
            f"{row.handler} has {row.waiting} waiting, {row.in_flight} in flight, "
            f"{row.scheduled} scheduled"
            for row in self.rows
            if row.unsettled
        )


class Watch:
    """Looks again and again, and remembers enough to tell rates."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._seen: deque[tuple[float, dict[str, int]]] = deque()
        self._rates: deque[float] = deque(maxlen=HISTORY)

    def look(self, orders: int) -> View:
        """Blocks for the round trips of `Matrix.lag`."""
        log = self.matrix.backend.event_log
        rows = list(by_handler(self.matrix.lag()))
        events = sum(log.length(domain) for domain in log.domains())
        rates = self._rates_now({row.handler: row.processed for row in rows})
        self._rates.append(sum(rates.values()))
        rated = [replace(row, rate=rates.get(row.handler, 0.0)) for row in rows]
        return View(orders, events, rated, tuple(self._rates))

    def _rates_now(self, processed: dict[str, int]) -> dict[str, float]:
        now = time.monotonic()
        self._seen.append((now, processed))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RATE_OVER:
            self._seen.popleft()
        then, before = self._seen[0]
        passed = now - then
        if passed <= 0:
            return {}
        return {name: (count - before.get(name, 0)) / passed for name, count in processed.items()}


def by_handler(lags: Iterable[HandlerLag]) -> Iterable[HandlerRow]:
    """One row a handler, in the order of their names."""
    found: dict[str, list[HandlerLag]] = defaultdict(list)
    for lag in lags:
        found[lag.handler].append(lag)
    for handler, some in sorted(found.items()):
        processed = sum(lag.processed for lag in some)
        spent = sum(lag.processed * lag.mean_us for lag in some)
        yield HandlerRow(
            handler=handler,
            waiting=sum(lag.waiting for lag in some),
            in_flight=sum(lag.queued + lag.running + lag.blocked for lag in some),
            scheduled=sum(lag.scheduled for lag in some),
            processed=processed,
            retried=sum(lag.retried for lag in some),
            dead=sum(lag.dead for lag in some),
            mean_us=round(spent / processed) if processed else 0,
        )

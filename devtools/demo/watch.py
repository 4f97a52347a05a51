"""The counts that the demo shows, read from the matrix and the database of orders."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from celeriac.tracking import HandlerLag, Matrix
from devtools.demo.fulfilment import Fulfilment, OrderCounts

RATE_OVER = 2.0  # seconds
HISTORY = 60  # points of the curve


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """One handler in all its domains. `retried` counts attempts that were retried."""

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
    def unfinished(self) -> int:
        return self.waiting + self.in_flight + self.scheduled


@dataclass(frozen=True, slots=True)
class View:
    """The counts at one time. `events` are the orders and the events that followed from them."""

    orders: int
    events: int
    rows: Sequence[HandlerRow]
    rates: Sequence[float]
    fulfilment: OrderCounts

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
    def unfinished(self) -> int:
        return sum(row.unfinished for row in self.rows)

    @property
    def moved(self) -> int:
        """A number that grows with every change."""
        return self.events + self.processed + self.retried + self.dead

    @property
    def is_finished(self) -> bool:
        """Whether no delivery, order, timer or row of the outbox is unfinished."""
        return not self.unfinished and self.fulfilment.is_finished

    def to_do(self) -> str:
        """Return what is unfinished, as text."""
        rows = [
            f"{row.handler} has {row.waiting} waiting, {row.in_flight} in flight, "
            f"{row.scheduled} scheduled"
            for row in self.rows
            if row.unfinished
        ]
        return ", ".join([*rows, str(self.fulfilment)])


class Watch:
    """Reads the counts repeatedly, and computes rates."""

    def __init__(self, matrix: Matrix, fulfilment: Fulfilment) -> None:
        self.matrix, self.fulfilment = matrix, fulfilment
        self._seen: deque[tuple[float, dict[str, int]]] = deque()
        self._rates: deque[float] = deque(maxlen=HISTORY)

    def look(self, orders: int) -> View:
        """Read the counts. Blocks for the round trips of `Matrix.lag`, and for the database."""
        # Before the matrix, which then has the events of everything that had ended here.
        order_counts = self.fulfilment.counts()
        event_log = self.matrix.backend.event_log
        rows = list(by_handler(self.matrix.lag()))
        events = sum(event_log.length(domain) for domain in event_log.domains())
        rates = self._rates_now({row.handler: row.processed for row in rows})
        self._rates.append(sum(rates.values()))
        rated = [replace(row, rate=rates.get(row.handler, 0.0)) for row in rows]
        return View(orders, events, rated, tuple(self._rates), order_counts)

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
    """Return a row for each handler, in the order of their names."""
    lags_of: dict[str, list[HandlerLag]] = defaultdict(list)
    for lag in lags:
        lags_of[lag.handler].append(lag)
    for handler, handler_lags in sorted(lags_of.items()):
        processed = sum(lag.processed for lag in handler_lags)
        spent = sum(lag.processed * lag.mean_us for lag in handler_lags)
        yield HandlerRow(
            handler=handler,
            waiting=sum(lag.waiting for lag in handler_lags),
            in_flight=sum(lag.queued + lag.running + lag.blocked for lag in handler_lags),
            scheduled=sum(lag.scheduled for lag in handler_lags),
            processed=processed,
            retried=sum(lag.retried for lag in handler_lags),
            dead=sum(lag.dead for lag in handler_lags),
            mean_us=round(spent / processed) if processed else 0,
        )

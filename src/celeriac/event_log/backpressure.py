"""Backpressure by credit: how many events a process may append before it checks the backlog again.

A check at each append would add a second command to the one XADD. Instead a process gets a credit
that is valid for one second: a part of the free space at its last check. The backlog can exceed
`max_backlog` at most by the credit of all emitting processes: see docs/adr.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter

from celeriac.event_log.event_log import Item
from celeriac.settings import Settings

FREE_SPACE_PARTS = 16  # a credit is one part, so that 16 processes cannot exceed the limit
MAX_CREDIT = 1000
CREDIT_LIFETIME = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Backlog:
    """The uncompleted events of a domain's slowest handler, including delayed events.

    `handler` is empty if no handler has a backlog.
    """

    events: int
    handler: str = ""


@dataclass(slots=True)
class _Credit:
    remaining: int
    until: float
    had_spare: bool


class CreditLimiter:
    """The credits of one process by domain. In a race, threads may append one event too many."""

    def __init__(self, max_backlog: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_backlog = max_backlog
        self._clock = clock
        self._credits: dict[str, _Credit] = {}

    def use(self, domain: str, count: int = 1) -> int:
        """Use up credit; return how many of `count` events may be appended without a check."""
        credit = self._credits.get(domain)
        if credit is None or credit.remaining <= 0 or self._clock() >= credit.until:
            return 0
        used = min(count, credit.remaining)
        credit.remaining -= used
        return used

    def had_spare(self, domain: str) -> bool:
        """Return whether the last check found more free space than its credit.

        Then one event may be appended before the next check returns. False before the first check.
        """
        credit = self._credits.get(domain)
        return credit is not None and credit.had_spare

    def refill(self, domain: str, backlog: int) -> bool:
        """Set the credit from the backlog of a check; return whether there is free space."""
        free = self.max_backlog - backlog
        credit = min(MAX_CREDIT, max(1, free // FREE_SPACE_PARTS)) if free > 0 else 0
        self._credits[domain] = _Credit(credit, self._clock() + CREDIT_LIFETIME, free > credit)
        return free > 0


def full_message(domain: str, backlog: Backlog, max_backlog: int) -> str:
    """Return the message of LogFull for a full domain."""
    slowest = f" of the handler {backlog.handler}" if backlog.handler else ""
    return (
        f"the event log of {domain} is full: {backlog.events:,} uncompleted events{slowest}, and "
        f"CELERIAC_MAX_BACKLOG is {max_backlog:,}; nothing was written. Wait until the handlers "
        "catch up (`celeriac lag`), remove a handler that no worker serves (`celeriac handlers "
        "remove`), or raise max_backlog"
    )


def too_many_domains(domain: str, max_domains: int) -> str:
    """Return the message of LogFull for a new domain beyond `max_domains`."""
    return (
        f"The bus has {max_domains:,} domains, which is its max_domains: the new domain "
        f"{domain!r} was refused, and nothing was written. Use a fixed word as the first segment "
        f"of event types, or run `celeriac config set max_domains {2 * max_domains}`"
    )


def waiting(settings: Settings) -> Iterator[float | None]:
    """Yield the pauses between checks of a full event log, in seconds; None at the timeout."""
    timeout = settings.emit_timeout if settings.log_full == "block" else 0.0
    deadline, pause = time.monotonic() + timeout, 0.01
    while (remaining := deadline - time.monotonic()) > 0:
        yield min(pause, remaining)
        pause = min(pause * 1.5, 0.25)
    yield None


def credited_end(limiter: CreditLimiter, items: Sequence[Item], start: int) -> int:
    """Use up credit for the items from `start`, in order; return the index at which it ends."""
    end = start
    for domain, run in groupby(islice(items, start, None), key=itemgetter(0)):
        count = sum(1 for _ in run)
        used = limiter.use(domain, count)
        end += used
        if used < count:
            break
    return end

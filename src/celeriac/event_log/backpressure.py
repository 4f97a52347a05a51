"""How much a process may append to a bounded log before it asks again how full it is.

A check at each append would be a second command beside the one XADD. So a process is granted a
credit: a share of the room that there was when it last asked, for a second at most. The bound then
holds within what all emitting processes together have as credit: see docs/adr.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter

from celeriac.event_log.event_log import Item
from celeriac.settings import Settings

SHARE = 16  # of the room, so that so many processes together cannot pass the bound
MOST_CREDIT = 1000
FRESH_FOR = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a domain holds that is not finished: `events` of the handler that is furthest behind,
    those postponed included. `handler` is empty where nobody is behind."""

    events: int
    handler: str = ""


@dataclass(slots=True)
class _Credit:
    left: int
    until: float
    had_room: bool


class CreditLimiter:
    """The credits of one process, domain by domain. A race of threads lets pass one more each."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._clock = clock
        self._credits: dict[str, _Credit] = {}

    def spend(self, domain: str, want: int = 1) -> int:
        """How many of `want` events may be appended without asking; they are then counted."""
        credit = self._credits.get(domain)
        if credit is None or credit.left <= 0 or self._clock() >= credit.until:
            return 0
        spent = min(want, credit.left)
        credit.left -= spent
        return spent

    def had_room(self, domain: str) -> bool:
        """Whether there was more room than was granted when it was last asked: one event may then
        be appended ahead of the answer. False where it was never asked."""
        credit = self._credits.get(domain)
        return credit is not None and credit.had_room

    def learn(self, domain: str, backlog: int) -> bool:
        """Grants anew by what was answered; whether there is room."""
        room = self.most - backlog
        credit = min(MOST_CREDIT, max(1, room // SHARE)) if room > 0 else 0
        self._credits[domain] = _Credit(credit, self._clock() + FRESH_FOR, room > credit)
        return room > 0


def full_message(domain: str, backlog: Backlog, most: int) -> str:
    """What happened, and the remedy."""
    behind = f", of which {backlog.handler} is furthest behind" if backlog.handler else ""
    return (
        f"the log of {domain} is full: {backlog.events:,} unfinished events{behind}, and "
        f"CELERIAC_MAX_BACKLOG is {most:,}; nothing was written. Let handlers catch up (`celeriac "
        "lag`), remove one that nobody serves any more (`celeriac handlers remove`), or raise it"
    )


def too_many_domains(domain: str, most: int) -> str:
    """What happened, and the remedy."""
    return (
        f"The bus has {most:,} domains, which is its max_domains: the new domain {domain!r} was "
        "refused, and nothing was written. Use a fixed word as the first segment of event types, "
        f"or run `celeriac config set max_domains {2 * most}`"
    )


def waiting(settings: Settings) -> Iterator[float | None]:
    """The pauses between looks at a full log, in seconds; None when no more is waited for."""
    patience = settings.emit_timeout if settings.log_full == "block" else 0.0
    deadline, pause = time.monotonic() + patience, 0.01
    while (left := deadline - time.monotonic()) > 0:
        yield min(pause, left)
        pause = min(pause * 1.5, 0.25)
    yield None


def affordable(bound: CreditLimiter, items: Sequence[Item], start: int) -> int:
    """Spends for the items from `start` on, in their order; returns where the credit ends."""
    end = start
    for domain, run in groupby(islice(items, start, None), key=itemgetter(0)):
        want = sum(1 for _ in run)
        spent = bound.spend(domain, want)
        end += spent
        if spent < want:
            break
    return end

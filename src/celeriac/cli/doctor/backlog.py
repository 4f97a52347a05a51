"""Check the backlog: unfinished deliveries and dead letters."""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import count, duration
from celeriac.delivery import MAX_BLOCKED
from celeriac.tracking import HandlerLag

MAX_SCHEDULED = 10_000
OLDEST_S = 3600.0


def check_backlog(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check the age of unfinished deliveries, and the number of scheduled, blocked and dead."""
    findings = [*_fullness(snapshot), *_unfinished(snapshot), *_dead(snapshot)]
    if not findings:
        unfinished = sum(lag.unfinished for lag in snapshot.lags)
        text = f"{count(unfinished, 'unfinished delivery', 'unfinished deliveries')}, none is old"
        findings = [ok("backlog", text)]
    yield from findings


def _unfinished(snapshot: BusSnapshot) -> Iterator[Finding]:
    for lag in snapshot.lags:
        where = f"{lag.handler} in {lag.domain}"
        if lag.scheduled > MAX_SCHEDULED:
            text = f"{where} has {count(lag.scheduled, 'delivery', 'deliveries')} scheduled"
            yield warn(
                "backlog",
                text,
                "check whether many fail at once: celeriac events --state scheduled",
            )
        if lag.blocked >= MAX_BLOCKED:
            text = f"{where} has {lag.blocked:,} blocked deliveries: a few keys block many events"
            yield warn("backlog", text, "find the keys: celeriac events --state blocked")
        if lag.oldest_s is not None and lag.oldest_s > OLDEST_S and lag.registered:
            text = (
                f"{where}: {lag.unfinished:,} unfinished deliveries, the oldest "
                f"{duration(lag.oldest_s)} old"
            )
            yield warn("backlog", text, "add workers, or raise --concurrency; see celeriac lag")


def _fullness(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check which domains are near CELERIAC_MAX_BACKLOG, by their slowest handler."""
    maximum = snapshot.record.applied_to(snapshot.settings).max_backlog
    furthest: dict[str, HandlerLag] = {}
    for lag in snapshot.lags if maximum else ():
        if lag.domain not in furthest or lag.unfinished > furthest[lag.domain].unfinished:
            furthest[lag.domain] = lag
    for domain, lag in sorted(furthest.items()):
        if lag.unfinished > 0.75 * maximum:
            text = (
                f"{lag.handler} has {lag.unfinished:,} unfinished events in {domain}, "
                f"of CELERIAC_MAX_BACKLOG={maximum:,}"
            )
            remedy = "at the limit emit waits: add workers, or remove an unused handler"
            yield (fail if lag.unfinished >= maximum else warn)("log", text, remedy)


def _dead(snapshot: BusSnapshot) -> Iterator[Finding]:
    for domain, number in sorted(snapshot.dead.items()):
        if number:
            text = f"{count(number, 'dead letter')} in {domain}"
            yield warn("dead", text, "see celeriac dead list, then redrive or discard them")

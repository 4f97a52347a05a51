"""Is there more unfinished than there should be?"""

from __future__ import annotations

from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, fail, ok, warn
from celeriac.cli.show import age, count
from celeriac.delivery import MAX_BLOCKED
from celeriac.tracking import HandlerLag

MAX_SCHEDULED = 10_000
OLDEST_S = 3600.0


def check_backlog(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Age of what is unfinished, scheduled and blocked deliveries, dead letters."""
    findings = [*_fullness(snapshot), *_unfinished(snapshot), *_dead(snapshot)]
    if not findings:
        unfinished = sum(one.unfinished for one in snapshot.lags)
        text = f"{count(unfinished, 'unfinished delivery', 'unfinished deliveries')}, none is old"
        findings = [ok("backlog", text)]
    yield from findings


def _unfinished(snapshot: BusSnapshot) -> Iterator[Finding]:
    for one in snapshot.lags:
        where = f"{one.handler} in {one.domain}"
        if one.scheduled > MAX_SCHEDULED:
            text = f"{where} has {count(one.scheduled, 'delivery', 'deliveries')} scheduled"
            yield warn("backlog", text, "many fail at once? celeriac events --state scheduled")
        if one.blocked >= MAX_BLOCKED:
            text = f"{where} has {one.blocked:,} blocked: few keys hold up many events"
            yield warn("backlog", text, "celeriac events --state blocked: which keys?")
        if one.oldest_s is not None and one.oldest_s > OLDEST_S and one.registered:
            text = f"{where}: {one.unfinished:,} unfinished, the oldest for {age(one.oldest_s)}"
            yield warn("backlog", text, "more workers, or a higher --concurrency: celeriac lag")


def _fullness(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Domains of which the bound is near, by the handler that is furthest behind."""
    most = snapshot.record.over(snapshot.settings).max_backlog
    furthest: dict[str, HandlerLag] = {}
    for one in snapshot.lags if most else ():
        if one.domain not in furthest or one.unfinished > furthest[one.domain].unfinished:
            furthest[one.domain] = one
    for domain, one in sorted(furthest.items()):
        if one.unfinished > 0.75 * most:
            text = (
                f"the log of {domain} holds {one.unfinished:,} events that {one.handler} has not "
                f"finished, of CELERIAC_MAX_BACKLOG={most:,}"
            )
            remedy = "emit is held up when it is full: more workers, or remove a dead handler"
            yield (fail if one.unfinished >= most else warn)("log", text, remedy)


def _dead(snapshot: BusSnapshot) -> Iterator[Finding]:
    for domain, letters in sorted(snapshot.dead.items()):
        if letters:
            text = f"{count(letters, 'dead letter')} in {domain}"
            yield warn("dead", text, "celeriac dead list; then redrive or discard them")

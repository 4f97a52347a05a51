"""`celeriac doctor`"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import click

from celeriac.cli.doctor.backlog import check_backlog
from celeriac.cli.doctor.circuits import check_circuits
from celeriac.cli.doctor.finding import BusSnapshot, Finding
from celeriac.cli.doctor.outbox import check_outbox, read_outbox
from celeriac.cli.doctor.records import check_records
from celeriac.cli.doctor.schedules import check_schedules
from celeriac.cli.doctor.server import check_server
from celeriac.cli.doctor.services import check_clocks, check_groups, check_workers
from celeriac.cli.doctor.settings import check_domains, check_settings
from celeriac.cli.doctor.spool import check_spool
from celeriac.cli.doctor.streams import check_streams
from celeriac.cli.doctor.versions import check_versions
from celeriac.cli.group import FAILED
from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, state_text
from celeriac.delivery import Group
from celeriac.event_log import ClockStep, EventLog
from celeriac.redis_url import is_cluster
from celeriac.store.redis.chunks import RedisChunks
from celeriac.store.redis.connection import address
from celeriac.store.redis.event_log import RedisEventLog

MAX_SHOWN = 20
CHECKS = (
    check_server,
    check_records,
    check_streams,
    check_settings,
    check_domains,
    check_clocks,
    check_workers,
    check_versions,
    check_groups,
    check_circuits,
    check_schedules,
    check_backlog,
    check_spool,
    check_outbox,
)


@click.command()
@json_option
@pass_session
@click.pass_context
def doctor(ctx: click.Context, session: Session, as_json: bool) -> None:
    """Check server, workers and handlers, and suggest fixes.

    ok: healthy. warn: needs attention. fail: events are not handled, or may be lost.
    """
    snapshot = examine(session)
    findings = [finding for check in CHECKS for finding in check(snapshot)]
    healthy = all(finding.level != "fail" for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": findings})
    else:
        for finding in bounded(findings):
            _show(finding)
    if not healthy:
        ctx.exit(FAILED)


def examine(session: Session) -> BusSnapshot:
    backend = session.backend
    backend.bus.refresh()
    before = time.time()
    now_ms = backend.registry.now_ms()
    here_ms = int((before + time.time()) / 2 * 1000)
    handlers, domains = backend.registry.handlers(), sorted(backend.event_log.domains())
    snapshot = BusSnapshot(
        settings=session.settings,
        servers=_servers(session),
        now_ms=now_ms,
        clock_off_ms=here_ms - now_ms,
        handlers=handlers,
        workers=backend.registry.workers(),
        lags=session.matrix.lag(),
        dead={domain: backend.deliveries.dead_count(domain) for domain in domains},
        circuits=backend.circuits.all(),
        outbox=read_outbox(session.settings),
        stream_stats=backend.event_log.stream_stats(domains),
        groups={domain: backend.event_log.groups(domain) for domain in domains},
        clock_steps=_clock_steps(backend.event_log, domains),
        schedules=backend.schedules.all(domains),
        scale_targets=backend.registry.scale_targets(),
        record=backend.bus.record,
    )
    # Reading them reports invalid records.
    groups = [Group(lag.domain, lag.handler) for lag in snapshot.lags]
    backend.deliveries.counters(groups)
    if isinstance(backend.chunks, RedisChunks):
        backend.chunks.inspect(groups)
    for domain in domains:
        backend.event_log.upcoming(domain)
    _inspect_keys(session, domains, handlers)
    return replace(snapshot, invalid=tuple(backend.invalid))


def bounded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Return the first MAX_SHOWN of each check and level, and the number of the others."""
    for (check, level), group in groupby(
        findings, key=lambda finding: (finding.check, finding.level)
    ):
        alike = list(group)
        yield from alike[:MAX_SHOWN]
        if len(alike) > MAX_SHOWN:
            text = f"and {len(alike) - MAX_SHOWN:,} more of this check"
            yield Finding(check=check, level=level, text=text, remedy="see celeriac doctor --json")


def _clock_steps(event_log: EventLog, domains: Sequence[str]) -> dict[str, ClockStep]:
    steps = ((domain, event_log.clock_step(domain)) for domain in domains)
    return {domain: step for domain, step in steps if step is not None}


def _inspect_keys(session: Session, domains: Sequence[str], handlers: Iterable[str]) -> None:
    """Report every key that holds a value of another type than celeriac writes."""
    event_log, names = session.backend.event_log, list(handlers)
    if not isinstance(event_log, RedisEventLog):
        return
    expected = event_log.keys.shared_types()
    for domain in domains:
        for handler in {*names, *(group.handler for group in event_log.groups(domain))}:
            expected |= event_log.keys.types(domain, handler)
    session.backend.invalid.inspect(event_log.client, expected)


def _servers(session: Session) -> Mapping[str, Mapping[str, Any]]:
    event_log, url = session.backend.event_log, session.settings.redis_url
    if not isinstance(event_log, RedisEventLog):
        return {}
    if not is_cluster(url):
        return {address(url): event_log.client.info()}
    servers = {}
    for node in event_log.client.masters():
        at = node.connection_pool.connection_kwargs
        servers[f"{at['host']}:{at['port']}"] = node.info()
    return servers


def _show(finding: Finding) -> None:
    from rich.text import Text

    out = console()
    out.print(
        Text.assemble(
            state_text(finding.level, f"{finding.level:<5}"),
            (f"{finding.check:<12} ", "dim"),
            finding.text,
        ),
        soft_wrap=True,
    )
    if finding.remedy:
        out.print(Text.assemble(" " * 18, ("→ ", "dim"), finding.remedy), soft_wrap=True)

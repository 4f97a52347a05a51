"""`celeriac replay`"""

from __future__ import annotations

from datetime import datetime

import click

from celeriac.cli.dead.choice import reason_option
from celeriac.cli.replay.from_archive import replay_from_archive
from celeriac.cli.replay.from_log import replay_from_log
from celeriac.cli.replay.request import ReplayRequest
from celeriac.cli.session import Session, pass_session
from celeriac.cli.terminal import echo
from celeriac.cli.time_param import TimeParam, since_option


@click.command()
@click.argument("handler")
@since_option("Emitted since: 2026-11-23T07:00Z, or 2h.", required=True)
@click.option("--until", type=TimeParam(), metavar="TIME|DURATION", help="Emitted until. [now]")
@click.option("--type", "pattern", metavar="PATTERN", help="Only these types: order.*, #.failed")
@click.option("--tenant", metavar="NAME", help="Only events of this tenant: acme")
@click.option(
    "--from", "url", metavar="URL", help="Replay from an archive: s3://…, gs://…, az://…, file:///…"
)
@click.option("--dry-run", is_flag=True, help="Only count the events.")
@click.option("--again", is_flag=True, help="With --from: run a finished replay again.")
@click.option(
    "--replace", is_flag=True, help="With --from: give up the handler's unfinished replay."
)
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_session
def replay(
    session: Session,
    handler: str,
    since: datetime,
    until: datetime | None,
    pattern: str | None,
    tenant: str | None,
    url: str | None,
    dry_run: bool,
    again: bool,
    replace: bool,
    reason: str,
    yes: bool,
) -> None:
    """Run past events through one handler again.

    Also runs events that the handler has processed. Unfinished deliveries and unread events are
    left as they are. If you interrupt it, the events scheduled so far still run.

    With --from, it also runs events that are no longer in the event log. If it is interrupted, run
    the same command again: it continues, and schedules no event twice.
    """
    if url is None and (again or replace):
        raise click.UsageError("--again and --replace need --from.")
    record = session.handler(handler)
    request = ReplayRequest(record, since, until, pattern, tenant, reason, yes=yes, dry_run=dry_run)
    if record.options.get("inbox"):
        echo(
            f"{handler} has an inbox: events that it has processed are not run again, unless you "
            "delete their rows in celeriac_inbox first",
            err=True,
        )
    if url is None:
        replay_from_log(session, request)
    else:
        replay_from_archive(session, request, url, again=again, replaces=replace)

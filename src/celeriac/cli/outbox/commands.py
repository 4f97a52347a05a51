"""`celeriac outbox`"""

from __future__ import annotations

from typing import Any

import click

from celeriac.cli.json_output import json_option, print_json
from celeriac.cli.outbox.choice import OfDatabase, database_options, open_chosen
from celeriac.cli.session import Session, pass_session
from celeriac.cli.show import console, count, duration, table, when
from celeriac.cli.terminal import confirm, echo
from celeriac.errors import NotFound
from celeriac.outbox import status as state
from celeriac.outbox.database import Database
from celeriac.visible import MAX_NAMED, listed

MAX_ROW = 2**63 - 1


@click.group(cls=OfDatabase)
def outbox() -> None:
    """Show an outbox, and retry or discard failed events."""


@outbox.command()
@database_options
@json_option
@pass_session
def status(session: Session, database: str | None, django: bool, as_json: bool) -> None:
    """Show how many events wait, for how long, and how many have failed."""
    chosen, _ = open_chosen(session.settings, database, django)
    counts = state.status(chosen)
    if as_json:
        print_json(counts)
        return
    oldest = f", the oldest for {duration(counts.oldest_s)}" if counts.waiting else ""
    console().print(f"{count(counts.waiting, 'event')} waiting{oldest}; {counts.failed:,} failed")


@outbox.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Maximum number."
)
@database_options
@json_option
@pass_session
def list_(session: Session, limit: int, database: str | None, django: bool, as_json: bool) -> None:
    """List events that could not be published, with the error; oldest first."""
    chosen, _ = open_chosen(session.settings, database, django)
    rows = state.failed(chosen, limit)
    if as_json:
        print_json(rows)
        return
    if not rows:
        echo("No row has failed.")
        return
    table(
        ("row", "failed (UTC)", "event", "domain", "error"),
        [(r.row, when(r.failed_ms), r.event_id, r.domain, r.error) for r in rows],
        right=("row",),
        fold={"event": 12, "error": 20},
        shed=("domain", "failed (UTC)"),
    )
    total = state.status(chosen).failed if len(rows) == limit else len(rows)
    if total > len(rows):
        echo(f"\n{len(rows):,} shown of {total:,}")


def _rows_command(name: str, done: str, help: str, change: Any) -> None:
    @outbox.command(name, help=help)
    @click.argument("rows", nargs=-1, type=click.IntRange(0, MAX_ROW))
    @click.option("--all", "every", is_flag=True, help="All failed events.")
    @click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    @database_options
    @pass_session
    def command(
        session: Session,
        rows: tuple[int, ...],
        every: bool,
        yes: bool,
        database: str | None,
        django: bool,
    ) -> None:
        if bool(rows) == every:
            raise click.UsageError("No row is selected. Pass ROWS or --all.")
        chosen, _ = open_chosen(session.settings, database, django)
        number, named = _chosen(chosen, rows)
        if not yes:
            text = f"{name.capitalize()} {count(number, 'failed event')}"
            confirm(f"{text}: {named}?" if named else f"{text}?", abort=True)
        changed = change(chosen, rows or None)
        echo(f"{count(changed, 'event')} {done}")


def _chosen(database: Database, rows: tuple[int, ...]) -> tuple[int, str]:
    """Return the number of failed events of these rows, or of all, and the first of them by id."""
    if not rows:
        number = state.status(database).failed
        first = [row.event_id for row in state.failed(database, MAX_NAMED)]
        return number, listed(first, number)
    failed = state.failed_events(database, rows)
    if missing := [str(row) for row in rows if row not in failed]:
        raise NotFound(
            f"no failed event in rows: {listed(missing)}. Check them with `celeriac outbox list`."
        )
    return len(failed), listed(failed.values())


_rows_command("retry", "requeued for the relay", "Publish failed events again.", state.retry)
_rows_command("discard", "discarded", "Delete failed events permanently.", state.discard)
